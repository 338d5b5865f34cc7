//! Who wants reports of this agent, and which spec events it refused lately.
//!
//! Refusals live in memory alone: what was refused is in no list of what is held, so that after a restart the resync
//! brings it again, and it is refused again. A refusal ends when its work is deleted, or held of the same source in that
//! version or a newer one. Those that the protocol heals by itself end after a while as well: a late copy of an old event comes once, and
//! what a source really misses it sends again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use link::event::agent_report::{MOST_REFUSALS, SpecRefusal};
use link::order::Version;
use tokio::sync::Notify;

use crate::received::RefusalReason;

/// The register. Share it behind an `Arc`.
#[derive(Debug, Default)]
pub struct Register {
    state: Mutex<State>,
    changed: Notify,
}

/// Which event was refused.
#[derive(Clone, Copy, Debug)]
pub struct SeenEvent<'a> {
    /// Who sent it.
    pub source: &'a str,
    /// The bundle's id.
    pub id: &'a str,
    /// The version, where it gave one.
    pub version: Option<Version>,
}

#[derive(Debug, Default)]
struct State {
    /// Sources that want reports, those heard last first.
    wanting: VecDeque<String>,
    /// Newest first.
    refusals: VecDeque<Entry>,
    /// Whether one was forgotten to make room.
    left_out: bool,
}

#[derive(Debug)]
struct Entry {
    source: String,
    heals: bool,
    refusal: SpecRefusal,
}

// === impl Register ===

impl Register {
    /// A source asked for statuses, and said whether it wants reports.
    pub fn asked(&self, source: &str, wants: bool) {
        {
            let mut state = self.state();
            let known = state.wanting.len();
            state.wanting.retain(|wanting| wanting != source);
            if wants {
                state.wanting.push_front(source.into());
                state.wanting.truncate(MOST_SOURCES);
            } else if state.wanting.len() == known {
                return;
            }
        }
        // A source that asks may have just come: it is told at once.
        if wants {
            self.changed.notify_one();
        }
    }

    /// A spec event was refused.
    pub fn refused(&self, seen: SeenEvent<'_>, reason: RefusalReason, why: &str, now: Timestamp) {
        let source = clipped(seen.source);
        let mut state = self.state();
        let is_it = |entry: &Entry| entry.source == source && entry.refusal.resource_id == seen.id;
        let old = state.refusals.iter().position(is_it);
        let old = old.and_then(|at| state.refusals.remove(at));
        let refusal = SpecRefusal {
            resource_id: seen.id.into(),
            resource_version: seen.version,
            at: now,
            reason: reason.as_str().into(),
            message: clipped(why),
        };
        let news = old.is_none_or(|old| {
            old.refusal.resource_version != refusal.resource_version
                || old.refusal.reason != refusal.reason
        });
        state.refusals.push_front(Entry {
            source,
            heals: heals(reason),
            refusal,
        });
        if state.refusals.len() > MOST_REFUSALS {
            state.refusals.truncate(MOST_REFUSALS);
            state.left_out = true;
        }
        drop(state);
        // The same thing once more waits for the next report.
        if news {
            self.changed.notify_one();
        }
    }

    /// A version of a source is held: what was refused of it, or of an older one, is of no interest any more. What another
    /// source sent under the same id stays refused.
    pub fn taken(&self, source: &str, id: &str, version: Version) {
        self.end(|entry| {
            let refusal = &entry.refusal;
            entry.source == source
                && refusal.resource_id == id
                && refusal
                    .resource_version
                    .is_none_or(|refused| refused <= version)
        });
    }

    /// A work is to be deleted, or is gone.
    pub fn deleted(&self, id: &str) {
        self.end(|entry| entry.refusal.resource_id == id);
    }

    /// Waits until there is something to tell.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The sources that want reports.
    pub fn wanting(&self) -> Vec<String> {
        self.state().wanting.iter().cloned().collect()
    }

    /// What of a source was refused, newest first, and whether some is left out.
    pub fn refusals(&self, source: &str, now: Timestamp) -> (Vec<SpecRefusal>, bool) {
        let mut state = self.state();
        let is_over = |entry: &Entry| entry.heals && now.duration_since(entry.refusal.at) > HEALED;
        state.refusals.retain(|entry| !is_over(entry));
        state.left_out &= !state.refusals.is_empty();
        let of_source = state.refusals.iter().filter(|entry| entry.source == source);
        let refusals = of_source.map(|entry| entry.refusal.clone()).collect();
        (refusals, state.left_out)
    }

