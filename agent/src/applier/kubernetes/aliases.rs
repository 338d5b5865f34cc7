//! Fields that the API server keeps under another name than the one they are written under. Server-side apply would
//! own only what was written, so a field that is dropped from the manifest would stay in the object, held by nobody.
//! Such fields are therefore sent as they are kept.
//!
//! - A Secret's `stringData` is written only; it is kept in `data`, as base64.
//! - A pod's `serviceAccountName` is also kept in `serviceAccount`, from which it comes back when it is dropped alone.
//!
//! What is no text, or no object, stays as it is: the API server says what is wrong with it.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

/// Writes a manifest's fields as they are kept.
pub(crate) fn resolve(manifest: &mut Value) {
    if is_secret(manifest) {
        strings(manifest);
    }
    let kind = (&manifest["apiVersion"], &manifest["kind"]);
    let path: &[&str] = match (kind.0.as_str(), kind.1.as_str()) {
        (Some("v1"), Some("Pod")) => &["spec"],
        (Some("v1"), Some("PodTemplate")) => &["template", "spec"],
        (Some("v1"), Some("ReplicationController"))
        | (Some("apps/v1"), Some("Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet"))
        | (Some("batch/v1"), Some("Job")) => &["spec", "template", "spec"],
        (Some("batch/v1"), Some("CronJob")) => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return,
    };
    let pod = path
        .iter()
        .try_fold(manifest, |value, name| value.get_mut(name));
    if let Some(pod) = pod.and_then(Value::as_object_mut)
        && !pod.contains_key("serviceAccount")
        && let Some(name) = pod.get("serviceAccountName").filter(|it| it.is_string())
    {
        pod.insert("serviceAccount".into(), name.clone());
    }
}

/// Whether an object is a Secret of the core group.
pub(crate) fn is_secret(object: &Value) -> bool {
    object["apiVersion"] == "v1" && object["kind"] == "Secret"
}

/// What `manager` applied to a Secret under `stringData`, as fields of `data`, in its `managedFields`; `None` when
/// there is no such thing.
pub(crate) fn of_secret(managed_fields: &[Value], manager: &str) -> Option<Vec<Value>> {
    let mut renamed = false;
    let mut all = managed_fields.to_vec();
    for entry in &mut all {
        if entry["manager"] != manager || entry["operation"] != "Apply" {
            continue;
        }
        let Some(fields) = entry["fieldsV1"].as_object_mut() else {
            continue;
        };
        if let Some(Value::Object(strings)) = fields.remove("f:stringData") {
            renamed = true;
            let data = fields.entry("f:data").or_insert_with(|| json!({}));
            if let Some(data) = data.as_object_mut() {
                data.extend(strings);
            }
        }
    }
    renamed.then_some(all)
}

// As the API server does it: `stringData` wins over `data`.
fn strings(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else {
        return;
    };
    let data = fields.get("data").filter(|data| !data.is_null());
    let texts = fields.get("stringData").and_then(Value::as_object);
    let (Some(texts), true) = (texts, data.is_none_or(Value::is_object)) else {
        return;
    };
    let encoded = |(name, text): (&String, &Value)| {
        let bytes = text.as_str()?.as_bytes().to_vec();
        Some((name.clone(), json!(ByteString(bytes))))
    };
    let Some(encoded) = texts.iter().map(encoded).collect::<Option<Map<_, _>>>() else {
        return;
    };
    fields.remove("stringData");
    if encoded.is_empty() {
        return;
    }
    let data = fields.entry("data").or_insert(Value::Null);
    match data {
        Value::Object(data) => data.extend(encoded),
        data => *data = Value::Object(encoded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(mut manifest: Value) -> Value {
        resolve(&mut manifest);
        manifest
    }

    #[test]
    fn strings_of_a_secret_are_sent_as_data_and_win_over_it() {
        let secret = |rest: Value| {
            let mut secret = json!({"apiVersion": "v1", "kind": "Secret"});
            secret
                .as_object_mut()
                .unwrap()
                .extend(rest.as_object().unwrap().clone());
            secret
        };
        for (before, after) in [
            (
                json!({"stringData": {"a": "one", "b": "zwei ä"}, "data": {"a": "eA==", "c": "eQ=="}}),
                json!({"data": {"a": "b25l", "b": "endlaSDDpA==", "c": "eQ=="}}),
            ),
            (json!({"stringData": {"a": ""}}), json!({"data": {"a": ""}})),
            (json!({"stringData": {}}), json!({})),
            (
                json!({"data": null, "stringData": {"a": "x"}}),
                json!({"data": {"a": "eA=="}}),
            ),
            // The server explains what it refuses itself.
            (
                json!({"stringData": {"a": 1}}),
                json!({"stringData": {"a": 1}}),
            ),
            (json!({"stringData": "x"}), json!({"stringData": "x"})),
            (
                json!({"data": "x", "stringData": {"a": "x"}}),
                json!({"data": "x", "stringData": {"a": "x"}}),
            ),
        ] {
            assert_eq!(resolved(secret(before)), secret(after));
        }
        let other = json!({"apiVersion": "x/v1", "kind": "Secret", "stringData": {"a": "x"}});
        assert_eq!(resolved(other.clone()), other);
    }

    #[test]
    fn a_service_account_is_named_in_both_its_fields() {
        let pod = json!({"serviceAccountName": "robot", "containers": []});
        let both =
            json!({"serviceAccountName": "robot", "serviceAccount": "robot", "containers": []});
        let of = |pod: &Value| {
            let template = json!({"template": {"spec": pod}});
            [
                json!({"apiVersion": "v1", "kind": "Pod", "spec": pod}),
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": template}),
                json!({"apiVersion": "batch/v1", "kind": "CronJob",
                    "spec": {"jobTemplate": {"spec": template}}}),
            ]
        };
        for (before, after) in of(&pod).into_iter().zip(of(&both)) {
            assert_eq!(resolved(before), after);
            assert_eq!(resolved(after.clone()), after);
        }
        let other = json!({"apiVersion": "x/v1", "kind": "Deployment", "spec": {"template": {"spec": pod}}});
        assert_eq!(resolved(other.clone()), other);
    }

    #[test]
    fn what_was_applied_as_strings_is_held_as_data() {
        let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let other = entry("other", json!({"f:stringData": {"f:z": {}}}));
        let ours = entry(
            "work-agent",
            json!({"f:stringData": {"f:a": {}}, "f:data": {"f:b": {}}}),
        );
        let renamed = of_secret(&[other.clone(), ours], "work-agent").unwrap();
        let data = entry("work-agent", json!({"f:data": {"f:a": {}, "f:b": {}}}));
        assert_eq!(renamed, [other, data]);
        assert_eq!(of_secret(&renamed, "work-agent"), None);
    }
}
