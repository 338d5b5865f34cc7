//! A bundle of another system, as it is put into the store.

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};

use crate::store::{Content, Json, SourceName, StatusUpdate};

/// A bundle of another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedBundle {
    /// Its id.
    pub id: String,
    /// Its unique name.
    pub name: String,
    /// Who published it.
    pub source: SourceName,
    /// The consumer it is meant for, which must be there.
    pub consumer_name: ConsumerName,
    /// Its version.
    pub version: Version,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Since when it is being deleted.
    pub deleted_at: Option<Timestamp>,
    /// ObjectMeta as a JSON object.
    pub metadata: Option<Json>,
    /// Attributes of the publishing event that travel again.
    pub origin: Option<Json>,
    /// Manifests and settings.
    pub content: Content,
    /// The newest status of it, of this version or an older one.
    pub status: Option<ImportedStatus>,
}

/// The newest status of a bundle of another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedStatus {
    /// The version it describes.
    pub version: Version,
    /// Its place in the agent's order.
    pub sequence_id: SequenceId,
    /// The agent's hash of it.
    pub hash: Option<String>,
    /// The status data, a JSON object.
    pub payload: Json,
    /// When the agent took this version, if the status says so.
    pub received_at: Option<Timestamp>,
    /// When the agent applied this version, if the status says so.
    pub applied_at: Option<Timestamp>,
    /// When it was taken.
    pub at: Timestamp,
}

// === impl ImportedStatus ===

impl From<StatusUpdate> for ImportedStatus {
    fn from(update: StatusUpdate) -> Self {
        Self {
            version: update.version,
            sequence_id: update.sequence_id,
            hash: update.status_hash,
            payload: update.payload,
            received_at: update.received_at,
            applied_at: update.applied_at,
            at: update.at,
        }
    }
}

// === impl ImportedBundle ===

impl ImportedBundle {
    /// Whether its agent is known to hold it.
    pub fn is_confirmed(&self) -> bool {
        let status = self.status.as_ref();
        self.deleted_at.is_none() && status.is_some_and(|status| status.version == self.version)
    }

    /// How many bytes it takes in a batch, about.
    pub(super) fn bytes(&self) -> usize {
        self.content.payload_len()
            + self.metadata.as_ref().map_or(0, |json| json.as_str().len())
            + self
                .status
                .as_ref()
                .map_or(0, |status| status.payload.as_str().len())
    }
}
