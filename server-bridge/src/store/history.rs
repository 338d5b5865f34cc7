//! Stores that are older than their agents: an older dump was restored, an older file was put back, or everything was posted
//! again into an empty store. Agents take no version below the one they hold, and some none that is equal.
//!
//! The store therefore has **epochs**. A new epoch begins when the database has another identity than the recorded one. An
//! agent that holds a version above one that counted as known is the same sign for its own consumer only: the bundles of
//! that consumer become unconfirmed, and only signs of several consumers together begin an epoch. Consequences: a version
//! below what an agent holds is *raised* above it, with its content; the first change of a bundle whose version was neither
//! made nor confirmed in the epoch *jumps*, because its agent may hold other content under the next number; and deletions
//! of earlier epochs are no reason to delete. The ledger says why. Decisions are pure; engines make them under a lock on the
//! bundle's row.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use link::id::ConsumerName;
use link::order::Version;

/// A stretch of the store's history without a sign of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// From 1, one more for each.
    pub number: i64,
    /// Tells it from an epoch of the same number in a history that was undone; a UUID.
    pub id: String,
    /// When it began.
    pub began_at: Timestamp,
    /// Why, in a sentence.
    pub why: String,
}

/// What is known of the store's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The last epochs, the present one first: half of [`EPOCHS`] that began with the place, and as many that agents began.
    pub epochs: Vec<Epoch>,
    /// Bundles whose version was neither made in the present epoch nor confirmed by their agents in it.
    pub unconfirmed: u64,
    /// Consumers with such a bundle.
    pub unconfirmed_consumers: u64,
}

/// A bundle whose agent held a newer version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The bundle.
    pub id: String,
    /// What its agent holds.
    pub held: Version,
    /// The version it had here.
    pub from: Version,
    /// The version it has now; `None` when there is none above the held one.
    pub to: Option<Version>,
}

/// What came of raising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raising {
    /// The bundles that were behind.
    pub bundles: Vec<Raised>,
    /// Whether this was a sign that this store is older than the consumer's agents: none of its bundles is confirmed any
    /// more, except those that were raised.
    pub doubted: bool,
    /// Set when this was the sign of a new epoch.
    pub began: Option<Epoch>,
}

/// How many epochs are remembered.
pub const EPOCHS: i64 = 20;

/// How far the first change of an unconfirmed bundle jumps at least: further than anybody changed a bundle in the time that
/// was lost.
pub const JUMP: i32 = 1_000;

/// What identifies the database behind a name: values by their names, such as the server's identifier or a file's inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DatabaseIdentity(BTreeMap<String, String>);

/// A bundle that may be behind, as found under the lock on its row.
pub(super) struct Behind {
    pub(super) key: i64,
    pub(super) id: String,
    pub(super) stored: Version,
    pub(super) held: Version,
    /// Whether the stored version was made or confirmed in the present epoch.
    pub(super) known: bool,
}

/// What is known when bundles are found to be behind.
pub(super) struct DoubtContext {
    /// The number of the present epoch.
    pub(super) epoch: i64,
    /// When it began.
    pub(super) began_at: Timestamp,
    /// When the consumer's agents last gave a sign.
    pub(super) doubted_at: Option<Timestamp>,
}

/// What to do with bundles that are behind.
#[derive(Default)]
pub(super) struct RaisePlan {
    pub(super) raised: Vec<Raised>,
    /// Key, version and note of those that have a version to be raised to.
    pub(super) changes: Vec<(i64, i64, String)>,
    /// How this is a sign that the store is older than the consumer's agents, if it is.
    pub(super) sign: Option<String>,
}

// === impl Epoch ===

impl Epoch {
    /// How far the first change of an unconfirmed bundle jumps: [`JUMP`], and up to 999 more by its id, so that two that
    /// are restored from one backup make different numbers.
    pub fn jump(&self) -> i32 {
        jump_of(&self.id)
    }
}

// === impl DatabaseIdentity ===

impl DatabaseIdentity {
    pub(super) fn with(mut self, sign: &str, value: &impl ToString) -> Self {
        self.0.insert(sign.to_owned(), value.to_string());
        self
    }

    /// As stored.
    pub(super) fn text(&self) -> String {
        // A map of strings always has a JSON form.
        serde_json::to_string(&self.0).unwrap_or_else(|_| "{}".to_owned())
    }

