//! The engine chosen at start, behind the [`Store`] trait, and the location of a store.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use link::clock::Clock;
use link::error::Failure;
use link::id::{ConsumerName, SourceId};
use link::order::Version;
use link::supervise::Restarts;
use prometheus::Registry;
use tokio::sync::broadcast;
use tracing::info;

use super::agents::{AgentStore, Orphan, PartOutcome, RemovedConsumer, ResyncPart};
use super::overview::Overview;
use super::postgres::{self, PostgresStore};
use super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::sqlite::{self, SqliteStore};
use super::{
    AgentVersion, Bundle, BundleVersion, Consumer, Content, Doubts, Epoch, Fence, Gone, Hint,
    History, Json, Labels, Load, NewBundle, NewConsumer, Page, PendingBundle, PendingHead, Raising,
    Report, ReportCursor, ReportHeads, ReportPage, ReportPosition, ReportStore, SourceName,
    StatusOutcome, StatusUpdate, Store, StoreError, Tombstone, Waiting,
};

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(Box<postgres::PostgresConfig>),
}

/// A store of either engine. Clones share it.
#[derive(Clone, Debug)]
pub enum AnyStore {
    /// In a file.
    Sqlite(SqliteStore),
    /// At a server.
    Postgres(Box<PostgresStore>),
}

// === impl Location ===

impl Location {
    /// The same place; what its engine counts is registered.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn registered(mut self, registry: &Registry) -> Result<Self, prometheus::Error> {
        if let Self::Postgres(config) = &mut self {
            config.metrics = postgres::NotifyMetrics::register(registry)?;
        }
        Ok(self)
    }

    /// Opens the store that is there, making it as needed; restarts of its tasks are counted.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place.
    pub async fn open(self, restarts: Restarts) -> Result<AnyStore, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => {
                AnyStore::Sqlite(SqliteStore::open_counting(path, restarts).await?)
            }
            Self::Postgres(config) => AnyStore::Postgres(Box::new(
                PostgresStore::open_counting(*config, restarts).await?,
            )),
        })
    }

    /// Looks at the store that is there, without changing it.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place.
    pub async fn overview(&self, now: Timestamp) -> Result<Overview, StoreError> {
        match self {
            Self::Sqlite(file) => sqlite::overview(file, now).await,
            Self::Postgres(config) => postgres::overview(config, now).await,
        }
    }

    /// Brings the tables up to date, making them as needed; says where they are. With `build_index` it waits for the index
    /// of searches, which SQLite does not need, and fails when that is not there afterwards.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place.
    pub async fn migrate(&self, build_index: bool) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(file) => {
                sqlite::Exclusive::open(file, true, false)
                    .await?
                    .close()
                    .await;
                Ok(file.display().to_string())
            }
            Self::Postgres(config) => {
                let mut exclusive = postgres::Exclusive::open(config, false).await?;
                if !build_index {
                    exclusive.complete(config).await;
                } else if !exclusive.build_index(config).await? {
                    info!("Another process builds the index of searches");
                }
                let place = exclusive.place.clone();
                exclusive.close().await;
                Ok(place)
            }
        }
    }
}

// === impl AnyStore ===

impl AnyStore {
    /// Makes what is stored that of a source, if it is nobody's yet; a database that several processes share is used for no
    /// other from then on.
    ///
    /// # Errors
    /// Exit code 2 when it is another's; otherwise the store's.
    pub async fn assign_source(&self, source: &SourceId) -> Result<(), Failure> {
        match self {
            Self::Sqlite(store) => Ok(store.assign_source(source).await?),
            Self::Postgres(store) => store.assign_source(source).await,
        }
    }

    /// The clock by which what is stored is dated: of several bridges on one database, the database's.
    pub fn clock(&self, own: &Clock) -> Clock {
        match self {
            Self::Postgres(store) => store.clock(),
            Self::Sqlite(_) => own.clone(),
        }
    }
}

/// Passes calls on to the engine.
macro_rules! passed_on {
    ($($method:ident($($name:ident: $kind:ty),*) -> $value:ty;)*) => {
        $(async fn $method(&self, $($name: $kind),*) -> Result<$value, StoreError> {
            match self {
                Self::Sqlite(store) => store.$method($($name),*).await,
                Self::Postgres(store) => store.$method($($name),*).await,
            }
        })*
    };
}

