//! Writes resources as JSON, member by member; stored JSON is copied without parsing.

use jiff::Timestamp;
use link::clock::rfc3339_nanos;
use serde::Serialize;

use super::PREFIX;
use super::list::{Fields, Members};
use super::presence::{Detail, view};
use crate::store::{
    Bundle, Circumstances, Consumer, Json, LedgerEntry, Load, Presence, Progress, Status,
};

/// Members of a consumer.
pub(super) const CONSUMER: Members = Members {
    known: &[
        "id",
        "kind",
        "href",
        "name",
        "labels",
        "created_at",
        "updated_at",
        "last_seen_at",
        "bundles",
        "waiting_to_send",
        "waiting_to_apply",
        "waiting_for_available",
        "waiting_for_deletion",
        "oldest_waiting_since",
        PRESENCE,
    ],
    asked_for: &[
        "last_seen_at",
        "bundles",
        "waiting_to_send",
        "waiting_to_apply",
        "waiting_for_available",
        "waiting_for_deletion",
        "oldest_waiting_since",
        PRESENCE,
    ],
};

/// Those that are counted.
pub(super) const LOAD_FIELDS: &[&str] = &[
    "bundles",
    "waiting_to_send",
    "waiting_to_apply",
    "waiting_for_available",
    "waiting_for_deletion",
    "oldest_waiting_since",
];

/// How its agent is.
pub(super) const PRESENCE: &str = "presence";

/// Members of a bundle.
pub(super) const BUNDLE: Members = Members {
    known: &[
        "id",
        "kind",
        "href",
        "name",
        "consumer_name",
        "version",
        "created_at",
        "updated_at",
        "deleted_at",
        "metadata",
        "manifests",
        "manifest_configs",
        "delete_option",
        "executer",
        "status",
        "source",
        "ledger",
        "applied",
        "available",
        "status_version",
        "status_at",
        "waiting_for",
        "waiting_since",
    ],
    asked_for: &[
        "executer",
        "source",
        "ledger",
        "applied",
        "available",
        "status_version",
        "status_at",
        "waiting_for",
        "waiting_since",
    ],
};

/// How far it has come.
pub(super) const PROGRESS_FIELDS: &[&str] = &[
    "applied",
    "available",
    "status_version",
    "status_at",
    "waiting_for",
    "waiting_since",
];

pub(super) fn consumer(consumer: &Consumer, fields: &Fields, out: &mut Vec<u8>) {
    let mut object = Object::begin(out, fields);
    consumer_members(&mut object, consumer);
    object.end();
}

/// A consumer with what is read for lists that ask for it.
pub(super) struct Loaded {
    pub(super) consumer: Consumer,
    /// What waits of it.
    pub(super) load: Load,
    /// How its agent is.
    pub(super) presence: Option<(Presence, Circumstances)>,
}

/// The same as JSON.
pub(super) fn loaded(loaded: &Loaded, fields: &Fields, out: &mut Vec<u8>) {
    let Loaded {
        consumer,
        load,
        presence,
    } = loaded;
    let mut object = Object::begin(out, fields);
    consumer_members(&mut object, consumer);
    object.value("bundles", &load.bundles);
    object.value("waiting_to_send", &load.waiting_to_send);
    object.value("waiting_to_apply", &load.waiting_to_apply);
    object.value("waiting_for_available", &load.waiting_for_available);
    object.value("waiting_for_deletion", &load.waiting_for_deletion);
    if let Some(since) = load.oldest_waiting_since {
        object.time("oldest_waiting_since", since);
    }
    if let Some((presence, circumstances)) = presence {
        object.value(PRESENCE, &view(presence, *circumstances, Detail::Summary));
    }
    object.end();
}

fn consumer_members(object: &mut Object<'_>, consumer: &Consumer) {
    object.value("id", &consumer.id);
    object.value("kind", &"Consumer");
    object.value("href", &format!("{PREFIX}/consumers/{}", consumer.id));
    object.value("name", &consumer.name.as_str());
    // Left out where there are none, as Maestro does.
    if !consumer.labels.is_empty() {
        object.value("labels", &consumer.labels);
    }
    object.time("created_at", consumer.created_at);
    object.time("updated_at", consumer.updated_at);
    if let Some(at) = consumer.last_seen_at {
        object.time("last_seen_at", at);
    }
}

