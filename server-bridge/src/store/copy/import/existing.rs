//! What the store holds before an import, and what follows from it for each imported bundle and consumer.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use link::order::{SequenceId, Version};
use sha2::{Digest as _, Sha256};

use super::super::Side;
use super::rows::{NOTE, Values, table};
use super::{BundleOutcome, ImportedBundle, ImportedStatus, LabelsOutcome};
use crate::store::{Json, Labels, NewConsumer, StoreError};

/// What the store holds before an import.
#[derive(Default)]
pub(super) struct Existing {
    /// Bundles by id.
    pub(super) bundles: HashMap<String, ExistingBundle>,
    /// Ids of bundles by name.
    pub(super) names: HashMap<String, String>,
    /// Versions of deleted bundles by id and consumer, from the tombstones.
    pub(super) deleted: HashMap<(String, String), i64>,
    /// Consumers by name.
    pub(super) consumers: HashMap<String, ExistingConsumer>,
    /// The highest keys in use, and the number of the last change.
    pub(super) consumer_key: i64,
    pub(super) bundle_key: i64,
    pub(super) changed: i64,
}

/// A consumer of the store. Times are microseconds.
pub(super) struct ExistingConsumer {
    pub(super) id: String,
    pub(super) labels: Labels,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

/// A bundle of the store.
pub(super) struct ExistingBundle {
    pub(super) key: i64,
    pub(super) deleting: bool,
    /// Whether an earlier import wrote its present version.
    pub(super) imported: bool,
    consumer: String,
    version: i64,
    content: [u8; 32],
    /// The sequence id of its last status.
    sequence: Option<SequenceId>,
}

// === impl Existing ===

impl Existing {
    pub(super) async fn read(side: &mut Side) -> Result<Self, StoreError> {
        let mut existing = Self::default();
        let consumers = table("consumers");
        let mut rows = side.rows(consumers, None);
        while let Some(row) = rows.next().await {
            let row = Values(consumers, row?);
            existing.consumer_key = existing.consumer_key.max(row.integer("key"));
            let consumer = ExistingConsumer {
                id: row.text("id"),
                labels: serde_json::from_str(&row.text("labels")).unwrap_or_default(),
                created_at: row.integer("created_at"),
                updated_at: row.integer("updated_at"),
            };
            existing.consumers.insert(row.text("name"), consumer);
        }
        drop(rows);
        let mut by_key: HashMap<i64, (String, ExistingBundle, Sha256)> = HashMap::new();
        let bundles = table("bundles");
        let mut rows = side.rows(bundles, None);
        while let Some(row) = rows.next().await {
            let row = Values(bundles, row?);
            let (key, id) = (row.integer("key"), row.text("id"));
            existing.bundle_key = existing.bundle_key.max(key);
            existing.changed = existing.changed.max(row.integer("changed"));
            existing.names.insert(row.text("name"), id.clone());
            let sequence = row.optional("status_sequence");
            let bundle = ExistingBundle {
                key,
                deleting: row.optional("deleted_at").is_some(),
                imported: false,
                consumer: row.text("consumer_name"),
                version: row.integer("version"),
                content: [0; 32],
                sequence: sequence.and_then(|text| text.parse().ok()),
            };
            let metadata = row.optional("metadata");
            by_key.insert(key, (id, bundle, digest([metadata.as_deref()])));
        }
        drop(rows);
        // A bundle that is gone has its key for as long as its last report is kept.
        if let Some(row) = side.last(table("gone_reports")).await? {
            let gone = Values(table("gone_reports"), row);
            existing.bundle_key = existing.bundle_key.max(gone.integer("bundle_key"));
        }
        let contents = table("contents");
        let mut rows = side.rows(contents, None);
        while let Some(row) = rows.next().await {
            let row = Values(contents, row?);
            if let Some((_, bundle, metadata)) = by_key.get_mut(&row.integer("bundle_key")) {
                let parts = PARTS.map(|part| row.optional(part));
                let parts = digest(parts.each_ref().map(Option::as_deref)).finalize();
                let mut whole = metadata.clone();
                whole.update(parts);
                bundle.content = whole.finalize().into();
            }
        }
        drop(rows);
        let ledger = table("ledger");
        let mut rows = side.rows(ledger, None);
        while let Some(row) = rows.next().await {
            let row = Values(ledger, row?);
            if row.optional("note").as_deref() == Some(NOTE)
                && let Some((_, bundle, _)) = by_key.get_mut(&row.integer("bundle_key"))
            {
                bundle.imported |= bundle.version == row.integer("version");
            }
        }
        drop(rows);
        let tombstones = table("tombstones");
        let mut rows = side.rows(tombstones, None);
        while let Some(row) = rows.next().await {
            let row = Values(tombstones, row?);
            let whose = (row.text("bundle_id"), row.text("consumer_name"));
            existing.deleted.insert(whose, row.integer("version"));
        }
        drop(rows);
        let bundles = by_key.into_values();
        existing.bundles = bundles.map(|(id, bundle, _)| (id, bundle)).collect();
        Ok(existing)
    }

