//! When the next report is due; pure.
//!
//! What changes is told a second after it began, so that what changes together is told together. Who goes on changing is
//! told of every ten seconds: refusals that alternate must not fill a connection with reports.

use std::time::Duration;

use tokio::time::Instant;

use super::REPORT_INTERVAL;

/// When the next report is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    wanted: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    /// Something is to be told.
    pub(super) fn wanted(&mut self, now: Instant) {
        self.wanted.get_or_insert(now);
    }

    /// It was reported, or could not be and is to be tried again.
    pub(super) fn reported(&mut self, now: Instant, done: bool) {
        self.last = Some(now);
        self.wanted = (!done).then_some(now);
    }

    /// When the next report is due; never before the first was wanted.
    pub(super) fn due(&self) -> Option<Instant> {
        let changed = self.wanted.map(|wanted| {
            let apart = self.last.map(|last| last + LEAST_DISTANCE);
            apart.unwrap_or(wanted).max(wanted + DEBOUNCE)
        });
        changed.or(self.last.map(|last| last + REPORT_INTERVAL))
    }
}

const DEBOUNCE: Duration = Duration::from_secs(1);
const LEAST_DISTANCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_after_a_second_and_what_goes_on_changing_every_ten() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert_eq!(pace.due(), None);
        pace.wanted(start);
        pace.wanted(after(5));
        assert_eq!(pace.due(), Some(after(1)));
        pace.reported(after(1), true);
        assert_eq!(pace.due(), Some(after(1) + REPORT_INTERVAL));
        pace.wanted(after(2));
        assert_eq!(pace.due(), Some(after(11)));
        pace.reported(after(11), false);
        assert_eq!(pace.due(), Some(after(21)), "it failed and is tried again");
        pace.reported(after(21), true);
        pace.wanted(after(100));
        assert_eq!(pace.due(), Some(after(101)));
    }
}
