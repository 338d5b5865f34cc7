//! Which of two statuses of one version of a bundle is newer. Pure.
//!
//! Sequence ids of an agent rise. An id whose time is more than ten minutes ahead of the bridge's clock comes from a wrong
//! clock or a malicious agent: it counts as made when it was received, so that the next id of a right clock is newer.

use jiff::{SignedDuration, Timestamp};
use link::order::SequenceId;

/// Whether a status with the sequence id `incoming`, taken at `at`, is newer than the one with `stored`, which was
/// taken at `stored_at`.
///
/// Ids of one node are compared as Go peers do: time, then step. Ids of different nodes, as of an agent that was
/// replaced, are compared by their time.
pub fn newer(
    incoming: SequenceId,
    at: Timestamp,
    stored: SequenceId,
    stored_at: Timestamp,
) -> bool {
    let rises = match incoming.is_newer_than(Some(stored)) {
        Ok(rises) => rises,
        Err(_) => incoming.time() > stored.time(),
    };
    if rises || !is_ahead(stored, stored_at) {
        return rises;
    }
    if is_ahead(incoming, at) {
        // Of two that cannot be believed, a lower one is an older one that came late, unless it comes so much later
        // that the broker cannot have held it back.
        return incoming != stored && at > later(stored_at, REORDERED);
    }
    incoming.time() > stored_at
}

/// The id to remember when the bundle itself goes and only its last id stays: one from the future would hold up every
/// status of a bundle with the same id.
pub(super) fn capped(id: SequenceId, at: Timestamp) -> SequenceId {
    if is_ahead(id, at) {
        let node = u16::try_from(id.node()).unwrap_or_default();
        SequenceId::from_parts(at, node, 0)
    } else {
        id
    }
}

/// Whether an id that was taken at `at` comes from the future.
pub(super) fn is_ahead(id: SequenceId, at: Timestamp) -> bool {
    id.time() > later(at, AHEAD)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

/// How far an agent's clock may be ahead of this one's. More than clocks that are kept drift apart, and than an agent
/// reserves ahead of its clock; whatever it is, a wrong clock holds up the statuses of a right one for as long.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// Longest time after which a broker hands out what it had to hold back: the longest session of IoT Core that was not
/// asked to be longer.
const REORDERED: SignedDuration = SignedDuration::from_hours(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + second).unwrap()
    }

    fn id(at: i64, node: u16, step: u16) -> SequenceId {
        SequenceId::from_parts(second(at), node, step)
    }

    const DAYS: i64 = 24 * 3600;

    #[test]
    fn statuses_are_ordered_by_their_ids_and_what_comes_from_the_future_gives_way() {
        let largest: SequenceId = i64::MAX.to_string().parse().unwrap();
        let limit = AHEAD.as_secs();
        // (incoming, taken at, stored, stored at, newer)
        for (incoming, at, stored, stored_at, expected, case) in [
            (id(10, 1, 1), 10, id(10, 1, 0), 10, true, "the next step"),
            (id(10, 1, 0), 11, id(10, 1, 0), 10, false, "a repetition"),
            (id(9, 1, 9), 11, id(10, 1, 0), 10, false, "an older one"),
            (
                id(11, 2, 0),
                11,
                id(10, 1, 0),
                10,
                true,
                "another node, later",
            ),
            (
                id(10, 2, 9),
                11,
                id(10, 1, 0),
                10,
                false,
                "another node, not later",
            ),
            (
                id(11, 2, 0),
                11,
                largest,
                10,
                true,
                "another node after the future",
            ),
            (
                id(11, 1, 0),
                11,
                largest,
                10,
                true,
                "the right clock after the future",
            ),
            (
                id(9, 1, 0),
                11,
                largest,
                10,
                false,
                "older than what came from the future",
            ),
            (
                id(11, 1, 0),
                11,
                id(10 + limit, 1, 0),
                10,
                false,
                "ahead by the bound",
            ),
            (
                id(11, 1, 0),
                11,
                id(11 + limit, 1, 0),
                10,
                true,
                "ahead by more",
            ),
            (
                id(200 * DAYS, 1, 1),
                11,
                id(200 * DAYS, 1, 0),
                10,
                true,
                "a wrong clock rises",
            ),
            (
                id(200 * DAYS, 1, 0),
                11,
                id(200 * DAYS, 1, 1),
                10,
                false,
                "a wrong clock, late",
            ),
            (
                id(200 * DAYS, 1, 0),
                11 + 7200,
                largest,
                10,
                true,
                "a wrong clock after a worse one",
            ),
            (
                largest,
                11 + 7200,
                largest,
                10,
                false,
                "the last word, repeated",
            ),
        ] {
            assert_eq!(
                newer(incoming, second(at), stored, second(stored_at)),
                expected,
                "{case}"
            );
        }
    }

    #[test]
    fn only_an_id_from_the_future_is_capped() {
        let near = id(AHEAD.as_secs(), 1, 3);
        assert_eq!(capped(near, second(0)), near);
        let far = id(AHEAD.as_secs() + 1, 7, 3);
        assert_eq!(capped(far, second(0)), id(0, 7, 0));
    }
}
