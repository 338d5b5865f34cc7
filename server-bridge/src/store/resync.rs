//! Types of a resync: the versions the store has, the versions an agent has, and tombstones of deleted bundles.

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;

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
pub struct AgentVersion {
    /// The bundle.
    pub id: String,
    /// The version it holds; [`Version::UNVERSIONED`] for none.
    pub version: Version,
}

/// An id that an agent holds and that names no bundle of its consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The id.
    pub id: String,
    /// Whether a bundle of this consumer with this id was deleted here, since the store was last restored.
    pub deleted_here: bool,
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