    /// From the stored text. What cannot be parsed identifies nothing.
    pub(super) fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    /// This identity, with values that only the recorded one has: a user with fewer rights does not lose them.
    pub(super) fn completed(mut self, recorded: Self) -> Self {
        for (sign, value) in recorded.0 {
            self.0.entry(sign).or_insert(value);
        }
        self
    }

    pub(super) fn sign(&self, sign: &str) -> Option<&str> {
        self.0.get(sign).map(String::as_str)
    }

    /// How this differs from the recorded identity, if it does. Values that only one of them has do not count.
    pub(super) fn moved_from(&self, recorded: &Self) -> Option<String> {
        let other = self.0.iter().filter_map(|(sign, value)| {
            let was = recorded.0.get(sign)?;
            (was != value).then(|| format!("{sign} was {was} and is {value}"))
        });
        let other: Vec<_> = other.collect();
        (!other.is_empty()).then(|| {
            format!(
                "the database is in another place than when it was last opened ({})",
                other.join(", ")
            )
        })
    }
}

/// Decides about bundles that are behind. Only those whose version counted as known are a sign: that of others is what is
/// known already. And no sooner than [`BETWEEN_SIGNS`] after the last one, of the consumer or of all: two bridges of one
/// source, each with a store of its own, would give them one after the other.
pub(super) fn plan(
    behind: Vec<Behind>,
    consumer: &ConsumerName,
    past: &DoubtContext,
    at: Timestamp,
) -> RaisePlan {
    let since = |then: Timestamp| at.duration_since(then) >= BETWEEN_SIGNS;
    let may_doubt = (past.epoch == 1 || since(past.began_at)) && past.doubted_at.is_none_or(since);
    let mut plan = RaisePlan::default();
    for bundle in behind {
        let (held, stored) = (bundle.held, bundle.stored);
        if may_doubt && bundle.known && plan.sign.is_none() {
            plan.sign = Some(format!(
                "consumer `{consumer}` holds version {held} of bundle `{}`, which is at version {stored} here",
                bundle.id
            ));
        }
        let to = held.next();
        if let Some(to) = to {
            let note = format!(
                "the cluster held version {held} while this database was at {stored}: it is older than its agents; sent \
                 again as {to}"
            );
            plan.changes.push((bundle.key, i64::from(to.get()), note));
        }
        plan.raised.push(Raised {
            id: bundle.id,
            held,
            from: stored,
            to,
        });
    }
    plan
}

/// Why an epoch begins with this sign, given as many consumers that have given one since [`signs_since`].
pub(super) fn begins(sign: &str, consumers: i64) -> Option<String> {
    (consumers >= CONSUMERS).then(|| {
        format!(
            "agents of {consumers} consumers hold newer versions, so this database is older than its agents: {sign}"
        )
    })
}

/// Since when signs of other consumers count together with one of now.
pub(super) fn signs_since(at: Timestamp) -> Timestamp {
    at - BETWEEN_SIGNS
}

/// The version after an unconfirmed one, with the note for its ledger; `None` at the end.
pub(super) fn jump(latest: Version, epoch: &str) -> Option<(Version, String)> {
    let distance = jump_of(epoch);
    let why = format!(
        "this database was restored or moved, and the cluster has not confirmed since that it holds version {latest}"
    );
    match Version::new(i64::from(latest.get()) + i64::from(distance)) {
        Some(next) => Some((
            next,
            format!(
                "{why}; it may hold others, so the next {} are left out",
                distance - 1
            ),
        )),
        None => {
            let next = latest.next()?;
            let note = format!("{why}; there is no room to leave out those it may hold");
            Some((next, note))
        }
    }
}

fn jump_of(epoch: &str) -> i32 {
    // A UUID begins with eight random digits.
    let random = epoch
        .get(..7)
        .and_then(|digits| i32::from_str_radix(digits, 16).ok());
    JUMP + random.unwrap_or_default() % 1_000
}

/// Why the first epoch begins.
pub(super) const FIRST: &str =
    "the database was made, or first opened by a bridge that knows epochs";

const BETWEEN_SIGNS: SignedDuration = SignedDuration::from_hours(1);

