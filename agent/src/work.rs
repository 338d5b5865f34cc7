//! What the agent was told to hold: one work per bundle, and the durable store of all of them.
//!
//! The store keeps payloads and statuses on disk and only an index in memory, so that thousands of bundles cost
//! the agent little; it owes its neighbours that what `commit` returned from survives a power cut.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use link::bundle::Status;
use link::order::Version;
use serde::{Deserialize, Serialize};

mod error;
mod file;
mod sequence;
mod store;
mod sync;

pub use error::Error;
pub(crate) use file::sha256_hex;
pub use file::{Damage, safe_name, write_atomic};
pub use store::{Opened, Quarantined, Store};

/// A bundle's id as the source chose it: any text, usually a UUID. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct WorkId(Arc<str>);

/// One desired work with everything that was received for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Everything but the payload; kept in the first line of the work's file.
    pub head: Head,
    /// The spec payload of the newest *valid* version as received; empty when there never was one.
    pub payload: Bytes,
}

/// The small half of a work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The bundle id.
    pub id: WorkId,
    /// The newest version taken, valid or not.
    pub version: Version,
    /// The source that sent it; a status goes back to it.
    pub source: String,
    /// The `metadata` attribute as received: JSON ObjectMeta as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The `logtracing` attribute as received; echoed so that both sides log the same operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tracing: Option<String>,
    /// Since when the source wants it gone. Never taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting_since: Option<Timestamp>,
    /// When `version` came in; the source shows it in its ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// SHA-256 of the payload received with `version`, in hex; tells a repetition from a change.
    pub content: String,
    /// Why the payload of `version` was not usable; the payload kept is then that of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// What memory keeps of one work.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The newest version taken.
    pub version: Version,
    /// The source that sent it.
    pub source: Arc<str>,
    /// Whether it is to be removed.
    pub deleting: bool,
    /// See [`Head::content`].
    pub content: Arc<str>,
    /// Hash of the newest status, once there is one.
    pub status_hash: Option<Arc<str>>,
    /// The version that status describes; the same words may be said of two versions.
    pub status_version: Version,
    /// Whether the broker acknowledged that status.
    pub acknowledged: bool,
    /// Whether an upsert was refused because of the deletion: worth asking the source again once it is gone.
    pub refused_while_deleting: bool,
    /// Rises with every commit of this work; a status judged on an older epoch is not stored.
    pub epoch: u64,
}

/// The newest status of a work and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// The version the status describes.
    pub version: Version,
    /// The status; its transition times outlive a restart so that a restart changes no hash.
    pub status: Status,
    /// Hash of the status (wire.md §3.5).
    pub hash: String,
    /// Whether the broker acknowledged it.
    pub acknowledged: bool,
    /// When every manifest of the version had been applied, if that has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Timestamp>,
}

// === impl WorkId ===

impl WorkId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for WorkId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for WorkId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<WorkId> for String {
    fn from(id: WorkId) -> Self {
        id.0.as_ref().into()
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Entry ===

impl Entry {
    fn of(head: &Head, epoch: u64) -> Self {
        Self {
            version: head.version,
            source: head.source.as_str().into(),
            deleting: head.deleting_since.is_some(),
            content: head.content.as_str().into(),
            status_hash: None,
            status_version: Version::UNVERSIONED,
            acknowledged: false,
            refused_while_deleting: false,
            epoch,
        }
    }
}
