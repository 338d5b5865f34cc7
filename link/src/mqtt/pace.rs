//! Keeps this side under the broker's rates: IoT Core discards what goes over them (docs/IOT-CORE.md §1.2).
//!
//! A sliding window rather than a token bucket: a bucket of 100 refilled at 100 a second lets 200 through within
//! one second, a window never more than 100, and still sends a burst of 100 at once.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// At most so many messages and bytes within any window.
#[derive(Debug)]
pub(super) struct Pace {
    messages: usize,
    bytes: usize,
    sent: VecDeque<(Instant, usize)>,
    sent_bytes: usize,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(messages: usize, bytes: usize) -> Self {
        Self {
            messages: messages.max(1),
            bytes,
            sent: VecDeque::new(),
            sent_bytes: 0,
        }
    }

    /// When a message of this size may go; `None` means now. A message larger than the whole byte budget goes
    /// when the window is empty.
    pub(super) fn ready_at(&mut self, size: usize, now: Instant) -> Option<Instant> {
        while let Some((at, bytes)) = self.sent.front() {
            if *at + WINDOW > now {
                break;
            }
            self.sent_bytes -= bytes;
            self.sent.pop_front();
        }
        let over_count = (self.sent.len() + 1).saturating_sub(self.messages);
        let mut over_bytes = (self.sent_bytes + size).saturating_sub(self.bytes);
        let mut wait_for = None;
        for (index, (at, bytes)) in self.sent.iter().enumerate() {
            if index >= over_count && over_bytes == 0 {
                break;
            }
            over_bytes = over_bytes.saturating_sub(*bytes);
            wait_for = Some(*at + WINDOW);
        }
        wait_for
    }

    /// Notes that a message went out, or goes out again.
    pub(super) fn charge(&mut self, size: usize, now: Instant) {
        self.sent.push_back((now, size));
        self.sent_bytes += size;
    }
}

// A second, and five per cent for the jitter that bunches messages up on their way.
const WINDOW: Duration = Duration::from_millis(1050);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_second_ever_holds_more_than_the_limits(sizes in prop::collection::vec(1usize..200, 1..400)) {
            let mut pace = Pace::new(10, 1_000);
            let mut now = Instant::now();
            let mut sent: Vec<(Instant, usize)> = Vec::new();
            for size in sizes {
                while let Some(at) = pace.ready_at(size, now) {
                    prop_assert!(at > now);
                    now = at;
                }
                pace.charge(size, now);
                sent.push((now, size));
                let recent = sent.iter().filter(|(at, _)| now - *at < Duration::from_secs(1));
                let (count, bytes) = recent.fold((0, 0), |(count, bytes), (_, size)| (count + 1, bytes + size));
                prop_assert!(count <= 10 && bytes <= 1_000);
            }
        }
    }

    #[test]
    fn a_burst_up_to_the_limit_goes_at_once_and_a_giant_still_goes() {
        let now = Instant::now();
        let mut pace = Pace::new(100, 1_000);
        for _ in 0..100 {
            assert_eq!(pace.ready_at(1, now), None);
            pace.charge(1, now);
        }
        assert!(pace.ready_at(1, now).is_some());
        let mut empty = Pace::new(100, 1_000);
        assert_eq!(empty.ready_at(5_000, now), None);
    }
}
