//! Readiness check `delivery`: fails while an incoming event or an outgoing bundle is held up by a failure of this process.

use std::sync::{Arc, Mutex, PoisonError};

use link::admin::Check;
use link::telemetry::clip;

/// The check. Clones share it.
#[derive(Clone)]
pub(super) struct DeliveryHealth(Arc<Shared>);

struct Shared {
    check: Check,
    stuck: Mutex<Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    events: u64,
    consumers: u64,
}

/// What waits.
#[derive(Clone, Copy)]
enum What {
    Event,
    Consumer,
}

/// Something waits. Dropping it says that it does not any more.
pub(super) struct Stuck(DeliveryHealth, What);

// === impl DeliveryHealth ===

impl DeliveryHealth {
    pub(super) fn new(check: Check) -> Self {
        check.ok();
        Self(Arc::new(Shared {
            check,
            stuck: Mutex::default(),
        }))
    }

    /// Notes that an event from an agent waits, and why. The reason is shown to whoever asks: no payload.
    pub(super) fn stuck(&self, why: &str) -> Stuck {
        self.wait(What::Event, why)
    }

    /// Notes that nothing can be sent to a consumer, and why.
    pub(super) fn stuck_lane(&self, why: &str) -> Stuck {
        self.wait(What::Consumer, why)
    }

    fn wait(&self, what: What, why: &str) -> Stuck {
        self.change(|counts| *counts.of(what) += 1, why);
        Stuck(self.clone(), what)
    }

    fn change(&self, step: impl FnOnce(&mut Counts), why: &str) {
        // Held while the check is set, so that the last one to change it is the last one to say so.
        let mut counts = self.0.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        step(&mut counts);
        let Counts { events, consumers } = *counts;
        let what = match (events, consumers) {
            (0, 0) => return self.0.check.ok(),
            (events, 0) => format!("{events} event(s) from agents cannot be taken"),
            (0, consumers) => format!("nothing can be sent to {consumers} consumer(s)"),
            (events, consumers) => format!(
                "{events} event(s) from agents cannot be taken, and nothing can be sent to {consumers} consumer(s)"
            ),
        };
        if !why.is_empty() {
            let why = clip(why, REASON_BYTES);
            self.0.check.failing(format!("{what}: {why}"));
        }
    }
}

// === impl Counts ===

impl Counts {
    const fn of(&mut self, what: What) -> &mut u64 {
        match what {
            What::Event => &mut self.events,
            What::Consumer => &mut self.consumers,
        }
    }
}

// === impl Stuck ===

impl Stuck {
    /// It still waits, now for this reason.
    pub(super) fn because(&self, why: &str) {
        self.0.change(|_| {}, why);
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let what = self.1;
        let less = |counts: &mut Counts| {
            let count = counts.of(what);
            *count = count.saturating_sub(1);
        };
        self.0.change(less, "");
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
        let health = DeliveryHealth::new(checks.add("delivery"));
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
        let lane = health.stuck_lane("a page is unreadable");
        drop(other);
        assert!(!checks.all_ok());
        drop(lane);
        assert!(checks.all_ok());
    }
}
