//! The events this bridge sends, built as Maestro builds them (docs/MAESTRO.md §2.3, §3.3, §3.4). What a source published keeps its
//! id, its time and what else it carried ([`origin`]), however often it is sent; a deletion is an event of its own. Pure.

use jiff::Timestamp;
use link::bundle::go_json;
use link::bundle::resync::{HeldStatus, StatusRequest};
use link::event::{Action, Event, Kind, encode};
use link::id::{ConsumerName, SourceId};
use link::iot::limits::{LimitError, fits};
use link::message::Message;
use link::order::Version;
use serde_json::{Map, Value, json};

use crate::store::PendingBundle;

mod origin;

/// The message of a bundle's newest version, or of its deletion, if the broker takes it. Where there is no room for the
/// bundle's name it goes without. A deletion that does not fit with the bundle's metadata goes without that too: what
/// cannot be sent must still be removable.
///
/// # Errors
/// [`LimitError`] names what is too large.
pub(super) fn fitting(
    source: &SourceId,
    consumer: &ConsumerName,
    bundle: &PendingBundle,
    now: Timestamp,
    topic: &str,
) -> Result<Message, LimitError> {
    let mut event = spec(source, consumer, bundle, now);
    let mut message = encode(&event, topic);
    if fits(&message).is_err() {
        event.metadata = Some(metadata(consumer, bundle, ""));
        message = encode(&event, topic);
    }
    match fits(&message) {
        Ok(()) => Ok(message),
        Err(_) if bundle.deleting_since.is_some() => {
            event.metadata = Some(bare_metadata(consumer, &bundle.id));
            let message = encode(&event, topic);
            fits(&message)?;
            Ok(message)
        }
        Err(misfit) => Err(misfit),
    }
}

/// The spec event of a bundle's newest version, or of its deletion. The API measures what it is about to store by it.
pub(crate) fn spec(
    source: &SourceId,
    consumer: &ConsumerName,
    bundle: &PendingBundle,
    now: Timestamp,
) -> Event {
    let action = match (bundle.deleting_since, bundle.first) {
        (Some(_), _) => Action::Delete,
        (None, true) => Action::Create,
        (None, false) => Action::Update,
    };
    let mut event = Event::new(source.as_str(), Kind::spec(action), consumer, now)
        .about(&bundle.id, bundle.version);
    event.metadata = Some(metadata(consumer, bundle, &bundle.name));
    event.log_tracing = Some("{}".into());
    event.deletion_timestamp = bundle.deleting_since;
    if bundle.deleting_since.is_none() {
        event.data = Some(bundle.payload.clone());
        if let Some(origin) = &bundle.origin {
            origin::restore(&mut event, origin);
        }
    }
    event
}

/// The deletion of a work that the agent holds and this bridge does not have (docs/MAESTRO.md §4.4). The version the agent
/// gave is echoed: Go agents refuse a deletion without one.
pub(super) fn orphan(
    source: &SourceId,
    consumer: &ConsumerName,
    id: &str,
    held: Version,
    now: Timestamp,
) -> Event {
    let mut event = Event::new(
        source.as_str(),
        Kind::spec(Action::ResyncResponse),
        consumer,
        now,
    )
    .about(id, held);
    event.deletion_timestamp = Some(now);
    event.metadata = Some(bare_metadata(consumer, id));
    event.log_tracing = Some("{}".into());
    event
}

/// One part of a status resync request.
pub(super) fn status_request(
    source: &SourceId,
    consumer: &ConsumerName,
    hashes: Vec<HeldStatus>,
    now: Timestamp,
) -> Event {
    let request = StatusRequest {
        status_hashes: hashes,
    };
    Event::new(
        source.as_str(),
        Kind::status(Action::ResyncRequest),
        consumer,
        now,
    )
    .with_data(go_json::to_string(&request).unwrap_or_default())
}

fn bare_metadata(consumer: &ConsumerName, id: &str) -> String {
    go_json::to_string(&json!({"name": id, "namespace": consumer, "uid": id})).unwrap_or_default()
}

// The metadata's own name is the id, as with Maestro; the bundle's goes into an annotation, unless it is the id too.
fn metadata(consumer: &ConsumerName, bundle: &PendingBundle, name: &str) -> String {
    let mut metadata = match bundle.metadata.as_ref().map(crate::store::Json::to_value) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    metadata.insert("name".into(), json!(bundle.id));
    metadata.insert("namespace".into(), json!(consumer));
    metadata.insert("uid".into(), json!(bundle.id));
    metadata.insert(
        "creationTimestamp".into(),
        json!(link::clock::rfc3339_seconds(bundle.created_at)),
    );
    if !name.is_empty() && name != bundle.id {
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(BUNDLE_NAME.into(), json!(name));
        }
    }
    if let Some(at) = bundle.deleting_since {
        metadata.insert(
            "deletionTimestamp".into(),
            json!(link::clock::rfc3339_seconds(at)),
        );
    }
    go_json::to_string(&metadata).unwrap_or_default()
}

