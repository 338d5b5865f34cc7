//! The data of an event: a bundle's objects, a status's conditions, what a resync holds.

use link::bundle::manifest::ObjectRef;
use link::bundle::resync::{SpecRequest, StatusRequest};
use link::bundle::{Condition, FieldValue, Spec, Status};
use link::event::{Action, Event, SubResource};
use serde_json::{Value, json};

#[derive(Debug)]
pub(super) enum Data {
    None,
    Bundle(Spec),
    Status(Status),
    /// What one side holds, by bundle: versions or hashes of statuses.
    Resync(Vec<(String, String)>, &'static str),
    /// Data of another kind, or data that could not be read.
    Other(Option<String>),
}

// === impl Data ===

impl Data {
    pub(super) fn of(event: &Event) -> Self {
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
                    Self::Resync(held.collect(), "version")
                })
            }
            (SubResource::Status, Action::ResyncRequest) => {
                serde_json::from_slice::<StatusRequest>(bytes).map(|request| {
                    let held = request.status_hashes.into_iter();
                    let held = held.map(|h| (h.resource_id, h.status_hash));
                    Self::Resync(held.collect(), "statusHash")
                })
            }
            (SubResource::Spec, _) => serde_json::from_slice(bytes).map(Self::Bundle),
            (SubResource::Status, _) => serde_json::from_slice(bytes).map(Self::Status),
        };
        read.unwrap_or_else(|error| Self::Other(Some(format!("data cannot be read: {error}"))))
    }

    pub(super) fn describe(&self, lines: &mut Vec<String>) {
        match self {
            Self::None => {}
            Self::Other(None) => lines.push("  data of a kind that is not shown; use --raw".into()),
            Self::Other(Some(problem)) => lines.push(format!("  {problem}")),
            Self::Resync(held, what) => {
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

    pub(super) fn json(&self) -> Option<(&'static str, Value)> {
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
            Self::Resync(held, what) => {
                let entries: Vec<Value> = held
                    .iter()
                    .map(|(id, value)| json!({"resourceID": id, *what: value}))
                    .collect();
                Some(("resync", json!({"count": held.len(), "held": entries})))
            }
        }
    }
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

// A resync of 5 000 bundles would scroll everything else away.
const SHOWN_HELD: usize = 10;
