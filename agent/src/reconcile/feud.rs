//! Works whose objects somebody else changes back again and again: another agent with the same field manager, an
//! operator that wants other content. Each repair is right, but two who repair each other would never rest.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::work::WorkId;

/// Counts repairs per work and slows a work down that needs too many. Holds only works repaired lately.
#[derive(Debug, Default)]
pub struct Feuds(Mutex<HashMap<WorkId, Feud>>);

#[derive(Clone, Copy, Debug)]
struct Feud {
    // Of the work as it was then; another version is another matter.
    epoch: u64,
    repairs: u32,
    last: Instant,
    until: Instant,
}

// === impl Feuds ===

impl Feuds {
    /// How long the work, as it is since `epoch`, has to wait yet.
    pub(super) fn wait(&self, id: &WorkId, epoch: u64, now: Instant) -> Option<Duration> {
        let feuds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let feud = feuds.get(id).filter(|feud| feud.epoch == epoch)?;
        feud.until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Notes that an object was put back. Answers with the pause that follows once there were too many.
    pub(super) fn repaired(&self, id: &WorkId, epoch: u64, now: Instant) -> Option<Duration> {
        let mut feuds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feuds.retain(|other, feud| {
            now.duration_since(feud.last) < CALM && (other != id || feud.epoch == epoch)
        });
        let feud = feuds.entry(id.clone()).or_insert(Feud {
            epoch,
            repairs: 0,
            last: now,
            until: now,
        });
        feud.repairs += 1;
        feud.last = now;
        let too_many = feud.repairs.checked_sub(PATIENCE)?;
        let pause = SHORTEST
            .saturating_mul(2_u32.saturating_pow(too_many))
            .min(LONGEST);
        feud.until = now + pause;
        Some(pause)
    }

    /// A new version begins anew.
    pub(super) fn forget(&self, id: &WorkId) {
        let mut feuds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feuds.remove(id);
    }
}

// Nobody edits by hand that often; two who repair each other twice a second are there within a minute.
const PATIENCE: u32 = 60;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
// Above the longest pause, or each pause would look like peace.
const CALM: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_work_that_is_repaired_too_often_is_slowed_down_until_it_is_calm() {
        let (feuds, id) = (Feuds::default(), WorkId::from("w"));
        let step = Duration::from_millis(500);
        for _ in 1..PATIENCE {
            tokio::time::advance(step).await;
            assert_eq!(feuds.repaired(&id, 1, Instant::now()), None);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let now = Instant::now();
            let pause = Duration::from_secs(seconds);
            assert_eq!(feuds.repaired(&id, 1, now), Some(pause));
            assert_eq!(feuds.wait(&id, 1, now), Some(pause));
            tokio::time::advance(pause).await;
            assert_eq!(feuds.wait(&id, 1, Instant::now()), None);
        }
        tokio::time::advance(CALM).await;
        assert_eq!(feuds.repaired(&id, 1, Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn another_version_does_not_wait_for_the_feud_of_the_one_before() {
        let (feuds, id) = (Feuds::default(), WorkId::from("w"));
        let now = Instant::now();
        for _ in 0..PATIENCE + 10 {
            feuds.repaired(&id, 1, now);
        }
        assert!(feuds.wait(&id, 1, now).is_some());
        assert_eq!(feuds.wait(&id, 2, now), None);
        assert_eq!(feuds.repaired(&id, 2, now), None, "it begins anew");
    }
}
