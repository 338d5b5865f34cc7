//! How work gets a connection, ends in time, and is committed.
//!
//! One set of connections, which is small, and four uses of it. Searches and the API are bounded apart, so that neither
//! takes the last connection from delivery and from writes; and nobody takes the last one from the lease, which must be
//! renewed in time however much there is to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::{timeout, timeout_at};

use super::super::{FailureClass, Hint, StoreError};
use super::failure::{driver, keeps_connection};
use super::{Limits, PostgresStore, Use, Written};

/// How many of the connections searches and the API may take at once.
#[derive(Clone)]
pub(super) struct Shares {
    search: Arc<Semaphore>,
    api: Arc<Semaphore>,
}

// === impl Shares ===

impl Shares {
    pub(super) fn of(connections: u32) -> Self {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        Self {
            search: Arc::new(Semaphore::new((connections / 4).max(1))),
            api: Arc::new(Semaphore::new((connections / 2).clamp(1, connections - 3))),
        }
    }

    fn of_use(&self, purpose: Use) -> Option<&Semaphore> {
        match purpose {
            Use::Delivery | Use::Lease => None,
            Use::Api => Some(&self.api),
            Use::Search => Some(&self.search),
        }
    }
}

// === impl PostgresStore ===

impl PostgresStore {
    pub(super) fn limits(&self) -> &Limits {
        self.connections.limits()
    }

    /// Reads on a connection of its share. A caller who goes away stops it.
    pub(super) async fn read<T>(
        &self,
        purpose: Use,
        operation: &'static str,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let outcome = async {
            let _share = match self.shares.of_use(purpose) {
                None => None,
                Some(share) => Some(self.share(share, operation).await?),
            };
            self.run(purpose, operation, work).await
        };
        let outcome = outcome.await.map_err(|error| match error {
            // A search has a limit of its own.
            StoreError::Deadline { operation, limit }
                if purpose == Use::Search && limit == self.limits().statement =>
            {
                let limit = self.limits().search;
                StoreError::Deadline { operation, limit }
            }
            error => error,
        });
        self.health.noted(outcome)
    }

    async fn share<'s>(
        &self,
        share: &'s Semaphore,
        operation: &'static str,
    ) -> Result<tokio::sync::SemaphorePermit<'s>, StoreError> {
        let limit = self.limits().search;
        match timeout(limit, share.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Deadline { operation, limit }),
        }
    }

    /// Runs a write in a transaction of its own and tells of it once it is committed. A caller who goes away does not undo
    /// it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<Written<T>, StoreError>>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let done = tokio::spawn(async move {
            let committing = Arc::new(AtomicBool::new(false));
            let commits = Arc::clone(&committing);
            let done = store
                .run(Use::Delivery, operation, |connection| {
                    Box::pin(transaction(connection, commits, job))
                })
                .await;
            let done = match done {
                Err(StoreError::Deadline { .. }) if committing.load(Ordering::Relaxed) => {
                    Err(unknown("it did not answer"))
                }
                done => done,
            };
            let written = store.health.noted(done)?;
            if let Some(consumer) = written.hint {
                announce(&store.changes, Hint::Consumer(consumer));
            }
            Ok(written.value)
        });
        match done.await {
            Ok(outcome) => outcome,
            // The connection was dropped, and with it the transaction.
            Err(error) if error.is_panic() => self.health.noted(Err(StoreError::Panicked)),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Runs work on a connection; one on which something went wrong, or took too long, is not used again.
    async fn run<T>(
        &self,
        purpose: Use,
        operation: &'static str,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let mut lease = self.connections.acquire(purpose, operation).await?;
        let limit = self.limits().answer;
        let until = tokio::time::Instant::now() + limit;
        match timeout_at(until, work(&mut lease)).await {
            Ok(Ok(value)) => {
                lease.give_back();
                Ok(value)
            }
            Ok(Err(error)) => {
                if keeps_connection(&error) {
                    lease.give_back();
                } else {
                    self.connections.suspect();
                }
                Err(match error.class() {
                    Some(FailureClass::Interrupted) => StoreError::Deadline {
                        operation,
                        limit: self.limits().statement,
                    },
                    _ => error,
                })
            }
            Err(_) => {
                self.connections.suspect();
                Err(StoreError::Deadline { operation, limit })
            }
        }
    }
}

/// The one place where a committed write is told of: here to this process. Other processes find it in their sweep.
pub(super) fn announce(changes: &broadcast::Sender<Hint>, hint: Hint) {
    // Nobody listening is fine: the hint is only a hint.
    let _ = changes.send(hint);
}

async fn transaction<T: Send>(
    connection: &mut PgConnection,
    committing: Arc<AtomicBool>,
    job: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<Written<T>, StoreError>>
    + Send,
) -> Result<Written<T>, StoreError> {
    let mut transaction = connection.begin().await.map_err(driver("begin a write"))?;
    match job(&mut transaction).await {
        Ok(written) => {
            committing.store(true, Ordering::Relaxed);
            transaction.commit().await.map_err(in_doubt)?;
            committing.store(false, Ordering::Relaxed);
            Ok(written)
        }
        Err(error) => {
            if keeps_connection(&error) {
                transaction
                    .rollback()
                    .await
                    .map_err(driver("undo a write"))?;
            }
            Err(error)
        }
    }
}

/// Where the answer to a commit is lost, nobody knows here whether it happened. Whoever repeats the write finds out.
fn in_doubt(error: sqlx::Error) -> StoreError {
    let failed = driver("commit to the database")(error);
    match failed.class() {
        Some(FailureClass::Unreachable | FailureClass::Other) => {
            unknown(&link::error::chain(&failed))
        }
        _ => failed,
    }
}

fn unknown(why: &str) -> StoreError {
    StoreError::Unavailable {
        reason: format!(
            "the connection was lost while committing, and whether this write was kept is not known: {why}"
        ),
    }
}
