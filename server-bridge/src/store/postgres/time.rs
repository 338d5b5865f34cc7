//! What time it is: the database's time, on which all replicas agree. Which status is newer, when a consumer was heard and
//! what was deleted after an epoch began is told by times that different replicas wrote, so a replica whose own clock is wrong
//! must not write that.
//!
//! Between two looks at the database's clock this machine's runs on. Clocks that are kept differ by less than
//! [`TOLERATED`], and are left as they are: times then rise as this machine's do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::SignedDuration;
use link::clock::Clock;
use sqlx::PgConnection;
use tracing::warn;

use super::PostgresStore;

/// How far the database's clock is ahead of this machine's, in microseconds. Clones share it.
#[derive(Clone)]
pub(super) struct Time {
    own: Clock,
    ahead: Arc<AtomicI64>,
}

// === impl PostgresStore ===

impl PostgresStore {
    /// The database's clock, as it was seen last.
    pub fn clock(&self) -> Clock {
        self.connections.time().clock()
    }
}

// === impl Time ===

impl Time {
    pub(super) fn new(own: Clock) -> Self {
        Self {
            own,
            ahead: Arc::default(),
        }
    }

    fn clock(&self) -> Clock {
        let Self { own, ahead } = self.clone();
        Clock::from_fn(move || {
            let ahead = SignedDuration::from_micros(ahead.load(Ordering::Relaxed));
            let now = own.now();
            now.saturating_add(ahead).unwrap_or(now)
        })
    }

    /// Looks at the database's clock. An answer that took long says too little.
    pub(super) async fn look(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let asked = self.own.now();
        let database = now(connection).await?;
        let answered = self.own.now();
        let took = answered.duration_since(asked);
        if took < SignedDuration::ZERO || took > TOLERATED {
            return Ok(());
        }
        let between = asked.as_microsecond() + took.as_micros() as i64 / 2;
        let found = SignedDuration::from_micros(database - between);
        let ahead = if found.abs() < TOLERATED {
            SignedDuration::ZERO
        } else {
            found
        };
        let micros = ahead.as_micros() as i64;
        let before = self.ahead.swap(micros, Ordering::Relaxed);
        if (micros == 0) != (before == 0) {
            warn!(
                seconds = ahead.as_secs(),
                "The database's clock is ahead of this machine's by this much; times are the database's"
            );
        }
        Ok(())
    }
}

/// The database's time in microseconds since 1970.
pub(super) async fn now(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        .fetch_one(connection)
        .await
}

/// More than clocks that are kept drift apart, and than an answer takes.
const TOLERATED: SignedDuration = SignedDuration::from_secs(1);
