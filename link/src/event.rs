//! CloudEvents as this link uses them: one event is one MQTT message (docs/MAESTRO.md §1.3, §2).
//!
//! Reading is tolerant (unknown attributes are kept, missing optional ones are fine), writing is strict: what
//! leaves here carries exactly the attributes that Go peers expect, in a fixed order.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::id::ConsumerName;
use crate::order::{SequenceId, Version};

pub mod agent_report;
pub mod check;
mod kind;
mod mqtt;

pub use kind::{Action, InvalidKind, Kind, MANIFEST_BUNDLES, SubResource};
pub use mqtt::{DecodeError, decode, encode};

/// One CloudEvent. Attributes that this link gives a meaning have a field; all others are in `extensions`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Unique per event; never used to de-duplicate.
    pub id: String,
    /// Who sent it: a source id on the way down, an agent id on the way up.
    pub source: String,
    /// Data type, sub-resource and action.
    pub kind: Kind,
    /// When it was made.
    pub time: Option<Timestamp>,
    /// The consumer it is about, unchecked.
    pub cluster_name: Option<String>,
    /// The source that owns the work; empty in requests to all sources.
    pub original_source: Option<String>,
    /// The bundle id.
    pub resource_id: Option<String>,
    /// The bundle version the event carries or describes.
    pub resource_version: Option<Version>,
    /// Order of a status.
    pub sequence_id: Option<SequenceId>,
    /// Present exactly on deletions.
    pub deletion_timestamp: Option<Timestamp>,
    /// Hash of the status, compared in resyncs.
    pub status_hash: Option<String>,
    /// JSON ObjectMeta as text.
    pub metadata: Option<String>,
    /// JSON map of tracing annotations as text.
    pub log_tracing: Option<String>,
    /// Everything else, by lower-case name.
    pub extensions: BTreeMap<String, String>,
    /// The JSON data; `None` when the event carries none.
    pub data: Option<Bytes>,
}

/// Extension attribute of ours on status events: when the agent took the version (RFC 3339). Go peers ignore it.
pub const RECEIVED_AT: &str = "receivedat";
/// Extension attribute of ours on status events: when the agent had applied the version (RFC 3339).
pub const APPLIED_AT: &str = "appliedat";
/// Extension attribute of ours on resync requests: names the request that a part belongs to.
pub const RESYNC_ID: &str = "resyncid";
/// Extension attribute of ours on resync requests: `2/3` is the second of three parts.
pub const RESYNC_PART: &str = "resyncpart";

/// Extension attribute of ours on status resync requests: it follows a spec resync request of the agent, which need not
/// ask again.
pub const RESYNC_ANSWER: &str = "resyncanswer";

/// The extensions of ours that this version knows, by their attributes; an agent tells them to its bridge.
pub const EXTENSIONS: [&str; 6] = [
    RECEIVED_AT,
    APPLIED_AT,
    RESYNC_ID,
    RESYNC_PART,
    RESYNC_ANSWER,
    agent_report::AGENT_REPORTS,
];

// === impl Event ===

impl Event {
    /// An event with the attributes every event has, and empty `originalsource`, which Go peers always expect.
    pub fn new(
        source: impl Into<String>,
        kind: Kind,
        consumer: &ConsumerName,
        now: Timestamp,
    ) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            source: source.into(),
            kind,
            time: Some(now),
            cluster_name: Some(consumer.to_string()),
            original_source: Some(String::new()),
            resource_id: None,
            resource_version: None,
            sequence_id: None,
            deletion_timestamp: None,
            status_hash: None,
            metadata: None,
            log_tracing: None,
            extensions: BTreeMap::new(),
            data: None,
        }
    }

    /// Sets the resource the event is about.
    #[must_use]
    pub fn about(mut self, resource_id: impl Into<String>, version: Version) -> Self {
        self.resource_id = Some(resource_id.into());
        self.resource_version = Some(version);
        self
    }

    /// Sets the JSON data.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// The data, or an empty slice.
    pub fn data_bytes(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
