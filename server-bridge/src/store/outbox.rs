//! The outbox: bundles whose newest version, or whose deletion, the broker has not acknowledged.

use bytes::Bytes;
use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;

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
