//! Imports consumers and bundles of another system with their ids, versions, times and statuses, in one transaction, while
//! no bridge uses the store.
//!
//! A version that its agent has reported on counts as sent and confirmed, any other as unsent. Nothing stored is overwritten
//! by something older, and equal rows are left alone, so that an import may be repeated. A dry run
//! ([`ImportTransaction::look`]) only reads.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use link::id::{ConsumerName, SourceId};

use super::super::sql::rows::micros;
use super::super::{Location, NewConsumer, StoreError};
use super::cells::Row;
use super::{CopyError, Side};

mod bundle;
mod existing;
mod rows;

pub use bundle::{ImportedBundle, ImportedStatus};

use existing::{Existing, ExistingBundle, ExistingConsumer};
use rows::{row_of_consumer, rows_of, table};

/// What became of an imported bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleOutcome {
    /// It was added.
    Added,
    /// It replaced an older version, or the same version with an older status or none.
    Replaced,
    /// The store had it already.
    Present,
    /// It was left out, and why.
    Refused(String),
}

/// What became of the labels of a consumer that the store had already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelsOutcome {
    /// They are the same.
    Same,
    /// They replaced those of an earlier import.
    Replaced,
    /// They were left out: the consumer was made here, or changed here later.
    Refused,
}

/// An import into a store, or a dry run of one.
pub struct ImportTransaction {
    /// `None` in a dry run where there is no store yet.
    side: Option<Side>,
    place: String,
    existing: Existing,
    /// The highest key in use before the import.
    first: i64,
    batch: Vec<(i64, ImportedBundle)>,
    bytes: usize,
    /// Keys of bundles that are replaced with the next flush.
    replaced: Vec<i64>,
    seen: HashSet<String>,
    writes: bool,
}

// === impl ImportTransaction ===

impl ImportTransaction {
    /// Opens the store for itself, making it as needed, begins the transaction and reads what is there. It becomes that of
    /// this source if it was nobody's.
    ///
    /// # Errors
    /// [`CopyError::InUse`] while a bridge uses it, [`CopyError::OtherSource`] when it is another's; otherwise the store's.
    pub async fn begin(location: &Location, source: &SourceId) -> Result<Self, CopyError> {
        let mut side = Side::importing(location).await?;
        side.unused().await?;
        let owner = side.begin_import(source).await?;
        if let Err(refused) = granted(side.place(), owner, source) {
            side.close().await;
            return Err(refused);
        }
        Ok(Self::of(Some(side), location, true).await?)
    }

    /// Reads what is there, and writes nothing. A store that is not there yet holds nothing.
    ///
    /// # Errors
    /// [`CopyError::OtherSource`] when it is another's; otherwise the store's.
    pub async fn look(location: &Location, source: &SourceId) -> Result<Self, CopyError> {
        let mut side = Side::looking(location).await?;
        if let Some(side) = &mut side
            && let Some(owner) = side.owner().await?
        {
            granted(side.place(), owner, source)?;
        }
        Ok(Self::of(side, location, false).await?)
    }

    async fn of(side: Option<Side>, location: &Location, writes: bool) -> Result<Self, StoreError> {
        let place = match (&side, location) {
            (Some(side), _) => side.place().to_owned(),
            (None, Location::Sqlite(file)) => file.display().to_string(),
            (None, Location::Postgres(config)) => format!("postgres {}", config.schema.as_str()),
        };
        let mut transaction = Self {
            side,
            place,
            existing: Existing::default(),
            first: 0,
            batch: Vec::new(),
            bytes: 0,
            replaced: Vec::new(),
            seen: HashSet::new(),
            writes,
        };
        if let Some(side) = &mut transaction.side {
            transaction.existing = Existing::read(side).await?;
        }
        transaction.first = transaction.existing.bundle_key;
        Ok(transaction)
    }

    /// Where the store is, without secrets.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The id of the consumer of this name, if there is one.
    pub fn consumer(&self, name: &ConsumerName) -> Option<&str> {
        let here = self.existing.consumers.get(name.as_str());
        here.map(|here| here.id.as_str())
    }

    /// The name of the consumer of this id, if there is one.
    pub fn consumer_of(&self, id: &str) -> Option<&str> {
        let mut known = self.existing.consumers.iter();
        known.find_map(|(name, known)| (known.id == id).then_some(name.as_str()))
    }

    /// Gives a consumer of an earlier run the labels that it has at the other system now, unless it was changed here later.
    /// The times tell: those that were put in are the other system's.
    ///
    /// # Errors
    /// The store's.
    pub async fn relabel(
        &mut self,
        consumer: &NewConsumer,
        created_at: Timestamp,
        updated_at: Timestamp,
    ) -> Result<LabelsOutcome, StoreError> {
        let Some(here) = self.existing.consumers.get(consumer.name.as_str()) else {
            return Ok(LabelsOutcome::Refused);
        };
        let at = micros(updated_at);
        let outcome = here.labels_outcome(consumer, micros(created_at), at);
        if let Some(side) = self.side.as_mut().filter(|_| self.writes)
            && outcome == LabelsOutcome::Replaced
        {
            side.relabel(&consumer.id, &consumer.labels, at).await?;
        }
        Ok(outcome)
    }

