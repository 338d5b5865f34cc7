//! What the agent holds for its sources: one work per bundle, and the durable store of all of them.
//!
//! A [`Store`] keeps payloads and statuses elsewhere and only an [`WorkIndex`] in memory, so that thousands of bundles
//! cost the agent little; what `commit` returned from survives a power cut. [`Files`]
//! is one in a state directory, [`Objects`] one in a cluster.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use link::bundle::Status;
use link::bundle::manifest::ObjectRef;
use link::order::{SequenceId, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::change::Change;

mod error;
mod file;
mod files;
mod index;
mod labels;
mod monitored;
mod objects;
mod refusal;
mod sequence;
mod tombstones;

pub use error::StoreError;
pub use file::Damage;
pub use files::{Files, OpenedFiles, Quarantined};
pub use index::WorkIndex;
pub(crate) use labels::{bundle_name, labels};
pub use monitored::MonitoredStore;
pub use objects::{Found, Objects};
pub use refusal::ApiRefusal;
pub(crate) use tombstones::created;

pub use crate::work_id::WorkId;

/// The durable set of works. Clones share it.
pub trait Store: Clone + Send + Sync + 'static {
    /// What memory keeps of the works.
    fn index(&self) -> &WorkIndex;

    /// Makes works durable, all of them or none that a caller may acknowledge. One id at most once per call.
    ///
    /// # Errors
    /// Some of the works may be durable already, which a repetition does not mind. [`StoreError::Foreign`] names the one work
    /// without which it can be repeated.
    fn commit(&self, works: Arc<Vec<Work>>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads a work with its newest status; `None` when it is not held (any more).
    ///
    /// # Errors
    /// When that cannot be determined.
    fn read(&self, id: &WorkId) -> impl Future<Output = Result<Option<Stored>, StoreError>> + Send;

    /// Reads what a report needs; `None` when there is no status yet.
    ///
    /// # Errors
    /// When that cannot be determined.
    fn reported(
        &self,
        id: &WorkId,
    ) -> impl Future<Output = Result<Option<(Head, StatusRecord)>, StoreError>> + Send;

    /// Takes a new status, unless the work was removed or committed again since `epoch`. Returns whether it did. From
    /// then on it is what is reported; it may be a while until it survives the end of the process.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: StatusRecord,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Makes the status that was taken last outlive the process, unless it does already. `snapshot` says what the objects of
    /// the work, as it was at this epoch, looked like then, in words that have no meaning here but the first, which names who says so. It may be
    /// kept too, and is written alone where the one that is kept was another's.
    ///
    /// # Errors
    /// When it cannot be written; another call tries again.
    fn write_status(
        &self,
        _id: &WorkId,
        _snapshot: Option<(u64, String)>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The snapshots that an earlier process kept with the statuses of works as they are. They are given once.
    fn take_snapshots(&self) -> HashMap<WorkId, StoredSnapshot> {
        HashMap::new()
    }

    /// Notes that the broker took the status with this hash. A newer status stays unacknowledged.
    ///
    /// # Errors
    /// When it cannot be written; the status would be sent once more after a restart.
    fn acknowledge(
        &self,
        id: &WorkId,
        record: StatusRecord,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether a commit keeps the payload that is held where the new version brings none (a deletion, a version that cannot
    /// be used), so that nobody need read it first.
    fn keeps_payloads(&self) -> bool {
        false
    }

    /// Whether there may be something durable of a work that is not in the index: what could not be read when the
    /// store was opened, or was damaged by somebody else since. A deletion of such a work is committed all the same.
    fn may_hold(&self, _id: &WorkId) -> bool {
        false
    }

    /// Forgets a work that is gone from the target: one whose deletion was acknowledged, which is remembered for a
    /// while ([`WorkIndex::is_late`]), or one that was dropped on this side ([`Entry::dropped`]), which is asked for again.
    /// Other works are left alone.
    ///
    /// # Errors
    /// When it is still held.
    fn remove(&self, id: &WorkId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A sequence id greater than every one before it, over restarts too.
    ///
    /// # Errors
    /// When the ceiling cannot be written.
    fn next_sequence(
        &self,
        now: Timestamp,
    ) -> impl Future<Output = Result<SequenceId, StoreError>> + Send;

    /// Sends every change that somebody else made to the works until the future is dropped.
    fn watch(&self, changes: mpsc::Sender<Change>) -> impl Future<Output = ()> + Send;
}

/// A work as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// What is desired.
    pub work: Work,
    /// Its newest status.
    pub record: Option<StatusRecord>,
}

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
    /// The version that status describes; two versions may have the same status.
    pub status_version: Version,
    /// Whether the broker acknowledged that status.
    pub acknowledged: bool,
    /// Whether somebody on this side removed the work although its source wants it: its objects go, then the
    /// source is asked for it again.
    pub dropped: bool,
    /// Why nothing is applied for this work at the moment, if it is paused.
    pub paused: Option<Arc<str>>,
    /// When the source says it made the bundle, verbatim; distinguishes bundles of the same id.
    pub created: Option<Arc<str>>,
    /// Whether an upsert was refused because of the deletion: worth asking the source again once it is gone.
    pub refused_while_deleting: bool,
    /// Rises with every commit of this work; a status judged on an older epoch is not stored.
    pub epoch: u64,
}

/// What was observed of the objects of a work, as it is kept with the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The objects, in the order of the manifests.
    pub objects: Vec<ObjectRef>,
    /// The snapshot, as text of the reconciler.
    pub text: String,
}

/// The newest status of a work and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// The version the status describes.
    pub version: Version,
    /// The status; its transition times outlive a restart so that a restart changes no hash.
    pub status: Status,
    /// Hash of the status (docs/MAESTRO.md §3.5).
    pub hash: String,
    /// Whether the broker acknowledged it.
    pub acknowledged: bool,
    /// When every manifest of the version had been applied, if that has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Timestamp>,
}

// === impl Work ===

impl Work {
    /// A work whose objects were taken over from another agent before its source sent anything to this one.
    pub fn awaited(id: WorkId) -> Self {
        Self {
            head: Head {
                id,
                version: Version::UNVERSIONED,
                source: String::new(),
                metadata: None,
                log_tracing: None,
                deleting_since: None,
                received_at: None,
                content: String::new(),
                rejected: None,
            },
            payload: Bytes::new(),
        }
    }

    /// Whether it is such a work still.
    pub fn is_awaited(&self) -> bool {
        self.head.version == Version::UNVERSIONED
            && self.head.source.is_empty()
            && self.head.deleting_since.is_none()
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
            dropped: false,
            paused: None,
            created: created(head.metadata.as_deref()).map(Into::into),
            refused_while_deleting: false,
            epoch,
        }
    }
}
