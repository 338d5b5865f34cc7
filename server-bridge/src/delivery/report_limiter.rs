//! How often what an agent reports of itself is taken: each report is a write, and an agent that misbehaves must not make as
//! many as it likes. What is refused comes again with its next report, a few minutes later.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use link::id::ConsumerName;
use tokio::time::Instant;

/// What each consumer has left: until when its credit is used up, were it to use all.
#[derive(Debug, Default)]
pub(super) struct ReportLimiter(Mutex<HashMap<ConsumerName, Instant>>);

// === impl ReportLimiter ===

impl ReportLimiter {
    /// Whether a report may be taken now, which is then counted: [`BURST`] at once, and one each [`EVERY`].
    pub(super) fn admit(&self, consumer: &ConsumerName, now: Instant) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.contains_key(consumer) {
            used.retain(|_, until| *until > now);
        }
        let until = used.get(consumer).map_or(now, |until| (*until).max(now)) + EVERY;
        let admitted = until <= now + BURST * EVERY;
        if admitted {
            used.insert(consumer.clone(), until);
        }
        admitted
    }
}

// An agent reports every five minutes, when it connects, and once a second at most when it refuses something: a burst of
// refusals is told whole a while later.
const BURST: u32 = 30;
const EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_one_every_ten_seconds_of_each_consumer() {
        let [one, other, third] = ["c1", "c2", "c3"].map(|name| ConsumerName::new(name).unwrap());
        let limiter = ReportLimiter::default();
        let start = Instant::now();
        let admitted = (0..1_000).filter(|_| limiter.admit(&one, start)).count();
        assert_eq!(admitted, BURST as usize);
        assert!(limiter.admit(&other, start));
        let later = |second| start + Duration::from_secs(second);
        let admitted = (1..=3_600).filter(|second| limiter.admit(&one, later(*second)));
        assert_eq!(admitted.count(), 360);
        // What is full again is forgotten.
        assert!(limiter.admit(&third, later(10_000)));
        assert_eq!(limiter.0.lock().unwrap().len(), 1);
    }
}
