//! Keeps a run within its limits after a stall, and what it holds in memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::plan::{MOST_BYTES_PER_SECOND, Plan};
use crate::args::MOST_RATE;

/// The limits that the connections of a run share.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// When the next message may go, and how long one takes from those after it.
    next: Arc<Mutex<Instant>>,
    cost: Duration,
    payload: Arc<Semaphore>,
    size: u32,
}

// === impl Pace ===

impl Pace {
    /// What was held up by the broker is made up for at twice the rate that was asked for, never above what is made at all.
    pub(super) fn of(plan: &Plan, start: Instant) -> Self {
        let rate = plan.rate.saturating_mul(2).clamp(1, MOST_RATE);
        let by_bytes = u64::from(plan.size) * 1_000_000_000 / MOST_BYTES_PER_SECOND;
        Self {
            next: Arc::new(Mutex::new(start)),
            cost: (Duration::from_secs(1) / rate).max(Duration::from_nanos(by_bytes)),
            payload: Arc::new(Semaphore::new(HELD_BYTES)),
            size: plan.size,
        }
    }

    /// When a message that is ready now may go.
    pub(super) fn slot(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let slot = (*next).max(earliest);
        *next = slot + self.cost;
        slot.max(now)
    }

    /// Room for one payload until its answer has come; `None` if there is none by `last`.
    pub(super) async fn room(&self, last: Instant) -> Option<OwnedSemaphorePermit> {
        let room = self.payload.clone().acquire_many_owned(self.size);
        timeout_at(last, room).await.ok()?.ok()
    }
}

// A scheduler that is late by this much is no stall.
const BURST: Duration = Duration::from_millis(100);
// 1000 connections could hold 64 GiB of payload.
const HELD_BYTES: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rate: u32, size: u32) -> Plan {
        Plan {
            run: "0a1b2c3d".into(),
            connections: 1,
            rate,
            size,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(10),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_made_up_for_within_the_limits() {
        let start = Instant::now();
        for (rate, size, a_second) in [
            (100, 1024, 200),
            (MOST_RATE, 1024, 5000),
            (512, 128 * 1024, 512),
        ] {
            let pace = Pace::of(&plan(rate, size), start);
            // Everything is overdue at once.
            let now = start + Duration::from_secs(60);
            let mut last = now;
            for _ in 0..10 * a_second {
                last = pace.slot(now);
            }
            let took = last - now;
            assert!(took > Duration::from_millis(9800), "{rate}: {took:?}");
            assert!(took < Duration::from_millis(10_100), "{rate}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn payload_is_held_within_the_bound() {
        let size = 128 * 1024;
        let end = Instant::now() + Duration::from_secs(1);
        let pace = Pace::of(&plan(1, size), Instant::now());
        let mut held = Vec::new();
        while let Some(room) = pace.room(end).await {
            held.push(room);
        }
        assert_eq!(held.len(), HELD_BYTES / size as usize);
        held.pop();
        assert!(pace.room(Instant::now()).await.is_some());
    }
}
