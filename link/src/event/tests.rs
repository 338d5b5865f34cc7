use proptest::prelude::*;

use super::*;
use crate::message::Message;

fn consumer() -> ConsumerName {
    ConsumerName::new("cluster1").unwrap()
}

#[test]
fn the_golden_resync_request_of_a_go_agent_is_read_and_written_alike() {
    // docs/MAESTRO.md §1.1, captured from the Go implementation.
    let golden = Message {
        topic: "sources/maestro/consumers/cluster1/agentevents".into(),
        payload: Bytes::from_static(br#"{"resourceVersions":[]}"#),
        content_type: Some("application/json".into()),
        user_properties: [
            ("ce-id", "e3225780-cfe5-487c-aa38-1d01ee0a2a62"),
            ("ce-source", "cluster1-work-agent"),
            ("ce-specversion", "1.0"),
            (
                "ce-type",
                "io.open-cluster-management.works.v1alpha1.manifestbundles.spec.resync_request",
            ),
            ("ce-time", "2026-11-23T09:22:39.293542425Z"),
            ("ce-clustername", "cluster1"),
            ("ce-originalsource", ""),
        ]
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .to_vec(),
        ..Message::default()
    };
    let event = decode(&golden).unwrap();
    assert_eq!(event.kind, Kind::spec(Action::ResyncRequest));
    assert_eq!(event.original_source.as_deref(), Some(""));
    assert_eq!(encode(&event, golden.topic.clone()), golden);
}

#[test]
fn a_deletion_without_data_or_version_is_read() {
    let mut event = Event::new(
        "maestro",
        Kind::spec(Action::Delete),
        &consumer(),
        Timestamp::UNIX_EPOCH,
    );
    event.resource_id = Some("x".into());
    event.deletion_timestamp = Some(Timestamp::UNIX_EPOCH);
    let message = encode(&event, "t");
    assert_eq!(message.content_type, None);
    let read = decode(&message).unwrap();
    assert_eq!(read.data, None);
    assert_eq!(read.resource_version, None);
    assert!(read.deletion_timestamp.is_some());
}

#[test]
fn structured_mode_with_native_numbers_is_read() {
    let message = Message {
        content_type: Some("application/cloudevents+json; charset=utf-8".into()),
        payload: Bytes::from_static(
            br#"{"specversion":"1.0","id":"1","source":"s","resourceversion":3,"resourceid":"r",
                "type":"io.open-cluster-management.works.v1alpha1.manifestbundles.spec.update_request",
                "data":{"manifests":[]}}"#,
        ),
        ..Message::default()
    };
    let event = decode(&message).unwrap();
    assert_eq!(event.resource_version.map(Version::get), Some(3));
    assert_eq!(event.data_bytes(), br#"{"manifests":[]}"#);
}

#[test]
fn unreadable_attributes_are_refused_by_name() {
    let event = Event::new(
        "s",
        Kind::spec(Action::Create),
        &consumer(),
        Timestamp::UNIX_EPOCH,
    );
    let with = |key: &str, value: &str| {
        let mut message = encode(&event, "t");
        message.user_properties.retain(|(k, _)| k != key);
        message.user_properties.push((key.into(), value.into()));
        crate::error::chain(&decode(&message).unwrap_err())
    };
    insta::assert_snapshot!(
        [
            with("ce-resourceversion", "2147483648"),
            with("ce-resourceversion", "1.5"),
            with("ce-sequenceid", "-4"),
            with("ce-type", "a.b.spec.create_request"),
            with("ce-type", "io.x.works.v1.things.spec.make_request"),
            with("ce-deletiontimestamp", "yesterday"),
            with("ce-my_ext", "x"),
            with("ce-specversion", "0.3"),
        ]
        .join("\n"),
        @r"
    attribute `resourceversion` holds `2147483648`, not an integer between 0 and 2147483647
    attribute `resourceversion` holds `1.5`, not an integer between 0 and 2147483647
    attribute `sequenceid` cannot be read: sequence id `-4` is not a decimal number below 2^63
    attribute `type` cannot be read: event type `a.b.spec.create_request` has fewer than five dot-separated parts
    attribute `type` cannot be read: event type `io.x.works.v1.things.spec.make_request` ends in an unknown action
    attribute `deletiontimestamp` holds `yesterday`, not an RFC 3339 time
    attribute name `my_ext` is not alphanumeric ASCII
    `ce-specversion` is `0.3`, not `1.0`
    "
    );
}

#[test]
fn metadata_with_characters_that_mqtt_does_not_carry_is_escaped_and_reads_the_same() {
    let metadata = serde_json::json!({"annotations": {"a": "x\u{7f}\u{9f}\u{ffff}\u{1fffe}é日\n"}});
    let event = Event {
        metadata: Some(metadata.to_string()),
        ..Event::new(
            "maestro",
            Kind::spec(Action::Create),
            &consumer(),
            Timestamp::UNIX_EPOCH,
        )
    };
    let message = encode(&event, "t");
    assert_eq!(crate::iot::limits::fits(&message), Ok(()));
    let received = decode(&message).unwrap().metadata.unwrap();
    let received: serde_json::Value = serde_json::from_str(&received).unwrap();
    assert_eq!(received, metadata);
}

fn any_event() -> impl Strategy<Value = Event> {
    (
        "[a-z0-9-]{1,40}",
        prop::option::of(0i32..),
        prop::option::of(0i64..),
        prop::option::of("\\PC{0,60}"),
        prop::collection::btree_map("x[a-z0-9]{1,10}", "\\PC{0,20}", 0..4),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        prop::sample::select(vec![
            Kind::spec(Action::Create),
            Kind::spec(Action::Delete),
            Kind::status(Action::Update),
            Kind::status(Action::ResyncResponse),
        ]),
    )
        .prop_map(
            |(id, version, sequence, text, extensions, data, kind)| Event {
                resource_id: Some(id),
                resource_version: version.and_then(|v| Version::new(i64::from(v))),
                sequence_id: sequence.map(|s| s.to_string().parse().unwrap()),
                metadata: text.clone(),
                status_hash: text,
                extensions,
                data: data.map(Bytes::from),
                deletion_timestamp: Some(Timestamp::UNIX_EPOCH),
                ..Event::new("maestro", kind, &consumer(), Timestamp::UNIX_EPOCH)
            },
        )
}

proptest! {
    #[test]
    fn every_event_survives_the_wire(event in any_event()) {
        prop_assert_eq!(decode(&encode(&event, "t")).unwrap(), event);
    }

    #[test]
    fn arbitrary_messages_never_panic(
        content_type in prop::option::of(prop_oneof!["application/cloudevents.*", ".*"]),
        properties in prop::collection::vec(("(ce-)?.{0,12}", ".{0,40}"), 0..12),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let message = Message {
            content_type,
            user_properties: properties,
            payload: payload.into(),
            ..Message::default()
        };
        let _ = decode(&message);
    }
}
