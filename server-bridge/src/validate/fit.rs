//! Whether a bundle fits into the messages that carry it, measured on the messages themselves: JSON escapes make a text
//! up to six times as long, and every header counts. What is stored here must never fail to leave.

use bytes::Bytes;
use jiff::Timestamp;
use link::event::encode;
use link::id::{ConsumerName, SourceId};
use link::iot::limits::{LimitError, fits};
use link::message::Message;
use link::order::Version;
use link::topic::Scheme;

use super::{Problem, problem};
use crate::delivery::event::spec;
use crate::store::{Content, Json, PendingBundle};

/// How this bridge writes its events: what every message carries besides the bundle.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The source the bridge speaks for.
    pub source: SourceId,
    /// Its topics.
    pub scheme: Scheme,
}

/// Whose bundle is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addressed<'b> {
    pub(crate) envelope: &'b Envelope,
    pub(crate) consumer: &'b ConsumerName,
    pub(crate) id: &'b str,
    /// What travels again of the event that publishes it.
    pub(crate) origin: Option<&'b Json>,
}

// === impl Addressed ===

impl Addressed<'_> {
    /// Notes what does not fit into the longest event of a bundle, or into that of its deletion.
    pub(super) fn check(
        &self,
        metadata: Option<&Json>,
        payload: &Bytes,
        problems: &mut Vec<Problem>,
    ) {
        for deletion in [false, true] {
            if let Err(misfit) = fits(&self.message(metadata, payload, deletion)) {
                let (path, message) = explained(&misfit);
                return problem(problems, path, message);
            }
        }
    }

    /// The message as it may be sent one day: with the highest version and the longest times.
    pub(super) fn message(
        &self,
        metadata: Option<&Json>,
        payload: &Bytes,
        deletion: bool,
    ) -> Message {
        let bundle = PendingBundle {
            id: self.id.to_owned(),
            // Left out where there is no room for it.
            name: String::new(),
            version: Version::new(i64::from(i32::MAX)).unwrap_or(Version::FIRST),
            deleting_since: deletion.then_some(Timestamp::MAX),
            metadata: metadata.cloned(),
            origin: self.origin.cloned(),
            payload: payload.clone(),
            created_at: Timestamp::MAX,
            first: false,
        };
        let Envelope { source, scheme } = self.envelope;
        let event = spec(source, self.consumer, &bundle, Timestamp::MAX);
        encode(&event, scheme.source_events(self.consumer))
    }
}

/// Why a bundle that comes from elsewhere could not leave: what of it is too large.
pub(crate) fn misfit(
    envelope: &Envelope,
    consumer: &ConsumerName,
    id: &str,
    (metadata, origin): (Option<&Json>, Option<&Json>),
    content: &Content,
) -> Option<String> {
    let to = Addressed {
        envelope,
        consumer,
        id,
        origin,
    };
    let mut problems = Vec::new();
    to.check(metadata, &content.payload(), &mut problems);
    let found = problems.first()?;
    Some(format!("its {} {}", found.path, found.message))
}

/// The field a caller can shorten, and what is wrong with it.
fn explained(misfit: &LimitError) -> (&'static str, String) {
    match misfit {
        LimitError::Property {
            name, bytes, limit, ..
        } if name == METADATA => (
            "metadata",
            format!(
                "is {bytes} bytes as it is sent (`<`, `>`, `&` and control characters as six each), at most {limit} can be sent"
            ),
        ),
        LimitError::Payload { bytes, limit } => (
            "manifests",
            format!("make an event of {bytes} bytes, the broker takes at most {limit}"),
        ),
        LimitError::Packet { bytes, limit } => (
            "metadata",
            format!(
                "and `manifests` make a message of {bytes} bytes as it is sent, the broker takes at most {limit}"
            ),
        ),
        // What travels again of the publishing event; all else has a short form of its own.
        LimitError::Property { name, .. } | LimitError::Character { name, .. }
            if name != RESOURCE_ID =>
        {
            ("extensions", misfit.to_string())
        }
        LimitError::TooLong { what: "topic", .. } => ("consumer_name", misfit.to_string()),
        _ => ("id", misfit.to_string()),
    }
}

/// The user property that carries the bundle's id.
const RESOURCE_ID: &str = "ce-resourceid";

/// The user property that carries the metadata.
const METADATA: &str = "ce-metadata";

#[cfg(test)]
mod tests {
    use link::iot::limits::{PACKET_BYTES, PAYLOAD_BYTES};
    use serde_json::json;

