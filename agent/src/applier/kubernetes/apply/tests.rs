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
        plain(&manifest, true),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"a": "b"}},
            "data": {"uid": "stays"},
        })
    );
}

#[test]
fn a_namespace_that_means_nothing_is_not_sent() {
    let manifest = json!({"metadata": {"name": "a", "namespace": "b"}});
    assert_eq!(plain(&manifest, true), manifest);
    assert_eq!(plain(&manifest, false), json!({"metadata": {"name": "a"}}));
}
