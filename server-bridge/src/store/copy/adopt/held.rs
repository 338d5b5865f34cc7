//! What is there already, and what that means for a bundle that is to be put in.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use link::order::{SequenceId, Version};
use sha2::{Digest as _, Sha256};

use super::super::Side;
use super::super::cells::Cell;
use super::rows::{NOTE, Values, table};
use super::{Adopted, AdoptedStatus, Fate, LabelsFate};
use crate::store::{Json, Labels, NewConsumer, StoreError};

/// What is there.
#[derive(Default)]
pub(super) struct There {
    /// Bundles by id.
    pub(super) held: HashMap<String, Held>,
    /// Names of bundles, and whose they are.
    pub(super) names: HashMap<String, String>,
    /// The versions of bundles that were deleted here, by id and consumer, as long as that is remembered.
    pub(super) deleted: HashMap<(String, String), i64>,
    /// Consumers by name.
    pub(super) consumers: HashMap<String, HeldConsumer>,
    /// The highest keys, and the number of the last change.
    pub(super) consumer_key: i64,
    pub(super) bundle_key: i64,
    pub(super) changed: i64,
}

/// What is there of a consumer. Times are microseconds.
pub(super) struct HeldConsumer {
    pub(super) id: String,
    pub(super) labels: Labels,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

/// What is there of a bundle.
pub(super) struct Held {
    pub(super) key: i64,
    pub(super) deleting: bool,
    /// Whether its present version was put in by an earlier run.
    pub(super) adopted: bool,
    consumer: String,
    version: i64,
    content: [u8; 32],
    /// The place of its last status in the agent's order.
    sequence: Option<SequenceId>,
}

// === impl There ===

impl There {
    pub(super) async fn read(side: &mut Side) -> Result<Self, StoreError> {
        let mut there = Self::default();
        let consumers = table("consumers");
        let mut rows = side.rows(consumers, None);
        while let Some(row) = rows.next().await {
            let row = Values(consumers, row?);
            there.consumer_key = there.consumer_key.max(row.integer("key"));
            let held = HeldConsumer {
                id: row.text("id"),
                labels: serde_json::from_str(&row.text("labels")).unwrap_or_default(),
                created_at: row.integer("created_at"),
                updated_at: row.integer("updated_at"),
            };
            there.consumers.insert(row.text("name"), held);
        }
        drop(rows);
        let mut by_key: HashMap<i64, (String, Held, Sha256)> = HashMap::new();
        let bundles = table("bundles");
        let mut rows = side.rows(bundles, None);
        while let Some(row) = rows.next().await {
            let row = Values(bundles, row?);
            let (key, id) = (row.integer("key"), row.text("id"));
            there.bundle_key = there.bundle_key.max(key);
            there.changed = there.changed.max(row.integer("changed"));
            there.names.insert(row.text("name"), id.clone());
            let sequence = row.optional("status_sequence");
            let held = Held {
                key,
                deleting: row.optional("deleted_at").is_some(),
                adopted: false,
                consumer: row.text("consumer_name"),
                version: row.integer("version"),
                content: [0; 32],
                sequence: sequence.and_then(|text| text.parse().ok()),
            };
            let metadata = row.optional("metadata");
            by_key.insert(key, (id, held, digest([metadata.as_deref()])));
        }
        drop(rows);
        // A bundle that is gone has its key for as long as its last report is kept.
        if let Some(row) = side.last(table("gone_reports")).await? {
            let gone = Values(table("gone_reports"), row);
            there.bundle_key = there.bundle_key.max(gone.integer("bundle_key"));
        }
        let contents = table("contents");
        let mut rows = side.rows(contents, None);
        while let Some(row) = rows.next().await {
            let row = Values(contents, row?);
            if let Some((_, held, metadata)) = by_key.get_mut(&row.integer("bundle_key")) {
                let parts = PARTS.map(|part| row.optional(part));
                let parts = digest(parts.each_ref().map(Option::as_deref)).finalize();
                let mut whole = metadata.clone();
                whole.update(parts);
                held.content = whole.finalize().into();
            }
        }
        drop(rows);
        let ledger = table("ledger");
        let mut rows = side.rows(ledger, None);
        while let Some(row) = rows.next().await {
            let row = Values(ledger, row?);
            if row.optional("note").as_deref() == Some(NOTE)
                && let Some((_, held, _)) = by_key.get_mut(&row.integer("bundle_key"))
            {
                held.adopted |= held.version == row.integer("version");
            }
        }
        drop(rows);
        let tombstones = table("tombstones");
        let mut rows = side.rows(tombstones, None);
        while let Some(row) = rows.next().await {
            let row = Values(tombstones, row?);
            let whose = (row.text("bundle_id"), row.text("consumer_name"));
            there.deleted.insert(whose, row.integer("version"));
        }
        drop(rows);
        let held = by_key.into_values();
        there.held = held.map(|(id, held, _)| (id, held)).collect();
        Ok(there)
    }