    use super::super::{BundleLimits, Draft};
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            source: SourceId::new("maestro").unwrap(),
            scheme: Scheme::default(),
        }
    }

    /// A bundle with an annotation and a ConfigMap of these sizes.
    fn draft(annotation: &str, data: usize) -> Draft {
        Draft {
            metadata: Some(json!({"annotations": {"a": annotation}})),
            manifests: Some(json!([{
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "a", "namespace": "d"}, "data": {"k": "x".repeat(data)},
            }])),
            ..Draft::default()
        }
    }

    /// The longest messages of the bundle and of its deletion.
    fn check(draft: Draft) -> Result<[Message; 2], String> {
        let (envelope, consumer) = (envelope(), ConsumerName::new("cluster1").unwrap());
        let to = Addressed {
            envelope: &envelope,
            consumer: &consumer,
            id: "b1",
            origin: None,
        };
        let (metadata, content) = draft
            .check(&BundleLimits::default(), &to)
            .map_err(|error| error.to_string())?;
        let longest = [false, true]
            .map(|deletion| to.message(metadata.as_ref(), &content.payload(), deletion));
        for message in &longest {
            fits(message).expect("what was accepted can be sent");
        }
        Ok(longest)
    }

    fn metadata_bytes([_, deletion]: &[Message; 2]) -> usize {
        let found = deletion
            .user_properties
            .iter()
            .find(|(key, _)| key == METADATA);
        found.unwrap().1.len()
    }

    #[test]
    fn escaped_metadata_is_accepted_up_to_the_longest_property_and_refused_one_byte_past() {
        let annotation = |plain: usize| format!("{}{}", "<".repeat(10_850), "x".repeat(plain));
        let fixed = metadata_bytes(&check(draft(&annotation(0), 1)).unwrap());
        let room = 65_535 - fixed;
        let full = check(draft(&annotation(room), 1)).unwrap();
        assert_eq!(metadata_bytes(&full), 65_535);
        let refused = check(draft(&annotation(room + 1), 1)).unwrap_err();
        assert_eq!(
            refused,
            "metadata: is 65536 bytes as it is sent (`<`, `>`, `&` and control characters as six each), at most \
             65535 can be sent"
        );
        // The case that stopped every consumer.
        assert!(check(draft(&"<".repeat(11_000), 1)).is_err());
    }

    #[test]
    fn a_packet_is_accepted_up_to_the_brokers_maximum_and_refused_one_byte_past() {
        let annotation = "<".repeat(9_000);
        let packet =
            |data| check(draft(&annotation, data)).map(|[update, _]| update.packet_bytes());
        let most = 50_000 + PACKET_BYTES - packet(50_000).unwrap();
        assert!(most < PAYLOAD_BYTES, "the packet binds, not the payload");
        assert_eq!(packet(most).unwrap(), PACKET_BYTES);
        let refused = packet(most + 1).unwrap_err();
        let expected = format!(
            "metadata: and `manifests` make a message of {} bytes as it is sent, the broker takes at most {PACKET_BYTES}",
            PACKET_BYTES + 1
        );
        assert_eq!(refused, expected);
    }

    #[test]
    fn what_travels_again_of_the_publishing_event_counts_and_one_byte_past_is_refused() {
        let (envelope, consumer) = (envelope(), ConsumerName::new("cluster1").unwrap());
        let check = |bytes: usize| {
            let origin = Json::from_value(&json!({
                "id": "e", "extensions": {"traceparent": "x".repeat(bytes)},
            }));
            let to = Addressed {
                envelope: &envelope,
                consumer: &consumer,
                id: "b1",
                origin: Some(&origin),
            };
            let mut problems = Vec::new();
            to.check(None, &Bytes::from_static(b"{}"), &mut problems);
            problems
        };
        assert_eq!(check(65_535), []);
        let refused = check(65_536);
        assert_eq!(refused[0].path, "extensions");
        assert!(refused[0].message.contains("ce-traceparent"), "{refused:?}");
    }

    #[test]
    fn characters_that_mqtt_does_not_carry_count_as_they_are_escaped() {
        let bytes = |annotation| metadata_bytes(&check(draft(annotation, 1)).unwrap());
        let plain = bytes("");
        for escaped in ["\u{1}", "\u{7f}", "\u{85}", "<", "&"] {
            assert_eq!(bytes(escaped), plain + 6, "{escaped:?}");
        }
    }
}