    /// Puts in consumers that are not there yet.
    ///
    /// # Errors
    /// The store's.
    pub async fn add_consumers(
        &mut self,
        new: Vec<(NewConsumer, Timestamp, Timestamp)>,
    ) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(new.len());
        for (consumer, created_at, updated_at) in new {
            self.existing.consumer_key += 1;
            let key = self.existing.consumer_key;
            rows.push(row_of_consumer(key, &consumer, created_at, updated_at));
            let existing = ExistingConsumer {
                id: consumer.id,
                labels: consumer.labels,
                created_at: micros(created_at),
                updated_at: micros(updated_at),
            };
            self.existing
                .consumers
                .insert(consumer.name.into(), existing);
        }
        self.insert("consumers", rows).await
    }

    /// Puts in a bundle, unless what is there says no. Its consumer must have been put in before.
    ///
    /// # Errors
    /// The store's.
    pub async fn add(&mut self, mut bundle: ImportedBundle) -> Result<BundleOutcome, StoreError> {
        let outcome = self.outcome(&bundle);
        self.seen.insert(bundle.id.clone());
        if !matches!(outcome, BundleOutcome::Added | BundleOutcome::Replaced) {
            return Ok(outcome);
        }
        self.existing
            .names
            .insert(bundle.name.clone(), bundle.id.clone());
        if !self.writes {
            return Ok(outcome);
        }
        if let (Some(existing), Some(side)) =
            (self.existing.bundles.get(&bundle.id), &mut self.side)
        {
            self.replaced.push(existing.key);
            let kept = existing.newer_status(side, &bundle).await?;
            bundle.status = kept.or(bundle.status);
        }
        self.existing.bundle_key += 1;
        self.bytes += bundle.bytes();
        self.batch.push((self.existing.bundle_key, bundle));
        if self.bytes >= super::BATCH_BYTES || self.batch.len() >= super::BATCH_ROWS {
            self.flush().await?;
        }
        Ok(outcome)
    }

    fn outcome(&self, bundle: &ImportedBundle) -> BundleOutcome {
        if self.seen.contains(&bundle.id) {
            return BundleOutcome::Refused("its id comes twice".into());
        }
        self.existing.outcome(bundle)
    }

    /// Notes that the other system has a bundle of this id that is left out.
    pub fn left_out(&mut self, id: &str) {
        self.seen.insert(id.to_owned());
    }

    /// Ids of bundles that only this store has: those that were put in by an earlier run, and the others.
    pub fn only_here(&self) -> (Vec<String>, Vec<String>) {
        let only = self.existing.bundles.iter();
        let only = only.filter(|(id, _)| !self.seen.contains(*id));
        let (imported, others): (Vec<_>, Vec<_>) =
            only.partition(|(_, bundle)| bundle.imported && !bundle.deleting);
        let sorted = |found: Vec<(&String, &ExistingBundle)>| {
            let mut ids: Vec<String> = found.into_iter().map(|(id, _)| id.clone()).collect();
            ids.sort_unstable();
            ids
        };
        (sorted(imported), sorted(others))
    }

    /// Commits everything that was put in.
    ///
    /// # Errors
    /// The store's; nothing was written then, unless the answer to the commit was lost.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.flush().await?;
        if let Some(mut side) = self.side.take() {
            side.end_import(self.first).await?;
            side.close().await;
        }
        Ok(())
    }

    /// Gives up everything.
    pub async fn abandon(mut self) {
        if let Some(side) = self.side.take() {
            // Its connection ends, and with it the transaction.
            side.close().await;
        }
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let (batch, replaced) = (
            std::mem::take(&mut self.batch),
            std::mem::take(&mut self.replaced),
        );
        self.bytes = 0;
        if let Some(side) = &mut self.side
            && !replaced.is_empty()
        {
            side.remove_bundles(replaced).await?;
        }
        let mut rows: HashMap<&str, Vec<Row>> = HashMap::new();
        for (key, bundle) in batch {
            self.existing.changed += 1;
            for (table, row) in rows_of(key, self.existing.changed, &bundle) {
                rows.entry(table).or_default().push(row);
            }
        }
        for name in ["bundles", "contents", "statuses", "ledger"] {
            let rows = rows.remove(name).unwrap_or_default();
            self.insert(name, rows).await?;
        }
        Ok(())
    }

    async fn insert(&mut self, name: &'static str, rows: Vec<Row>) -> Result<(), StoreError> {
        let mut rows = rows.into_iter().peekable();
        while let Some(side) = self.side.as_mut().filter(|_| self.writes)
            && rows.peek().is_some()
        {
            let batch = rows.by_ref().take(super::BATCH_ROWS).collect();
            side.insert(table(name), batch).await?;
        }
        Ok(())
    }
}

/// Whether the store is this source's.
fn granted(place: &str, owner: String, source: &SourceId) -> Result<(), CopyError> {
    if owner == source.as_str() {
        return Ok(());
    }
    Err(CopyError::OtherSource {
        place: place.to_owned(),
        owner,
        source_id: source.clone(),
    })
}
