use jiff::Timestamp;
use link::event::Kind;
use serde_json::json;

use super::*;

fn rules() -> Rules {
    Rules {
        consumer: consumer("cluster1"),
        sources: None,
    }
}

fn consumer(name: &str) -> ConsumerName {
    ConsumerName::new(name).unwrap()
}

fn payload(value: &str) -> Vec<u8> {
    json!({"manifests": [{"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "d"}, "data": {"v": value}}]})
    .to_string()
    .into_bytes()
}

fn upsert_event(version: i64, value: &str) -> Event {
    let kind = Kind::spec(Action::Update);
    Event::new(
        "maestro",
        kind,
        &consumer("cluster1"),
        Timestamp::UNIX_EPOCH,
    )
    .about("w", Version::new(version).unwrap())
    .with_data(payload(value))
}

fn deletion() -> Event {
    let mut event = upsert_event(1, "a");
    event.kind = Kind::spec(Action::Delete);
    event.deletion_timestamp = Some(Timestamp::UNIX_EPOCH);
    event.data = None;
    event
}

fn held(version: i64, value: &str) -> Entry {
    Entry {
        version: Version::new(version).unwrap(),
        source: "maestro".into(),
        deleting: false,
        content: sha256_hex(&payload(value)).into(),
        status_hash: None,
        status_version: Version::UNVERSIONED,
        acknowledged: false,
        dropped: false,
        paused: None,
        created: None,
        refused_while_deleting: false,
        epoch: 1,
    }
}

fn on(event: &Event, entry: Option<Entry>) -> Decision {
    decide(
        event,
        Some(&consumer("cluster1")),
        &rules(),
        |_| entry,
        |_| false,
    )
}

fn taken(decision: &Decision) -> Option<Taken> {
    match decision {
        Decision::Store { taken, .. } => Some(*taken),
        _ => None,
    }
}

fn refusal(decision: &Decision) -> (RefusalReason, &str) {
    match decision {
        Decision::Refuse(refused) => (refused.reason, &refused.explanation),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_new_and_a_newer_version_are_taken() {
    assert_eq!(taken(&on(&upsert_event(1, "a"), None)), Some(Taken::New));
    assert_eq!(
        taken(&on(&upsert_event(3, "b"), Some(held(2, "a")))),
        Some(Taken::Changed)
    );
}

#[test]
fn an_older_version_is_refused_and_explained() {
    let decision = on(&upsert_event(2, "a"), Some(held(3, "b")));
    assert_eq!(
        refusal(&decision),
        (
            RefusalReason::OldVersion,
            "version 2 is older than version 3 held"
        )
    );
}

#[test]
fn a_repeated_version_has_no_effect_unless_its_content_differs() {
    let repeated = on(&upsert_event(2, "a"), Some(held(2, "a")));
    assert_eq!(repeated, Decision::Duplicate);
    let other = on(&upsert_event(2, "b"), Some(held(2, "a")));
    assert_eq!(taken(&other), Some(Taken::Changed));
    let unversioned = on(&upsert_event(0, "b"), Some(held(9, "a")));
    assert_eq!(taken(&unversioned), Some(Taken::Changed));
}

#[test]
fn an_event_for_another_consumer_is_refused_whether_topic_or_attribute_says_so() {
    let event = upsert_event(1, "a");
    let other = consumer("cluster2");
    for (topic, part) in [(Some(&other), "consumer `cluster2`"), (None, "no consumer")] {
        let decision = decide(&event, topic, &rules(), |_| None, |_| false);
        let (reason, explanation) = refusal(&decision);
        assert_eq!(reason, RefusalReason::ForeignTopic);
        assert!(explanation.contains(part), "{explanation}");
    }
    for name in [Some("cluster2".to_string()), Some(String::new()), None] {
        let mut event = upsert_event(1, "a");
        event.cluster_name = name;
        assert_eq!(refusal(&on(&event, None)).0, RefusalReason::ForeignConsumer);
    }
}

#[test]
fn a_source_that_is_not_on_the_list_is_refused() {
    let rules = Rules {
        sources: Some(["region-a".to_string()].into()),
        ..rules()
    };
    let decision = decide(
        &upsert_event(1, "a"),
        Some(&consumer("cluster1")),
        &rules,
        |_| None,
        |_| false,
    );
    assert_eq!(
        refusal(&decision),
        (
            RefusalReason::ForeignSource,
            "source `maestro` is not among the allowed sources"
        )
    );
}

#[test]
fn foreign_types_and_incomplete_events_are_refused_by_name() {
    let change = |change: &dyn Fn(&mut Event)| {
        let mut event = upsert_event(1, "a");
        change(&mut event);
        refusal(&on(&event, None)).0
    };
    assert_eq!(
        change(&|event| event.kind.data_type = "io.x.v1.others".into()),
        RefusalReason::DataType
    );
    assert_eq!(
        change(&|event| event.kind = Kind::status(Action::Update)),
        RefusalReason::Action
    );
    assert_eq!(
        change(&|event| event.kind = Kind::spec(Action::ResyncRequest)),
        RefusalReason::Action
    );
    assert_eq!(
        change(&|event| event.resource_id = None),
        RefusalReason::MissingResourceId
    );
    assert_eq!(
        change(&|event| event.resource_version = None),
        RefusalReason::MissingVersion
    );
}

#[test]
fn a_deletion_counts_whatever_its_version_and_for_works_never_held() {
    assert_eq!(
        taken(&on(&deletion(), Some(held(9, "a")))),
        Some(Taken::Deletion)
    );
    let mut without_version = deletion();
    without_version.resource_version = None;
    let Decision::Store { head, payload, .. } = on(&without_version, Some(held(9, "a"))) else {
        panic!("refused");
    };
    assert_eq!(head.version.get(), 9);
    assert_eq!(payload, None, "the held payload says how to delete");
    let Decision::Absent(head) = on(&without_version, None) else {
        panic!("not answered");
    };
    assert_eq!(head.version, Version::UNVERSIONED);
    // Maestro sends the old data along.
    let mut with_data = deletion();
    with_data.data = Some(payload_bytes());
    assert!(matches!(on(&with_data, None), Decision::Absent(_)));
}

fn payload_bytes() -> Bytes {
    payload("a").into()
}

#[test]
fn nothing_takes_a_deletion_back() {
    let entry = Entry {
        deleting: true,
        ..held(3, "a")
    };
    let decision = on(&upsert_event(4, "b"), Some(entry.clone()));
    assert_eq!(refusal(&decision).0, RefusalReason::Deleting);
    assert!(matches!(on(&deletion(), Some(entry)), Decision::Leaving(_)));
}

#[test]
fn a_repeated_deletion_counts_anew_when_it_is_about_a_newer_version_or_of_another_source() {
    let entry = Entry {
        deleting: true,
        ..held(3, "a")
    };
    let mut newer = deletion();
    newer.resource_version = Version::new(4);
    assert_eq!(
        taken(&on(&newer, Some(entry.clone()))),
        Some(Taken::Deletion)
    );
    let mut other = deletion();
    other.source = "other".into();
    assert_eq!(taken(&on(&other, Some(entry))), Some(Taken::Deletion));
}

#[test]
fn a_copy_of_what_led_to_the_version_that_goes_is_a_repetition_and_asks_for_nothing() {
    const CREATED: &str = "2026-08-01T10:00:00Z";
    let entry = Entry {
        deleting: true,
        created: Some(CREATED.into()),
        ..held(3, "a")
    };
    let on = |version, created: &str| {
        let mut event = upsert_event(version, "b");
        event.metadata = Some(format!(r#"{{"creationTimestamp":"{created}"}}"#));
        on(&event, Some(entry.clone()))
    };
    for version in 1..=3 {
        assert_eq!(on(version, CREATED), Decision::Duplicate);
    }
    assert_eq!(refusal(&on(4, CREATED)).0, RefusalReason::Deleting);
    // Made again under the same id.
    let again = on(1, "2026-08-01T10:00:01Z");
    assert_eq!(refusal(&again).0, RefusalReason::Deleting);
}

#[test]
fn what_was_deleted_after_it_was_written_is_refused_and_only_while_nothing_is_held() {
    let late = |entry: Option<Entry>| {
        let consumer = consumer("cluster1");
        let event = upsert_event(1, "a");
        decide(&event, Some(&consumer), &rules(), |_| entry, |_| true)
    };
    assert_eq!(refusal(&late(None)).0, RefusalReason::Tombstoned);
    assert_eq!(late(Some(held(1, "a"))), Decision::Duplicate);
}

#[test]
fn a_late_deletion_of_an_earlier_bundle_spares_the_one_that_was_made_again() {
    let entry = |created: Option<&str>| Entry {
        created: created.map(Into::into),
        ..held(1, "a")
    };
    let on = |named: &str, asked: &str, created: Option<&str>| {
        let mut event = deletion();
        event.metadata = Some(format!(r#"{{"creationTimestamp":"{named}"}}"#));
        event.deletion_timestamp = Some(asked.parse().unwrap());
        on(&event, Some(entry(created)))
    };
    let (old, new) = ("2026-08-01T10:00:00Z", "2026-08-01T12:00:00Z");
    let late = on(old, "2026-08-01T11:00:00Z", Some(new));
    assert_eq!(refusal(&late).0, RefusalReason::Tombstoned);
    for (named, asked, created) in [
        (new, "2026-08-01T11:00:00Z", Some(new)),
        (new, "2026-08-01T13:00:00Z", Some(new)),
        (old, "2026-08-01T11:00:00Z", None),
        // From a source that was restored from a backup.
        (old, "2026-08-01T13:00:00Z", Some(new)),
    ] {
        let decision = on(named, asked, created);
        assert_eq!(taken(&decision), Some(Taken::Deletion), "{named} {asked}");
    }
}

#[test]
fn names_that_no_status_could_carry_are_refused() {
    for (bytes, fits) in [(1_024, true), (1_025, false)] {
        let long = "x".repeat(bytes);
        let mut id = upsert_event(1, "a");
        id.resource_id = Some(long.clone());
        let mut source = upsert_event(1, "a");
        source.source = long;
        for event in [id, source] {
            let decision = on(&event, None);
            assert_eq!(taken(&decision).is_some(), fits);
            if !fits {
                assert_eq!(refusal(&decision).0, RefusalReason::TooLong);
            }
        }
    }
}

#[test]
fn a_payload_that_cannot_be_used_is_held_with_every_problem_named() {
    let mut event = upsert_event(2, "a");
    let problem = |event: &Event| {
        let Decision::Store {
            head,
            payload,
            taken,
        } = on(event, Some(held(1, "a")))
        else {
            panic!("refused");
        };
        assert_eq!((payload, taken), (None, Taken::Invalid));
        head.rejected.unwrap()
    };
    event.data = Some(Bytes::from_static(b"{\"manifests\":["));
    assert!(problem(&event).starts_with("the spec is not a manifest bundle: EOF"));
    event.data = None;
    assert!(problem(&event).starts_with("the spec is not a manifest bundle"));
    event.data = Some(Bytes::from_static(b"{}"));
    assert_eq!(
        problem(&event),
        "`manifests` is empty: a bundle declares at least one object"
    );
    event.data = Some(
        json!({"manifests": [{"apiVersion": "v1", "kind": "X", "metadata": {"generateName": "g"}}]})
            .to_string()
            .into(),
    );
    assert_eq!(
        problem(&event),
        "`manifests[0].metadata.generateName` may not be set in a manifest; `manifests[0].metadata.name` is missing"
    );
    let big = "x".repeat(512_000);
    event.data = Some(payload(&big).into());
    assert!(problem(&event).contains("more than the 512000 an agent accepts"));
}

#[test]
fn a_status_resync_request_is_answered_and_an_unreadable_one_refused() {
    let kind = Kind::status(Action::ResyncRequest);
    let event = |data: &'static str| {
        Event::new(
            "maestro",
            kind.clone(),
            &consumer("cluster1"),
            Timestamp::UNIX_EPOCH,
        )
        .with_data(data)
    };
    assert_eq!(
        on(&event(r#"{"statusHashes":[]}"#), None),
        Decision::AnswerStatuses(StatusRequest::default())
    );
    assert_eq!(refusal(&on(&event("[1"), None)).0, RefusalReason::Payload);
}