    fn end(&self, is_over: impl Fn(&Entry) -> bool) {
        let mut state = self.state();
        let before = state.refusals.len();
        state.refusals.retain(|entry| !is_over(entry));
        let ended = state.refusals.len() < before;
        drop(state);
        if ended {
            self.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Whether the exchange that follows such a refusal mends it, if there is something to mend.
fn heals(reason: RefusalReason) -> bool {
    matches!(
        reason,
        RefusalReason::OldVersion | RefusalReason::Deleting | RefusalReason::Tombstoned
    )
}

// Names and sentences of somebody else's; the report cuts further.
fn clipped(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

/// Sources that are reported to. An agent has one, seldom two; a new one takes the place of the one silent for longest.
const MOST_SOURCES: usize = 8;
// Three reports.
const HEALED: SignedDuration = SignedDuration::from_mins(15);
const LONGEST_TEXT: usize = 1024;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn seen(id: &str, version: i64) -> SeenEvent<'_> {
        SeenEvent {
            source: "maestro",
            id,
            version: Version::new(version),
        }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn refused(register: &Register, minutes: i64) -> Vec<String> {
        let (refusals, _) = register.refusals("maestro", at(minutes));
        refusals
            .into_iter()
            .map(|refusal| refusal.resource_id)
            .collect()
    }

    #[test]
    fn a_refusal_ends_with_its_version_or_a_newer_one_or_with_its_work() {
        let register = Register::default();
        for id in ["a", "b", "c"] {
            register.refused(seen(id, 2), RefusalReason::ForeignWork, "why", at(0));
        }
        register.taken("maestro", "a", Version::FIRST);
        assert_eq!(refused(&register, 60), ["c", "b", "a"]);
        register.taken("maestro", "a", Version::new(2).unwrap());
        register.deleted("b");
        assert_eq!(refused(&register, 60), ["c"]);
    }

    #[test]
    fn a_version_that_is_held_of_one_source_ends_no_refusal_of_another() {
        let register = Register::default();
        register.refused(seen("a", 2), RefusalReason::ForeignWork, "why", at(0));
        register.taken("other", "a", Version::new(3).unwrap());
        assert_eq!(refused(&register, 60), ["a"]);
        register.taken("maestro", "a", Version::new(3).unwrap());
        assert_eq!(refused(&register, 60), [""; 0]);
    }

    #[test]
    fn what_the_protocol_heals_ends_unless_it_is_refused_again() {
        let register = Register::default();
        for id in ["a", "b"] {
            register.refused(seen(id, 2), RefusalReason::OldVersion, "why", at(0));
        }
        register.refused(seen("a", 2), RefusalReason::OldVersion, "why", at(10));
        assert_eq!(refused(&register, 12), ["a", "b"]);
        assert_eq!(refused(&register, 20), ["a"]);
    }

    #[test]
    fn the_newest_hundred_are_kept_and_another_source_s_are_not_told() {
        let register = Register::default();
        for number in 0..=MOST_REFUSALS {
            let id = number.to_string();
            register.refused(seen(&id, 1), RefusalReason::ForeignWork, "why", at(0));
        }
        let (refusals, left_out) = register.refusals("maestro", at(0));
        assert_eq!((refusals.len(), left_out), (MOST_REFUSALS, true));
        assert_eq!(refusals[0].resource_id, MOST_REFUSALS.to_string());
        assert!(register.refusals("other", at(0)).0.is_empty());
    }

    #[test]
    fn only_what_is_new_is_told_at_once() {
        let register = Register::default();
        let is_told = || register.changed().now_or_never().is_some();
        register.refused(seen("a", 1), RefusalReason::ForeignWork, "why", at(0));
        assert!(is_told());
        register.refused(seen("a", 1), RefusalReason::ForeignWork, "why", at(1));
        register.taken("maestro", "b", Version::FIRST);
        assert!(!is_told());
        register.refused(seen("a", 2), RefusalReason::ForeignWork, "why", at(2));
        assert!(is_told());
        register.taken("maestro", "a", Version::new(2).unwrap());
        assert!(is_told());
    }

    #[test]
    fn a_source_is_reported_to_until_it_asks_without_wanting_reports() {
        let register = Register::default();
        register.asked("old", false);
        register.asked("a", true);
        register.asked("b", true);
        assert_eq!(register.wanting(), ["b", "a"]);
        register.asked("b", false);
        assert_eq!(register.wanting(), ["a"]);
        for number in 0..=MOST_SOURCES {
            register.asked(&number.to_string(), true);
        }
        assert_eq!(register.wanting().len(), MOST_SOURCES);
    }
}
