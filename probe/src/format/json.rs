//! `%j` and `%J`: a message as mosquitto_sub writes it in JSON, its members in the same order.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::formatted;
use crate::received::Received;

/// How the payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// As a text.
    Text,
    /// As the JSON that it is.
    Json,
}

#[derive(Serialize)]
struct MessageJson<'a> {
    tst: String,
    topic: &'a str,
    qos: u8,
    retain: u8,
    payloadlen: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<u16>,
    #[serde(skip_serializing_if = "PropertiesJson::is_empty")]
    properties: PropertiesJson<'a>,
    payload: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PropertiesJson<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "as_members")]
    user_properties: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_format_indicator: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expiry_interval: Option<u32>,
}

// === impl PropertiesJson ===

impl PropertiesJson<'_> {
    fn is_empty(&self) -> bool {
        self.user_properties.is_empty()
            && self.content_type.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.payload_format_indicator.is_none()
            && self.message_expiry_interval.is_none()
    }
}

/// Writes a message; nothing if its payload is to be JSON and is none.
pub(super) fn message_json(received: &Received<'_>, payload: Payload, pretty: bool) -> Vec<u8> {
    let message = received.message;
    let payload = match payload {
        Payload::Text => Value::String(String::from_utf8_lossy(&message.payload).into_owned()),
        Payload::Json => match serde_json::from_slice(&message.payload) {
            Ok(value) => value,
            Err(_) => return Vec::new(),
        },
    };
    let at = received.at.to_zoned(jiff::tz::TimeZone::UTC);
    let extra = message.extra.as_deref();
    let json = MessageJson {
        tst: formatted("%Y-%m-%dT%H:%M:%S.%6f%z", &at),
        topic: &message.topic,
        qos: received.qos(),
        retain: u8::from(message.retain),
        payloadlen: message.payload.len(),
        mid: received.packet_id,
        properties: PropertiesJson {
            user_properties: &message.user_properties,
            content_type: message.content_type.as_deref(),
            response_topic: extra.and_then(|extra| extra.response_topic.as_deref()),
            correlation_data: extra
                .and_then(|extra| extra.correlation_data.as_ref())
                .map(|data| String::from_utf8_lossy(data).into_owned()),
            payload_format_indicator: extra.and_then(|extra| extra.payload_format_indicator),
            message_expiry_interval: message.expiry_seconds,
        },
        payload,
    };
    let written = match pretty {
        true => serde_json::to_vec_pretty(&json),
        false => serde_json::to_vec(&json),
    };
    // All its keys are texts, which is what could fail.
    written.unwrap_or_default()
}

// As members of an object, as mosquitto_sub writes them: a key that repeats stands there twice.
fn as_members<S: Serializer>(pairs: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        map.serialize_entry(key, value)?;
    }
    map.end()
}