    /// What becomes of a bundle.
    pub(super) fn fate(&self, bundle: &Adopted) -> Fate {
        if let Some(owner) = self.names.get(&bundle.name)
            && *owner != bundle.id
        {
            return Fate::Refused(format!("its name is that of `{owner}`"));
        }
        if let Some(held) = self.held.get(&bundle.id) {
            return held.fate(bundle);
        }
        let whose = (bundle.id.clone(), bundle.consumer_name.to_string());
        match self.deleted.get(&whose) {
            Some(version) if *version >= i64::from(bundle.version.get()) => {
                if bundle.deleted_at.is_some() {
                    // The other system asked for what has happened here.
                    return Fate::Present;
                }
                Fate::Refused(format!("here its version {version} was deleted"))
            }
            _ => Fate::Added,
        }
    }
}

// === impl HeldConsumer ===

impl HeldConsumer {
    /// What becomes of its labels where the other system has these.
    pub(super) fn labels_fate(
        &self,
        there: &NewConsumer,
        created_at: i64,
        updated_at: i64,
    ) -> LabelsFate {
        if self.labels == there.labels {
            return LabelsFate::Same;
        }
        let adopted = self.id == there.id && self.created_at == created_at;
        if adopted && self.updated_at <= updated_at {
            LabelsFate::Replaced
        } else {
            LabelsFate::Refused
        }
    }
}

// === impl Held ===

impl Held {
    /// The status that is kept here, where that is newer than what the other system has of a bundle that takes the place of
    /// an older version. One of the new version always counts.
    pub(super) async fn newer_status(
        &self,
        side: &mut Side,
        bundle: &Adopted,
    ) -> Result<Option<AdoptedStatus>, StoreError> {
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
        let mut rows = side.rows(statuses, Some(vec![Cell::Integer(self.key - 1)]));
        let Some(row) = rows.next().await.transpose()? else {
            return Ok(None);
        };
        let row = Values(statuses, row);
        // One of a version that this store has never had proves nothing.
        let version = Version::new(row.integer("version"));
        let version = version.filter(|version| *version < bundle.version);
        let (Some(version), true) = (version, row.integer("bundle_key") == self.key) else {
            return Ok(None);
        };
        Ok(Some(AdoptedStatus {
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
    fn fate(&self, bundle: &Adopted) -> Fate {
        let version = i64::from(bundle.version.get());
        let refused = |why: String| Fate::Refused(why);
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
            return Fate::Replaced;
        }
        if self.content != content_of(bundle) {
            return refused(format!("here its version {version} is another one"));
        }
        if self.deleting == bundle.deleted_at.is_some() && !self.is_behind(bundle) {
            Fate::Present
        } else {
            Fate::Replaced
        }
    }

    /// Whether its agent has told the other system something newer.
    fn is_behind(&self, bundle: &Adopted) -> bool {
        let told = bundle.status.as_ref();
        // Agents of two kinds are in no order: ours stays.
        told.is_some_and(|told| matches!(told.sequence_id.is_newer_than(self.sequence), Ok(true)))
    }
}

fn content_of(bundle: &Adopted) -> [u8; 32] {
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
