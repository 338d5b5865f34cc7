//! Deletes old tombstones, and the last reports of bundles that are gone.
//!
//! What is forgotten is gone for good, and how long ago it was is told by a clock that may be wrong. So nothing is
//! forgotten in the first hour, in which a clock is set, and nothing while it shows that more time passed since the start
//! than did.

use jiff::{SignedDuration, Timestamp};
use link::clock::Clock;
use link::error::chain;
use tokio::time::{Duration, Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::store::{REPORTS_KEPT, Store};

/// Looks every hour, and every few minutes for reports, until `drain` is cancelled.
pub(super) async fn run<S: Store>(store: S, clock: Clock, drain: CancellationToken) {
    let (began, began_at) = (Instant::now(), clock.now());
    let mut tick = interval_at(began + EVERY, EVERY);
    let mut reports = interval_at(began + REPORTS_EVERY, REPORTS_EVERY);
    loop {
        let deletions = tokio::select! {
            () = drain.cancelled() => return,
            _ = tick.tick() => true,
            _ = reports.tick() => false,
        };
        let now = clock.now();
        if has_jumped(began_at, now, began.elapsed()) {
            warn!(
                %began_at, %now, ran_seconds = began.elapsed().as_secs(),
                hint = "restart the bridge once its clock is right",
                "The clock has jumped ahead since the start; no deletion is forgotten"
            );
            continue;
        }
        if !deletions {
            // Several replicas do so: each forgets what the others have left.
            match store.prune_reports(now - REPORTS_KEPT).await {
                Ok(0) => {}
                Ok(forgotten) => debug!(forgotten, "Forgot reports of bundles that are gone"),
                Err(error) => warn!("Could not forget old reports: {}", chain(&error)),
            }
            continue;
        }
        match store.prune_tombstones(now - KEPT).await {
            Ok(0) => {}
            Ok(forgotten) => info!(forgotten, "Forgot deletions of long ago"),
            Err(error) => warn!("Could not forget old deletions: {}", chain(&error)),
        }
    }
}

/// Whether the clock shows more time since the start than passed. A clock that was set back was wrong before and is
/// right now.
fn has_jumped(began_at: Timestamp, now: Timestamp, passed: Duration) -> bool {
    let shown = Duration::try_from(now.duration_since(began_at)).unwrap_or_default();
    shown > passed + JUMP
}

const EVERY: Duration = Duration::from_secs(3600);

// What they hold is large: manifests.
const REPORTS_EVERY: Duration = Duration::from_secs(300);

// A machine that slept, and clocks that are corrected a little, show more than passed too.
const JUMP: Duration = Duration::from_secs(24 * 3600);

// An agent that was away for longer than this keeps what was deleted meanwhile.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use tokio::time::{advance, pause};

    use super::*;
    use crate::store::StoreError;
    use crate::store::faulty::{Fault, Faulty};
    use crate::store::sqlite::SqliteStore;

    #[tokio::test]
    async fn deletions_are_forgotten_from_the_second_hour_on_and_not_by_a_clock_that_jumped() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bridge.db");
        let store = Faulty::new(SqliteStore::open(file).await.unwrap());
        // What is called is counted and goes no further: the database has a time of its own.
        store.every(Some(Fault::Error(StoreError::Closed)));
        pause();
        let jump = Arc::new(AtomicI64::new(0));
        let (began, jumped) = (Instant::now(), jump.clone());
        let clock = Clock::from_fn(move || {
            let seconds = began.elapsed().as_secs().cast_signed() + jumped.load(Ordering::SeqCst);
            Timestamp::from_second(1_780_000_000 + seconds).unwrap()
        });
        let drain = CancellationToken::new();
        let running = tokio::spawn(run(store.clone(), clock, drain.clone()));
        let pass = async |seconds| {
            advance(Duration::from_secs(seconds)).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            store.calls("prune_tombstones")
        };
        assert_eq!(pass(0).await, 0);
        assert_eq!(pass(3599).await, 0);
        assert_eq!(pass(2).await, 1);
        assert!(store.calls("prune_reports") > 0);
        assert_eq!(pass(3600).await, 2);
        let day = 24 * 3600;
        jump.store(90 * day, Ordering::SeqCst);
        assert_eq!(pass(3600).await, 2);
        jump.store(day, Ordering::SeqCst);
        assert_eq!(pass(3600).await, 3);
        jump.store(day + 1, Ordering::SeqCst);
        assert_eq!(pass(3600).await, 3);
        // It was ahead at the start, and was put right.
        jump.store(-90 * day, Ordering::SeqCst);
        assert_eq!(pass(3600).await, 4);
        drain.cancel();
        running.await.unwrap();
    }
}
