//! What Go clients send is read whichever way they write it, and what they are sent is what they read.

use link::event::Kind;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use proptest::prelude::*;

use super::*;
use crate::store::SourceName;

fn at() -> Timestamp {
    "2026-08-01T10:00:00.5Z".parse().unwrap()
}

fn event(attributes: Vec<(&str, Attr)>, data: Option<Data>) -> CloudEvent {
    CloudEvent {
        id: "1".into(),
        source: "mw-client".into(),
        spec_version: "1.0".into(),
        r#type: Kind::spec(Action::Create).to_string(),
        attributes: attributes
            .into_iter()
            .map(|(name, attr)| (name.into(), CloudEventAttributeValue { attr: Some(attr) }))
            .collect(),
        data,
    }
}

#[test]
fn numbers_and_times_are_read_in_their_own_types_and_as_text() {
    let native = vec![
        ("contenttype", string("application/json")),
        ("ce-time", Attr::CeTimestamp(timestamp(at()))),
        ("ce-clustername", string("c1")),
        ("ce-resourceid", string("b1")),
        ("ce-resourceversion", Attr::CeInteger(3)),
        ("ce-deletiontimestamp", Attr::CeTimestamp(timestamp(at()))),
        ("ce-flag", Attr::CeBoolean(true)),
        ("ce-link", Attr::CeUri("http://a".into())),
        ("ce-bytes", Attr::CeBytes(Bytes::from_static(b"\x01"))),
    ];
    let as_text = native
        .iter()
        .map(|(name, attr)| (*name, string(text(name, attr.clone()).unwrap())))
        .collect();
    let data = Data::BinaryData(Bytes::from_static(b"{}"));
    let read_native = read(event(native, Some(data.clone()))).unwrap();
    assert_eq!(read(event(as_text, Some(data))).unwrap(), read_native);
    assert_eq!(read_native.resource_version, Version::new(3));
    assert_eq!(read_native.deletion_timestamp, Some(at()));
    assert_eq!(read_native.time, Some(at()));
    assert_eq!(read_native.extensions["flag"], "true");
    assert_eq!(read_native.extensions["bytes"], "AQ==");
    assert_eq!(read_native.data_bytes(), b"{}");
}

#[test]
fn a_structured_event_is_read_as_the_same() {
    let binary = event(
        vec![
            ("ce-clustername", string("c1")),
            ("ce-resourceversion", Attr::CeInteger(3)),
        ],
        Some(Data::TextData("{\"manifests\":[]}".into())),
    );
    let mut structured = event(
        vec![("contenttype", string("application/cloudevents+json"))],
        Some(Data::BinaryData(
            json!({
                "specversion": "1.0", "id": "1", "source": "mw-client",
                "type": Kind::spec(Action::Create).to_string(), "clustername": "c1",
                "resourceversion": 3, "datacontenttype": "application/json", "data": {"manifests": []},
            })
            .to_string()
            .into(),
        )),
    );
    structured.id.clear();
    assert_eq!(read(structured).unwrap(), read(binary).unwrap());
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let refused = |attributes, data| {
        read(event(attributes, data))
            .unwrap_err()
            .message()
            .to_owned()
    };
    let wrong_time = prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    };
    let mut no_version = event(Vec::new(), None);
    no_version.spec_version = "0.3".into();
    let told = [
        refused(vec![("ce-resourceversion", string("many"))], None),
        refused(vec![("ce-time", Attr::CeTimestamp(wrong_time))], None),
        refused(vec![("ce-my_ext", string("x"))], None),
        refused(Vec::new(), Some(Data::ProtoData(Default::default()))),
        read(no_version).unwrap_err().message().to_owned(),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
attribute `resourceversion` holds `many`, not an integer between 0 and 2147483647
attribute `ce-time` holds no time from the year 1 to 9999
attribute name `my_ext` is not alphanumeric ASCII
field `proto_data` is not understood; send JSON in `binary_data`
`ce-specversion` is `0.3`, not `1.0`
");
}

fn report() -> Report {
    Report {
        id: "b1".into(),
        source: SourceName::new("mw-client").unwrap(),
        consumer_name: ConsumerName::new("c1").unwrap(),
        version: Version::new(3).unwrap(),
        sequence_id: Some(SequenceId::from_parts(at(), 1, 0)),
        status_hash: Some("ab".into()),
        metadata: Some(Json::parse(r#"{"name":"w1","labels":{"a":"b"}}"#).unwrap()),
        content: Some(Content {
            manifests: Json::parse("[]").unwrap(),
            delete_option: None,
            manifest_configs: None,
            executer: None,
        }),
        payload: Json::parse(r#"{"conditions":[]}"#).unwrap(),
        at: at(),
        gone: false,
    }
}

#[test]
fn a_status_has_everything_that_go_clients_need_of_it() {
    let event = status_event(&report()).unwrap();
    assert_eq!(event.source, "c1-work-agent");
    let Some(Data::BinaryData(data)) = &event.data else {
        panic!("{event:?}");
    };
    assert_eq!(
        data,
        r#"{"conditions":[],"manifestBundle":{"manifests":[]}}"#
    );
    assert_eq!(
        event.attributes["ce-resourceversion"].attr,
        Some(Attr::CeInteger(3))
    );
    let read = read(event).unwrap();
    assert_eq!(read.kind, Kind::status(Action::Update));
    assert_eq!(read.resource_id.as_deref(), Some("b1"));
    assert_eq!(read.sequence_id, report().sequence_id);
    assert_eq!(read.original_source.as_deref(), Some("mw-client"));
    assert_eq!(read.cluster_name.as_deref(), Some("c1"));
    assert_eq!(read.status_hash.as_deref(), Some("ab"));
    assert_eq!(
        read.metadata.as_deref(),
        Some(r#"{"name":"w1","labels":{"a":"b"}}"#)
    );
    assert_eq!(read.time, Some(at()));
}

#[test]
fn a_report_without_a_sequence_is_left_out_and_one_without_content_or_metadata_is_sent() {
    let unordered = Report {
        sequence_id: None,
        ..report()
    };
    assert_eq!(status_event(&unordered), None);
    let bare = Report {
        content: None,
        metadata: None,
        payload: Json::parse("{}").unwrap(),
        ..report()
    };
    let event = read(status_event(&bare).unwrap()).unwrap();
    assert_eq!(event.data_bytes(), b"{}");
    assert_eq!(
        event.metadata.as_deref(),
        Some(r#"{"name":"b1","namespace":"c1","uid":"b1"}"#)
    );
}

proptest! {
    #[test]
    fn arbitrary_events_never_panic(
        names in prop::collection::vec("(ce-)?.{0,12}", 0..6),
        texts in prop::collection::vec(".{0,40}", 4),
        seconds: i64, nanos: i32, number: i32,
        data in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let attrs = [Attr::CeInteger(number), Attr::CeTimestamp(prost_types::Timestamp { seconds, nanos })];
        let attributes = names.iter().map(String::as_str).zip(attrs.into_iter().cycle()).collect();
        let mut event = event(attributes, Some(Data::BinaryData(data.into())));
        event.r#type = texts[0].clone();
        event.spec_version = texts[1].clone();
        let _ = read(event);
    }
}
