//! What is newer: bundle versions on the way down, sequence ids on the way up (docs/MAESTRO.md §4.1–4.3).
//!
//! MQTT gives no order across reconnects or publishers, so neither end ever trusts arrival order.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A bundle's version, the work's generation: starts at 1, rises by one on each accepted change, at most
/// 2 147 483 647 because the wire carries an int32. Zero stands for "unversioned".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(i32);

/// The order of one resource's status updates: a 63-bit snowflake in decimal,
/// `(milliseconds since 2010-11-04) << 22 | node << 12 | step`. All agents use node 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SequenceId(u64);

/// The text is not a sequence id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sequence id `{0}` is not a decimal number below 2^63")]
pub struct InvalidSequenceId(String);

/// Two sequence ids from different nodes cannot be ordered; the newcomer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "sequence id {incoming} comes from node {incoming_node}, the stored {stored} from node {stored_node}"
)]
pub struct ForeignSequence {
    incoming: SequenceId,
    incoming_node: u64,
    stored: SequenceId,
    stored_node: u64,
}

/// Makes sequence ids that rise even when the clock steps back.
#[derive(Debug)]
pub struct Sequencer {
    last: Option<SequenceId>,
}

// === impl Version ===

impl Version {
    /// The version of a new bundle.
    pub const FIRST: Self = Self(1);
    /// "No version": always taken by a Go agent, never sent by us.
    pub const UNVERSIONED: Self = Self(0);

    /// Wraps a number in `0..=i32::MAX`.
    pub fn new(number: i64) -> Option<Self> {
        i32::try_from(number).ok().filter(|n| *n >= 0).map(Self)
    }

    /// The number.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The next version, or `None` at the protocol's ceiling.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// Reads the text form tolerantly: Go peers pass it through a float.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<i64>() {
            return Self::new(number);
        }
        let number = text.parse::<f64>().ok()?;
        if number.fract() != 0.0 || !(0.0..=f64::from(i32::MAX)).contains(&number) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked to be an integer in range"
        )]
        Self::new(number as i64)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl SequenceId ===

impl SequenceId {
    /// Builds an id from its parts; used where a test or a peer needs another node.
    pub fn from_parts(at: Timestamp, node: u16, step: u16) -> Self {
        let millis = at
            .as_millisecond()
            .saturating_sub(EPOCH_MILLIS)
            .max(0)
            .unsigned_abs();
        Self(
            (millis << TIME_SHIFT) & i64::MAX.unsigned_abs()
                | u64::from(node & 0x3ff) << NODE_SHIFT
                | u64::from(step & 0xfff),
        )
    }

    /// Whether this id is newer than the stored one: time first, then step, strictly greater.
    ///
    /// # Errors
    /// [`ForeignSequence`] when the two come from different nodes.
    pub fn is_newer_than(self, stored: Option<Self>) -> Result<bool, ForeignSequence> {
        let Some(stored) = stored else {
            return Ok(true);
        };
        if self.node() != stored.node() {
            return Err(ForeignSequence {
                incoming: self,
                incoming_node: self.node(),
                stored,
                stored_node: stored.node(),
            });
        }
        Ok(self.0 > stored.0)
    }

    /// The time part; the latest time there is if it lies beyond.
    pub fn time(self) -> Timestamp {
        let millis = i64::try_from(self.0 >> TIME_SHIFT).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(millis.saturating_add(EPOCH_MILLIS)).unwrap_or(Timestamp::MAX)
    }

    /// The node part, 0–1023.
    pub const fn node(self) -> u64 {
        (self.0 >> NODE_SHIFT) & 0x3ff
    }
}

impl fmt::Display for SequenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SequenceId {
    type Err = InvalidSequenceId;
    fn from_str(text: &str) -> Result<Self, InvalidSequenceId> {
        match text.parse::<i64>() {
            Ok(number) if number >= 0 && !text.starts_with('+') => Ok(Self(number.unsigned_abs())),
            _ => Err(InvalidSequenceId(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for SequenceId {
    type Error = InvalidSequenceId;
    fn try_from(text: String) -> Result<Self, InvalidSequenceId> {
        text.parse()
    }
}

impl From<SequenceId> for String {
    fn from(id: SequenceId) -> Self {
        id.to_string()
    }
}

// === impl Sequencer ===

impl Sequencer {
    /// Continues after `last`, the newest id this agent is known to have used.
    pub fn after(last: Option<SequenceId>) -> Self {
        Self { last }
    }

    /// An id greater than every one before it.
    pub fn next(&mut self, now: Timestamp) -> SequenceId {
        let fresh = SequenceId::from_parts(now, AGENT_NODE, 0);
        let id = match self.last {
            Some(last) if last.0 >= fresh.0 => last.successor(),
            _ => fresh,
        };
        self.last = Some(id);
        id
    }
}

impl SequenceId {
    /// The smallest greater id of the same node: the next step, or the first step of the next millisecond.
    fn successor(self) -> Self {
        if self.0 & STEP_MASK < STEP_MASK {
            Self(self.0 + 1)
        } else {
            Self((self.0 & !STEP_MASK) + (1 << TIME_SHIFT))
        }
    }
}

const EPOCH_MILLIS: i64 = 1_288_834_974_657;
const TIME_SHIFT: u32 = 22;
const NODE_SHIFT: u32 = 12;
const STEP_MASK: u64 = 0xfff;
const AGENT_NODE: u16 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_of_another_node_is_refused_not_ordered() {
        let at: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let ours = SequenceId::from_parts(at, 1, 0);
        let foreign = SequenceId::from_parts(at, 2, 9);
        assert!(foreign.is_newer_than(Some(ours)).is_err());
        assert_eq!(ours.is_newer_than(Some(ours)), Ok(false));
        assert_eq!(ours.is_newer_than(None), Ok(true));
    }

    #[test]
    fn golden_snowflake_has_node_one() {
        let id: SequenceId = "2000808179721572352".parse().unwrap();
        assert_eq!(id.node(), 1);
    }

    #[test]
    fn the_time_part_is_the_time_it_was_made_from() {
        let at: Timestamp = "2026-08-01T10:00:00.123Z".parse().unwrap();
        assert_eq!(SequenceId::from_parts(at, 1, 7).time(), at);
        let largest: SequenceId = i64::MAX.to_string().parse().unwrap();
        assert!(largest.time() > at);
    }

    #[test]
    fn sequencer_rises_when_the_clock_steps_back() {
        let at: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let mut sequencer = Sequencer::after(None);
        let mut last = sequencer.next(at);
        for millis in [0i64, 0, -5_000, -5_000, 1, 0] {
            let now = Timestamp::from_millisecond(at.as_millisecond() + millis).unwrap();
            let next = sequencer.next(now);
            assert_eq!(next.is_newer_than(Some(last)), Ok(true));
            last = next;
        }
        for _ in 0..10_000 {
            let next = sequencer.next(at);
            assert_eq!(next.is_newer_than(Some(last)), Ok(true));
            assert_eq!(next.node(), 1);
            last = next;
        }
    }

    proptest! {
        #[test]
        fn version_text_round_trips(number in 0..=i32::MAX) {
            let version = Version::new(i64::from(number)).unwrap();
            prop_assert_eq!(Version::parse(&version.to_string()), Some(version));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let _ = Version::parse(&text);
            let _ = text.parse::<SequenceId>();
        }
    }
}
