//! The readers of searches: few, and each query with a deadline at which the database stops.
//!
//! A search may look at every row. Without a bound a few callers would take every reader and core from delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::time::timeout;

use super::super::{FailureClass, StoreError};
use super::rows::driver;

/// The pool of list queries with their deadline.
#[derive(Clone, Debug)]
pub(super) struct SearchPool {
    pool: SqlitePool,
    limit: Duration,
}

/// Tells the database to stop when nobody waits for the answer any more.
struct StopOnDrop(Arc<AtomicBool>);

// === impl SearchPool ===

impl SearchPool {
    pub(super) fn new(pool: SqlitePool, limit: Duration) -> Self {
        Self { pool, limit }
    }

    /// Runs queries on a reader. Waiting for the reader counts; a caller who goes away stops them too.
    pub(super) async fn run<T>(
        &self,
        operation: &'static str,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
        + Send,
    ) -> Result<T, StoreError> {
        let limit = self.limit;
        let late = || StoreError::Deadline { operation, limit };
        let until = Instant::now() + limit;
        let mut connection = match timeout(limit, self.pool.acquire()).await {
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => return Err(late()),
            Ok(acquired) => acquired.map_err(driver(operation))?,
        };
        let stopped = Arc::new(AtomicBool::new(false));
        // Replaces the one of an earlier query whose caller went away.
        let seen = stopped.clone();
        connection
            .lock_handle()
            .await
            .map_err(driver(operation))?
            .set_progress_handler(OPERATIONS, move || {
                !seen.load(Ordering::Relaxed) && Instant::now() < until
            });
        let stop = StopOnDrop(stopped);
        let result = work(&mut connection).await;
        drop(stop);
        release(connection).await;
        result.map_err(|error| match error.class() {
            Some(FailureClass::Interrupted) => late(),
            _ => error,
        })
    }

    /// The same readers with another deadline.
    #[cfg(test)]
    pub(super) fn with_limit(&self, limit: Duration) -> Self {
        Self::new(self.pool.clone(), limit)
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A reader that keeps its expired handler would stop whatever ran on it next.
async fn release(mut connection: PoolConnection<Sqlite>) {
    if let Ok(mut handle) = connection.lock_handle().await {
        handle.remove_progress_handler();
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long a list may look for its rows. The slowest search the grammar allows takes a tenth of that on 10 000 bundles.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Half of the cores search at most, one at least and four at most: the others are for creating and delivering.
pub(super) fn readers() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores / 2).map_or(4, |half| half.clamp(1, 4))
}

// Steps of SQLite's machine between two looks at the clock: well under a millisecond, unless a step parses JSON.
const OPERATIONS: i32 = 1000;
