//! Readiness check `delivery`: it fails while something that came in waits because of a failure of ours.

use std::sync::{Arc, Mutex, PoisonError};

use link::admin::Check;
use link::telemetry::clip;

/// The check. Clones share it.
#[derive(Clone)]
pub(super) struct Health(Arc<Shared>);

struct Shared {
    check: Check,
    stuck: Mutex<u64>,
}

/// Something waits. Dropping it says that it does not any more.
pub(super) struct Stuck(Health);

// === impl Health ===

impl Health {
    pub(super) fn new(check: Check) -> Self {
        check.ok();
        Self(Arc::new(Shared {
            check,
            stuck: Mutex::new(0),
        }))
    }

    /// Notes that something waits, and why. The reason is shown to whoever asks: no payload.
    pub(super) fn stuck(&self, why: &str) -> Stuck {
        self.change(|stuck| stuck + 1, why);
        Stuck(self.clone())
    }

    fn change(&self, step: impl FnOnce(u64) -> u64, why: &str) {
        // Held while the check is set, so that the last one to change it is the last one to say so.
        let mut stuck = self.0.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        *stuck = step(*stuck);
        match *stuck {
            0 => self.0.check.ok(),
            _ if why.is_empty() => {}
            waiting => self.0.check.failing(format!(
                "{waiting} event(s) from agents cannot be taken: {}",
                clip(why, REASON_BYTES)
            )),
        }
    }
}

// === impl Stuck ===

impl Stuck {
    /// It still waits, now for this reason.
    pub(super) fn because(&self, why: &str) {
        self.0.change(|stuck| stuck, why);
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.change(|stuck| stuck.saturating_sub(1), "");
    }
}

const REASON_BYTES: usize = 300;

#[cfg(test)]
mod tests {
    use link::admin::Checks;

    use super::*;

    #[test]
    fn the_check_fails_until_the_last_one_does_not_wait_any_more() {
        let checks = Checks::new();
        let health = Health::new(checks.add("delivery"));
        assert!(checks.all_ok());
        let one = health.stuck("the disk is full");
        let other = health.stuck("the disk is full");
        drop(one);
        let reason = checks.report(std::time::Instant::now()).checks[0]
            .reason
            .clone();
        assert!(reason.is_some_and(|reason| reason.contains("the disk is full")));
        other.because("it is still full");
        assert!(!checks.all_ok());
        drop(other);
        assert!(checks.all_ok());
    }
}
