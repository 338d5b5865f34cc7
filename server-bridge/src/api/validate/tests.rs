//! Each rule is named, with its path, and all of them at once.

use axum::http::StatusCode;
use serde_json::json;

use super::*;

fn refused(draft: Draft) -> String {
    let error = draft.check(&Limits::default()).unwrap_err();
    assert_eq!(error.render("op").status(), StatusCode::BAD_REQUEST);
    error.reason().to_owned()
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
}

#[test]
fn a_good_bundle_passes() {
    let draft = Draft {
        metadata: Some(json!({"labels": {"app.kubernetes.io/name": "web"}})),
        manifests: Some(json!([config_map("a"), config_map("b")])),
        manifest_configs: Some(json!([{
            "resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "web", "namespace": "default"},
            "feedbackRules": [{"type": "WellKnownStatus"}],
            "updateStrategy": {"type": "ServerSideApply"},
        }])),
        delete_option: Some(json!({"propagationPolicy": "Orphan"})),
        executer: Some(
            json!({"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "b"}}}),
        ),
    };
    assert!(draft.check(&Limits::default()).is_ok());
}

#[test]
fn bad_manifests_are_named_all_at_once() {
    let manifests = json!([
        {"kind": "ConfigMap", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "Bad", "labels": {"a b": 1}}},
        config_map("twice"),
        config_map("twice"),
        7,
    ]);
    let draft = Draft {
        manifests: Some(manifests),
        ..Draft::default()
    };
    insta::assert_snapshot!(refused(draft), @"manifests[0].apiVersion: is required; manifests[1].metadata.name: is required; manifests[1].metadata.generateName: must not be set; manifests[2].metadata.namespace: `Bad` may hold only lower-case letters, digits and `-`; manifests[2].metadata.labels: name `a b` may hold only letters, digits and `-_.`; manifests[2].metadata.labels[a b]: must be a string, not a number; manifests[4].metadata: v1 ConfigMap `twice` in `default` is there twice; manifests[5]: must be a Kubernetes object, not a number");
}

#[test]
fn no_manifest_and_bad_settings_are_named() {
    let draft = Draft {
        metadata: Some(json!([])),
        manifest_configs: Some(json!([{"resourceIdentifer": {}}])),
        delete_option: Some(json!({"propagationPolicy": "Background"})),
        executer: Some(json!({"subject": {"type": "User"}})),
        ..Draft::default()
    };
    insta::assert_snapshot!(refused(draft), @"metadata: must be an object, not an array; manifests: must hold at least one manifest; delete_option.propagationPolicy: must be one of `Foreground`, `Orphan`, `SelectivelyOrphan`; manifest_configs[0]: unknown field `resourceIdentifer`, did you mean `resourceIdentifier`?; manifest_configs[0].resourceIdentifier: is required; executer.subject.type: must be one of `ServiceAccount`; executer.subject.serviceAccount.namespace: is required; executer.subject.serviceAccount.name: is required");
}

#[test]
fn a_bundle_the_broker_would_not_take_is_refused_with_sizes() {
    let big = |name: &str, size: usize| {
        let mut manifest = config_map(name);
        manifest["data"] = json!({"k": "x".repeat(size)});
        manifest
    };
    let draft = |sizes: [usize; 2]| Draft {
        manifests: Some(json!([big("a", sizes[0]), big("b", sizes[1])])),
        ..Draft::default()
    };
    insta::assert_snapshot!(refused(draft([100_000, 40_000])), @"manifests: make an event of 140217 bytes, the broker takes at most 131072; the biggest: [0] ConfigMap `a` 100100 bytes, [1] ConfigMap `b` 40100 bytes");
    insta::assert_snapshot!(refused(draft([300_000, 300_000])), @"manifests: are 600203 bytes together, agents take at most 512000; the biggest: [1] ConfigMap `b` 300100 bytes, [0] ConfigMap `a` 300100 bytes");
    let overhead = draft([0, 0])
        .check(&Limits::default())
        .unwrap()
        .1
        .payload_len();
    assert!(
        draft([131_072 - overhead, 0])
            .check(&Limits::default())
            .is_ok()
    );
    assert!(
        draft([131_072 - overhead + 1, 0])
            .check(&Limits::default())
            .is_err()
    );
}
