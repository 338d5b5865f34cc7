use serde_json::json;

use super::*;
use crate::applier::Strategy;

fn by_text(object: &ObjectRef) -> ObjectIdentity {
    ObjectIdentity::of(object.clone(), object.plural_guess())
}

#[test]
fn manifests_are_applied_by_rank_and_keep_their_ordinal() {
    let manifest = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    let spec = Spec {
        manifests: vec![
            manifest("Widget", "w"),
            manifest("Deployment", "d"),
            manifest("ConfigMap", "b"),
            manifest("ConfigMap", "a"),
            manifest("Namespace", "n"),
        ],
        ..Spec::default()
    };
    let order: Vec<(usize, String)> = plan(spec, by_text)
        .into_iter()
        .map(|planned| (planned.ordinal, planned.object.name))
        .collect();
    let order: Vec<(usize, &str)> = order.iter().map(|(o, n)| (*o, n.as_str())).collect();
    assert_eq!(order, [(4, "n"), (2, "b"), (3, "a"), (1, "d"), (0, "w")]);
}

#[test]
fn the_first_matching_configuration_that_sets_a_field_wins() {
    let spec: Spec = serde_json::from_value(json!({
        "manifests": [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "d"}}],
        "manifestConfigs": [
            {"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "other", "namespace": "d"}, "updateStrategy": {"type": "ReadOnly"}},
            {"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "w*", "namespace": "*"}, "feedbackRules": [{"type": "WellKnownStatus"}]},
            {"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "web", "namespace": "d"}, "updateStrategy": {"type": "CreateOnly"}, "feedbackRules": [{"type": "JSONPaths"}]}
        ]
    }))
    .unwrap();
    let planned = plan(spec, by_text).remove(0);
    assert_eq!(planned.strategy, Strategy::CreateOnly);
    assert_eq!(planned.feedback[0].kind, "WellKnownStatus");
}

#[test]
fn a_kind_that_the_spec_itself_defines_goes_by_its_plural() {
    let spec: Spec = serde_json::from_value(json!({
        "manifests": [
            {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "w"},
             "spec": {"group": "example.com", "names": {"kind": "Widget", "plural": "widgeten"}}},
            {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "d"}}
        ],
        "manifestConfigs": [
            {"resourceIdentifier": {"group": "example.com", "resource": "widgeten", "name": "w", "namespace": "d"}, "updateStrategy": {"type": "ReadOnly"}}
        ]
    }))
    .unwrap();
    let planned = plan(spec, by_text).remove(1);
    assert_eq!(
        (planned.resource.as_str(), planned.strategy),
        ("widgeten", Strategy::ReadOnly)
    );
}

fn manifest(api_version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}})
}

/// A cluster in which a Namespace has no namespace, a ConfigMap has one, and other kinds are not known.
fn by_server(object: &ObjectRef) -> ObjectIdentity {
    let mut identity = by_text(object);
    match object.kind.as_str() {
        "Namespace" => {
            identity.object.namespace.clear();
            identity.key = Some(key(&identity.object));
        }
        "ConfigMap" if !object.namespace.is_empty() => {}
        _ => identity.key = None,
    }
    identity
}

fn planned(manifests: Vec<Value>) -> Vec<PlannedManifest> {
    let spec = Spec {
        manifests,
        ..Spec::default()
    };
    plan(spec, by_server)
}

#[test]
fn the_second_manifest_of_one_object_is_refused_and_names_both() {
    let plan = planned(vec![
        manifest("v1", "ConfigMap", "d", "a"),
        manifest("v1", "Namespace", "stray", "a"),
        manifest("v1", "Namespace", "", "a"),
    ]);
    let refused: Vec<String> = plan
        .iter()
        .filter_map(|planned| Some(planned.refused.as_ref()?.to_string()))
        .collect();
    assert_eq!(
        refused,
        [
            "manifests[2] (v1 Namespace a) declares the object that manifests[1] (v1 Namespace stray/a) declares; \
          hint: leave one of the two out"
        ]
    );
    let claims: Vec<ObjectRef> = plan
        .iter()
        .filter_map(|planned| Some(planned.claim()?.object))
        .collect();
    let claims: Vec<String> = claims.iter().map(ToString::to_string).collect();
    assert_eq!(claims, ["Namespace a", "ConfigMap d/a"]);
}

