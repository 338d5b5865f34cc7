//! Each rule is named, with its path, and all of them at once.

use serde_json::json;

use super::*;

fn check(draft: Draft) -> Result<(Option<Json>, Content), Invalid> {
    let envelope = Envelope {
        source: link::id::SourceId::new("maestro").unwrap(),
        scheme: link::topic::Scheme::default(),
    };
    let consumer = link::id::ConsumerName::new("cluster1").unwrap();
    let to = Addressed {
        envelope: &envelope,
        consumer: &consumer,
        id: "b1",
        origin: None,
    };
    draft.check(&BundleLimits::default(), &to)
}

fn refused(draft: Draft) -> String {
    check(draft).unwrap_err().to_string()
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
            "resourceIdentifier": {"group": "", "resource": "configmaps", "name": "a*", "namespace": "default"},
            "feedbackRules": [{"type": "WellKnownStatus"}],
            "updateStrategy": {"type": "ServerSideApply"},
        }])),
        delete_option: Some(json!({"propagationPolicy": "Orphan"})),
        executer: Some(
            json!({"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "b"}}}),
        ),
        stored: None,
    };
    assert!(check(draft).is_ok());
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
    insta::assert_snapshot!(refused(draft), @"manifests[0].apiVersion: is required; manifests[1].metadata.name: is required; manifests[1].metadata.generateName: must not be set; manifests[2].metadata.namespace: `Bad` may hold only lower-case letters, digits and `-`; manifests[2].metadata.labels: name `a b` may hold only letters, digits and `-_.`; manifests[2].metadata.labels[a b]: must be a string, not a number; manifests[4]: declares v1 ConfigMap default/twice again, which manifests[3] already does; manifests[5]: must be a Kubernetes object, not a number");
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
    let overhead = check(draft([0, 0])).unwrap().1.payload_len();
    assert!(check(draft([131_072 - overhead, 0])).is_ok());
    assert!(check(draft([131_072 - overhead + 1, 0])).is_err());
}

#[test]
fn api_version_and_kind_must_be_there_be_text_and_be_names_that_kubernetes_has() {
    let problem = |api_version: Value, kind: Value| {
        let manifest = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}});
        let draft = Draft {
            manifests: Some(json!([manifest])),
            ..Draft::default()
        };
        check(draft).err().map(|error| error.to_string())
    };
    let long = "a".repeat(63);
    for (api_version, kind) in [
        ("v1", "ConfigMap"),
        ("apps/v1", "Deployment"),
        ("example.com/v1beta1", "my-Kind"),
        (&long, &long),
    ] {
        assert_eq!(problem(json!(api_version), json!(kind)), None);
    }
    let mut messages = Vec::new();
    for (api_version, kind) in [
        (Value::Null, json!("A")),
        (json!(1), json!(["A"])),
        (json!("apps/"), json!("A")),
        (json!("/v1"), json!("A")),
        (json!("../../v1/x"), json!("A")),
        (json!("v1"), json!("../A")),
        (json!("v1"), json!("1A")),
        (json!("v1"), json!("A b")),
    ] {
        messages.push(problem(api_version, kind).unwrap());
    }
    insta::assert_snapshot!(messages.join("\n"), @r"
manifests[0].apiVersion: is required
manifests[0].apiVersion: must be a string, not a number; manifests[0].kind: must be a string, not an array
manifests[0].apiVersion: `apps/` must be `VERSION` or `GROUP/VERSION`, such as `v1` or `apps/v1`
manifests[0].apiVersion: `/v1` must have a DNS name before its `/`
manifests[0].apiVersion: `../../v1/x` must have a DNS name before its `/`
manifests[0].kind: `../A` must be a name such as `ConfigMap`: a letter, then letters, digits and `-`, at most 63
manifests[0].kind: `1A` must be a name such as `ConfigMap`: a letter, then letters, digits and `-`, at most 63
manifests[0].kind: `A b` must be a name such as `ConfigMap`: a letter, then letters, digits and `-`, at most 63
");
    let longer = json!(format!("{long}a"));
    let both = problem(longer.clone(), longer).unwrap();
    assert!(
        both.contains("].apiVersion: `aaaa") && both.contains("].kind: `aaaa"),
        "{both}"
    );
}

#[test]
fn what_an_agent_would_refuse_is_refused_with_the_field() {
    let twice = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}},
        {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "a"}},
    ]);
    let mut messages = Vec::new();
    for draft in [
        Draft {
            manifests: Some(twice),
            ..Draft::default()
        },
        Draft {
            manifests: Some(json!([config_map("a b")])),
            ..Draft::default()
        },
        Draft {
            manifests: Some(json!([config_map("a")])),
            manifest_configs: Some(json!([{
                "resourceIdentifier": {"resource": "configmaps", "name": "a", "namespace": "default"},
                "feedbackScrapeType": "Push",
                "updateStrategy": {"type": "ServerSideApply"},
            }])),
            ..Draft::default()
        },
        Draft {
            manifests: Some(json!([config_map("a")])),
            manifest_configs: Some(json!([{
                "resourceIdentifier": {"resource": "configmaps", "name": "a", "namespace": "default"},
                "updateStrategy": "ServerSideApply",
            }])),
            ..Draft::default()
        },
    ] {
        messages.push(refused(draft));
    }
    let unreadable = messages.pop().unwrap();
    assert!(
        unreadable.starts_with("manifest_configs: an agent cannot read it: invalid type: string"),
        "{unreadable}"
    );
    insta::assert_snapshot!(messages.join("\n"), @r"
manifests[1]: declares apps/v1beta1 Deployment a again, which manifests[0] already does as apps/v1 Deployment a
manifests[0].metadata.name: `a b` holds white space or a control character
manifest_configs[0].feedbackScrapeType: is `Push`; it may be Poll, Watch
");
}