// One agent may lie or be confused, and two bridges may outbid each other for a consumer.
const CONSUMERS: i64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: i64) -> Version {
        Version::new(number).unwrap()
    }

    fn behind(stored: i64, held: i64, known: bool) -> Behind {
        Behind {
            key: 1,
            id: "b".into(),
            stored: version(stored),
            held: version(held),
            known,
        }
    }

    fn planned(behind: Vec<Behind>, number: i64, minutes: i64) -> RaisePlan {
        let began = Timestamp::UNIX_EPOCH;
        let at = began + SignedDuration::from_mins(minutes);
        let consumer = ConsumerName::new("c1").unwrap();
        let past = DoubtContext {
            epoch: number,
            began_at: began,
            doubted_at: None,
        };
        plan(behind, &consumer, &past, at)
    }

    #[test]
    fn a_version_goes_above_the_held_one_as_long_as_there_is_one() {
        let max = i64::from(i32::MAX);
        let plan = planned(
            vec![
                behind(3, 7, true),
                behind(3, max - 1, true),
                behind(3, max, true),
            ],
            1,
            0,
        );
        let to: Vec<_> = plan.raised.iter().map(|raised| raised.to).collect();
        assert_eq!(to, [Some(version(8)), Some(version(max)), None]);
        assert_eq!(plan.changes.len(), 2);
        let note = &plan.changes[0].2;
        assert_eq!(
            note,
            "the cluster held version 7 while this database was at 3: it is older than its agents; sent again as 8"
        );
    }

    #[test]
    fn what_is_known_already_is_no_sign_and_signs_are_an_hour_apart() {
        // The first epoch of a database: nobody knew that it was restored.
        assert!(planned(vec![behind(3, 7, true)], 1, 0).sign.is_some());
        assert!(planned(vec![behind(3, 7, false)], 1, 0).sign.is_none());
        // What the present epoch began with is no new sign, however late it is heard.
        assert!(planned(vec![behind(3, 7, false)], 2, 9_999).sign.is_none());
        // Two bridges that raise each other: once an hour at most.
        assert!(planned(vec![behind(3, 7, true)], 2, 59).sign.is_none());
        assert!(planned(vec![behind(3, 7, true)], 2, 60).sign.is_some());
        assert!(planned(Vec::new(), 1, 0).sign.is_none());
        let doubted = |minutes| {
            let (consumer, began_at) = (ConsumerName::new("c1").unwrap(), Timestamp::UNIX_EPOCH);
            let past = DoubtContext {
                epoch: 1,
                began_at,
                doubted_at: Some(began_at),
            };
            let at = began_at + SignedDuration::from_mins(minutes);
            plan(vec![behind(3, 7, true)], &consumer, &past, at).sign
        };
        assert!(doubted(59).is_none() && doubted(60).is_some());
        assert_eq!(begins("sign", 2), None);
        assert!(begins("sign", 3).unwrap().ends_with("agents: sign"));
    }

    #[test]
    fn a_jump_that_does_not_fit_is_a_step_and_the_last_version_has_none_after_it() {
        let max = i64::from(i32::MAX);
        let to = |latest| jump(version(latest), "00000000-").map(|(next, _)| i64::from(next.get()));
        assert_eq!(to(3), Some(1_003));
        assert_eq!(to(max - 1_000), Some(max));
        assert_eq!(to(max - 999), Some(max - 998));
        assert_eq!(to(max), None);
        // Two epochs of one number go different ways.
        let of = |id| jump(version(3), id).map(|(next, _)| next.get());
        assert_eq!(of("0000000f-"), of("00000000-"));
        assert_eq!(of("000001f0-"), Some(1_034));
        assert!((1_003..2_003).contains(&of("fffffffe-").unwrap()));
    }

    #[test]
    fn places_differ_by_the_signs_that_both_have() {
        let place = |table: u32| DatabaseIdentity::default().with("table", &table);
        let recorded = place(1).with("system", &7);
        assert_eq!(place(1).moved_from(&recorded), None);
        assert_eq!(place(1).with("other", &9).moved_from(&recorded), None);
        let why = place(2).with("system", &7).moved_from(&recorded).unwrap();
        assert!(why.contains("(table was 1 and is 2)"), "{why}");
        assert_eq!(DatabaseIdentity::parse(&recorded.text()), recorded);
        assert_eq!(
            place(2).moved_from(&DatabaseIdentity::parse("broken")),
            None
        );
        assert_eq!(place(1).completed(recorded.clone()), recorded);
        assert_eq!(place(2).completed(recorded).sign("table"), Some("2"));
    }
}
