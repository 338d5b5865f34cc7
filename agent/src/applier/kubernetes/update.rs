//! The strategy `Update` (docs/MAESTRO.md §6.4): from the manifest and the object on the cluster, the object to `PUT`.
//!
//! - Metadata is the live object's. Labels and annotations of the manifest are added; a key with `-` at its end
//!   removes that key. Everything else of metadata stays, finalizers and resource version too: a `PUT` of what was
//!   read before somebody else wrote is refused. Owner references are the caller's business.
//! - `status` stays. Other fields at the top of the manifest replace the live ones; those the manifest does not
//!   mention stay, but for lists whose absence means that they are empty ([`COMPLETE`]).
//! - `carry` then copies what the server or a controller filled in and without which a `PUT` is refused or breaks
//!   something. It only fills gaps. What the manifest gives stays, and if it may not be changed, the API server says
//!   so: a difference that is swallowed would never be seen.

use serde_json::{Map, Value};

use self::carry::carry;

mod carry;

/// The object to `PUT` so that `live` becomes what `required` says, whose fields have their kept names (`aliases`).
/// Merging again changes nothing.
pub(crate) fn merge(required: &Value, live: &Value) -> Value {
    let (Some(wanted), Some(now)) = (required.as_object(), live.as_object()) else {
        return required.clone();
    };
    let mut merged = Map::new();
    for (name, value) in now {
        if !is_dropped(name, wanted, required) {
            merged.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in wanted {
        if name != "metadata" && name != "status" {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged.insert("metadata".into(), metadata(required, live));
    let mut merged = Value::Object(merged);
    carry(&mut merged, live);
    merged
}

/// Whether a write changed the content of an object: the bookkeeping of the API server does not count.
pub(crate) fn changed(before: &Value, after: &Value) -> bool {
    content(before) != content(after)
}

fn content(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(name);
        }
    }
    object
}

fn metadata(required: &Value, live: &Value) -> Value {
    let mut merged = live["metadata"].as_object().cloned().unwrap_or_default();
    for name in ["labels", "annotations"] {
        let Some(wanted) = required["metadata"][name].as_object() else {
            continue;
        };
        let mut all = merged
            .get(name)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for key in wanted.keys().filter_map(|key| key.strip_suffix('-')) {
            all.remove(key);
        }
        let added = wanted.iter().filter(|(key, _)| !key.ends_with('-'));
        all.extend(added.map(|(key, value)| (key.clone(), value.clone())));
        merged.insert(name.into(), Value::Object(all));
    }
    Value::Object(merged)
}

// Whether a live field at the top goes because the manifest does not mention it.
fn is_dropped(name: &str, wanted: &Map<String, Value>, required: &Value) -> bool {
    // The rules of an aggregated role are written by a controller.
    let filled = name == "rules" && wanted.contains_key("aggregationRule");
    let complete = COMPLETE.iter().any(|(api_version, kind, fields)| {
        required["apiVersion"] == *api_version
            && required["kind"] == *kind
            && fields.contains(&name)
    });
    complete && !filled && !wanted.contains_key(name)
}

/// Fields at the top that are all the content of their kind: a manifest without them means none. Keeping them
/// would leave removed data and revoked rights in place.
const COMPLETE: &[(&str, &str, &[&str])] = &[
    ("v1", "ConfigMap", &["data", "binaryData"]),
    ("v1", "Secret", &["data"]),
    (RBAC, "Role", &["rules"]),
    (RBAC, "ClusterRole", &["rules", "aggregationRule"]),
    (RBAC, "RoleBinding", &["subjects"]),
    (RBAC, "ClusterRoleBinding", &["subjects"]),
];
const RBAC: &str = "rbac.authorization.k8s.io/v1";

#[cfg(test)]
mod tests;
