use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;

use super::*;

// Merges two objects of a kind whose other fields are given, and leaves out what all have in common.
fn merged(api_version: &str, kind: &str, required: &Value, live: &Value) -> Value {
    let whole = |part: &Value| {
        let mut object = part.clone();
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        object
    };
    let (required, live) = (whole(required), whole(live));
    let mut once = merge(&required, &live);
    assert_eq!(merge(&required, &once), once, "{kind}");
    let fields = once.as_object_mut().unwrap();
    fields.retain(|name, _| !["apiVersion", "kind"].contains(&name.as_str()));
    if fields["metadata"] == json!({}) {
        fields.remove("metadata");
    }
    once
}

#[test]
fn metadata_is_merged_and_keys_with_a_dash_go() {
    let required = json!({"metadata": {
        "name": "x", "labels": {"a": "new", "b-": "", "d": "1"}, "annotations": {"gone-": ""},
        "finalizers": ["mine"], "resourceVersion": "1", "ownerReferences": [],
    }});
    let live = json!({"metadata": {
        "name": "x", "labels": {"a": "old", "b": "1", "c": "2"}, "resourceVersion": "7", "uid": "u",
        "finalizers": ["theirs"], "ownerReferences": [{"uid": "o"}],
    }});
    assert_eq!(
        merged("v1", "Any", &required, &live),
        json!({"metadata": {
            "name": "x", "labels": {"a": "new", "c": "2", "d": "1"}, "annotations": {}, "resourceVersion": "7",
            "uid": "u", "finalizers": ["theirs"], "ownerReferences": [{"uid": "o"}],
        }})
    );
}

#[test]
fn fields_at_the_top_are_replaced_and_status_stays() {
    let required = json!({"spec": {"a": 1}, "status": {"x": 1}});
    let live = json!({"spec": {"a": 0, "b": 2}, "status": {"x": 0}, "other": true});
    assert_eq!(
        merged("example.com/v1", "Thing", &required, &live),
        json!({"spec": {"a": 1}, "status": {"x": 0}, "other": true})
    );
}

#[test]
fn data_and_rights_that_are_not_mentioned_go() {
    let rbac = "rbac.authorization.k8s.io/v1";
    for (api_version, kind, required, live, expected) in [
        (
            "v1",
            "ConfigMap",
            json!({"binaryData": {"b": ""}}),
            json!({"data": {"a": ""}, "immutable": true}),
            json!({"binaryData": {"b": ""}, "immutable": true}),
        ),
        (
            "v1",
            "Secret",
            json!({}),
            json!({"data": {"a": ""}, "type": "Opaque"}),
            json!({"type": "Opaque"}),
        ),
        (
            rbac,
            "ClusterRole",
            json!({}),
            json!({"rules": [1]}),
            json!({}),
        ),
        (
            rbac,
            "ClusterRole",
            json!({"aggregationRule": {}}),
            json!({"rules": [1]}),
            json!({"aggregationRule": {}, "rules": [1]}),
        ),
        (
            rbac,
            "RoleBinding",
            json!({"roleRef": 1}),
            json!({"subjects": [1], "roleRef": 1}),
            json!({"roleRef": 1}),
        ),
    ] {
        assert_eq!(
            merged(api_version, kind, &required, &live),
            expected,
            "{kind}"
        );
    }
}

