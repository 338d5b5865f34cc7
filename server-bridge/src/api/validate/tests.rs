//! Each rule is named, with its path, and all of them at once.

use axum::http::StatusCode;
use serde_json::json;

use super::*;

fn refused(draft: Draft) -> String {
    let error = draft.check(&Limits::default()).unwrap_err();
    let response = error.render("op");
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    format!("{error:?}")
        .split_once("reason: \"")
        .and_then(|(_, rest)| rest.split_once("\", latest"))
        .map(|(reason, _)| reason.to_owned())
        .unwrap()
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
    insta::assert_snapshot!(refused(draft), @"");
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
    insta::assert_snapshot!(refused(draft), @"");
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
    insta::assert_snapshot!(refused(draft([100_000, 40_000])), @"");
    insta::assert_snapshot!(refused(draft([300_000, 300_000])), @"");
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
