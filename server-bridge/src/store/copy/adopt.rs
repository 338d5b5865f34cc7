//! Putting in what another system kept: consumers and bundles with their ids, versions, times and statuses, all in one
//! transaction, while no bridge uses the store.
//!
//! A version that its agent has reported on counts as sent and confirmed, any other as not sent. What is there already is
//! never overwritten by something older, and what is the same is left alone, so that the same may be put in again.
//! Whoever only wants to know what would become of it looks at the store ([`Adoption::look`]), which changes nothing.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use link::id::{ConsumerName, SourceId};
use link::order::{SequenceId, Version};

use super::super::sql::rows::micros;
use super::super::{Content, Json, Location, NewConsumer, SourceName, StatusUpdate, StoreError};
use super::cells::Row;
use super::{CopyError, Side};

mod held;
mod rows;

use held::{Held, HeldConsumer, There};
use rows::{row_of_consumer, rows_of, table};

/// A bundle of another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
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
    pub status: Option<AdoptedStatus>,
}

/// The newest status of a bundle of another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedStatus {
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

/// What becomes of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is put in.
    Added,
    /// It takes the place of an older version, or of the same with an older status or none.
    Replaced,
    /// It is there already.
    Present,
    /// It is left out, and why.
    Refused(String),
}

/// What becomes of the labels of a consumer that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelsFate {
    /// They are the same.
    Same,
    /// They take the place of those that an earlier run put in.
    Replaced,
    /// They are left out: the consumer was made here, or changed here later.
    Refused,
}

/// A store that takes in what another system kept.
pub struct Adoption {
    /// None: there is no store yet, or it is only looked at.
    side: Option<Side>,
    place: String,
    there: There,
    /// The highest key that was given before.
    first: i64,
    batch: Vec<(i64, Adopted)>,
    bytes: usize,
    /// Rows that make room.
    replaced: Vec<i64>,
    seen: HashSet<String>,
    writes: bool,
}

// === impl AdoptedStatus ===

impl From<StatusUpdate> for AdoptedStatus {
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

// === impl Adopted ===

impl Adopted {
    /// Whether its agent is known to hold it.
    pub fn is_confirmed(&self) -> bool {
        let status = self.status.as_ref();
        self.deleted_at.is_none() && status.is_some_and(|status| status.version == self.version)
    }

    fn bytes(&self) -> usize {
        self.content.payload_len()
            + self.metadata.as_ref().map_or(0, |json| json.as_str().len())
            + self
                .status
                .as_ref()
                .map_or(0, |status| status.payload.as_str().len())
    }
}

// === impl Adoption ===

impl Adoption {
    /// Opens the store for itself, making it as needed, begins the transaction and reads what is there. It becomes that of
    /// this source if it was nobody's.
    ///
    /// # Errors
    /// [`CopyError::InUse`] while a bridge uses it, [`CopyError::OtherSource`] when it is another's; otherwise the store's.
    pub async fn begin(location: &Location, source: &SourceId) -> Result<Self, CopyError> {
        let mut side = Side::adopting(location).await?;
        side.unused().await?;
        let owner = side.begin_adoption(source).await?;
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
        let mut adoption = Self {
            side,
            place,
            there: There::default(),
            first: 0,
            batch: Vec::new(),
            bytes: 0,
            replaced: Vec::new(),
            seen: HashSet::new(),
            writes,
        };
        if let Some(side) = &mut adoption.side {
            adoption.there = There::read(side).await?;
        }
        adoption.first = adoption.there.bundle_key;
        Ok(adoption)
    }

    /// Where the store is, without secrets.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The id of the consumer of this name, if there is one.
    pub fn consumer(&self, name: &ConsumerName) -> Option<&str> {
        let here = self.there.consumers.get(name.as_str());
        here.map(|here| here.id.as_str())
    }

    /// The name of the consumer of this id, if there is one.
    pub fn consumer_of(&self, id: &str) -> Option<&str> {
        let mut known = self.there.consumers.iter();
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
    ) -> Result<LabelsFate, StoreError> {
        let Some(here) = self.there.consumers.get(consumer.name.as_str()) else {
            return Ok(LabelsFate::Refused);
        };
        let at = micros(updated_at);
        let fate = here.labels_fate(consumer, micros(created_at), at);
        if let Some(side) = self.side.as_mut().filter(|_| self.writes)
            && fate == LabelsFate::Replaced
        {
            side.relabel(&consumer.id, &consumer.labels, at).await?;
        }
        Ok(fate)
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
            self.there.consumer_key += 1;
            let key = self.there.consumer_key;
            rows.push(row_of_consumer(key, &consumer, created_at, updated_at));
            let held = HeldConsumer {
                id: consumer.id,
                labels: consumer.labels,
                created_at: micros(created_at),
                updated_at: micros(updated_at),
            };
            self.there.consumers.insert(consumer.name.into(), held);
        }
        self.insert("consumers", rows).await
    }

    /// Puts in a bundle, unless what is there says no. Its consumer must have been put in before.
    ///
    /// # Errors
    /// The store's.
    pub async fn add(&mut self, mut bundle: Adopted) -> Result<Fate, StoreError> {
        let fate = self.fate(&bundle);
        self.seen.insert(bundle.id.clone());
        if !matches!(fate, Fate::Added | Fate::Replaced) {
            return Ok(fate);
        }
        self.there
            .names
            .insert(bundle.name.clone(), bundle.id.clone());
        if !self.writes {
            return Ok(fate);
        }
        if let (Some(held), Some(side)) = (self.there.held.get(&bundle.id), &mut self.side) {
            self.replaced.push(held.key);
            let kept = held.newer_status(side, &bundle).await?;
            bundle.status = kept.or(bundle.status);
        }
        self.there.bundle_key += 1;
        self.bytes += bundle.bytes();
        self.batch.push((self.there.bundle_key, bundle));
        if self.bytes >= super::BATCH_BYTES || self.batch.len() >= super::BATCH_ROWS {
            self.flush().await?;
        }
        Ok(fate)
    }

    fn fate(&self, bundle: &Adopted) -> Fate {
        if self.seen.contains(&bundle.id) {
            return Fate::Refused("its id comes twice".into());
        }
        self.there.fate(bundle)
    }

    /// Notes that the other system has a bundle of this id that is left out.
    pub fn left_out(&mut self, id: &str) {
        self.seen.insert(id.to_owned());
    }

    /// Ids of bundles that only this store has: those that were put in by an earlier run, and the others.
    pub fn only_here(&self) -> (Vec<String>, Vec<String>) {
        let only = self.there.held.iter();
        let only = only.filter(|(id, _)| !self.seen.contains(*id));
        let (adopted, others): (Vec<_>, Vec<_>) =
            only.partition(|(_, held)| held.adopted && !held.deleting);
        let sorted = |found: Vec<(&String, &Held)>| {
            let mut ids: Vec<String> = found.into_iter().map(|(id, _)| id.clone()).collect();
            ids.sort_unstable();
            ids
        };
        (sorted(adopted), sorted(others))
    }

    /// Commits everything that was put in.
    ///
    /// # Errors
    /// The store's; nothing was written then, unless the answer to the commit was lost.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.flush().await?;
        if let Some(mut side) = self.side.take() {
            side.end_adoption(self.first).await?;
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
            self.there.changed += 1;
            for (table, row) in rows_of(key, self.there.changed, &bundle) {
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
