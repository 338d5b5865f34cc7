//! Status updates and their outcomes.

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};

use super::json::Json;

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
