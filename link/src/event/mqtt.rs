//! CloudEvents in MQTT binary mode: attributes are `ce-` user properties, the payload is the bare data.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use super::{Event, InvalidKind};
use crate::clock::rfc3339_nanos;
use crate::iot::limits::is_carried;
use crate::message::Message;
use crate::order::{InvalidSequenceId, SequenceId, Version};

/// Why a message is not an event this link understands. The message is acked and counted, never retried.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Neither binary nor structured mode.
    #[error("message is no CloudEvent: no `ce-specversion` user property")]
    NotAnEvent,
    /// Another major version of CloudEvents.
    #[error("`ce-specversion` is `{0}`, not `1.0`")]
    SpecVersion(String),
    /// A required attribute is missing.
    #[error("attribute `{0}` is missing")]
    Missing(&'static str),
    /// An attribute's name is not alphanumeric ASCII; CloudEvents refuses the whole event.
    #[error("attribute name `{0}` is not alphanumeric ASCII")]
    AttributeName(String),
    /// An attribute's value cannot be read.
    #[error("attribute `{name}` holds `{value}`, not {expected}")]
    Value {
        /// Attribute name.
        name: &'static str,
        /// The value, cut to 80 characters.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// The type is not in the grammar.
    #[error("attribute `type` cannot be read")]
    Kind(#[source] InvalidKind),
    /// The sequence id is not a number.
    #[error("attribute `sequenceid` cannot be read")]
    Sequence(#[source] InvalidSequenceId),
    /// A structured-mode event that is not JSON.
    #[error("structured event is not a JSON object")]
    Structured(#[source] serde_json::Error),
}

/// Writes an event: required attributes first, extensions after them, only what is set.
pub fn encode(event: &Event, topic: impl Into<String>) -> Message {
    let mut properties = vec![
        property("id", &event.id),
        property("source", &event.source),
        property("specversion", "1.0"),
        property("type", &event.kind.to_string()),
    ];
    let mut optional = |name: &str, value: Option<String>| {
        properties.extend(value.map(|value| property(name, &value)));
    };
    optional("time", event.time.map(rfc3339_nanos));
    optional("clustername", event.cluster_name.clone());
    optional("originalsource", event.original_source.clone());
    optional("resourceid", event.resource_id.clone());
    optional(
        "resourceversion",
        event.resource_version.map(|v| v.to_string()),
    );
    optional("sequenceid", event.sequence_id.map(|v| v.to_string()));
    optional(
        "deletiontimestamp",
        event.deletion_timestamp.map(rfc3339_nanos),
    );
    optional("statushash", event.status_hash.clone());
    optional("metadata", event.metadata.as_deref().map(carried_json));
    optional("logtracing", event.log_tracing.clone());
    for (name, value) in &event.extensions {
        optional(name, Some(value.clone()));
    }
    Message {
        topic: topic.into(),
        payload: event.data.clone().unwrap_or_default(),
        content_type: event.data.is_some().then(|| JSON.to_string()),
        user_properties: properties,
        retain: false,
        expiry_seconds: None,
        extra: None,
    }
}

/// Reads an event in binary or structured mode. Header keys may come in any order and case beyond `ce-`.
///
/// # Errors
/// [`DecodeError`] names the attribute that is missing or unreadable.
pub fn decode(message: &Message) -> Result<Event, DecodeError> {
    let structured = message
        .content_type
        .as_deref()
        .is_some_and(|content_type| content_type.starts_with("application/cloudevents"));
    if structured {
        return decode_structured(&message.payload);
    }
    let mut attributes = BTreeMap::new();
    for (key, value) in &message.user_properties {
        let Some(name) = key.strip_prefix("ce-") else {
            continue;
        };
        attributes.insert(attribute_name(name)?, value.clone());
    }
    if !attributes.contains_key("specversion") {
        return Err(DecodeError::NotAnEvent);
    }
    let has_data = message.content_type.is_some() || !message.payload.is_empty();
    from_attributes(attributes, has_data.then(|| message.payload.clone()))
}

fn decode_structured(payload: &Bytes) -> Result<Event, DecodeError> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(payload).map_err(DecodeError::Structured)?;
    let mut attributes = BTreeMap::new();
    let mut data = None;
    for (key, value) in object {
        match (key.as_str(), value) {
            ("data", value) => data = Some(Bytes::from(value.to_string())),
            ("data_base64", _) | (_, serde_json::Value::Null) => {}
            (_, serde_json::Value::String(text)) => {
                attributes.insert(attribute_name(&key)?, text);
            }
            (_, value) => {
                attributes.insert(attribute_name(&key)?, value.to_string());
            }
        }
    }
    from_attributes(attributes, data)
}

fn from_attributes(
    mut attributes: BTreeMap<String, String>,
    data: Option<Bytes>,
) -> Result<Event, DecodeError> {
    let mut take = |name: &'static str| attributes.remove(name);
    let required = |value: Option<String>, name| value.ok_or(DecodeError::Missing(name));
    let spec_version = required(take("specversion"), "specversion")?;
    if spec_version != "1.0" {
        return Err(DecodeError::SpecVersion(shown(&spec_version, 20)));
    }
    let event = Event {
        id: required(take("id"), "id")?,
        source: required(take("source"), "source")?,
        kind: required(take("type"), "type")?
            .parse()
            .map_err(DecodeError::Kind)?,
        time: take("time")
            .map(|text| timestamp("time", &text))
            .transpose()?,
        cluster_name: take("clustername"),
        original_source: take("originalsource"),
        resource_id: take("resourceid"),
        resource_version: take("resourceversion")
            .map(|text| version(&text))
            .transpose()?,
        sequence_id: take("sequenceid")
            .filter(|text| !text.is_empty())
            .map(|text| text.parse::<SequenceId>())
            .transpose()
            .map_err(DecodeError::Sequence)?,
        deletion_timestamp: take("deletiontimestamp")
            .map(|text| timestamp("deletiontimestamp", &text))
            .transpose()?,
        status_hash: take("statushash"),
        metadata: take("metadata"),
        log_tracing: take("logtracing"),
        data,
        extensions: BTreeMap::new(),
    };
    attributes.remove("datacontenttype");
    Ok(Event {
        extensions: attributes,
        ..event
    })
}

fn attribute_name(name: &str) -> Result<String, DecodeError> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(DecodeError::AttributeName(shown(name, 80)));
    }
    Ok(name.to_ascii_lowercase())
}

fn timestamp(name: &'static str, text: &str) -> Result<Timestamp, DecodeError> {
    text.parse().map_err(|_| DecodeError::Value {
        name,
        value: shown(text, 80),
        expected: "an RFC 3339 time",
    })
}

fn version(text: &str) -> Result<Version, DecodeError> {
    Version::parse(text).ok_or_else(|| DecodeError::Value {
        name: "resourceversion",
        value: shown(text, 80),
        expected: "an integer between 0 and 2147483647",
    })
}

/// JSON text in which what MQTT does not carry is escaped. Such characters, from U+007F on, stand only inside JSON's
/// strings, and a reader finds them there again.
fn carried_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character < '\u{7f}' || is_carried(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

// What a peer wrote, on one line of a log.
fn shown(text: &str, characters: usize) -> String {
    text.chars()
        .take(characters)
        .flat_map(char::escape_debug)
        .collect()
}

fn property(name: &str, value: &str) -> (String, String) {
    (format!("ce-{name}"), value.to_string())
}

const JSON: &str = "application/json";
