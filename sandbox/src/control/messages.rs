//! Messages over HTTP, as the data plane takes them: SendDirectMessage to one client, Publish to a topic.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Refusal};
use super::extract::{Params, Segment};
use super::names::ClientName;
use super::plane::Plane;
use crate::broker::{Content, Publication};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Direct {
    topic: String,
    content_type: Option<String>,
    response_topic: Option<String>,
    #[serde(default)]
    confirmation: bool,
    timeout: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Topical {
    content_type: Option<String>,
    response_topic: Option<String>,
    qos: Option<u8>,
    #[serde(default)]
    retain: bool,
    message_expiry: Option<u64>,
}

/// The texts of the answer are assumed. Whether the sender may send is not looked at: whoever reaches this address may.
pub(super) async fn send_direct(
    State(plane): State<Arc<Plane>>,
    Segment(ClientName(client_id)): Segment<ClientName>,
    Params(direct): Params<Direct>,
    headers: HeaderMap,
    payload: Bytes,
) -> Answer {
    let seconds = direct.timeout.unwrap_or(CONFIRM_WITHIN);
    if direct.confirmation && !CONFIRM.contains(&seconds) {
        return Err(Refusal::invalid(format!(
            "timeout {seconds} is not between {} and {} seconds",
            CONFIRM.start(),
            CONFIRM.end()
        )));
    }
    let within = direct.confirmation.then(|| Duration::from_secs(seconds));
    let content = Content {
        topic: direct.topic,
        content_type: direct.content_type,
        response_topic: direct.response_topic,
        ..content(&headers, payload)?
    };
    plane
        .broker
        .send_direct(&client_id, content, within)
        .await?;
    Ok(done())
}

pub(super) async fn publish(
    State(plane): State<Arc<Plane>>,
    Segment(topic): Segment<String>,
    Params(asked): Params<Topical>,
    headers: HeaderMap,
    payload: Bytes,
) -> Answer {
    let at_least_once = match asked.qos {
        None | Some(0) => false,
        Some(1) => true,
        Some(other) => return Err(Refusal::invalid(format!("qos {other} is not 0 or 1"))),
    };
    let content = Content {
        topic,
        content_type: asked.content_type,
        response_topic: asked.response_topic,
        ..content(&headers, payload)?
    };
    let publication = Publication {
        at_least_once,
        retain: asked.retain,
        expiry: asked.message_expiry.map(Duration::from_secs),
    };
    plane.broker.publish(content, publication)?;
    Ok(done())
}

/// What headers and body say of a message.
fn content(headers: &HeaderMap, payload: Bytes) -> Result<Content, Refusal> {
    let text = |name: &str| {
        let value = headers.get(name).map(|value| value.to_str());
        value
            .transpose()
            .map_err(|_| Refusal::invalid(format!("header `{name}` is not text")))
    };
    let decoded = |name: &str| {
        let bytes = text(name)?.map(|value| BASE64_STANDARD.decode(value));
        bytes
            .transpose()
            .map_err(|_| Refusal::invalid(format!("header `{name}` is not base64")))
    };
    let utf8_payload = match text(PAYLOAD_FORMAT)? {
        None | Some("UNSPECIFIED_BYTES") => false,
        Some("UTF8_DATA") => true,
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "payloadFormatIndicator `{other}` is not valid"
            )));
        }
    };
    let user_properties = match decoded(USER_PROPERTIES)? {
        None => Vec::new(),
        Some(json) => user_properties(&json)
            .ok_or_else(|| Refusal::invalid("userProperties are no array of objects of text"))?,
    };
    Ok(Content {
        payload,
        correlation_data: decoded(CORRELATION)?.map(Bytes::from),
        utf8_payload,
        user_properties,
        ..Content::default()
    })
}

/// `[{"name": "value"}, …]`.
fn user_properties(json: &[u8]) -> Option<Vec<(String, String)>> {
    let objects: Vec<Map<String, Value>> = serde_json::from_slice(json).ok()?;
    let pairs = objects.into_iter().flatten();
    pairs
        .map(|(name, value)| Some((name, value.as_str()?.to_owned())))
        .collect()
}

fn done() -> Json<Value> {
    let trace = uuid::Uuid::new_v4().to_string();
    Json(json!({ "message": "OK", "traceId": trace }))
}

// Seconds that a confirmation is waited for, as in the API reference.
const CONFIRM: std::ops::RangeInclusive<u64> = 1..=15;
const CONFIRM_WITHIN: u64 = 5;

const USER_PROPERTIES: &str = "x-amz-mqtt5-user-properties";
const PAYLOAD_FORMAT: &str = "x-amz-mqtt5-payload-format-indicator";
const CORRELATION: &str = "x-amz-mqtt5-correlation-data";