#[test]
fn what_servers_filled_in_is_carried_over() {
    for (api_version, kind, required, live, expected) in [
        // Addresses and ports of a service.
        (
            "v1",
            "Service",
            json!({"type": "NodePort", "clusterIP": "", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 9, "nodePort": 9}]}),
            json!({"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "TCP", "nodePort": 30053}, {"port": 9, "nodePort": 8}]}),
            json!({"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}, {"port": 9, "nodePort": 9}]}),
        ),
        (
            "v1",
            "Service",
            json!({"clusterIP": "None"}),
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}),
            json!({"clusterIP": "None"}),
        ),
        (
            "v1",
            "Service",
            json!({"type": "ExternalName", "externalName": "x"}),
            json!({"clusterIP": "10.0.0.1"}),
            json!({"type": "ExternalName", "externalName": "x"}),
        ),
        (
            "v1",
            "Service",
            json!({"type": "ClusterIP", "ports": [{"port": 80}]}),
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 1}]}),
            json!({"type": "ClusterIP", "ports": [{"port": 80}]}),
        ),
        (
            "v1",
            "Service",
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
            json!({"healthCheckNodePort": 31000}),
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000}),
        ),
        // Volumes and claims.
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"resources": {"requests": {"storage": "2Gi"}}}),
            json!({"volumeName": "pv", "storageClassName": "fast", "volumeMode": "Filesystem", "resources": {"requests": {"storage": "1Gi"}}}),
            json!({"volumeName": "pv", "storageClassName": "fast", "volumeMode": "Filesystem", "resources": {"requests": {"storage": "2Gi"}}}),
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"claimRef": {"name": "c", "namespace": "n"}}),
            json!({"claimRef": {"name": "c", "namespace": "n", "uid": "u"}}),
            json!({"claimRef": {"name": "c", "namespace": "n", "uid": "u"}}),
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"claimRef": {"name": "d", "namespace": "n"}}),
            json!({"claimRef": {"name": "c", "namespace": "n", "uid": "u"}}),
            json!({"claimRef": {"name": "d", "namespace": "n"}}),
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"capacity": 1}),
            json!({"claimRef": {"uid": "u"}}),
            json!({"capacity": 1, "claimRef": {"uid": "u"}}),
        ),
        (
            "v1",
            "Namespace",
            json!({}),
            json!({"finalizers": ["kubernetes"]}),
            json!({"finalizers": ["kubernetes"]}),
        ),
        // Workloads.
        (
            "batch/v1",
            "Job",
            json!({"template": {"metadata": {"labels": {"app": "x"}}, "spec": 1}}),
            json!({"selector": {"uid": 1}, "template": {"metadata": {"labels": {"app": "x", "controller-uid": "u"}}, "spec": 0}}),
            json!({"selector": {"uid": 1}, "template": {"metadata": {"labels": {"app": "x", "controller-uid": "u"}}, "spec": 1}}),
        ),
        (
            "batch/v1",
            "Job",
            json!({"manualSelector": true}),
            json!({"selector": 1}),
            json!({"manualSelector": true}),
        ),
        (
            "apps/v1",
            "Deployment",
            json!({"paused": true}),
            json!({"replicas": 7}),
            json!({"paused": true, "replicas": 7}),
        ),
        (
            "apps/v1",
            "Deployment",
            json!({"replicas": 2}),
            json!({"replicas": 7}),
            json!({"replicas": 2}),
        ),
        (
            "v1",
            "Pod",
            json!({"containers": [{"name": "new"}, {"name": "a", "image": "2", "volumeMounts": [{"mountPath": "/b"}]}], "tolerations": [{"key": "own"}]}),
            json!({"nodeName": "n", "serviceAccountName": "default", "volumes": [{"name": "token"}], "tolerations": [{"key": "not-ready"}],
                "containers": [{"name": "a", "image": "1", "imagePullPolicy": "Always", "volumeMounts": [{"mountPath": "/token"}]}]}),
            json!({"nodeName": "n", "serviceAccountName": "default", "volumes": [{"name": "token"}], "tolerations": [{"key": "own"}, {"key": "not-ready"}],
                "containers": [{"name": "a", "image": "2", "imagePullPolicy": "Always", "volumeMounts": [{"mountPath": "/token"}, {"mountPath": "/b"}]}, {"name": "new"}]}),
        ),
        // Certificates that somebody injects.
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "u"}}}}),
            json!({"conversion": {"webhook": {"clientConfig": {"caBundle": "ca"}}}}),
            json!({"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "u", "caBundle": "ca"}}}}),
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({"conversion": {"strategy": "None"}}),
            json!({"conversion": {"webhook": {"clientConfig": {"caBundle": "ca"}}}}),
            json!({"conversion": {"strategy": "None"}}),
        ),
        (
            "apiregistration.k8s.io/v1",
            "APIService",
            json!({"group": "g"}),
            json!({"caBundle": "ca"}),
            json!({"group": "g", "caBundle": "ca"}),
        ),
        (
            "apiregistration.k8s.io/v1",
            "APIService",
            json!({"insecureSkipTLSVerify": true}),
            json!({"caBundle": "ca"}),
            json!({"insecureSkipTLSVerify": true}),
        ),
    ] {
        let (required, live) = (json!({"spec": required}), json!({"spec": live}));
        assert_eq!(
            merged(api_version, kind, &required, &live),
            json!({"spec": expected}),
            "{kind}"
        );
    }
}

