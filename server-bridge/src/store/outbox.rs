//! What delivery reads and writes: the outbox on the way down, status updates on the way up, and both
//! sides of a resync.

use bytes::Bytes;
use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};

use super::json::Json;

/// That something may need doing. Some may be lost: what they would have told is found by looking now and then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// For this consumer something may need sending.
    Consumer(ConsumerName),
    /// For somebody something may need sending.
    Somebody,
    /// Another replica came, went or gave something up.
    Replicas,
    /// Something was reported of a bundle.
    Reported,
}

/// What a lane needs to know of a pending bundle to choose whether it goes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingHead {
    /// The bundle.
    pub id: String,
    /// The version to send.
    pub version: Version,
    /// Set when it is the deletion that needs sending.
    pub deleting_since: Option<Timestamp>,
    /// Bytes of what it carries, about as many as its [`PendingBundle`] holds.
    pub bytes: u64,
}

/// A bundle whose newest version, or whose deletion, the broker has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingBundle {
    /// The bundle.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The version to send.
    pub version: Version,
    /// Set when it is the deletion that needs sending.
    pub deleting_since: Option<Timestamp>,
    /// ObjectMeta as a JSON object.
    pub metadata: Option<Json>,
    /// What of the event that published this version travels again ([`super::NewBundle::origin`]).
    pub origin: Option<Json>,
    /// Spec data ready to publish (docs/MAESTRO.md §3.1); empty for a deletion, which carries none.
    pub payload: Bytes,
    /// When the bundle was created.
    pub created_at: Timestamp,
    /// Whether no version of it was acknowledged yet: a create request rather than an update.
    pub first: bool,
}

/// One bundle of a consumer as a resync compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleVersion {
    /// The bundle.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// When it was created.
    pub created_at: Timestamp,
    /// Since when it is being deleted.
    pub deleting_since: Option<Timestamp>,
}

/// What an agent says it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The bundle.
    pub id: String,
    /// The version it holds; [`Version::UNVERSIONED`] for none.
    pub version: Version,
}

/// A status on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// The bundle it describes.
    pub bundle_id: String,
    /// The consumer that sent it (event and topic already agree).
    pub consumer: ConsumerName,
    /// The version it describes.
    pub version: Version,
    /// Its place in the agent's order.
    pub sequence_id: SequenceId,
    /// The agent's hash of it, stored and echoed untouched.
    pub status_hash: Option<String>,
    /// The status data, a JSON object.
    pub payload: Json,
    /// The agent's ObjectMeta.
    pub metadata: Option<Json>,
    /// Whether it carries `Deleted=True`.
    pub deleted: bool,
    /// When the agent took this version, if the status says so.
    pub received_at: Option<Timestamp>,
    /// When the agent applied this version, if the status says so.
    pub applied_at: Option<Timestamp>,
    /// When the bridge took the event.
    pub at: Timestamp,
}

/// An id that an agent holds and that names no bundle of its consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The id.
    pub id: String,
    /// Whether a bundle of this consumer with this id was deleted here, since the store was last restored.
    pub deleted_here: bool,
}

/// What became of a status update. Everything but the first two leaves statuses and bundles as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusOutcome {
    /// It is the bundle's status now.
    Stored,
    /// It confirmed a deletion; the bundle is gone.
    Deleted,
    /// No such bundle (any more).
    UnknownBundle,
    /// The bundle was deleted here, since the store was last restored, and this status is newer than what confirmed it: its
    /// agent holds it again.
    DeletedHere,
    /// The bundle belongs to another consumer.
    WrongConsumer {
        /// The consumer it belongs to.
        expected: ConsumerName,
    },
    /// It describes a newer version than the stored one: this store is older than the agent, and the version is to be raised
    /// ([`super::Store::raise`]). Kept until then, and shown as such, unless it says `Deleted`.
    Ahead {
        /// The stored version.
        stored: Version,
    },
    /// It describes an older version than the stored one, or a bundle that is being deleted by another.
    StaleVersion {
        /// The stored version.
        stored: Version,
    },
    /// Its sequence id is not newer than the stored one.
    StaleSequence {
        /// The stored sequence id.
        stored: SequenceId,
    },
    /// It says `Deleted` about a bundle nobody deletes, and is newer than what that bundle's agent last said.
    NotDeleting,
}

// === impl StatusOutcome ===

impl StatusOutcome {
    /// Whether there is something to report now that was not there before.
    pub(super) fn is_report(&self) -> bool {
        matches!(self, Self::Stored | Self::Deleted | Self::Ahead { .. })
    }
}

/// What is remembered of a bundle that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The bundle's id.
    pub bundle_id: String,
    /// The consumer it belonged to.
    pub consumer: ConsumerName,
    /// The version it had.
    pub version: Version,
    /// When the agent's confirmation was stored.
    pub removed_at: Timestamp,
}
