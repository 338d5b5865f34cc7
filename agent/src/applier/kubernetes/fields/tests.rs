use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn prune(manifest: &Value, live: Option<&Value>, rules: &[IgnoreField]) -> Result<Pruned, String> {
    super::prune(manifest, live, rules, "work-agent")
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": null, "annotations": {"a": "b"}},
        "spec": {"replicas": 3, "template": {
            "metadata": {"creationTimestamp": null},
            "spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]},
        }},
    })
}

fn live(hash: &str) -> Value {
    json!({"metadata": {"annotations": {SPEC_HASH: hash}}})
}

fn present(path: &str) -> Vec<IgnoreField> {
    vec![IgnoreField {
        json_paths: vec![path.into()],
        ..IgnoreField::default()
    }]
}

fn on_change(path: &str) -> Vec<IgnoreField> {
    vec![IgnoreField {
        condition: "OnSpokeChange".into(),
        json_paths: vec![path.into()],
        ..IgnoreField::default()
    }]
}

#[test]
fn without_rules_only_null_timestamps_go() {
    let pruned = prune(&deployment(), None, &[]).unwrap();
    let mut expected = deployment();
    expected["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("creationTimestamp");
    expected["spec"]["template"]["metadata"] = json!({});
    assert_eq!(
        pruned,
        Pruned {
            manifest: expected,
            hash: None,
            unchanged: false
        }
    );
}

#[test]
fn present_fields_are_kept_at_creation_and_left_alone_afterwards() {
    let rules = present(".spec.replicas");
    let created = prune(&deployment(), None, &rules).unwrap();
    assert_eq!(created.manifest["spec"]["replicas"], 3);
    assert_eq!(created.manifest["metadata"]["annotations"]["a"], "b");
    let hash = created.hash.unwrap();
    assert_eq!(created.manifest["metadata"]["annotations"][SPEC_HASH], hash);

    let mut other = deployment();
    other["spec"]["replicas"] = json!(9);
    let same = prune(&other, Some(&live(&hash)), &rules).unwrap();
    assert!(same.unchanged, "the field is not in the hash");

    other["spec"]["paused"] = json!(true);
    let changed = prune(&other, Some(&live(&hash)), &rules).unwrap();
    assert!(!changed.unchanged);
    assert_eq!(changed.manifest["spec"].get("replicas"), None);
    assert_eq!(changed.manifest["spec"]["paused"], true);
}

#[test]
fn present_fields_that_only_the_agent_holds_are_not_reset() {
    let mut live = live("old");
    live["spec"] = json!({"replicas": 5});
    live["metadata"]["managedFields"] = json!([
        {"manager": "work-agent", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]);
    let rules = present(".spec.replicas");
    let kept = prune(&deployment(), Some(&live), &rules).unwrap();
    assert_eq!(kept.manifest["spec"]["replicas"], 5);
    assert_eq!(kept.hash, prune(&deployment(), None, &rules).unwrap().hash);
}

#[test]
fn change_fields_come_with_the_next_change_of_the_manifest() {
    let rules = on_change(".spec.replicas");
    let hash = prune(&deployment(), None, &rules).unwrap().hash.unwrap();
    let same = prune(&deployment(), Some(&live(&hash)), &rules).unwrap();
    assert!(same.unchanged);

    let mut other = deployment();
    other["spec"]["replicas"] = json!(9);
    let changed = prune(&other, Some(&live(&hash)), &rules).unwrap();
    assert!(!changed.unchanged, "the field is in the hash");
    assert_eq!(changed.manifest["spec"]["replicas"], 9);
}

#[test]
fn the_hash_ignores_what_servers_and_the_agent_add() {
    let rules = present(".spec.replicas");
    let hash = prune(&deployment(), None, &rules).unwrap().hash;
    let mut same = deployment();
    same["metadata"]["ownerReferences"] = json!([{"name": "x"}]);
    same["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    same["metadata"]["annotations"][SPEC_HASH] = json!("old");
    assert_eq!(prune(&same, None, &rules).unwrap().hash, hash);
}

#[test]
fn the_hash_does_not_depend_on_the_order_of_keys() {
    let one: Value = serde_json::from_str(r#"{"metadata":{},"a":{"x":1,"y":2}}"#).unwrap();
    let two: Value = serde_json::from_str(r#"{"a":{"y":2,"x":1},"metadata":{}}"#).unwrap();
    let hash = |value| prune(&value, None, &present(".b")).unwrap().hash;
    assert_eq!(hash(one), hash(two));
}

#[test]
fn elements_of_one_array_go_together_whatever_names_them() {
    let rules = [IgnoreField {
        json_paths: vec![".spec.template.spec.containers[0]".into()],
        json_pointers: vec![
            "/spec/template/spec/containers/1".into(),
            "/spec/nothing".into(),
        ],
        jq_path_expressions: vec![
            r#".spec.template.spec.containers[] | select(.name == "b").image"#.into(),
        ],
        ..IgnoreField::default()
    }];
    let pruned = prune(&deployment(), Some(&json!({})), &rules).unwrap();
    assert_eq!(
        pruned.manifest["spec"]["template"]["spec"]["containers"],
        json!([])
    );
}

#[test]
fn what_names_the_object_is_never_removed() {
    for pointer in [
        "",
        "/apiVersion",
        "/kind",
        "/metadata",
        "/metadata/name",
        "/metadata/namespace",
    ] {
        let rules = [IgnoreField {
            json_pointers: vec![pointer.into()],
            ..IgnoreField::default()
        }];
        let error = prune(&deployment(), None, &rules).unwrap_err();
        assert!(
            error.starts_with(&format!("JSON pointer `{pointer}` would remove")),
            "{error}"
        );
    }
    for path in ["..name", ".*"] {
        let error = prune(&deployment(), None, &present(path)).unwrap_err();
        assert!(error.contains("would remove"), "{error}");
    }
}

#[test]
fn errors_name_the_expression() {
    let error = prune(&deployment(), None, &present("spec")).unwrap_err();
    assert_eq!(error, "JSONPath `spec` must begin with a dot");
    let unknown = [IgnoreField {
        condition: "Sometimes".into(),
        ..IgnoreField::default()
    }];
    let error = prune(&deployment(), None, &unknown).unwrap_err();
    assert!(error.contains("`Sometimes`"), "{error}");
    let rules = [IgnoreField {
        jq_path_expressions: vec!["def f: f; f".into()],
        ..IgnoreField::default()
    }];
    let error = prune(&deployment(), None, &rules).unwrap_err();
    assert!(
        error.starts_with("jq expression `def f: f; f` holds `def`"),
        "{error}"
    );
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("metadata|annotations|spec|name|[a-c/~]{0,2}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    r"([./\[\]*~'a-c0-9:,-]|\.spec|\[\*\]|\.\.){0,12}"
}

proptest! {
    #[test]
    fn pruning_never_panics(
        manifest in json_value(),
        live in proptest::option::of(json_value()),
        path in path(),
        pointer in path(),
        expression in path(),
    ) {
        let rules = [IgnoreField {
            condition: String::new(),
            json_paths: vec![path],
            json_pointers: vec![pointer],
            jq_path_expressions: vec![expression],
        }];
        for one in [
            IgnoreField { json_pointers: vec![], jq_path_expressions: vec![], ..rules[0].clone() },
            IgnoreField { json_paths: vec![], jq_path_expressions: vec![], ..rules[0].clone() },
            IgnoreField { json_paths: vec![], json_pointers: vec![], ..rules[0].clone() },
        ] {
            if let Ok(pruned) = prune(&manifest, live.as_ref(), &[one]) {
                let annotated = &pruned.manifest["metadata"]["annotations"][SPEC_HASH];
                prop_assert_eq!(annotated.as_str(), pruned.hash.as_deref());
            }
        }
    }
}
