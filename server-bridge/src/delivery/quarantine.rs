//! Retry budget of one lane: a bundle that cannot be published waits longer after each attempt, and does not hold up those
//! behind it. Pure.

use std::collections::HashMap;
use std::time::Duration;

use link::order::Version;
use tokio::time::Instant;

/// Bundles of one consumer that failed to publish.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    waiting: HashMap<String, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    version: Version,
    deletion: bool,
    failures: u32,
    permanent: bool,
    due: Instant,
}

// === impl Quarantine ===

impl Quarantine {
    /// Whether a bundle may be tried now. A newer version, or a deletion, starts over: it may be the cure.
    pub(super) fn admits(&self, id: &str, version: Version, deletion: bool, now: Instant) -> bool {
        self.waiting.get(id).is_none_or(|waiting| {
            waiting.version != version || waiting.deletion != deletion || waiting.due <= now
        })
    }

    /// Notes a failure. A permanent one is the bundle's own fault and waits [`PERMANENT`]: it is tried at all because the
    /// broker's limits may change, and seldom because it may cost everybody's connection.
    pub(super) fn failed(
        &mut self,
        id: &str,
        version: Version,
        deletion: bool,
        permanent: bool,
        now: Instant,
    ) {
        let failures = match self.waiting.get(id) {
            Some(waiting) if waiting.version == version && waiting.deletion == deletion => {
                waiting.failures + 1
            }
            _ => 1,
        };
        let delay = pause_after(failures, permanent);
        let waiting = Waiting {
            version,
            deletion,
            failures,
            permanent,
            due: now + delay,
        };
        self.waiting.insert(id.to_string(), waiting);
    }

    /// Lets go of everything that failed for a reason that may have been the consumer's.
    pub(super) fn pardon(&mut self) {
        self.waiting.retain(|_, waiting| waiting.permanent);
    }

    /// Notes a success.
    pub(super) fn passed(&mut self, id: &str) {
        self.waiting.remove(id);
    }

    /// When the next waiting bundle may be tried.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }

    /// How many bundles wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets bundles that are not pending any more.
    pub(super) fn retain(&mut self, pending: impl Fn(&str) -> bool) {
        self.waiting.retain(|id, _| pending(id));
    }
}

/// How long a bundle waits that has failed so often, at least once. Unless its lane recovers before, if it may have been the
/// lane's fault.
pub(crate) fn pause_after(failures: u32, permanent: bool) -> Duration {
    if permanent {
        return PERMANENT;
    }
    FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST)
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
const PERMANENT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_version_waits_longer_each_time_and_a_newer_one_does_not() {
        let version = Version::FIRST;
        let newer = version.next().unwrap();
        let mut now = Instant::now();
        let mut quarantine = Quarantine::default();
        let mut last = Duration::ZERO;
        for _ in 0..9 {
            quarantine.failed("a", version, false, false, now);
            assert!(!quarantine.admits("a", version, false, now));
            assert!(quarantine.admits("a", newer, false, now));
            assert!(quarantine.admits("a", version, true, now));
            assert!(quarantine.admits("b", version, false, now));
            let due = quarantine.next_due().unwrap();
            assert!(due - now > last);
            (last, now) = (due - now, due);
            assert!(quarantine.admits("a", version, false, now));
        }
        quarantine.failed("a", version, false, false, now);
        assert_eq!(quarantine.next_due().unwrap() - now, LONGEST);
        quarantine.passed("a");
        assert_eq!(quarantine.len(), 0);
    }

    #[test]
    fn what_is_the_bundle_s_own_fault_waits_long_and_is_not_pardoned() {
        let now = Instant::now();
        let mut quarantine = Quarantine::default();
        quarantine.failed("own", Version::FIRST, false, true, now);
        quarantine.failed("lane", Version::FIRST, false, false, now);
        quarantine.pardon();
        assert_eq!(quarantine.len(), 1);
        assert!(!quarantine.admits("own", Version::FIRST, false, now + LONGEST));
        assert!(quarantine.admits("own", Version::FIRST, false, now + PERMANENT));
    }
}
