use link::event::{Action, Kind, encode};
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use serde_json::json;

use jiff::Timestamp;
use link::message::Message;

use super::*;

const ID: &str = "5b3d9f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b";

fn at() -> Timestamp {
    "2026-08-01T10:00:00Z".parse().unwrap()
}

fn event(kind: Kind) -> Event {
    let consumer = ConsumerName::new("cluster1").unwrap();
    let mut event =
        Event::new("maestro", kind, &consumer, at()).about(ID, Version::new(3).unwrap());
    event.id = "event-1".into();
    event
}

fn show(event: &Event, topic: &str) -> (String, Value) {
    let message = encode(event, topic);
    let view = view(&message);
    (view.text(), view.json())
}

fn view(message: &Message) -> View<'_> {
    View::of(&Received {
        message,
        packet_id: Some(1),
        at: at(),
    })
}

#[test]
fn a_bundle_shows_its_objects_with_their_sizes() {
    let spec = json!({"manifests": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "web", "name": "settings"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}},
    ]});
    let event = event(Kind::spec(Action::Create)).with_data(spec.to_string());
    let (text, json) = show(&event, "maestro/consumers/cluster1/sourceevents");
    insta::assert_snapshot!(text);
    assert_eq!(json["manifests"][0]["kind"], "ConfigMap");
    assert_eq!(json["event"]["resourceversion"], 3);
    assert_eq!(json["type"], "message");
}

#[test]
fn a_status_shows_conditions_and_feedback() {
    let condition = |kind: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-08-01T10:00:02Z", "reason": "Done", "message": message});
    let status = json!({"conditions": [condition("Applied", "all applied")], "resourceStatus": [{
        "resourceMeta": {"ordinal": 0, "group": "apps", "version": "v1", "kind": "Deployment", "resource": "deployments", "name": "web", "namespace": "default"},
        "statusFeedback": {"values": [
            {"name": "ReadyReplicas", "fieldValue": {"type": "Integer", "integer": 2}},
            {"name": "phase", "fieldValue": {"type": "String", "string": "Run\nning"}},
        ]},
        "conditions": [condition("Available", "")],
    }]});
    let mut event = event(Kind::status(Action::Update)).with_data(status.to_string());
    event.sequence_id = Some("2000808179721572352".parse::<SequenceId>().unwrap());
    let (text, json) = show(&event, "maestro/consumers/cluster1/agentevents");
    insta::assert_snapshot!(text);
    assert_eq!(json["status"]["conditions"][0]["type"], "Applied");
    assert_eq!(json["event"]["sequenceid"], "2000808179721572352");
}

#[test]
fn a_deletion_and_a_resync_say_so() {
    let mut deletion = event(Kind::spec(Action::Delete));
    deletion.deletion_timestamp = Some(at());
    let (text, json) = show(&deletion, "t");
    assert!(
        text.contains("kind=spec.delete_request")
            && text.contains("deleting-since=2026-08-01T10:00:00Z"),
        "{text}"
    );
    assert_eq!(json["event"]["deletiontimestamp"], "2026-08-01T10:00:00Z");

    let held: Vec<Value> = (0..12)
        .map(|n| json!({"resourceID": format!("id-{n}"), "resourceVersion": n}))
        .collect();
    let resync = event(Kind::spec(Action::ResyncRequest))
        .with_data(json!({"resourceVersions": held}).to_string());
    let (text, json) = show(&resync, "t");
    assert!(
        text.contains("resync: 12 bundles held") && text.contains("and 2 more"),
        "{text}"
    );
    assert_eq!(json["resync"]["count"], 12);
}

#[test]
fn what_is_no_event_is_shown_with_the_reason_and_cannot_move_the_cursor() {
    let plain = Message::new("t", "he\u{1b}[2Jllo");
    let shown = view(&plain);
    assert_eq!(
        shown.text(),
        "2026-08-01T10:00:00Z t bytes=9 qos=1\n  he\u{fffd}[2Jllo"
    );
    assert_eq!(shown.json()["payload"], "he\u{1b}[2Jllo");

    let binary = Message::new("t", vec![0xff, 0x00]);
    assert_eq!(view(&binary).json()["payloadHex"], "ff00");

    let mut broken = Message::new("t", "{}");
    broken
        .user_properties
        .push(("ce-specversion".into(), "1.0".into()));
    let shown = view(&broken);
    assert!(
        shown
            .text()
            .contains("not a readable event: attribute `id` is missing"),
        "{}",
        shown.text()
    );
    assert_eq!(shown.json()["problem"], "attribute `id` is missing");

    let bad_data = event(Kind::spec(Action::Create)).with_data("{");
    let (text, _) = show(&bad_data, "t");
    assert!(text.contains("data cannot be read"), "{text}");
}

#[test]
fn properties_quality_and_expiry_are_shown_to_people_too() {
    let message = Message {
        user_properties: vec![("k".into(), "v".into())],
        content_type: Some("text/plain".into()),
        expiry_seconds: Some(60),
        retain: true,
        extra: Some(Box::new(link::message::ExtraProperties {
            response_topic: Some("r/t".into()),
            correlation_data: Some("id".into()),
            ..Default::default()
        })),
        ..Message::new("t", "hello")
    };
    assert_eq!(
        view(&message).text(),
        "2026-08-01T10:00:00Z t bytes=5 content-type=text/plain qos=1 expires-in=60s retained\n  property k=v\n  \
         response-topic r/t\n  correlation-data id\n  hello"
    );
    let json = view(&message).json();
    assert_eq!(
        (&json["qos"], &json["responseTopic"]),
        (&json!(1), &json!("r/t"))
    );
}

proptest::proptest! {
    #[test]
    fn arbitrary_messages_never_panic(topic in ".*", payload: Vec<u8>, properties: Vec<(String, String)>) {
        let mut message = Message::new(topic, payload);
        message.user_properties = properties;
        message.user_properties.push(("ce-specversion".into(), "1.0".into()));
        let view = view(&message);
        let _ = (view.text(), view.json());
    }
}
