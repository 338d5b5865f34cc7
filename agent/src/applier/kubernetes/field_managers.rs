//! Who else holds parts of an object, read from its `metadata.managedFields`: those who want other values than the
//! manifest, and those who added elements to a list that the manifest declares. Pure.

use serde_json::Value;

use super::conflict::shorten;

/// Managers but `ours` (of server-side apply) that hold fields in which the live object differs from the manifest.
pub(crate) fn conflicting(manifest: &Value, live: &Value, ours: &str) -> Vec<String> {
    let mut found: Vec<String> = others(live, ours)
        .filter(|entry| differs(&entry["fieldsV1"], manifest, live))
        .map(name)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Elements that others added to lists of the manifest: the manager and the path of each. `within` says which lists
/// count, by their path without indices.
pub(crate) fn added(
    manifest: &Value,
    live: &Value,
    ours: &str,
    within: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in others(live, ours) {
        let mut paths = Vec::new();
        elements(
            &entry["fieldsV1"],
            manifest,
            &mut Path::default(),
            &mut paths,
        );
        let paths = paths.into_iter().filter(|(list, _)| within(list));
        all.extend(paths.map(|(_, path)| (name(entry), path)));
    }
    all
}

/// Where one is in an object: with the keys of elements, and without.
#[derive(Default)]
struct Path {
    shown: String,
    plain: String,
}

// === impl Path ===

impl Path {
    fn field(&self, name: &str) -> Self {
        let dot = if self.plain.is_empty() { "" } else { "." };
        Self {
            shown: format!("{}.{name}", self.shown),
            plain: format!("{}{dot}{name}", self.plain),
        }
    }

    fn element(&self, keys: &Value) -> Self {
        let keys = keys.as_object().into_iter().flatten();
        let keys: Vec<String> = keys
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Self {
            shown: format!("{}[{}]", self.shown, keys.join(",")),
            plain: self.plain.clone(),
        }
    }
}

fn others<'a>(live: &'a Value, ours: &str) -> impl Iterator<Item = &'a Value> {
    let entries = live["metadata"]["managedFields"].as_array();
    let is_ours = move |entry: &&Value| entry["operation"] == "Apply" && entry["manager"] == ours;
    let entries = entries.into_iter().flatten();
    entries.filter(move |entry| !is_ours(entry) && !is_status(entry))
}

// Status is nobody's manifest.
fn is_status(entry: &Value) -> bool {
    entry["subresource"] == "status"
}

fn name(entry: &Value) -> String {
    shorten(entry["manager"].as_str().unwrap_or_default(), LONGEST_NAME)
}

fn differs(set: &Value, wanted: &Value, live: &Value) -> bool {
    let Some(fields) = set.as_object() else {
        return false;
    };
    if fields.is_empty() {
        return wanted != live;
    }
    fields.iter().any(|(part, set)| {
        if let Some(name) = part.strip_prefix("f:") {
            return match wanted.get(name) {
                Some(wanted) => differs(set, wanted, live.get(name).unwrap_or(&Value::Null)),
                None => false,
            };
        }
        let Some(keys) = keys(part) else {
            return false;
        };
        match (element(wanted, &keys), element(live, &keys)) {
            (Some(wanted), Some(live)) => differs(set, wanted, live),
            _ => false,
        }
    })
}

fn elements(set: &Value, wanted: &Value, path: &mut Path, found: &mut Vec<(String, String)>) {
    for (part, set) in set.as_object().into_iter().flatten() {
        if let Some(name) = part.strip_prefix("f:") {
            if let Some(wanted) = wanted.get(name) {
                elements(set, wanted, &mut path.field(name), found);
            }
            continue;
        }
        let Some(keys) = keys(part).filter(|_| wanted.is_array()) else {
            continue;
        };
        let mut path = path.element(&keys);
        match element(wanted, &keys) {
            Some(wanted) => elements(set, wanted, &mut path, found),
            None => found.push((path.plain.clone(), path.shown)),
        }
    }
}

fn keys(part: &str) -> Option<Value> {
    serde_json::from_str(part.strip_prefix("k:")?).ok()
}

// A key that an element leaves out has its default, which is not known here.
fn element<'a>(list: &'a Value, keys: &Value) -> Option<&'a Value> {
    list.as_array()?.iter().find(|element| {
        let mut keys = keys.as_object().into_iter().flatten();
        keys.all(|(name, value)| element.get(name).is_none_or(|own| own == value))
    })
}

// The API server allows names of 128 characters.
const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "fieldsV1": fields})
    }

    #[test]
    fn who_holds_a_field_that_differs_conflicts() {
        let manifest = json!({
            "metadata": {"labels": {"a": "1"}},
            "spec": {"replicas": 3, "containers": [{"name": "web", "image": "one"}]},
        });
        let image =
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}});
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let live = json!({
            "metadata": {"labels": {"a": "1"}, "managedFields": [
                entry("work-agent", "Apply", &replicas),
                entry("somebody", "Update", &image),
                entry("agrees", "Update", &json!({"f:metadata": {"f:labels": {"f:a": {}}}})),
                entry("apart", "Update", &json!({"f:spec": {"f:paused": {}}})),
                entry("work-agent", "Update", &replicas),
            ]},
            "spec": {"replicas": 1, "paused": true, "containers": [{"name": "web", "image": "two"}]},
        });
        assert_eq!(
            conflicting(&manifest, &live, "work-agent"),
            ["somebody", "work-agent"]
        );
    }

    #[test]
    fn elements_that_others_added_to_a_declared_list_are_found() {
        let manifest = json!({"spec": {"ports": [{"port": 53}], "selector": {"a": "b"}}});
        let web = r#"k:{"port":81,"protocol":"TCP"}"#;
        let dns = r#"k:{"port":53,"protocol":"UDP"}"#;
        let held =
            json!({"f:spec": {"f:ports": {web: {".": {}}, dns: {"f:name": {}}}, "f:type": {}}});
        let live = json!({"metadata": {"managedFields": [
            entry("work-agent", "Apply", &held),
            entry("kubectl-patch", "Update", &held),
        ]}});
        let path = r#".spec.ports[port=81,protocol="TCP"]"#;
        let expected = [("kubectl-patch".to_owned(), path.to_owned())];
        let in_ports = |list: &str| list == "spec.ports";
        assert_eq!(added(&manifest, &live, "work-agent", in_ports), expected);
        assert_eq!(added(&manifest, &live, "work-agent", |_| false), []);
    }
}