#[test]
fn webhooks_keep_their_certificates() {
    let required = json!({"webhooks": [{"name": "b", "clientConfig": {}}, {"name": "a", "clientConfig": {"caBundle": "own"}}]});
    let live = json!({"webhooks": [{"name": "a", "clientConfig": {"caBundle": "1"}}, {"name": "b", "clientConfig": {"caBundle": "2"}}]});
    for kind in [
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ] {
        assert_eq!(
            merged("admissionregistration.k8s.io/v1", kind, &required, &live),
            json!({"webhooks": [{"name": "b", "clientConfig": {"caBundle": "2"}}, {"name": "a", "clientConfig": {"caBundle": "own"}}]})
        );
    }
}

#[test]
fn dropped_keys_of_secrets_go_and_tokens_are_kept() {
    for (required, live, expected) in [
        (
            json!({"data": {"a": "eA==", "b": "eQ=="}}),
            json!({"data": {"c": "eg=="}, "type": "Opaque"}),
            json!({"data": {"a": "eA==", "b": "eQ=="}, "type": "Opaque"}),
        ),
        (
            json!({"type": "kubernetes.io/service-account-token"}),
            json!({"data": {"token": "dA=="}}),
            json!({"type": "kubernetes.io/service-account-token", "data": {"token": "dA=="}}),
        ),
    ] {
        assert_eq!(merged("v1", "Secret", &required, &live), expected);
    }
}

#[test]
fn service_accounts_keep_their_secrets() {
    let live = json!({"secrets": [{"name": "token"}], "imagePullSecrets": [{"name": "pull"}]});
    assert_eq!(merged("v1", "ServiceAccount", &json!({}), &live), live);
}

#[test]
fn bookkeeping_of_the_server_is_no_change() {
    let before =
        json!({"metadata": {"name": "x", "resourceVersion": "1", "generation": 1}, "spec": 1});
    let after = json!({"metadata": {"name": "x", "resourceVersion": "2", "generation": 2, "managedFields": []}, "spec": 1});
    assert!(!changed(&before, &after));
    assert!(changed(
        &before,
        &json!({"metadata": {"name": "x"}, "spec": 2})
    ));
    assert!(changed(
        &before,
        &json!({"metadata": {"name": "x", "labels": {}}, "spec": 1})
    ));
}

const KINDS: &[(&str, &str)] = &[
    ("v1", "Service"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "PersistentVolume"),
    ("v1", "Namespace"),
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("apiregistration.k8s.io/v1", "APIService"),
    (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
    ),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("example.com/v1", "Thing"),
];

// Objects of names that the merge looks at, so that its cases are met.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        (0..3).prop_map(Value::from),
        "[ab]?".prop_map(Value::from),
        prop_oneof![
            Just("NodePort"),
            Just("LoadBalancer"),
            Just("Local"),
            Just("ExternalName")
        ]
        .prop_map(Value::from),
    ];
    let names = "spec|metadata|labels|annotations|a|a-|a--|name|type|ports|port|nodePort|clusterIP|clusterIPs|claimRef|\
        containers|volumes|volumeMounts|mountPath|tolerations|data|stringData|rules|webhooks|clientConfig|caBundle|\
        conversion|webhook|selector|template|manualSelector|externalTrafficPolicy|status";
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(names, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    let field = || prop_oneof![3 => json_value(), 1 => Just(json!({}))];
    (field(), field(), json_value()).prop_map(|(metadata, spec, other)| {
        let mut object = match other {
            Value::Object(fields) => fields,
            other => [("data".to_owned(), other)].into_iter().collect(),
        };
        object.insert("metadata".into(), metadata);
        object.insert("spec".into(), spec);
        Value::Object(object)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn merging_again_changes_nothing(
        (api_version, kind) in proptest::sample::select(KINDS),
        mut required in object(),
        mut live in object(),
    ) {
        for object in [&mut required, &mut live] {
            object["apiVersion"] = json!(api_version);
            object["kind"] = json!(kind);
        }
        let once = merge(&required, &live);
        prop_assert_eq!(merge(&required, &once), once);
    }

    #[test]
    fn merging_anything_never_panics(required in json_value(), live in json_value()) {
        let _ = merge(&required, &live);
        let _ = changed(&required, &live);
    }
}
