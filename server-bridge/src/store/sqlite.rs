//! The SQLite engine: one writer that commits waiting writes together, and three pools of readers (delivery, the API,
//! searches), so that no search takes a reader from delivery.
//!
//! Write-ahead log with `synchronous = FULL`: a commit is on disk before it is answered, so that neither `kill -9` nor a
//! power failure loses an acknowledged write (docs/ARCHITECTURE.md, invariant A). Waiting writes share one flush.

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use tokio::sync::broadcast;

use super::sql::Written;
use super::{Hint, StoreError};

mod agents;
mod bundles;
mod consumers;
mod exclusive;
mod facts;
mod files;
mod filter;
mod health;
mod heartbeat;
mod history;
mod list;
mod lock;
mod open;
mod outbox;
mod overview;
mod presence;
mod progress;
mod reports;
mod rows;
mod search;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

pub(super) use exclusive::Exclusive;
pub(super) use facts::find;
use health::Health;
pub(super) use overview::overview;
use search::SearchPool;
use writer::Writer;

/// A store in one SQLite file. Clones share it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: Writer,
    /// Delivery's, and nobody else's.
    readers: SqlitePool,
    /// Single rows and pages whose rows are known, for the API.
    api: SqlitePool,
    searches: SearchPool,
    health: Health,
    changes: broadcast::Sender<Hint>,
}

// === impl SqliteStore ===

impl SqliteStore {
    /// From now on every commit, and every read of the API, fails with this result code of SQLite; `None` ends that.
    #[cfg(test)]
    pub(crate) fn inject(&self, code: Option<u32>) {
        self.health.inject(code);
    }

    /// The pool of single reads for the API.
    fn reading(&self) -> Result<&SqlitePool, StoreError> {
        self.health.injected("read from the database")?;
        Ok(&self.api)
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
