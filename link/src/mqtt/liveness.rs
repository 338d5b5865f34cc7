//! When a connection on which the broker sends nothing is given up. Pure: the driver feeds it events.
//!
//! The client library pings when nothing was written for an interval, and gives up when the next ping is due; that is too
//! late by half a minute or more, and it waits for ever inside a write that the peer does not take.

use std::time::Duration;

use tokio::time::Instant;

/// One connection, from its CONNACK on.
#[derive(Debug)]
pub(super) struct Liveness {
    // Since when a ping waits for anything to come in; none while nothing is read.
    asked: Option<Instant>,
    // When the library last did anything at all.
    moved: Instant,
    // How long it may do nothing: until its next ping.
    idle: Duration,
    reading: bool,
}

// === impl Liveness ===

impl Liveness {
    /// A new connection, whose first ping comes after `keep_alive` unless something is written before.
    pub(super) fn new(keep_alive: Duration, now: Instant) -> Self {
        Self {
            asked: None,
            moved: now,
            idle: keep_alive,
            reading: true,
        }
    }

    /// A packet came in.
    pub(super) fn received(&mut self, now: Instant) {
        self.asked = None;
        self.moved = now;
    }

    /// A packet went out; from now on the library pings every [`PING_INTERVAL`].
    pub(super) fn sent(&mut self, now: Instant) {
        self.moved = now;
        self.idle = PING_INTERVAL;
    }

    /// A ping went out.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.sent(now);
        if self.reading {
            self.asked.get_or_insert(now);
        }
    }

    /// Reading stopped or goes on: what is not read cannot be counted as received.
    pub(super) fn set_reading(&mut self, reading: bool, now: Instant) {
        self.asked = None;
        self.moved = now;
        self.reading = reading;
    }

    /// When the broker is to be given up.
    pub(super) fn deadline(&self) -> Instant {
        let stuck = self.moved + self.idle + PING_DEADLINE;
        self.asked
            .map_or(stuck, |asked| stuck.min(asked + PING_DEADLINE))
    }
}

/// Silence on our side after which a ping goes out. Shorter than any keep-alive: together with [`PING_DEADLINE`] a
/// half-open connection is noticed within 25 seconds, and no NAT forgets it.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long a ping waits for anything to come in.
const PING_DEADLINE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(60);

    #[test]
    fn a_broker_that_goes_silent_is_given_up_within_thirty_seconds() {
        let start = Instant::now();
        let mut liveness = Liveness::new(KEEP_ALIVE, start);
        liveness.sent(start);
        liveness.received(start);
        let ping = start + PING_INTERVAL;
        assert!(liveness.deadline() > ping);
        liveness.pinged(ping);
        assert_eq!(liveness.deadline(), start + Duration::from_secs(25));
        // A second ping does not move it, anything that comes in does.
        liveness.pinged(ping + PING_INTERVAL);
        assert_eq!(liveness.deadline(), start + Duration::from_secs(25));
        liveness.received(ping + PING_INTERVAL);
        assert!(liveness.deadline() > start + Duration::from_secs(25));
    }

    #[test]
    fn a_library_that_is_stuck_in_a_write_is_given_up_too() {
        let start = Instant::now();
        let mut liveness = Liveness::new(KEEP_ALIVE, start);
        assert_eq!(liveness.deadline(), start + KEEP_ALIVE + PING_DEADLINE);
        liveness.sent(start);
        assert_eq!(liveness.deadline(), start + PING_INTERVAL + PING_DEADLINE);
    }

    #[test]
    fn while_nothing_is_read_no_answer_is_missed() {
        let start = Instant::now();
        let mut liveness = Liveness::new(KEEP_ALIVE, start);
        liveness.pinged(start);
        liveness.set_reading(false, start + PING_INTERVAL);
        let mut now = start + PING_INTERVAL;
        for _ in 0..100 {
            now += PING_INTERVAL;
            liveness.pinged(now);
            assert!(liveness.deadline() > now + PING_INTERVAL);
        }
        liveness.set_reading(true, now);
        liveness.pinged(now);
        assert_eq!(liveness.deadline(), now + PING_DEADLINE);
    }
}