#[test]
fn nothing_is_claimed_for_what_has_no_place() {
    let plan = planned(vec![
        manifest("v1", "ConfigMap", "", "a"),
        manifest("example.com/v1", "Widget", "d", "a"),
    ]);
    assert!(plan.iter().all(|planned| planned.claim().is_none()));
}

#[test]
fn the_scope_of_a_kind_that_the_spec_itself_defines_counts() {
    let definition = |kind: &str, scope: &str| {
        let plural = format!("{}s", kind.to_lowercase());
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "w"},
            "spec": {"group": "example.com", "scope": scope, "names": {"kind": kind, "plural": plural}}})
    };
    let plan = planned(vec![
        definition("Widget", "Cluster"),
        definition("Gadget", "Namespaced"),
        manifest("example.com/v1", "Widget", "stray", "w"),
        manifest("example.com/v1", "Gadget", "d", "g"),
        manifest("example.com/v1", "Gadget", "", "homeless"),
    ]);
    let claims = plan
        .iter()
        .filter_map(|planned| Some(planned.claim()?.object));
    let claims: Vec<String> = claims.map(|object| object.to_string()).collect();
    assert_eq!(claims, ["Widget w", "Gadget d/g"]);
}

#[test]
fn settings_for_an_object_without_a_namespace_fit_whatever_namespace_they_name() {
    let spec: Spec = serde_json::from_value(json!({
        "manifests": [manifest("v1", "Namespace", "stray", "a")],
        "manifestConfigs": [{
            "resourceIdentifier": {"resource": "namespaces", "name": "a", "namespace": "stray"},
            "updateStrategy": {"type": "ReadOnly"}}]
    }))
    .unwrap();
    assert_eq!(plan(spec, by_server)[0].strategy, Strategy::ReadOnly);
    let option: DeleteOption = serde_json::from_value(json!({
        "propagationPolicy": "SelectivelyOrphan",
        "selectivelyOrphans": {"orphaningRules": [{"resource": "namespaces", "name": "a", "namespace": "stray"}]}
    }))
    .unwrap();
    let namespace = by_server(&ObjectRef::of(&manifest("v1", "Namespace", "", "a"))).object;
    assert_eq!(
        release_mode(Some(&option), &namespace, "namespaces"),
        Release::Orphan
    );
}

#[test]
fn what_may_be_declared_is_not_removed() {
    let held = |kind: &str, namespace: &str, name: &str| {
        HeldObject::from(&ObjectRef::of(&manifest("v1", kind, namespace, name)))
    };
    let spec: Spec = serde_json::from_value(json!({
        "manifests": [
            manifest("v1", "ConfigMap", "", "moves"),
            manifest("v1", "ConfigMap", "d", "watched"),
        ],
        "manifestConfigs": [{
            "resourceIdentifier": {"resource": "configmaps", "name": "watched", "namespace": "d"},
            "updateStrategy": {"type": "ReadOnly"}}]
    }))
    .unwrap();
    let stale = vec![
        held("ConfigMap", "d", "moves"),
        held("ConfigMap", "d", "watched"),
        held("ConfigMap", "d", "dropped"),
    ];
    let given_up = given_up(
        &plan(spec, by_server),
        stale,
        |_| Release::Remove,
        by_server,
    );
    let given_up: Vec<(&str, Release)> = given_up
        .iter()
        .map(|(held, mode)| (held.name.as_str(), *mode))
        .collect();
    assert_eq!(
        given_up,
        [("watched", Release::Orphan), ("dropped", Release::Remove)]
    );
}
