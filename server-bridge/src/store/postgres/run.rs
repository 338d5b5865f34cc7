//! Runs operations: each gets a connection through the queue ([`super::queue`]), has a deadline, and a write is one
//! transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use link::backoff::Backoff;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep, timeout_at};

use super::super::{FailureClass, Hint, StoreError};
use super::failure::{driver, keeps_connection};
use super::limits::{Limits, Span};
use super::{PostgresStore, Use, Written};

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
        let span = self.limits().of_most();
        let outcome = self.run(span, purpose, operation, work).await;
        let outcome = outcome.map_err(|error| match error {
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

    /// Runs a write in a transaction of its own and tells of it once it is committed. A caller who goes away does not undo
    /// it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        purpose: Use,
        operation: &'static str,
        job: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<Written<T>, StoreError>>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        self.write_within(self.limits().of_most(), purpose, operation, job)
            .await
    }

    /// The same for what may take another time than most; the job tells the server ([`Span::set`]).
    pub(super) async fn write_within<T: Send + 'static>(
        &self,
        span: Span,
        purpose: Use,
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
                .run(span, purpose, operation, |connection| {
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
                store.announce(Hint::Consumer(consumer));
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

    /// Does what one process at a time does with a consumer or a bundle: an attempt gives `None` while it is another one's
    /// turn. In between no connection is held, so that one consumer does not take those of all.
    pub(super) async fn in_turn<T, F>(
        &self,
        operation: &'static str,
        attempt: impl Fn() -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<Option<T>, StoreError>> + Send,
    {
        let limit = self.limits().lock;
        let until = Instant::now() + limit;
        let mut backoff = Backoff::new(TURN_FIRST, TURN_LONGEST, Duration::MAX);
        loop {
            if let Some(done) = attempt().await? {
                return Ok(done);
            }
            if Instant::now() >= until {
                return Err(StoreError::Deadline { operation, limit });
            }
            sleep(backoff.next_jittered(Duration::ZERO)).await;
        }
    }

    /// The one place where a committed write is told of: here, and to the other replicas.
    pub(super) fn announce(&self, hint: Hint) {
        self.notify_others(hint.clone());
        // Nobody listening is fine: the hint is only a hint.
        let _ = self.changes.send(hint);
    }

    /// Tells the other replicas, soon and perhaps not at all; this one is not told.
    pub(super) fn notify_others(&self, hint: Hint) {
        if let Some(notifier) = &self.notifier {
            notifier.notify(hint);
        }
    }

    /// Runs work on a connection; one on which something went wrong, or took too long, is not used again.
    async fn run<T>(
        &self,
        span: Span,
        purpose: Use,
        operation: &'static str,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let until = Instant::now() + self.limits().acquire;
        let permit = self.queue.enter(purpose, until).await;
        let permit = permit
            .map_err(|none| none.told(operation, driver(operation)(self.connections.none())))?;
        let mut connection = self.connections.acquire(operation, permit, until).await?;
        let limit = span.answer;
        let until = Instant::now() + limit;
        match timeout_at(until, work(&mut connection)).await {
            Ok(Ok(value)) => {
                connection.give_back();
                Ok(value)
            }
            Ok(Err(error)) => {
                if keeps_connection(&error) {
                    connection.give_back();
                } else {
                    self.connections.suspect();
                }
                Err(match error.class() {
                    Some(FailureClass::Interrupted) => StoreError::Deadline {
                        operation,
                        limit: span.statement,
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

// === impl Span ===

impl Span {
    /// Tells the server, for the statements that follow in this transaction.
    pub(super) async fn set(self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let millis = self.statement.as_millis().to_string();
        sqlx::query("SELECT set_config('statement_timeout', $1, true)")
            .bind(millis)
            .execute(connection)
            .await
            .map_err(driver("set how long a write may take"))?;
        Ok(())
    }
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

// A part of a list or a status takes a few milliseconds.
const TURN_FIRST: Duration = Duration::from_millis(5);
const TURN_LONGEST: Duration = Duration::from_millis(200);