impl AgentStore for AnyStore {
    passed_on! {
        add_resync_part(part: ResyncPart, at: Timestamp) -> PartOutcome;
        forget_resync(consumer: &ConsumerName, list: &str) -> ();
        prune_resyncs(before: Timestamp) -> u64;
        add_orphans(consumer: &ConsumerName, works: Vec<Orphan>) -> u64;
        orphans(consumer: &ConsumerName, limit: u32) -> Vec<(i64, Orphan)>;
        remove_orphans(keys: Vec<i64>) -> ();
        doubts(consumer: &ConsumerName) -> Doubts;
        note_foreign_work(consumer: &ConsumerName, at: Timestamp) -> ();
        forget_foreign_works(consumer: &ConsumerName, until: Timestamp) -> ();
        note_seen(consumers: Vec<ConsumerName>, at: Timestamp) -> ();
        remove_consumer(id: &str, unseen_since: Option<Timestamp>, now: Timestamp) -> RemovedConsumer;
    }
}

impl ReportStore for AnyStore {
    passed_on! {
        reports_end() -> ReportPosition;
        reports_after(after: ReportPosition, limit: u32) -> ReportHeads;
        reports_since(source: &SourceName, since: Timestamp, after: Option<ReportCursor>, limit: u32) -> ReportPage;
        report(id: &str) -> Option<Report>;
        prune_reports(before: Timestamp) -> u64;
    }
}

impl Store for AnyStore {
    passed_on! {
        create_consumer(new: NewConsumer, now: Timestamp) -> Consumer;
        get_consumer(id: &str) -> Option<Consumer>;
        get_consumer_by_name(name: &ConsumerName) -> Option<Consumer>;
        list_consumers(query: Query<ConsumerColumn>) -> Page<Consumer>;
        loads(consumers: Vec<ConsumerName>) -> HashMap<String, Load>;
        update_consumer_labels(id: &str, labels: Labels, now: Timestamp) -> Consumer;
        delete_consumer(id: &str) -> ();
        ensure_consumers(consumers: Vec<NewConsumer>, now: Timestamp) -> u64;
        create_bundle(new: NewBundle, now: Timestamp) -> Bundle;
        get_bundle(id: &str) -> Option<Bundle>;
        update_bundle(id: &str, expected: Option<Version>, metadata: Option<Json>, content: Content, origin: Option<Json>, now: Timestamp) -> Bundle;
        mark_deleting(id: &str, now: Timestamp) -> ();
        list_bundles(query: Query<BundleColumn>, parts: Parts) -> Page<Bundle>;
        pending_heads(consumer: &ConsumerName, limit: u32) -> Vec<PendingHead>;
        pending(consumer: &ConsumerName, ids: Vec<String>) -> Vec<PendingBundle>;
        consumers_with_pending() -> Vec<ConsumerName>;
        consumer_names() -> Vec<ConsumerName>;
        record_published(id: &str, version: Version, deletion: bool, at: Timestamp) -> ();
        record_broker_acked(id: &str, version: Version, deletion: bool, matched: bool, at: Timestamp) -> ();
        record_publish_failed(id: &str, version: Version, deletion: bool, reason: &str, at: Timestamp) -> ();
        apply_status(update: StatusUpdate) -> StatusOutcome;
        send_again(consumer: &ConsumerName, id: &str, reason: &str, at: Timestamp) -> bool;
        versions_of(consumer: &ConsumerName) -> Vec<BundleVersion>;
        status_hashes_of(consumer: &ConsumerName) -> Vec<(String, Option<String>)>;
        request_resend(consumer: &ConsumerName, held: Vec<AgentVersion>) -> u64;
        raise(consumer: &ConsumerName, held: Vec<AgentVersion>, at: Timestamp) -> Raising;
        gone(consumer: &ConsumerName, ids: Vec<String>) -> Vec<Gone>;
        tombstone(id: &str) -> Option<Tombstone>;
        prune_tombstones(before: Timestamp) -> u64;
        epoch() -> Epoch;
        history() -> History;
        waiting(now: Timestamp, known: Vec<i64>) -> Waiting;
        ping() -> ();
    }

    fn fenced(&self, fence: Option<Fence>) -> Self {
        match self {
            Self::Sqlite(store) => Self::Sqlite(store.fenced(fence)),
            Self::Postgres(store) => Self::Postgres(Box::new(store.fenced(fence))),
        }
    }

    fn changes(&self) -> broadcast::Receiver<Hint> {
        match self {
            Self::Sqlite(store) => store.changes(),
            Self::Postgres(store) => store.changes(),
        }
    }

    async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}
