use region_file::tags::Tags;

use super::*;

fn party() -> IdentitySpec {
    IdentitySpec {
        key_scope: Scope::Cluster("management-01".parse().unwrap()),
        secret: "maestro/agent-cert".into(),
        tags: Tags::new("base", &BTreeMap::new()),
        description: "identity of the agent".into(),
        kms_key: None,
        recovery_days: 0,
        subject: "management-01-maestro-agent".into(),
        policy: "management-01-maestro-agent-policy".into(),
        thing: Some("management-01-maestro-agent".into()),
        client_ids: vec!["management-01-work-agent-client".into()],
        in_use: 1,
        ca: "roots\n".into(),
    }
}

fn difference(attribute: &str, have: Value) -> Difference {
    Difference {
        attribute: attribute.into(),
        have,
        want: json!(ACTIVE),
    }
}

#[test]
fn a_certificate_that_somebody_revoked_is_not_replaced_by_apply() {
    for status in ["REVOKED", "INACTIVE", UNKNOWN] {
        let change = party().change(&difference(CERTIFICATE, json!(status)));
        let Change::Impossible { hint, .. } = change else {
            panic!("{status} is replaced");
        };
        assert!(
            hint.contains("`provisioner enroll management-01`"),
            "{hint}"
        );
    }
    let first = difference(CERTIFICATE, Value::Null);
    assert_eq!(party().change(&first), Change::Quiet);
}

#[test]
fn nothing_is_wanted_of_an_account_out_of_reach() {
    assert!(
        party()
            .wanted(&Cloud::default(), &Facts::default())
            .is_empty()
    );
}

#[test]
fn roots_that_differ_only_at_their_end_are_the_same() {
    assert_eq!(fingerprint("roots"), fingerprint("roots\n"));
    assert_ne!(fingerprint("roots"), fingerprint("other"));
}
