//! A received message as a person or a script reads it: events by their attributes, bundles by their objects.
//!
//! What cannot be read as an event or a bundle is still shown, with the reason; nothing is hidden.

mod data;

use link::cli::is_hidden;
use link::clock::{rfc3339_nanos, rfc3339_seconds};
use link::error::chain;
use link::event::{DecodeError, Event, decode};
use serde_json::{Value, json};

use self::data::Data;
use crate::received::Received;

/// One received message, taken apart as far as it can be.
#[derive(Debug)]
pub struct View<'a> {
    received: Received<'a>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Not a CloudEvent at all.
    Plain,
    /// Meant to be one, with what is wrong.
    Unreadable(String),
    Event(Box<Event>, Data),
}

// === impl View ===

impl<'a> View<'a> {
    /// Takes a message apart.
    pub fn of(received: &Received<'a>) -> Self {
        let content = match decode(received.message) {
            Ok(event) => {
                let data = Data::of(&event);
                Content::Event(Box::new(event), data)
            }
            Err(DecodeError::NotAnEvent) => Content::Plain,
            Err(error) => Content::Unreadable(chain(&error)),
        };
        Self {
            received: *received,
            content,
        }
    }

    /// A header line, then one indented line per object, condition or value.
    pub fn text(&self) -> String {
        let mut lines = vec![self.header()];
        self.describe_properties(&mut lines);
        match &self.content {
            Content::Plain => lines.push(format!("  {}", self.payload_text())),
            Content::Unreadable(problem) => {
                lines.push(format!("  not a readable event: {problem}"));
                lines.push(format!("  {}", self.payload_text()));
            }
            Content::Event(_, data) => data.describe(&mut lines),
        }
        // What others wrote must not be able to move the cursor or forge a line on a terminal.
        lines
            .iter()
            .map(|line| printable(line))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The message as one JSON object; the fields are listed in the crate's documentation.
    pub fn json(&self) -> Value {
        let message = self.received.message;
        let mut object = json!({
            "type": "message",
            "received": rfc3339_nanos(self.received.at),
            "topic": message.topic,
            "bytes": message.payload.len(),
            "qos": self.received.qos(),
            "retain": message.retain,
        });
        match std::str::from_utf8(&message.payload) {
            Ok(text) => object["payload"] = json!(text),
            Err(_) => object["payloadHex"] = json!(hex(&message.payload)),
        }
        if let Some(content_type) = &message.content_type {
            object["contentType"] = json!(content_type);
        }
        if !message.user_properties.is_empty() {
            object["userProperties"] = json!(message.user_properties);
        }
        if let Some(extra) = &message.extra {
            if let Some(topic) = &extra.response_topic {
                object["responseTopic"] = json!(topic);
            }
            if let Some(data) = &extra.correlation_data {
                object["correlationDataHex"] = json!(hex(data));
            }
        }
        match &self.content {
            Content::Plain => {}
            Content::Unreadable(problem) => object["problem"] = json!(problem),
            Content::Event(event, data) => {
                object["event"] = event_json(event);
                if let Some((name, value)) = data.json() {
                    object[name] = value;
                }
                if let Data::Other(Some(problem)) = data {
                    object["problem"] = json!(problem);
                }
            }
        }
        object
    }

    fn header(&self) -> String {
        let message = self.received.message;
        let mut parts = vec![rfc3339_seconds(self.received.at), message.topic.clone()];
        let mut add = |name: &str, value: Option<String>| {
            parts.extend(
                value
                    .filter(|value| !value.is_empty())
                    .map(|value| format!("{name}={value}")),
            );
        };
        match &self.content {
            Content::Plain | Content::Unreadable(_) => {
                add("bytes", Some(message.payload.len().to_string()));
                add("content-type", message.content_type.clone());
            }
            Content::Event(event, _) => {
                add("kind", Some(short_kind(event)));
                add("from", Some(event.source.clone()));
                add("consumer", event.cluster_name.clone());
                add("resource", event.resource_id.clone());
                add("version", event.resource_version.map(|v| v.to_string()));
                add("sequence", event.sequence_id.map(|s| s.to_string()));
                add(
                    "deleting-since",
                    event.deletion_timestamp.map(rfc3339_seconds),
                );
                add("bytes", Some(message.payload.len().to_string()));
            }
        }
        add("qos", Some(self.received.qos().to_string()));
        add(
            "expires-in",
            message.expiry_seconds.map(|seconds| format!("{seconds}s")),
        );
        if message.retain {
            parts.push("retained".into());
        }
        parts.join(" ")
    }

    // Those of a CloudEvent are told by its header line.
    fn describe_properties(&self, lines: &mut Vec<String>) {
        let message = self.received.message;
        let is_event = matches!(self.content, Content::Event(..));
        for (name, value) in &message.user_properties {
            if !(is_event && name.starts_with("ce-")) {
                lines.push(format!("  property {name}={value}"));
            }
        }
        let Some(extra) = &message.extra else { return };
        if let Some(topic) = &extra.response_topic {
            lines.push(format!("  response-topic {topic}"));
        }
        if let Some(data) = &extra.correlation_data {
            lines.push(format!("  correlation-data {}", text_or_hex(data)));
        }
    }

    fn payload_text(&self) -> String {
        if self.received.message.payload.is_empty() {
            return "(empty)".into();
        }
        text_or_hex(&self.received.message.payload)
    }
}

fn event_json(event: &Event) -> Value {
    let mut object = json!({
        "id": event.id,
        "source": event.source,
        "type": event.kind.to_string(),
    });
    let optional = [
        ("time", event.time.map(rfc3339_nanos)),
        ("clustername", event.cluster_name.clone()),
        ("originalsource", event.original_source.clone()),
        ("resourceid", event.resource_id.clone()),
        ("sequenceid", event.sequence_id.map(|id| id.to_string())),
        (
            "deletiontimestamp",
            event.deletion_timestamp.map(rfc3339_nanos),
        ),
        ("statushash", event.status_hash.clone()),
        ("metadata", event.metadata.clone()),
        ("logtracing", event.log_tracing.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            object[name] = json!(value);
        }
    }
    if let Some(version) = event.resource_version {
        object["resourceversion"] = json!(version.get());
    }
    if !event.extensions.is_empty() {
        object["extensions"] = json!(event.extensions);
    }
    object
}

// `spec.update_request` for our own data type; the whole type for any other.
fn short_kind(event: &Event) -> String {
    let kind = event.kind.to_string();
    if event.kind.is_manifest_bundle() {
        let parts: Vec<&str> = kind.rsplitn(3, '.').collect();
        if let [action, half, _] = parts.as_slice() {
            return format!("{half}.{action}");
        }
    }
    kind
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_hidden(c) && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn text_or_hex(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
