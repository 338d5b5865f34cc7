use serde_json::json;

use super::*;

#[test]
fn only_the_server_says_what_is_the_servers() {
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "a", "uid": "u", "resourceVersion": "1", "managedFields": [], "creationTimestamp": null,
            "labels": {"a": "b"},
        },
        "data": {"uid": "stays"},
    });
    assert_eq!(
        plain(&manifest),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"a": "b"}},
            "data": {"uid": "stays"},
        })
    );
}

#[test]
fn a_name_cannot_lead_to_another_path() {
    let object = |namespace: &str, name: &str| ObjectRef {
        version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: namespace.into(),
        name: name.into(),
        ..ObjectRef::default()
    };
    check_name(&object("a", "system:b.c"), true).unwrap();
    check_name(&object("", "a"), false).unwrap();
    for (namespace, name) in [("", "a"), ("a", "a/status"), ("a/b", "a"), ("a", "..")] {
        let error = check_name(&object(namespace, name), true).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}
