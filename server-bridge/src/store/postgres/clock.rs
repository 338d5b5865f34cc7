//! The database's clock, which all replicas share. Times written by different replicas decide which status is newer, when a
//! consumer was heard and what was deleted after an epoch began, so a replica with a wrong clock must not write its own.
//!
//! The offset to this machine's clock is measured now and then. Offsets below [`TOLERATED`] are ignored, so that times stay
//! monotonic with this machine's clock. An offset that was corrected is ignored again only below [`KEPT`], so that one in
//! between does not flip with every measurement.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::SignedDuration;
use link::clock::Clock;
use sqlx::PgConnection;
use tracing::{info, warn};

use super::PostgresStore;

/// How far the database's clock is ahead of this machine's, in microseconds. Clones share it.
#[derive(Clone)]
pub(super) struct DatabaseClock {
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

// === impl DatabaseClock ===

impl DatabaseClock {
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

    /// Looks at the database's clock; whether the answer said enough.
    pub(super) async fn look(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let asked = self.own.now();
        let database = now(connection).await?;
        let took = self.own.now().duration_since(asked);
        let between = asked.as_microsecond() + took.as_micros() as i64 / 2;
        let found = SignedDuration::from_micros(database - between);
        let before = SignedDuration::from_micros(self.ahead.load(Ordering::Relaxed));
        let Some(ahead) = judged(before, found, took) else {
            return Ok(false);
        };
        self.ahead
            .store(ahead.as_micros() as i64, Ordering::Relaxed);
        say(before, ahead);
        Ok(true)
    }

    /// The same until an answer says enough, a few times: one that takes long may do so once.
    pub(super) async fn see(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for _ in 0..LOOKS {
            if self.look(connection).await? {
                break;
            }
        }
        Ok(())
    }
}

/// How far the database's clock is taken to be ahead from now on; `None` if the answer took so long that it does not tell.
fn judged(
    before: SignedDuration,
    found: SignedDuration,
    took: SignedDuration,
) -> Option<SignedDuration> {
    if took < SignedDuration::ZERO {
        return None;
    }
    // What it is off by is known up to half of this.
    if took > TOLERATED && found.abs() <= took {
        return None;
    }
    let limit = if before.is_zero() { TOLERATED } else { KEPT };
    Some(if found.abs() < limit {
        SignedDuration::ZERO
    } else {
        found
    })
}

/// Says it when the difference begins, ends or becomes another.
fn say(before: SignedDuration, ahead: SignedDuration) {
    let changed = (before - ahead).abs() > TOLERATED || before.is_zero() != ahead.is_zero();
    if !changed {
        return;
    }
    if ahead.is_zero() {
        info!("This machine's clock is no longer off the database's");
        return;
    }
    let side = if ahead.is_negative() {
        "ahead of"
    } else {
        "behind"
    };
    warn!(
        "This machine's clock is {:.1} s {side} the database's; what is stored is dated by the database's",
        ahead.abs().as_secs_f64()
    );
}

/// The database's time in microseconds since 1970.
pub(super) async fn now(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        .fetch_one(connection)
        .await
}

/// More than clocks that are kept drift apart, and than an answer takes.
const TOLERATED: SignedDuration = SignedDuration::from_secs(1);

const KEPT: SignedDuration = SignedDuration::from_millis(500);

const LOOKS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_above_a_second_until_it_is_below_half_of_one_and_a_slow_answer_for_what_it_says()
     {
        let millis = SignedDuration::from_millis;
        let judged = |before, found, took| {
            let ahead = judged(millis(before), millis(found), millis(took));
            ahead.map(|ahead| ahead.as_millis())
        };
        assert_eq!(judged(0, 900, 1), Some(0));
        assert_eq!(judged(0, -1_100, 1), Some(-1_100));
        assert_eq!(judged(-1_100, -900, 1), Some(-900));
        assert_eq!(judged(-900, -400, 1), Some(0));
        // A wrong clock is far enough off for any answer.
        assert_eq!(judged(0, 600_000, 4_000), Some(600_000));
        assert_eq!(judged(600_000, 3_000, 4_000), None);
        // Set back in between.
        assert_eq!(judged(0, 600_000, -4_000), None);
    }
}
