//! A received message as a person or a script reads it: events by their attributes, bundles by their objects.
//!
//! What cannot be read as an event or a bundle is still shown, with the reason; nothing is hidden.

use jiff::Timestamp;
use link::bundle::manifest::ObjectRef;
use link::bundle::resync::{SpecRequest, StatusRequest};
use link::bundle::{Condition, FieldValue, Spec, Status};
use link::clock::{rfc3339_nanos, rfc3339_seconds};
use link::error::chain;
use link::event::{Action, DecodeError, Event, SubResource, decode};
use link::message::Message;
use serde_json::{Value, json};

/// One received message, taken apart as far as it can be.
#[derive(Debug)]
pub struct View<'a> {
    message: &'a Message,
    received: Timestamp,
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

#[derive(Debug)]
enum Data {
    None,
    Bundle(Spec),
    Status(Status),
    Held(Vec<(String, String)>, &'static str),
    /// Data of another kind, or data that could not be read.
    Other(Option<String>),
}

// === impl View ===

impl<'a> View<'a> {
    /// Takes a message apart.
    pub fn of(message: &'a Message, received: Timestamp) -> Self {
        let content = match decode(message) {
            Ok(event) => {
                let data = Data::of(&event);
                Content::Event(Box::new(event), data)
            }
            Err(DecodeError::NotAnEvent) => Content::Plain,
            Err(error) => Content::Unreadable(chain(&error)),
        };
        Self {
            message,
            received,
            content,
        }
    }

    /// A header line, then one indented line per object, condition or value.
    pub fn text(&self) -> String {
        let mut lines = vec![self.header()];
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
        let message = self.message;
        let mut object = json!({
            "type": "message",
            "received": rfc3339_nanos(self.received),
            "topic": message.topic,
            "bytes": message.payload.len(),
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
        let mut parts = vec![rfc3339_seconds(self.received), self.message.topic.clone()];
        let mut add = |name: &str, value: Option<String>| {
            parts.extend(
                value
                    .filter(|value| !value.is_empty())
                    .map(|value| format!("{name}={value}")),
            );
        };
        match &self.content {
            Content::Plain | Content::Unreadable(_) => {
                add("bytes", Some(self.message.payload.len().to_string()));
                add("content-type", self.message.content_type.clone());
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
                add("bytes", Some(self.message.payload.len().to_string()));
            }
        }
        if self.message.retain {
            parts.push("retained".into());
        }
        parts.join(" ")
    }

    fn payload_text(&self) -> String {
        if self.message.payload.is_empty() {
            return "(empty)".into();
        }
        match std::str::from_utf8(&self.message.payload) {
            Ok(text) => text.to_string(),
            Err(_) => hex(&self.message.payload),
        }
    }
}

// === impl Data ===

impl Data {
    fn of(event: &Event) -> Self {
        let bytes = event.data_bytes();
        if bytes.is_empty() {
            return Self::None;
        }
        if !event.kind.is_manifest_bundle() {
            return Self::Other(None);
        }
        let read = match (event.kind.sub_resource, event.kind.action) {
            (SubResource::Spec, Action::ResyncRequest) => {
                serde_json::from_slice::<SpecRequest>(bytes).map(|request| {
                    let held = request.resource_versions.into_iter();
                    let held = held.map(|h| (h.resource_id, h.resource_version.to_string()));
                    Self::Held(held.collect(), "version")
                })
            }
            (SubResource::Status, Action::ResyncRequest) => {
                serde_json::from_slice::<StatusRequest>(bytes).map(|request| {
                    let held = request.status_hashes.into_iter();
                    let held = held.map(|h| (h.resource_id, h.status_hash));
                    Self::Held(held.collect(), "statusHash")
                })
            }
            (SubResource::Spec, _) => serde_json::from_slice(bytes).map(Self::Bundle),
            (SubResource::Status, _) => serde_json::from_slice(bytes).map(Self::Status),
        };
        read.unwrap_or_else(|error| Self::Other(Some(format!("data cannot be read: {error}"))))
    }

    fn describe(&self, lines: &mut Vec<String>) {
        match self {
            Self::None => {}
            Self::Other(None) => lines.push("  data of a kind that is not shown; use --raw".into()),
            Self::Other(Some(problem)) => lines.push(format!("  {problem}")),
            Self::Held(held, what) => {
                let noun = if *what == "version" {
                    "bundles held"
                } else {
                    "statuses held"
                };
                lines.push(format!("  resync: {} {noun}", held.len()));
                for (id, value) in held.iter().take(SHOWN_HELD) {
                    lines.push(format!("    {id} {what}={value}"));
                }
                if held.len() > SHOWN_HELD {
                    lines.push(format!("    and {} more", held.len() - SHOWN_HELD));
                }
            }
            Self::Bundle(spec) => {
                for manifest in &spec.manifests {
                    let bytes = manifest.to_string().len();
                    lines.push(format!("  {} ({bytes} bytes)", ObjectRef::of(manifest)));
                }
                if let Some(policy) = spec
                    .delete_option
                    .as_ref()
                    .and_then(|o| o.propagation_policy.as_ref())
                {
                    lines.push(format!("  on deletion: {policy}"));
                }
            }
            Self::Status(status) => {
                describe_conditions(&status.conditions, "  ", lines);
                for object in &status.resource_status {
                    let meta = &object.resource_meta;
                    let reference = ObjectRef {
                        group: meta.group.clone(),
                        version: meta.version.clone(),
                        kind: meta.kind.clone(),
                        namespace: meta.namespace.clone(),
                        name: meta.name.clone(),
                    };
                    lines.push(format!("  {reference}"));
                    describe_conditions(&object.conditions, "    ", lines);
                    for value in &object.status_feedback.values {
                        lines.push(format!(
                            "    {} = {}",
                            value.name,
                            feedback(&value.field_value)
                        ));
                    }
                }
            }
        }
    }

    fn json(&self) -> Option<(&'static str, Value)> {
        match self {
            Self::None | Self::Other(_) => None,
            Self::Bundle(spec) => {
                let objects: Vec<Value> = spec
                    .manifests
                    .iter()
                    .map(|manifest| {
                        let object = ObjectRef::of(manifest);
                        json!({
                            "group": object.group, "version": object.version, "kind": object.kind,
                            "namespace": object.namespace, "name": object.name,
                            "bytes": manifest.to_string().len(),
                        })
                    })
                    .collect();
                Some(("manifests", json!(objects)))
            }
            Self::Status(status) => serde_json::to_value(status)
                .ok()
                .map(|status| ("status", status)),
            Self::Held(held, what) => {
                let entries: Vec<Value> = held
                    .iter()
                    .map(|(id, value)| json!({"resourceID": id, *what: value}))
                    .collect();
                Some(("resync", json!({"count": held.len(), "held": entries})))
            }
        }
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

fn describe_conditions(conditions: &[Condition], indent: &str, lines: &mut Vec<String>) {
    for condition in conditions {
        let mut line = format!(
            "{indent}{}={} {}",
            condition.kind, condition.status, condition.reason
        );
        if !condition.message.is_empty() {
            line.push_str(": ");
            line.push_str(&condition.message);
        }
        lines.push(line);
    }
}

fn feedback(value: &FieldValue) -> String {
    match value {
        FieldValue::Integer { integer } => integer.to_string(),
        FieldValue::String { string } => string.clone(),
        FieldValue::Boolean { boolean } => boolean.to_string(),
        FieldValue::JsonRaw { json_raw } => json_raw.clone(),
    }
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// A resync of 5 000 bundles would scroll everything else away.
const SHOWN_HELD: usize = 10;

#[cfg(test)]
mod tests;
