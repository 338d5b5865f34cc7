//! Opening: files, lock, schema, then the writer and every reader at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use link::supervise::Restarts;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlSafeStr as _, SqliteConnection};
use tokio::sync::broadcast;

use super::super::{OpenError, StoreError};
use super::SqliteStore;
use super::files::{self, Files};
use super::health::Health;
use super::history;
use super::lock::Lock;
use super::progress;
use super::search::{self, SearchPool};
use super::writer::{self, Writer};

impl SqliteStore {
    /// Opens the file, creating it and bringing its schema up to date as needed. One process at a time.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the file.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_counting(path, Restarts::unregistered()).await
    }

    /// The same; restarts of its writer are counted.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the file.
    pub async fn open_counting(
        path: impl AsRef<Path>,
        restarts: Restarts,
    ) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let opened = Self::open_at(path, restarts).await;
        opened.map_err(|source| StoreError::Open {
            database: path.display().to_string(),
            source: Arc::new(source),
        })
    }

    async fn open_at(path: &Path, restarts: Restarts) -> Result<Self, OpenError> {
        let path = files::prepare(path)?;
        let lock = Lock::take(&path).await?;
        let options = options(&path);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        migrations().run(&mut connection).await?;
        whole(&mut connection).await?;
        history::open(&mut connection, &path, &lock).await?;
        let pool = |readers: u32| {
            SqlitePoolOptions::new()
                // All at once and for good: one that is opened later might find another file in the place of this one.
                .min_connections(readers)
                .max_connections(readers)
                .idle_timeout(None)
                .max_lifetime(None)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options.clone().read_only(true))
        };
        let (readers, api) = (pool(READERS).await?, pool(READERS).await?);
        let searches = SearchPool::new(pool(search::readers()).await?, search::DEADLINE);
        let health = Health::new(Files::remember(&path)?);
        let (changes, _) = broadcast::channel(CHANGE_HINTS);
        let parts = writer::Parts {
            options,
            health: health.clone(),
            restarts,
            lock,
        };
        let store = Self {
            writer: Writer::spawn(connection, parts),
            readers,
            api,
            searches,
            health,
            changes,
        };
        tokio::spawn(progress::read_statuses(store.clone()));
        Ok(store)
    }
}

/// How every connection is made.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROW_BUFFER)
}

/// Checks that no copy into this file was begun and not finished.
pub(super) async fn whole(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let copying: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'copying')")
            .fetch_one(connection)
            .await?;
    if copying {
        return Err(OpenError::Copying);
    }
    Ok(())
}

/// The schema's history, in order. What is in it never changes: a database remembers a checksum of each.
pub(super) fn migrations() -> Migrator {
    let history = [
        (
            1,
            "bundles",
            include_str!("../../../migrations/sqlite/0001_bundles.sql"),
        ),
        (
            2,
            "heartbeat",
            include_str!("../../../migrations/sqlite/0002_heartbeat.sql"),
        ),
        (
            3,
            "tombstones_of_consumers",
            include_str!("../../../migrations/sqlite/0003_tombstones_of_consumers.sql"),
        ),
        (
            4,
            "resync",
            include_str!("../../../migrations/sqlite/0004_resync.sql"),
        ),
        (
            5,
            "epoch",
            include_str!("../../../migrations/sqlite/0005_epoch.sql"),
        ),
        (
            6,
            "reports",
            include_str!("../../../migrations/sqlite/0006_reports.sql"),
        ),
        (
            7,
            "progress",
            include_str!("../../../migrations/sqlite/0007_progress.sql"),
        ),
        (
            8,
            "installation",
            include_str!("../../../migrations/sqlite/0008_installation.sql"),
        ),
        (
            9,
            "presence",
            include_str!("../../../migrations/sqlite/0009_presence.sql"),
        ),
    ];
    let migrations = history.map(|(version, name, text)| {
        let text = text.into_sql_str();
        Migration::new(version, name.into(), MigrationType::Simple, text, false)
    });
    Migrator::with_migrations(migrations.to_vec())
}

// Of delivery, and as many of the API: two cores make four enough. A list holds one only while it reads a batch, never
// while its client is slow. With the writer and the searches 13 connections at most, 3 descriptors each.
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
