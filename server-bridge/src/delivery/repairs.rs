//! Rate limit of repairs: how often delivery acts on what an agent reports unasked, so that a misbehaving agent makes no storm.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use link::id::ConsumerName;
use tokio::time::Instant;

/// When which bundle of which consumer was repaired.
#[derive(Debug, Default)]
pub(super) struct Repairs(Mutex<HashMap<ConsumerName, Consumer>>);

#[derive(Debug)]
struct Consumer {
    /// Repairs since `since`.
    spent: u32,
    since: Instant,
    bundles: HashMap<String, Repair>,
}

#[derive(Debug)]
struct Repair {
    at: Instant,
    distance: Duration,
}

// === impl Repairs ===

impl Repairs {
    /// Whether a bundle may be repaired now, which is then noted: one bundle at most once a minute, doubling to an
    /// hour, and [`PER_MINUTE`] of a consumer. What is refused is found by the next resync.
    pub(super) fn admit(&self, consumer: &ConsumerName, id: &str, now: Instant) -> bool {
        let mut consumers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !consumers.contains_key(consumer) {
            consumers.retain(|_, known| now < known.since + LONGEST);
        }
        let known = consumers
            .entry(consumer.clone())
            .or_insert_with(|| Consumer {
                spent: 0,
                since: now,
                bundles: HashMap::new(),
            });
        if now >= known.since + FIRST {
            known.spent = 0;
            known.since = now;
            known
                .bundles
                .retain(|_, repair| now < repair.at + 2 * LONGEST);
        }
        if known.spent >= PER_MINUTE {
            return false;
        }
        let distance = match known.bundles.get(id) {
            Some(repair) if now < repair.at + repair.distance => return false,
            Some(repair) if now < repair.at + 2 * repair.distance => {
                (2 * repair.distance).min(LONGEST)
            }
            _ => FIRST,
        };
        known.spent += 1;
        let repair = Repair { at: now, distance };
        known.bundles.insert(id.to_owned(), repair);
        true
    }
}

/// Repairs of one consumer in a minute: one lane's batch each, two messages a second at most.
pub(super) const PER_MINUTE: u32 = 100;
const FIRST: Duration = Duration::from_secs(60);
// With 100 a minute no more than 12 000 bundles of a consumer are remembered.
const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bundle_is_repaired_ever_less_often_and_a_consumer_never_in_a_storm() {
        let (one, other) = (
            ConsumerName::new("c1").unwrap(),
            ConsumerName::new("c2").unwrap(),
        );
        let repairs = Repairs::default();
        let start = Instant::now();
        let admitted = (0..24 * 3600)
            .filter(|second| repairs.admit(&one, "a", start + Duration::from_secs(*second)))
            .count();
        assert!((24..=32).contains(&admitted), "{admitted}");
        let later = start + 2 * Duration::from_secs(24 * 3600);
        let admitted = (0..1_000)
            .filter(|number| repairs.admit(&one, &number.to_string(), later))
            .count();
        assert_eq!(admitted, PER_MINUTE as usize);
        assert!(repairs.admit(&other, "a", later));
        assert!(repairs.admit(&one, "999", later + FIRST));
    }
}