/// What an agent shows a bundle's name as, on what it keeps in its cluster.
const BUNDLE_NAME: &str = "work.open-cluster-management.io/bundle-name";

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn bundle() -> PendingBundle {
        PendingBundle {
            id: "55c61e54".into(),
            name: "mine".into(),
            version: Version::FIRST,
            deleting_since: None,
            metadata: Some(crate::store::Json::from_value(
                &json!({"name": "mine", "labels": {"team": "a"}}),
            )),
            payload: Bytes::from_static(b"{\"manifests\":[]}"),
            origin: None,
            created_at: "2026-08-01T10:00:00Z".parse().unwrap(),
            first: true,
        }
    }

    #[test]
    fn a_deletion_carries_its_time_and_version_and_no_data() {
        let (source, consumer) = (
            SourceId::new("maestro").unwrap(),
            ConsumerName::new("c1").unwrap(),
        );
        let now: Timestamp = "2026-08-01T11:00:00Z".parse().unwrap();
        let create = spec(&source, &consumer, &bundle(), now);
        assert_eq!(create.kind, Kind::spec(Action::Create));
        insta::assert_snapshot!(create.metadata.unwrap(), @r#"{"annotations":{"work.open-cluster-management.io/bundle-name":"mine"},"creationTimestamp":"2026-08-01T10:00:00Z","labels":{"team":"a"},"name":"55c61e54","namespace":"c1","uid":"55c61e54"}"#);
        let delete = spec(
            &source,
            &consumer,
            &PendingBundle {
                deleting_since: Some(now),
                ..bundle()
            },
            now,
        );
        assert_eq!(delete.kind, Kind::spec(Action::Delete));
        assert_eq!((delete.data, delete.deletion_timestamp), (None, Some(now)));
        assert_eq!(delete.resource_version, Some(Version::FIRST));
    }

    #[test]
    fn what_a_source_published_keeps_its_id_and_time_however_often_it_is_sent_and_its_deletion_does_not()
     {
        let (source, consumer) = (
            SourceId::new("maestro").unwrap(),
            ConsumerName::new("c1").unwrap(),
        );
        let now: Timestamp = "2026-08-01T11:00:00Z".parse().unwrap();
        let published = PendingBundle {
            origin: Some(crate::store::Json::from_value(&json!({
                "id": "e-1", "time": "2026-08-01T09:00:00Z",
                "extensions": {"logtracing": "{\"a\":\"b\"}", "traceparent": "00-ab"},
            }))),
            ..bundle()
        };
        for first in [true, false, false] {
            let bundle = PendingBundle {
                first,
                ..published.clone()
            };
            let message = fitting(&source, &consumer, &bundle, now, "t").unwrap();
            for property in [
                ("ce-id", "e-1"),
                ("ce-time", "2026-08-01T09:00:00Z"),
                ("ce-source", "maestro"),
                ("ce-logtracing", "{\"a\":\"b\"}"),
                ("ce-traceparent", "00-ab"),
            ] {
                let found = message
                    .user_properties
                    .iter()
                    .find(|(name, _)| name == property.0);
                assert_eq!(found.unwrap().1, property.1, "{property:?}");
            }
        }
        let deletion = PendingBundle {
            deleting_since: Some(now),
            ..published
        };
        let deletion = spec(&source, &consumer, &deletion, now);
        assert_ne!(deletion.id, "e-1");
        assert_eq!((deletion.time, deletion.extensions.len()), (Some(now), 0));
    }

    #[test]
    fn metadata_is_measured_as_it_is_sent_and_a_bundle_that_never_fits_can_be_deleted() {
        let (source, consumer) = (
            SourceId::new("maestro").unwrap(),
            ConsumerName::new("c1").unwrap(),
        );
        let now: Timestamp = "2026-08-01T11:00:00Z".parse().unwrap();
        let message = |annotation: String, deleting_since| {
            let bundle = PendingBundle {
                metadata: Some(crate::store::Json::from_value(
                    &json!({"annotations": {"a": annotation}}),
                )),
                deleting_since,
                ..bundle()
            };
            fitting(&source, &consumer, &bundle, now, "t")
        };
        let length = |message: &Message| {
            let metadata = message
                .user_properties
                .iter()
                .find(|(name, _)| name == "ce-metadata");
            metadata.unwrap().1.len()
        };
        // The name has no room and is left out then.
        let named = length(&message(String::new(), None).unwrap());
        let room =
            65_535 - (named - r#""work.open-cluster-management.io/bundle-name":"mine","#.len());
        // `<` is written as six bytes.
        let largest = format!("{}{}", "<".repeat(room / 6), "x".repeat(room % 6));
        assert_eq!(length(&message(largest.clone(), None).unwrap()), 65_535);
        let error = message(format!("{largest}x"), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ce-metadata") && error.contains("65536 bytes"),
            "{error}"
        );
        let deletion = message("<".repeat(60_000), Some(now)).unwrap();
        assert!(length(&deletion) < 100);
    }
}
