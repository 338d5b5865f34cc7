//! What a terminating object waits for, as text.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use link::bundle::manifest::ObjectRef;
use serde_json::Value;

use crate::applier::kubernetes::Inner;
use crate::applier::kubernetes::server::ObjectPath;

impl Inner {
    pub(super) async fn what_it_waits_for(
        &self,
        object: &ObjectRef,
        path: &ObjectPath,
        meta: &ObjectMeta,
    ) -> String {
        let is_namespace = object.kind == "Namespace" && object.group.is_empty();
        let content = if is_namespace {
            // The message is worth a request, and no error.
            self.server.get(path).await.ok().flatten()
        } else {
            None
        };
        describe(meta, content.as_ref())
    }
}

fn describe(meta: &ObjectMeta, namespace: Option<&Value>) -> String {
    let mut waits = Vec::new();
    let all = meta.finalizers.iter().flatten().map(String::as_str);
    let (special, finalizers): (Vec<&str>, Vec<&str>) =
        all.partition(|name| matches!(*name, DEPENDENTS | ORPHANS));
    match finalizers.as_slice() {
        [] => {}
        [one] => waits.push(format!("finalizer `{one}`")),
        several => waits.push(format!("finalizers `{}`", several.join("`, `"))),
    }
    if special.contains(&DEPENDENTS) {
        waits.push("its dependents".into());
    }
    if special.contains(&ORPHANS) {
        waits.push("its dependents to be orphaned".into());
    }
    if let Some(namespace) = namespace {
        waits.push(content(namespace));
    }
    if waits.is_empty() {
        match meta.deletion_grace_period_seconds {
            Some(seconds) if seconds > 0 => {
                waits.push(format!("its grace period of {seconds} s"));
            }
            _ => waits.push("the API server to remove it".into()),
        }
    }
    format!("waits for {}", waits.join(" and "))
}

// The namespace controller says in conditions what is in the way.
fn content(namespace: &Value) -> String {
    let conditions = namespace["status"]["conditions"].as_array();
    let messages: Vec<&str> = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition["status"] == "True")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    if messages.is_empty() {
        "its content to go".into()
    } else {
        format!("its content: {}", messages.join("; "))
    }
}

const DEPENDENTS: &str = "foregroundDeletion";
const ORPHANS: &str = "orphan";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(finalizers: &[&str]) -> ObjectMeta {
        ObjectMeta {
            finalizers: Some(finalizers.iter().map(|&name| name.into()).collect()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn every_blocker_is_named() {
        for (finalizers, expected) in [
            (&["a.b/c"][..], "waits for finalizer `a.b/c`"),
            (&["a", "b"], "waits for finalizers `a`, `b`"),
            (&[DEPENDENTS], "waits for its dependents"),
            (
                &["a", DEPENDENTS],
                "waits for finalizer `a` and its dependents",
            ),
            (&[ORPHANS], "waits for its dependents to be orphaned"),
            (&[], "waits for the API server to remove it"),
        ] {
            assert_eq!(describe(&with(finalizers), None), expected);
        }
        let graceful = ObjectMeta {
            deletion_grace_period_seconds: Some(30),
            ..ObjectMeta::default()
        };
        assert_eq!(
            describe(&graceful, None),
            "waits for its grace period of 30 s"
        );
    }

    #[test]
    fn a_namespace_says_what_is_left_in_it() {
        let namespace = json!({"status": {"conditions": [
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "fine"},
            {"type": "NamespaceContentRemaining", "status": "True", "message": "pods. has 1 resource instances"},
            {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "x/y in 1 resource instances"},
        ]}});
        assert_eq!(
            describe(&with(&[]), Some(&namespace)),
            "waits for its content: pods. has 1 resource instances; x/y in 1 resource instances"
        );
        assert_eq!(
            describe(&with(&[]), Some(&json!({}))),
            "waits for its content to go"
        );
    }
}
