//! Bundles: manifests with their settings, meant for one consumer, and the story of each version.

use bytes::Bytes;
use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};

use super::SourceName;
use super::json::Json;
use super::progress::Progress;

/// A stored bundle. `content`, `status` and `ledger` are there when the reader asked for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// The id that travels as `resourceid`.
    pub id: String,
    /// Unique name, the id unless given.
    pub name: String,
    /// Who published it.
    pub source: SourceName,
    /// The consumer it is meant for.
    pub consumer_name: ConsumerName,
    /// Starts at 1 and rises with each change of content or metadata, and when its agent holds a newer one.
    pub version: Version,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Since when it is being deleted; the row goes when the agent confirms.
    pub deleted_at: Option<Timestamp>,
    /// ObjectMeta given by the creator, a JSON object.
    pub metadata: Option<Json>,
    /// What of the event that published this version travels again, a JSON object ([`NewBundle::origin`]).
    pub origin: Option<Json>,
    /// Manifests and settings.
    pub content: Option<Content>,
    /// The newest status the agent reported.
    pub status: Option<Status>,
    /// The hops of the last versions, oldest first.
    pub ledger: Option<Vec<LedgerEntry>>,
    /// How far it has come; `None` when it was not asked for.
    pub progress: Option<Progress>,
}

/// What a bundle carries, each part as JSON text of the wire's shape (docs/MAESTRO.md §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// A JSON array of Kubernetes objects.
    pub manifests: Json,
    /// How deletion propagates.
    pub delete_option: Option<Json>,
    /// Feedback, update strategy and condition rules per manifest.
    pub manifest_configs: Option<Json>,
    /// Whom the agent impersonates; spelled as on the wire.
    pub executer: Option<Json>,
}

/// A bundle to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBundle {
    /// The id it will have.
    pub id: String,
    /// Its unique name.
    pub name: String,
    /// Who publishes it.
    pub source: SourceName,
    /// The consumer it is meant for, which must exist.
    pub consumer_name: ConsumerName,
    /// ObjectMeta as a JSON object.
    pub metadata: Option<Json>,
    /// Attributes of the publishing CloudEvent that travel again with each event of this version:
    /// `{"id":"…","time":"RFC 3339","extensions":{"logtracing":"{…}",…}}` (docs/MAESTRO.md §2.3). A bundle that no event published
    /// has none.
    pub origin: Option<Json>,
    /// Manifests and settings.
    pub content: Content,
}

/// The newest status of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The version the status describes.
    pub version: Version,
    /// Its place in the agent's order.
    pub sequence_id: Option<SequenceId>,
    /// The status data as received, a JSON object (docs/MAESTRO.md §3.2).
    pub payload: Json,
}

/// The times one version of a bundle passed each hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The version, or the version that is being deleted.
    pub version: Version,
    /// Whether this is the deletion of the bundle.
    pub deletion: bool,
    /// Committed to the store.
    pub stored_at: Timestamp,
    /// Last handed to the broker.
    pub published_at: Option<Timestamp>,
    /// Acknowledged by the broker.
    pub acked_at: Option<Timestamp>,
    /// Whether somebody was subscribed when the broker acknowledged.
    pub matched: Option<bool>,
    /// Taken by the agent, if its status says so.
    pub received_at: Option<Timestamp>,
    /// Applied on the cluster, if its status says so.
    pub applied_at: Option<Timestamp>,
    /// First status of this version stored.
    pub reported_at: Option<Timestamp>,
    /// How often it was handed to the broker.
    pub attempts: u32,
    /// When publishing last failed.
    pub failed_at: Option<Timestamp>,
    /// Why publishing last failed; cleared by an acknowledgement.
    pub failure: Option<String>,
    /// Why the version has this number, if it is not the one after the version before; or why it was made at all.
    pub note: Option<String>,
}

// === impl NewBundle ===

impl NewBundle {
    /// The bundle as it is stored at its first version.
    pub(super) fn stored(self, now: Timestamp) -> Bundle {
        Bundle {
            id: self.id,
            name: self.name,
            source: self.source,
            consumer_name: self.consumer_name,
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            metadata: self.metadata,
            origin: self.origin,
            content: Some(self.content),
            status: None,
            ledger: Some(vec![LedgerEntry::stored(Version::FIRST, false, now)]),
            progress: None,
        }
    }
}

// === impl LedgerEntry ===

impl LedgerEntry {
    /// One of which nothing is known but that it was stored then.
    pub(crate) fn stored(version: Version, deletion: bool, stored_at: Timestamp) -> Self {
        Self {
            version,
            deletion,
            stored_at,
            published_at: None,
            acked_at: None,
            matched: None,
            received_at: None,
            applied_at: None,
            reported_at: None,
            attempts: 0,
            failed_at: None,
            failure: None,
            note: None,
        }
    }
}

// === impl Content ===

impl Content {
    /// The spec data exactly as it is published; assembled, not serialised (docs/MAESTRO.md §3.1).
    pub fn payload(&self) -> Bytes {
        let mut text = String::with_capacity(self.payload_len());
        text.push_str("{\"manifests\":");
        text.push_str(self.manifests.as_str());
        for (key, part) in self.optional_parts() {
            if let Some(part) = part {
                text.push_str(",\"");
                text.push_str(key);
                text.push_str("\":");
                text.push_str(part.as_str());
            }
        }
        text.push('}');
        text.into()
    }

    /// The length of [`Content::payload`] in bytes.
    pub fn payload_len(&self) -> usize {
        let optional: usize = self
            .optional_parts()
            .iter()
            .filter_map(|(key, part)| part.map(|p| key.len() + p.as_str().len() + 4))
            .sum();
        "{\"manifests\":}".len() + self.manifests.as_str().len() + optional
    }

    fn optional_parts(&self) -> [(&'static str, Option<&Json>); 3] {
        [
            ("deleteOption", self.delete_option.as_ref()),
            ("manifestConfigs", self.manifest_configs.as_ref()),
            ("executer", self.executer.as_ref()),
        ]
    }
}

/// What a caller gives for the next version of a bundle.
pub(super) struct BundleChange {
    pub(super) metadata: Option<Json>,
    pub(super) content: Content,
    pub(super) origin: Option<Json>,
}

/// How many versions of a bundle the ledger remembers.
pub const LEDGER_VERSIONS: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_the_wire_s_spec_data_and_its_length_is_known_beforehand() {
        let mut content = Content {
            manifests: Json::parse("[{\"kind\":\"A\"}]").unwrap(),
            delete_option: None,
            manifest_configs: None,
            executer: None,
        };
        assert_eq!(content.payload(), "{\"manifests\":[{\"kind\":\"A\"}]}");
        assert_eq!(content.payload().len(), content.payload_len());
        content.delete_option = Some(Json::parse("{\"propagationPolicy\":\"Orphan\"}").unwrap());
        content.executer = Some(Json::parse("{}").unwrap());
        assert_eq!(
            content.payload(),
            "{\"manifests\":[{\"kind\":\"A\"}],\"deleteOption\":{\"propagationPolicy\":\"Orphan\"},\"executer\":{}}"
        );
        assert_eq!(content.payload().len(), content.payload_len());
    }
}