    /// What becomes of a bundle.
    pub(super) fn outcome(&self, bundle: &ImportedBundle) -> BundleOutcome {
        if let Some(owner) = self.names.get(&bundle.name)
            && *owner != bundle.id
        {
            return BundleOutcome::Refused(format!("its name is that of `{owner}`"));
        }
        if let Some(existing) = self.bundles.get(&bundle.id) {
            return existing.outcome(bundle);
        }
        let whose = (bundle.id.clone(), bundle.consumer_name.to_string());
        match self.deleted.get(&whose) {
            Some(version) if *version >= i64::from(bundle.version.get()) => {
                if bundle.deleted_at.is_some() {
                    // The other system asked for what has happened here.
                    return BundleOutcome::Present;
                }
                BundleOutcome::Refused(format!("here its version {version} was deleted"))
            }
            _ => BundleOutcome::Added,
        }
    }
}

// === impl ExistingConsumer ===

impl ExistingConsumer {
    /// What becomes of its labels where the other system has these.
    pub(super) fn labels_outcome(
        &self,
        there: &NewConsumer,
        created_at: i64,
        updated_at: i64,
    ) -> LabelsOutcome {
        if self.labels == there.labels {
            return LabelsOutcome::Same;
        }
        let imported = self.id == there.id && self.created_at == created_at;
        if imported && self.updated_at <= updated_at {
            LabelsOutcome::Replaced
        } else {
            LabelsOutcome::Refused
        }
    }
}

// === impl ExistingBundle ===

impl ExistingBundle {
    /// The stored status, if `bundle` replaces an older version and brings an older status or none. A status of the new
    /// version always wins.
    pub(super) async fn newer_status(
        &self,
        side: &mut Side,
        bundle: &ImportedBundle,
    ) -> Result<Option<ImportedStatus>, StoreError> {
        let told = bundle.status.as_ref();
        let Some(sequence_id) = self.sequence else {
            return Ok(None);
        };
        let behind = told.is_none_or(|told| {
            let newer = sequence_id.is_newer_than(Some(told.sequence_id));
            told.version < bundle.version && matches!(newer, Ok(true))
        });
        if self.version >= i64::from(bundle.version.get()) || !behind {
            return Ok(None);
        }
        let statuses = table("statuses");
        let Some(row) = side.row(statuses, self.key).await? else {
            return Ok(None);
        };
        let row = Values(statuses, row);
        // A status of a version that this store never had proves nothing.
        let version = Version::new(row.integer("version"));
        let Some(version) = version.filter(|version| *version < bundle.version) else {
            return Ok(None);
        };
        Ok(Some(ImportedStatus {
            version,
            sequence_id,
            hash: row.optional("hash"),
            payload: Json::trusted(row.text("payload")),
            received_at: None,
            applied_at: None,
            at: Timestamp::from_microsecond(row.integer("stored_at")).unwrap_or_default(),
        }))
    }

    /// What becomes of a bundle of the same id.
    fn outcome(&self, bundle: &ImportedBundle) -> BundleOutcome {
        let version = i64::from(bundle.version.get());
        let refused = |why: String| BundleOutcome::Refused(why);
        if self.consumer != bundle.consumer_name.as_str() {
            return refused(format!("here it is a bundle of `{}`", self.consumer));
        }
        if self.version > version {
            return refused(format!(
                "here it has version {} already, above {version}",
                self.version
            ));
        }
        if self.deleting && bundle.deleted_at.is_none() {
            return refused("here it is being deleted".into());
        }
        if self.version < version {
            return BundleOutcome::Replaced;
        }
        if self.content != content_of(bundle) {
            return refused(format!("here its version {version} is another one"));
        }
        if self.deleting == bundle.deleted_at.is_some() && !self.is_behind(bundle) {
            BundleOutcome::Present
        } else {
            BundleOutcome::Replaced
        }
    }

    /// Whether its agent has told the other system something newer.
    fn is_behind(&self, bundle: &ImportedBundle) -> bool {
        let told = bundle.status.as_ref();
        // Agents of two kinds are in no order: ours stays.
        told.is_some_and(|told| matches!(told.sequence_id.is_newer_than(self.sequence), Ok(true)))
    }
}

fn content_of(bundle: &ImportedBundle) -> [u8; 32] {
    let content = &bundle.content;
    let parts = [
        Some(&content.manifests),
        content.delete_option.as_ref(),
        content.manifest_configs.as_ref(),
        content.executer.as_ref(),
    ];
    let mut whole = digest([bundle.metadata.as_ref().map(Json::as_str)]);
    whole.update(digest(parts.map(|part| part.map(Json::as_str))).finalize());
    whole.finalize().into()
}

fn digest<const N: usize>(parts: [Option<&str>; N]) -> Sha256 {
    let mut hash = Sha256::new();
    for part in parts {
        // No text is this long.
        let length = part.map_or(u64::MAX, |text| text.len() as u64);
        hash.update(length.to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash
}

const PARTS: [&str; 4] = ["manifests", "delete_option", "manifest_configs", "executer"];
