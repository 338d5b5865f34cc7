use proptest::prelude::*;

use super::*;
use crate::event::{decode, encode};
use crate::iot::limits::fits;

fn report() -> AgentReport {
    AgentReport {
        version: "1.4.0".into(),
        commit: "0123abc".into(),
        extensions: vec![AGENT_REPORTS.into()],
        started_at: Timestamp::UNIX_EPOCH,
        connected_at: Some(Timestamp::UNIX_EPOCH),
        certificate: Some(AgentCertificate {
            not_after: Timestamp::UNIX_EPOCH,
            serial: Some("0a".into()),
            subject: Some("CN=cluster1".into()),
        }),
        target: AgentTarget::Kubernetes,
        kubernetes_version: Some("v1.33.2".into()),
        works: HeldWorks::of([("b", Version::FIRST)]),
        refusals: vec![refusal("x", "it is old")],
        truncated: false,
    }
}

fn refusal(id: &str, message: &str) -> SpecRefusal {
    SpecRefusal {
        resource_id: id.into(),
        resource_version: Version::new(3),
        at: Timestamp::UNIX_EPOCH,
        reason: "old_version".into(),
        message: message.into(),
    }
}

fn sent(report: AgentReport) -> Event {
    let consumer = ConsumerName::new("cluster1").unwrap();
    report.event(
        "cluster1-work-agent",
        &consumer,
        "maestro",
        Timestamp::UNIX_EPOCH,
    )
}

#[test]
fn a_report_travels_as_its_document_says() {
    let event = sent(report());
    assert_eq!(
        event.kind.to_string(),
        "io.open-cluster-management.agents.v1.reports.status.update_request"
    );
    assert!(!event.kind.is_manifest_bundle() && is_report(&event));
    assert_eq!(event.resource_id, None);
    assert_eq!(event.original_source.as_deref(), Some("maestro"));
    insta::assert_snapshot!(
        String::from_utf8_lossy(event.data_bytes()),
        @r#"{"version":"1.4.0","commit":"0123abc","extensions":["agentreports"],"startedAt":"1970-01-01T00:00:00Z","connectedAt":"1970-01-01T00:00:00Z","certificate":{"notAfter":"1970-01-01T00:00:00Z","serial":"0a","subject":"CN=cluster1"},"target":"kubernetes","kubernetesVersion":"v1.33.2","works":{"count":1,"digest":"84e3b5fd22241b9059d673dce2c63810ec035e31cef57c25ef53cdd98f99f9f6"},"refusals":[{"resourceId":"x","resourceVersion":3,"at":"1970-01-01T00:00:00Z","reason":"old_version","message":"it is old"}],"truncated":false}"#
    );
    let received = decode(&encode(&event, "t")).unwrap();
    assert_eq!(AgentReport::read(&received).unwrap(), report());
}

#[test]
fn a_report_of_a_later_version_is_read_as_far_as_it_is_known() {
    let text = br#"{"startedAt":"2026-01-01T00:00:00Z","target":"moon","works":{"count":0,"digest":"","more":1},"new":{}}"#;
    let event = sent(report()).with_data(text.as_slice());
    let read = AgentReport::read(&event).unwrap();
    assert_eq!(
        (read.target, read.refusals.len()),
        (AgentTarget::Unknown, 0)
    );
    let error = AgentReport::read(&event.with_data("[]".as_bytes())).unwrap_err();
    assert_eq!(error.to_string(), "the report's data cannot be read");
}

#[test]
fn what_is_held_has_one_digest_whatever_its_order() {
    let (one, two) = (("a", Version::FIRST), ("b", Version::new(7).unwrap()));
    assert_eq!(HeldWorks::of([one, two]), HeldWorks::of([two, one]));
    let joined: String = Sha256::digest("a\t1\nb\t7\n")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(HeldWorks::of([two, one]).digest, joined);
    assert_eq!(
        HeldWorks::of([]).digest,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn the_newest_refusals_are_kept_and_the_rest_is_said_to_be_left_out() {
    let mut report = report();
    report.refusals = (0..MOST_REFUSALS + 1)
        .map(|number| refusal(&number.to_string(), "m"))
        .collect();
    let read = AgentReport::read(&sent(report)).unwrap();
    assert_eq!(read.refusals.len(), MOST_REFUSALS);
    assert_eq!(read.refusals[0].resource_id, "0");
    assert!(read.truncated);
}

proptest! {
    #[test]
    fn whatever_it_holds_a_report_fits_a_message_and_reads_the_same(
        text in prop::collection::vec(prop_oneof![Just('"'), Just('\0'), Just('\u{1f}'), Just('é'), any::<char>()], 0..3_000),
        count in 0..300_usize,
    ) {
        let text: String = text.into_iter().collect();
        let full = AgentReport {
            version: text.clone(),
            commit: text.clone(),
            extensions: vec![text.clone(); count],
            certificate: Some(AgentCertificate {
                not_after: Timestamp::MAX,
                serial: Some(text.clone()),
                subject: Some(text.clone()),
            }),
            kubernetes_version: Some(text.clone()),
            refusals: vec![refusal(&text, &text); count],
            ..report()
        };
        let event = sent(full);
        prop_assert_eq!(fits(&encode(&event, "maestro/consumers/cluster1/agentevents")), Ok(()));
        let read = AgentReport::read(&event).unwrap();
        prop_assert_eq!(read.clone().into_data(), event.data.unwrap());
        prop_assert_eq!(read.clone().bounded(), read);
    }
}

#[test]
fn times_that_no_calendar_of_the_internet_knows_are_brought_into_it() {
    let report = AgentReport {
        started_at: Timestamp::MIN,
        connected_at: Some(Timestamp::MIN),
        certificate: Some(AgentCertificate {
            not_after: Timestamp::MAX,
            serial: None,
            subject: None,
        }),
        refusals: vec![SpecRefusal {
            at: Timestamp::MIN,
            ..refusal("x", "m")
        }],
        ..report()
    };
    let read = report.bounded();
    assert_eq!(read.started_at, Timestamp::UNIX_EPOCH);
    assert_eq!(read.connected_at, Some(Timestamp::UNIX_EPOCH));
    assert_eq!(read.refusals[0].at, Timestamp::UNIX_EPOCH);
    let end = read.certificate.unwrap().not_after;
    assert_eq!(end.to_string(), "9999-01-01T00:00:00Z");
    assert!(!read.truncated);
}
