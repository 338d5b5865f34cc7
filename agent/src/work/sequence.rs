//! Sequence ids that never go back, not even after a restart with a clock that did.
//!
//! A ceiling some seconds ahead is durable before any id below it is used; a restart continues above the ceiling.
//! Where it is durable is the store's business.

use jiff::{SignedDuration, Timestamp};
use link::order::{SequenceId, Sequencer};

#[derive(Debug)]
pub(super) struct Sequence {
    sequencer: Sequencer,
    ceiling: Option<SequenceId>,
}

/// The next id, and what has to happen before it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) id: SequenceId,
    /// Has to be durable first, and then be told to [`Sequence::raise`].
    pub(super) ceiling: Option<SequenceId>,
}

// === impl Sequence ===

impl Sequence {
    /// Continues after a ceiling. Without one the clock is the only guide, as it is for a Go agent always.
    pub(super) fn after(ceiling: Option<SequenceId>) -> Self {
        Self {
            sequencer: Sequencer::after(ceiling),
            ceiling,
        }
    }

    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        let id = self.sequencer.next(now);
        let covered = self
            .ceiling
            .is_some_and(|ceiling| id.is_newer_than(Some(ceiling)) == Ok(false));
        let ahead = || {
            let ahead = now.saturating_add(AHEAD).unwrap_or(now);
            let ceiling = SequenceId::from_parts(ahead, AGENT_NODE, 0xfff);
            // The clock may be far behind the last run: then ids go up step by step, each one its own ceiling.
            if ceiling.is_newer_than(Some(id)) == Ok(true) {
                ceiling
            } else {
                id
            }
        };
        Next {
            id,
            ceiling: (!covered).then(ahead),
        }
    }

    /// Notes that a ceiling is durable.
    pub(super) fn raise(&mut self, ceiling: SequenceId) {
        self.ceiling = Some(ceiling);
    }

    /// The durable ceiling.
    pub(super) fn ceiling(&self) -> Option<SequenceId> {
        self.ceiling
    }
}

const AGENT_NODE: u16 = 1;
// One small durable write per this much time of reporting; a quick restart is at most this far ahead of the clock.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_with_an_older_clock_continues_above_the_last_id() {
        let at: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let mut durable = None;
        let mut last: Option<SequenceId> = None;
        for hours in [0, 0, 1, 5, 24] {
            let mut sequence = Sequence::after(durable);
            for _ in 0..3 {
                let next = sequence.next(at - SignedDuration::from_hours(hours));
                if let Some(ceiling) = next.ceiling {
                    durable = Some(ceiling);
                    sequence.raise(ceiling);
                }
                assert_eq!(next.id.is_newer_than(last), Ok(true));
                assert_eq!(next.id.is_newer_than(durable), Ok(false));
                last = Some(next.id);
            }
        }
    }

    #[test]
    fn one_ceiling_serves_ten_seconds() {
        let at: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let mut sequence = Sequence::after(None);
        let mut raised = 0;
        for millis in 0..30_000 {
            if let Some(ceiling) = sequence
                .next(at + SignedDuration::from_millis(millis))
                .ceiling
            {
                sequence.raise(ceiling);
                raised += 1;
            }
        }
        assert_eq!(raised, 3);
    }
}
