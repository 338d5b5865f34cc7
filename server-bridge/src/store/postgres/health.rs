//! Failures that were seen, and the readiness check: a row is written, committed and read back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use link::error::{Hint as _, chain};
use link::telemetry::Throttle;
use sqlx::PgConnection;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use super::super::{FailureClass, StoreError};
use super::failure::driver;
use super::{PostgresStore, Use};

/// Shared by all that use the store.
#[derive(Clone)]
pub(super) struct Health {
    /// A write found no room, and no later one of a bundle's size has shown that there is room again.
    full: Arc<AtomicBool>,
    said: Arc<Throttle<Option<FailureClass>>>,
}

// === impl Health ===

impl Health {
    pub(super) fn new() -> Self {
        Self {
            full: Arc::default(),
            said: Arc::new(Throttle::new(SAY_EVERY, KINDS)),
        }
    }

    /// Takes note of a failure and logs it, once per kind and minute; refusals leave no trace.
    pub(super) fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| {
            if error.is_refusal() {
                return;
            }
            let class = error.class();
            if class == Some(FailureClass::Full) {
                self.full.store(true, Ordering::Relaxed);
            }
            if let Some(more) = self.said.admit(&class, Instant::now()) {
                let error = chain(error);
                // Whoever was turned away comes again.
                if class == Some(FailureClass::Busy) {
                    warn!(
                        error,
                        more, "More is asked of the database than it does in time"
                    );
                } else {
                    error!(error, more, "The database failed");
                }
            }
        })
    }
}

/// Writes and reads back one beat. After a write that found no room the beat is as large as the largest bundle: a small
/// one may find room where a bundle does not. Where no connection can be had, says why.
pub(super) async fn prove(store: &PostgresStore) -> Result<(), StoreError> {
    match beat(store).await {
        Err(failed) if is_of_the_connection(&failed) => match store.connections.problem().await {
            None => Err(failed),
            Some(problem) => Err(StoreError::Unavailable {
                reason: match problem.hint() {
                    Some(hint) => format!("{}; {hint}", chain(&problem)),
                    None => chain(&problem),
                },
            }),
        },
        outcome => outcome,
    }
}

/// Whether a connection of its own may say more.
fn is_of_the_connection(error: &StoreError) -> bool {
    use FailureClass::{Busy, CannotOpen, Denied, Interrupted, Unreachable};
    matches!(
        error.class(),
        Some(Busy | CannotOpen | Denied | Interrupted | Unreachable)
    )
}

async fn beat(store: &PostgresStore) -> Result<(), StoreError> {
    let full = store.health.full.load(Ordering::Relaxed);
    let filler = if full { FILLER_BYTES } else { 0 };
    let written = step(store, WRITE, move |c| Box::pin(write(c, filler))).await?;
    if full {
        store.health.full.store(false, Ordering::Relaxed);
        step(store, WRITE, |c| Box::pin(write(c, 0))).await?;
    }
    let read = step(store, READ, |c| {
        Box::pin(async move {
            sqlx::query_scalar("SELECT beats FROM heartbeat")
                .fetch_one(c)
                .await
                .map_err(driver(READ))
        })
    })
    .await?;
    if read < written {
        return Err(StoreError::Unavailable {
            reason: "what was committed cannot be read back".into(),
        });
    }
    Ok(())
}

/// One statement within [`STEP`]. The lease is renewed on the same place: one connection that was lost without a word must
/// not keep it until the lease is over.
async fn step(
    store: &PostgresStore,
    operation: &'static str,
    work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<i64, StoreError>> + Send,
) -> Result<i64, StoreError> {
    match timeout(STEP, store.read(Use::Upkeep, operation, work)).await {
        Ok(done) => done,
        Err(_) => {
            store.connections.suspect();
            Err(StoreError::Deadline {
                operation,
                limit: STEP,
            })
        }
    }
}

// One statement that commits itself: no process that is stopped in between keeps the row from the others.
async fn write(connection: &mut PgConnection, filler: i32) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "UPDATE heartbeat SET beats = beats + 1, filler = NULLIF(repeat('x', $1), '') RETURNING beats",
    )
    .bind(filler)
    .fetch_one(connection)
    .await
    .map_err(driver(WRITE))
}

// Manifests of at most 512 000 bytes, and a status beside them.
const FILLER_BYTES: i32 = 1024 * 1024;

const WRITE: &str = "write the heartbeat";
const READ: &str = "read the heartbeat back";

/// For how long the heartbeat may hold the place that the renewal of the lease needs, which has three more attempts before
/// the lease is over (ten seconds, renewed every two).
const STEP: Duration = Duration::from_secs(2);

const SAY_EVERY: Duration = Duration::from_secs(60);

// Every class, and what has none.
const KINDS: usize = 13;
