//! Exponential backoff with full jitter that resets only after sustained success.
//!
//! Resetting at the first success is the classic reconnect bug (docs/IOT-CORE.md §3): a connection that is accepted
//! and dropped at once would be retried for ever at the shortest delay.

use std::time::Duration;

/// Delays between attempts: doubling from `first` to `max`, each drawn from the upper half of its step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    stable_after: Duration,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// `first` is the longest first delay, `max` the ceiling, `stable_after` how long a success must last to
    /// count as one. `max` below `first` is raised to `first`.
    pub fn new(first: Duration, max: Duration, stable_after: Duration) -> Self {
        Self {
            first,
            max: max.max(first),
            stable_after,
            failures: 0,
        }
    }

    /// The delay before the next attempt. `lasted` is how long the attempt that just ended had worked (zero if
    /// it never did), `unit` a random number in `0.0..1.0`.
    pub fn next(&mut self, lasted: Duration, unit: f64) -> Duration {
        if lasted >= self.stable_after {
            self.failures = 0;
        }
        let step = self
            .first
            .saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(self.max);
        self.failures = self.failures.saturating_add(1).min(31);
        step.mul_f64(0.5 + unit.clamp(0.0, 1.0) / 2.0)
    }

    /// Like [`Backoff::next`] with the process's random numbers.
    pub fn next_jittered(&mut self, lasted: Duration) -> Duration {
        self.next(lasted, rand::random::<f64>())
    }

    /// Attempts that ended since the last sustained success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_millis(400);
    const MAX: Duration = Duration::from_secs(60);
    const STABLE: Duration = Duration::from_secs(60);

    #[test]
    fn short_success_does_not_reset_the_delay() {
        let mut backoff = Backoff::new(FIRST, MAX, STABLE);
        for _ in 0..10 {
            backoff.next(Duration::from_secs(59), 1.0);
        }
        assert_eq!(backoff.next(Duration::from_secs(59), 1.0), MAX);
        assert_eq!(backoff.next(Duration::from_secs(60), 1.0), FIRST);
    }

    proptest! {
        #[test]
        fn delay_stays_between_half_the_first_and_the_maximum(unit in 0.0f64..1.0, tries in 1usize..80) {
            let mut backoff = Backoff::new(FIRST, MAX, STABLE);
            for _ in 0..tries {
                let delay = backoff.next(Duration::ZERO, unit);
                prop_assert!(delay >= FIRST / 2 && delay <= MAX);
            }
        }
    }
}
