//! CloudEvents as Go clients write and read them over gRPC (docs/MAESTRO.md §5.3): required attributes in fields, all others in a map
//! under `ce-NAME`, each in its own type, and the data in `binary_data`. Reading is tolerant: numbers and times may be text,
//! and an event may be structured JSON. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use link::clock::rfc3339_nanos;
use link::error::chain;
use link::event::{Action, Event, Kind, decode};
use link::message::Message;
use link::telemetry::clip;
use serde_json::json;
use uuid::Uuid;

use super::error::Refusal;
use super::proto::{Attr, CloudEvent, CloudEventAttributeValue, Data};
use crate::store::{Content, Json, Report};
use crate::validate::{VALUES, count};

/// Reads an event that was published.
///
/// # Errors
/// Names the attribute that is missing or unreadable.
pub(super) fn read(event: CloudEvent) -> Result<Event, Refusal> {
    let mut message = Message::default();
    for (name, value) in event.attributes {
        let text = match value.attr {
            Some(value) => text(&name, value)?,
            None => continue,
        };
        if name == CONTENT_TYPE {
            message.content_type = Some(text);
        } else {
            message.user_properties.push((name, text));
        }
    }
    // After the others, so that no attribute stands for one of these.
    for (name, value) in [
        ("ce-id", event.id),
        ("ce-source", event.source),
        ("ce-specversion", event.spec_version),
        ("ce-type", event.r#type),
    ] {
        message.user_properties.push((name.to_owned(), value));
    }
    message.payload = match event.data {
        None => Bytes::new(),
        Some(Data::BinaryData(data)) => data,
        Some(Data::TextData(data)) => data.into(),
        Some(Data::ProtoData(_)) => {
            return Err(Refusal::invalid(
                "field `proto_data` is not understood; send JSON in `binary_data`",
            ));
        }
    };
    let structured = message.content_type.as_deref();
    if structured.is_some_and(|kind| kind.starts_with(STRUCTURED))
        && (message.payload.len() > STRUCTURED_BYTES || count(&message.payload) > VALUES)
    {
        return Err(Refusal::invalid(format!(
            "a structured event has {STRUCTURED_BYTES} bytes and {VALUES} JSON values at most"
        )));
    }
    decode(&message).map_err(|error| {
        let error = chain(&error);
        Refusal::invalid(clip(&error, ERROR_BYTES).replace("user property", "attribute"))
    })
}

/// The text of an attribute, as CloudEvents writes each type.
fn text(name: &str, value: Attr) -> Result<String, Refusal> {
    Ok(match value {
        Attr::CeBoolean(value) => value.to_string(),
        Attr::CeInteger(value) => value.to_string(),
        Attr::CeString(value) | Attr::CeUri(value) | Attr::CeUriRef(value) => value,
        Attr::CeBytes(value) => STANDARD.encode(value),
        Attr::CeTimestamp(value) => {
            let at = Timestamp::new(value.seconds, value.nanos).map_err(|_| {
                let name = clip(name, NAME_BYTES);
                Refusal::invalid(format!(
                    "attribute `{name}` holds no time from the year 1 to 9999"
                ))
            })?;
            rfc3339_nanos(at)
        }
    })
}

/// The event that tells a source what is reported of one of its bundles, as Maestro sends it (docs/MAESTRO.md §3.2, §5.3): from
/// whom an agent would be, with the metadata the source gave and the bundle beside the status, so that a client can make
/// a ManifestWork of this event alone. `None` for a report without a sequence id: Go clients refuse such an event, and what
/// is not known of the agent's order is not made up.
pub(super) fn status_event(report: &Report) -> Option<CloudEvent> {
    let sequence_id = report.sequence_id?;
    let consumer = report.consumer_name.as_str();
    let metadata = match &report.metadata {
        Some(metadata) => metadata.to_string(),
        // Made by REST without any.
        None => json!({"name": report.id, "namespace": consumer, "uid": report.id}).to_string(),
    };
    let mut attributes = vec![
        ("contenttype", string("application/json")),
        ("ce-time", Attr::CeTimestamp(timestamp(report.at))),
        ("ce-clustername", string(consumer)),
        ("ce-originalsource", string(report.source.as_str())),
        ("ce-resourceid", string(&report.id)),
        ("ce-resourceversion", Attr::CeInteger(report.version.get())),
        ("ce-sequenceid", string(sequence_id.to_string())),
        ("ce-metadata", string(metadata)),
    ];
    if let Some(hash) = &report.status_hash {
        attributes.push(("ce-statushash", string(hash)));
    }
    Some(CloudEvent {
        id: Uuid::new_v4().to_string(),
        source: format!("{consumer}-work-agent"),
        spec_version: SPEC_VERSION.to_owned(),
        r#type: Kind::status(Action::Update).to_string(),
        attributes: attributes
            .into_iter()
            .map(|(name, attr)| {
                (
                    name.to_owned(),
                    CloudEventAttributeValue { attr: Some(attr) },
                )
            })
            .collect(),
        data: Some(Data::BinaryData(status_data(
            &report.payload,
            report.content.as_ref(),
        ))),
    })
}

/// The event that only says that the stream is alive (docs/MAESTRO.md §3.7).
pub(super) fn heartbeat() -> CloudEvent {
    CloudEvent {
        id: Uuid::new_v4().to_string(),
        spec_version: SPEC_VERSION.to_owned(),
        r#type: HEARTBEAT.to_owned(),
        ..CloudEvent::default()
    }
}

/// Status data with the bundle, spliced: an agent that sent a `manifestBundle` of its own is not believed, because of two
/// members of one name Go takes the last.
fn status_data(status: &Json, content: Option<&Content>) -> Bytes {
    let members = status.object_members().unwrap_or_default();
    let Some(content) = content else {
        return format!("{{{members}}}").into();
    };
    let bundle = content.payload();
    let mut data = Vec::with_capacity(members.len() + bundle.len() + 20);
    data.push(b'{');
    data.extend_from_slice(members.as_bytes());
    if !members.is_empty() {
        data.push(b',');
    }
    data.extend_from_slice(b"\"manifestBundle\":");
    data.extend_from_slice(&bundle);
    data.push(b'}');
    data.into()
}

fn string(text: impl Into<String>) -> Attr {
    Attr::CeString(text.into())
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
    }
}

const SPEC_VERSION: &str = "1.0";
const CONTENT_TYPE: &str = "contenttype";
const HEARTBEAT: &str = "io.open-cluster-management.cloudevents.heartbeat";

const STRUCTURED: &str = "application/cloudevents";

// Read before its source is known to be the caller's: the longest payload, four times over for white space and escapes.
const STRUCTURED_BYTES: usize = 512 * 1024;

const ERROR_BYTES: usize = 400;
const NAME_BYTES: usize = 80;

#[cfg(test)]
mod tests;
