use aws_sdk_eks::types::{AddonHealth, AddonIssue, AddonIssueCode};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::json;

use super::super::compare;

use super::*;

fn addon() -> Addon {
    Addon {
        scope: Scope::Region,
        name: "aws-secrets-store-csi-driver-provider".into(),
        tags: Tags::new("r1", &BTreeMap::new()),
        cluster: "eks-1".into(),
        configuration: json!({
            "secrets-store-csi-driver": { "enableSecretRotation": true, "syncSecret": { "enabled": false } },
        }),
    }
}

fn live(configuration: &str, mark: Option<&str>) -> Live {
    let live = Live::builder()
        .addon_arn("arn:aws:eks:eu-west-1:111122223333:addon/eks-1/a/b")
        .status(AddonStatus::Active)
        .configuration_values(configuration);
    match mark {
        Some(region) => live.tags("provisioner:region", region).build(),
        None => live.tags("team", "cluster").build(),
    }
}

fn differences(addon: &Addon, live: &Live) -> Vec<Difference> {
    let wanted = addon.wanted(&Cloud::default(), &Facts::default());
    let observed = addon.observed(live);
    assert!(wanted.keys().eq(observed.attributes.keys()));
    compare(&wanted, &observed.attributes).0
}

#[test]
fn settings_of_others_are_no_difference() {
    let json = r#"{"secrets-store-csi-driver":{"enableSecretRotation":true,
        "syncSecret":{"enabled":false},"linux":{"x":1}},"tolerations":[]}"#;
    assert_eq!(differences(&addon(), &live(json, Some("r1"))), []);
    let yaml = "secrets-store-csi-driver:\n  enableSecretRotation: true\n  syncSecret:\n    enabled: false\n";
    assert_eq!(differences(&addon(), &live(yaml, Some("r1"))), []);
}

#[test]
fn a_setting_that_does_not_hold_is_a_difference_and_is_merged() {
    let before = r#"{"secrets-store-csi-driver":{"syncSecret":{"enabled":true,"x":1}},"other":2}"#;
    let found = differences(&addon(), &live(before, Some("r1")));
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].have,
        json!({ "secrets-store-csi-driver": { "syncSecret": { "enabled": true } } })
    );
    let merged = settings::merged(settings::parse(Some(before)), &addon().configuration);
    assert_eq!(
        merged,
        json!({
            "secrets-store-csi-driver": {
                "enableSecretRotation": true, "syncSecret": { "enabled": false, "x": 1 },
            },
            "other": 2,
        })
    );
}

#[test]
fn no_settings_are_no_text() {
    assert_eq!(settings::text(&json!({})), None);
    let mut plain = addon();
    plain.configuration = json!({});
    assert_eq!(differences(&plain, &live("", Some("r1"))), []);
}

#[test]
fn one_without_our_mark_is_shared_and_not_marked() {
    let json = addon().configuration.to_string();
    for mark in [None, Some("r2")] {
        let live = live(&json, mark);
        assert_eq!(addon().observed(&live).owner, Owner::Shared);
        assert_ne!(addon().mark(&live).0, Owner::Ours);
        assert_eq!(differences(&addon(), &live), []);
    }
}

#[test]
fn a_broken_one_says_what_eks_says() {
    let issue = AddonIssue::builder()
        .code(AddonIssueCode::ConfigurationConflict)
        .message("conflicts with serviceaccounts csi-secrets-store")
        .build();
    let health = AddonHealth::builder().issues(issue).build();
    let live = Live::builder()
        .status(AddonStatus::CreateFailed)
        .health(health)
        .build();
    let State::Broken { why, .. } = addon().state(&live) else {
        panic!("it is not broken")
    };
    assert_eq!(
        why,
        "CREATE_FAILED: ConfigurationConflict conflicts with serviceaccounts csi-secrets-store"
    );
}

#[test]
fn one_that_is_being_changed_settles() {
    for status in [
        AddonStatus::Creating,
        AddonStatus::Updating,
        AddonStatus::Deleting,
    ] {
        let live = Live::builder().status(status).build();
        assert!(matches!(addon().state(&live), State::Settling(_)));
    }
}

fn settings() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from)];
    let leaf = prop_oneof![leaf, Just(Value::Object(serde_json::Map::new()))];
    leaf.prop_recursive(3, 20, 3, |inner| {
        proptest::collection::hash_map("[a-c]", inner, 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn what_is_merged_holds_and_merging_again_changes_nothing(live in settings(), ours in settings()) {
        let merged = settings::merged(live, &ours);
        assert_eq!(settings::projected(&merged, &ours), ours);
        assert_eq!(settings::merged(merged.clone(), &ours), merged);
    }
}