pub(super) fn bundle(bundle: &Bundle, fields: &Fields, out: &mut Vec<u8>) {
    let mut object = Object::begin(out, fields);
    object.value("id", &bundle.id);
    object.value("kind", &"ResourceBundle");
    object.value("href", &format!("{PREFIX}/resource-bundles/{}", bundle.id));
    object.value("name", &bundle.name);
    object.value("consumer_name", &bundle.consumer_name.as_str());
    object.value("version", &bundle.version.get());
    object.time("created_at", bundle.created_at);
    object.time("updated_at", bundle.updated_at);
    if let Some(at) = bundle.deleted_at {
        object.time("deleted_at", at);
    }
    object.json("metadata", bundle.metadata.as_ref());
    if let Some(content) = &bundle.content {
        object.json("manifests", Some(&content.manifests));
        object.json("manifest_configs", content.manifest_configs.as_ref());
        object.json("delete_option", content.delete_option.as_ref());
        object.json("executer", content.executer.as_ref());
    }
    if let Some(status) = &bundle.status {
        object.raw("status", &status_text(status));
    }
    object.value("source", &bundle.source.as_str());
    if let Some(entries) = &bundle.ledger {
        let entries: Vec<Hop> = entries.iter().map(Hop::from).collect();
        object.value("ledger", &entries);
    }
    if let Some(progress) = &bundle.progress {
        progress_members(&mut object, progress);
    }
    object.end();
}

/// What is absent is left out.
fn progress_members(object: &mut Object<'_>, progress: &Progress) {
    if let Some(applied) = progress.applied {
        object.value("applied", &applied.as_str());
    }
    if let Some(available) = progress.available {
        object.value("available", &available.as_str());
    }
    if let Some(version) = progress.status_version {
        object.value("status_version", &version.get());
    }
    if let Some(at) = progress.status_at {
        object.time("status_at", at);
    }
    if let Some(step) = progress.waiting_for {
        object.value("waiting_for", &step.as_str());
    }
    if let Some(since) = progress.waiting_since {
        object.time("waiting_since", since);
    }
}

/// `{"ObservedVersion", "SequenceID", …the status data…}` (docs/MAESTRO.md §5.2).
fn status_text(status: &Status) -> String {
    let mut text = format!("{{\"ObservedVersion\":{}", status.version);
    if let Some(sequence) = status.sequence_id {
        text.push_str(&format!(",\"SequenceID\":\"{sequence}\""));
    }
    if let Some(members) = status.payload.object_members().filter(|m| !m.is_empty()) {
        text.push(',');
        text.push_str(members);
    }
    text.push('}');
    text
}

/// One ledger entry as shown.
#[derive(Serialize)]
struct Hop<'a> {
    version: i32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deletion: bool,
    stored_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_acked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_at: Option<String>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl<'a> From<&'a LedgerEntry> for Hop<'a> {
    fn from(entry: &'a LedgerEntry) -> Self {
        Self {
            version: entry.version.get(),
            deletion: entry.deletion,
            stored_at: rfc3339_nanos(entry.stored_at),
            published_at: entry.published_at.map(rfc3339_nanos),
            broker_acked_at: entry.acked_at.map(rfc3339_nanos),
            matched: entry.matched,
            received_at: entry.received_at.map(rfc3339_nanos),
            applied_at: entry.applied_at.map(rfc3339_nanos),
            reported_at: entry.reported_at.map(rfc3339_nanos),
            attempts: entry.attempts,
            failed_at: entry.failed_at.map(rfc3339_nanos),
            failure: entry.failure.as_deref(),
            note: entry.note.as_deref(),
        }
    }
}

/// Writes one JSON object, leaving out members nobody asked for.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    fields: &'a Fields,
    first: bool,
}

// === impl Object ===

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>, fields: &'a Fields) -> Self {
        out.push(b'{');
        Self {
            out,
            fields,
            first: true,
        }
    }

    fn value(&mut self, key: &str, value: &impl Serialize) {
        if self.fields.wants(key) {
            // Strings, numbers and maps of strings always have a JSON form.
            let text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
            self.raw(key, &text);
        }
    }

    fn time(&mut self, key: &str, at: Timestamp) {
        self.value(key, &rfc3339_nanos(at));
    }

    fn json(&mut self, key: &str, value: Option<&Json>) {
        if let Some(value) = value {
            self.raw(key, value.as_str());
        }
    }

    fn raw(&mut self, key: &str, text: &str) {
        if !self.fields.wants(key) {
            return;
        }
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out.extend_from_slice(text.as_bytes());
    }

    fn end(self) {
        self.out.push(b'}');
    }
}
