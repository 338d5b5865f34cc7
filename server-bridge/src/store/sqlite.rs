//! The SQLite engine: one writer that commits waiting writes together, and a pool of readers.
//!
//! Write-ahead log with `synchronous = FULL`: a commit is on the disk before it is answered, so that neither `kill -9` nor
//! a power cut takes back what a caller was told (system.md §6a). Waiting writes share one flush.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, SqlSafeStr as _, SqliteConnection};
use tokio::sync::broadcast;

use super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::{
    Bundle, BundleVersion, Consumer, Content, Held, Json, Labels, NewBundle, NewConsumer,
    OpenError, Page, PendingBundle, StatusOutcome, StatusUpdate, Store, StoreError, Tombstone,
};

mod bundles;
mod consumers;
mod filter;
mod list;
mod outbox;
mod rows;
mod status;
mod writer;

use rows::driver;
use writer::{Writer, Written};

/// A store in one SQLite file. Clones share it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    changes: broadcast::Sender<ConsumerName>,
}

// === impl SqliteStore ===

impl SqliteStore {
    /// Opens the file, creating it and bringing its schema up to date as needed.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the file.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let failed = |source: OpenError| StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(PAGE_BYTES)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROW_BUFFER);
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| failed(error.into()))?;
        migrations()
            .run(&mut connection)
            .await
            .map_err(|error| failed(error.into()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(|error| failed(error.into()))?;
        let (changes, _) = broadcast::channel(CHANGE_HINTS);
        Ok(Self {
            writer: Writer::spawn(connection),
            readers,
            changes,
        })
    }

    /// Runs a write in the next commit; a refusal undoes it alone.
    async fn write<T: Send + 'static>(
        &self,
        job: impl for<'c> FnOnce(
            &'c mut SqliteConnection,
        ) -> BoxFuture<'c, Result<Written<T>, StoreError>>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(self.changes.clone(), job).await
    }
}

/// The schema's history, in order. What is in it never changes: a database remembers a checksum of each.
fn migrations() -> Migrator {
    let bundles = include_str!("../../migrations/sqlite/0001_bundles.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(
        1,
        "bundles".into(),
        MigrationType::Simple,
        bundles,
        false,
    )])
}

impl Store for SqliteStore {
    async fn create_consumer(
        &self,
        new: NewConsumer,
        now: Timestamp,
    ) -> Result<Consumer, StoreError> {
        self.write(move |c| Box::pin(consumers::create(c, new, now)))
            .await
    }

    async fn get_consumer(&self, id: &str) -> Result<Option<Consumer>, StoreError> {
        consumers::by_id(&self.readers, id).await
    }

    async fn get_consumer_by_name(
        &self,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        consumers::by_name(&self.readers, name).await
    }

    async fn list_consumers(
        &self,
        query: Query<ConsumerColumn>,
    ) -> Result<Page<Consumer>, StoreError> {
        list::consumers(&self.readers, query).await
    }

    async fn update_consumer_labels(
        &self,
        id: &str,
        labels: Labels,
        now: Timestamp,
    ) -> Result<Consumer, StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(consumers::set_labels(c, id, labels, now)))
            .await
    }

    async fn delete_consumer(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(consumers::delete(c, id)))
            .await
    }

    async fn ensure_consumers(
        &self,
        consumers: Vec<NewConsumer>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |c| Box::pin(consumers::ensure(c, consumers, now)))
            .await
    }

    async fn create_bundle(&self, new: NewBundle, now: Timestamp) -> Result<Bundle, StoreError> {
        self.write(move |c| Box::pin(bundles::create(c, new, now)))
            .await
    }

    async fn get_bundle(&self, id: &str) -> Result<Option<Bundle>, StoreError> {
        bundles::by_id(&self.readers, id).await
    }

    async fn update_bundle(
        &self,
        id: &str,
        expected: Option<Version>,
        metadata: Option<Json>,
        content: Content,
        now: Timestamp,
    ) -> Result<Bundle, StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(bundles::update(c, id, expected, metadata, content, now)))
            .await
    }

    async fn mark_deleting(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(bundles::mark_deleting(c, id, now)))
            .await
    }

    async fn list_bundles(
        &self,
        query: Query<BundleColumn>,
        parts: Parts,
    ) -> Result<Page<Bundle>, StoreError> {
        list::bundles(&self.readers, query, parts).await
    }

    async fn pending(
        &self,
        consumer: &ConsumerName,
        limit: u32,
    ) -> Result<Vec<PendingBundle>, StoreError> {
        outbox::pending(&self.readers, consumer, limit).await
    }

    async fn consumers_with_pending(&self) -> Result<Vec<ConsumerName>, StoreError> {
        outbox::consumers(&self.readers).await
    }

    async fn record_published(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(outbox::published(c, id, version, deletion, at)))
            .await
    }

    async fn record_broker_acked(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        matched: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(outbox::acked(c, id, version, deletion, matched, at)))
            .await
    }

    async fn record_publish_failed(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.write(move |c| Box::pin(outbox::failed(c, id, version, deletion, reason, at)))
            .await
    }

    async fn apply_status(&self, update: StatusUpdate) -> Result<StatusOutcome, StoreError> {
        self.write(move |c| Box::pin(status::apply(c, update)))
            .await
    }

    async fn versions_of(&self, consumer: &ConsumerName) -> Result<Vec<BundleVersion>, StoreError> {
        outbox::versions(&self.readers, consumer).await
    }

    async fn status_hashes_of(
        &self,
        consumer: &ConsumerName,
    ) -> Result<Vec<(String, Option<String>)>, StoreError> {
        status::hashes(&self.readers, consumer).await
    }

    async fn request_resend(
        &self,
        consumer: &ConsumerName,
        held: Vec<Held>,
    ) -> Result<u64, StoreError> {
        let consumer = consumer.clone();
        self.write(move |c| Box::pin(outbox::resend(c, consumer, held)))
            .await
    }

    async fn tombstone(&self, id: &str) -> Result<Option<Tombstone>, StoreError> {
        status::tombstone(&self.readers, id).await
    }

    async fn prune_tombstones(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |c| Box::pin(status::prune_tombstones(c, before)))
            .await
    }

    fn changes(&self) -> broadcast::Receiver<ConsumerName> {
        self.changes.subscribe()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1")
            .execute(&self.readers)
            .await
            .map_err(driver("ask the database for a sign of life"))?;
        Ok(())
    }

    async fn close(&self) {
        // The writer goes last: the last writable connection folds the log back into the file.
        self.readers.close().await;
        self.writer.close().await;
    }
}

// Two cores make four readers enough; a list holds one only while it reads a batch, never while its client is slow.
const READERS: u32 = 4;

// Manifests span many pages; 8 KiB halves the hops of a 25 KB row and still writes little for a small one.
const PAGE_BYTES: u32 = 8192;

// Rows decoded ahead per query: 16 × 500 KiB at most.
const ROW_BUFFER: usize = 16;

// Another process (a backup) may hold the file for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

// Longer than any query of ours; whoever waits this long gets a retryable error.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

// A listener that falls 1 024 hints behind sweeps anyway; 64 bytes each.
const CHANGE_HINTS: usize = 1024;
