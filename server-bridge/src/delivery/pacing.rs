//! Rate limit of repetitions: how soon the same thing may be sent to a consumer once more. Pure.
//!
//! Whoever asks again, for whatever reason, costs one more message at once and then one per a distance that doubles:
//! `n` requests cost as many messages as there are things to say, plus a few for each, not `n` times as many.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use link::order::Version;
use tokio::time::Instant;

/// What was sent to one consumer lately.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    sent: HashMap<String, Sent>,
    tidied: Option<Instant>,
}

/// What of a bundle is sent. A newer version, or another deletion, starts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A version.
    Version(Version),
    /// The deletion asked for at this time.
    Deletion(Timestamp),
    /// The deletion of what this bridge does not have.
    Orphan,
}

/// How far apart the same consumer is answered: the first time at once, again after two seconds, doubling to a minute
/// while it goes on.
#[derive(Debug, Default)]
pub(super) struct Distance(Option<(Instant, Duration)>);

#[derive(Debug)]
struct Sent {
    what: What,
    at: Instant,
    times: u32,
}

// === impl Pacing ===

impl Pacing {
    /// When something may be sent; `None` if it may be sent now.
    pub(super) fn held_until(&self, id: &str, what: What, now: Instant) -> Option<Instant> {
        let sent = self.sent.get(id).filter(|sent| sent.what == what)?;
        let due = sent.at + distance(sent.times);
        (due > now).then_some(due)
    }

    /// Notes that something was sent.
    pub(super) fn sent(&mut self, id: &str, what: What, now: Instant) {
        self.tidy(now);
        let times = match self.sent.get(id) {
            Some(sent) if sent.what == what => sent.times.saturating_add(1),
            _ => 1,
        };
        let sent = Sent {
            what,
            at: now,
            times,
        };
        self.sent.insert(id.to_owned(), sent);
    }

    /// How many things may have to wait at present, at most.
    pub(super) fn held(&self, now: Instant) -> usize {
        self.sent
            .values()
            .filter(|sent| sent.at + distance(sent.times) > now)
            .count()
    }

    fn tidy(&mut self, now: Instant) {
        if self.tidied.is_some_and(|at| now < at + LONGEST) {
            return;
        }
        self.tidied = Some(now);
        self.sent.retain(|_, sent| now < sent.at + FORGOTTEN);
    }
}

// === impl Distance ===

impl Distance {
    /// When the next time is, which may be over.
    pub(super) fn next(&self, now: Instant) -> Instant {
        self.0
            .map_or(now, |(last, distance)| now.max(last + distance))
    }

    /// How long after a failure it is tried again.
    pub(super) fn after_failure(&self) -> Duration {
        self.0.map_or(FIRST, |(_, distance)| distance)
    }

    /// Notes that it is done now.
    pub(super) fn note(&mut self, now: Instant) {
        let distance = match self.0 {
            Some((last, distance)) if now < last + 2 * distance => (2 * distance).min(LONGEST),
            _ => FIRST,
        };
        self.0 = Some((now, distance));
    }

    /// Whether it would be the first time again.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        self.0.is_none_or(|(last, _)| now >= last + 2 * LONGEST)
    }
}

/// The first repetition goes at once: an agent that was not there asks for it.
fn distance(times: u32) -> Duration {
    match times {
        0 | 1 => Duration::ZERO,
        _ => FIRST.saturating_mul(1 << (times - 2).min(16)).min(LONGEST),
    }
}

const FIRST: Duration = Duration::from_secs(2);
pub(super) const LONGEST: Duration = Duration::from_secs(60);
// Whoever was quiet for this long starts over. At 100 messages a second and 150 bytes each, what is remembered of a
// consumer stays below 3 MB.
const FORGOTTEN: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repetition_goes_at_once_and_each_further_one_waits_longer() {
        let what = What::Deletion(Timestamp::UNIX_EPOCH);
        let mut now = Instant::now();
        let mut pacing = Pacing::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(pacing.held_until("a", what, now), None);
            pacing.sent("a", what, now);
            let due = pacing.held_until("a", what, now).unwrap_or(now);
            waits.push((due - now).as_secs());
            assert_eq!(pacing.held(now), usize::from(due > now));
            assert_eq!(pacing.held_until("b", what, now), None);
            assert_eq!(pacing.held_until("a", What::Orphan, now), None);
            now = due;
        }
        assert_eq!(waits, [0, 2, 4, 8, 16, 32, 60, 60, 60]);
        // Asked for all the time over six minutes, one thing is sent about ten times.
        assert!(waits.iter().sum::<u64>() < 360);
        now += FORGOTTEN;
        pacing.sent("b", what, now);
        assert_eq!(pacing.sent.len(), 1);
    }
}
