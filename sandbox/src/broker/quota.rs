//! Token buckets and the limiter of CONNECTs per client id. Pure: time comes as an argument.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills at `rate` per second and holds one second's worth. Without a rate it never empties.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Option<f64>,
    tokens: f64,
    at: Instant,
}

/// Remembers when each client id last connected.
#[derive(Debug, Default)]
pub(super) struct ConnectLimiter {
    last: HashMap<Arc<str>, Instant>,
}

// === impl Bucket ===

impl Bucket {
    pub(super) fn new(per_second: Option<u32>, now: Instant) -> Self {
        let rate = per_second.map(f64::from);
        Self {
            rate,
            tokens: rate.unwrap_or_default(),
            at: now,
        }
    }

    /// Takes one token if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.fill(now).is_none() {
            return true;
        }
        let there_is_one = self.tokens >= TOKEN;
        if there_is_one {
            self.tokens -= 1.0;
        }
        there_is_one
    }

    /// When the next [`take`](Self::take) will succeed; `None` when it would now.
    pub(super) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        let rate = self.fill(now)?;
        (self.tokens < TOKEN)
            .then(|| now + Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / rate))
    }

    /// Takes `amount`, or nothing when there is not so much; what is larger than the bucket takes all of a full one.
    pub(super) fn afford(&mut self, amount: usize, now: Instant) -> bool {
        let Some(rate) = self.fill(now) else {
            return true;
        };
        let amount = (amount as f64).min(rate);
        let there_is_enough = self.tokens >= amount;
        if there_is_enough {
            self.tokens -= amount;
        }
        there_is_enough
    }

    /// Takes `amount` at once, into debt if need be, and says how long to pause for it.
    pub(super) fn charge(&mut self, amount: usize, now: Instant) -> Duration {
        let Some(rate) = self.fill(now) else {
            return Duration::ZERO;
        };
        self.tokens -= amount as f64;
        if self.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.tokens / rate)
        }
    }

    fn fill(&mut self, now: Instant) -> Option<f64> {
        let rate = self.rate?;
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.tokens = (self.tokens + gained).min(rate);
        self.at = now;
        Some(rate)
    }
}

// === impl ConnectLimiter ===

impl ConnectLimiter {
    /// Whether this id may connect now; a refused attempt does not push the next one back (assumed).
    pub(super) fn allows(
        &mut self,
        client_id: &Arc<str>,
        every: Option<Duration>,
        now: Instant,
    ) -> bool {
        let Some(every) = every else { return true };
        if self.last.len() > PRUNE_ABOVE {
            self.last.retain(|_, at| now < *at + every);
        }
        match self.last.get(client_id) {
            Some(at) if now < *at + every => false,
            _ => {
                self.last.insert(client_id.clone(), now);
                true
            }
        }
    }
}

// A whole token, give or take the rounding of the division that made a deadline.
const TOKEN: f64 = 1.0 - 1e-6;

// Old entries are only worth removing once there are more than a sandbox has clients.
const PRUNE_ABOVE: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_one_second_at_once_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(10), start);
        assert_eq!((0..20).filter(|_| bucket.take(start)).count(), 10);
        assert_eq!(
            bucket.ready_at(start),
            Some(start + Duration::from_millis(100))
        );
        assert!(bucket.take(start + Duration::from_millis(100)));
        assert!(!bucket.take(start + Duration::from_millis(150)));
    }

    #[test]
    fn a_charge_beyond_the_bucket_is_paid_with_a_pause() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(1000), start);
        assert_eq!(bucket.charge(1000, start), Duration::ZERO);
        assert_eq!(bucket.charge(500, start), Duration::from_millis(500));
    }

    #[test]
    fn a_client_id_connects_once_per_interval() {
        let start = Instant::now();
        let every = Some(Duration::from_secs(1));
        let mut limiter = ConnectLimiter::default();
        let id: Arc<str> = "a".into();
        assert!(limiter.allows(&id, every, start));
        assert!(!limiter.allows(&id, every, start + Duration::from_millis(999)));
        assert!(limiter.allows(&"b".into(), every, start));
        assert!(limiter.allows(&id, every, start + Duration::from_secs(1)));
    }
}
