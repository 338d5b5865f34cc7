//! The bundles that one stream still has to send, as a set: however often a bundle changes while its stream is busy, its
//! present report is sent once. Pure; the time is an argument.
//!
//! **Invariant:** two events of one bundle are [`APART`] at least: Go clients handle each in a goroutine of its own, so
//! that two in a row may be taken in the wrong order (docs/GRPC.md §1).
//! **Invariant:** at most [`WAITING`] bundles wait. What comes beyond is not lost: it is read from the store by its time
//! once there is room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The bundles that one stream has to tell of.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// In the order in which they will be sent.
    ready: VecDeque<Arc<str>>,
    /// All that wait: those in `ready`, and those of `rests` that changed meanwhile.
    waiting: HashMap<Arc<str>, Wanted>,
    /// When those that were sent lately may be sent again, in order.
    resting: VecDeque<(Instant, Arc<str>)>,
    /// The same, and the one being sent.
    rests: HashSet<Arc<str>>,
    /// Since when the store is to be read again.
    behind: Option<Timestamp>,
}

/// What is wanted of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A report that was read before this mark does not do.
    pub(super) mark: u64,
    /// When it was reported, at the latest.
    pub(super) at: Timestamp,
    /// Only if its hash is another.
    pub(super) unless: Option<Arc<str>>,
    /// Whether it is told once more, for a stream that begins or a resync, as opposed to news.
    pub(super) repeated: bool,
}

/// What a stream does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextEvent {
    /// Send the present report of this bundle, then say so ([`Backlog::done`]).
    Send(Arc<str>, Wanted),
    /// Add what was reported since then.
    Read(Timestamp),
    /// Nothing, until then or until something is added.
    Wait(Option<Instant>),
}

// === impl Wanted ===

impl Wanted {
    /// What was reported at `at`.
    pub(super) fn news(mark: u64, at: Timestamp) -> Self {
        Self {
            mark,
            at,
            unless: None,
            repeated: false,
        }
    }

    /// What was reported at `at`, once more.
    pub(super) fn repeated(mark: u64, at: Timestamp) -> Self {
        Self {
            repeated: true,
            ..Self::news(mark, at)
        }
    }
}

// === impl Backlog ===

impl Backlog {
    /// A bundle has something new. What is wanted already is wanted in its newer state.
    pub(super) fn add(&mut self, id: &Arc<str>, wanted: Wanted) {
        if self.waiting.len() >= WAITING && !self.waiting.contains_key(id) {
            self.read_since(wanted.at);
        } else {
            self.put(id, wanted);
        }
    }

    /// The same of a page that was read from the store, which is one at a time: there is always room.
    pub(super) fn put(&mut self, id: &Arc<str>, wanted: Wanted) {
        if let Some(known) = self.waiting.get_mut(id) {
            known.mark = known.mark.max(wanted.mark);
            known.at = known.at.min(wanted.at);
            known.repeated &= wanted.repeated;
            if wanted.unless.is_none() {
                known.unless = None;
            }
            return;
        }
        self.waiting.insert(id.clone(), wanted);
        if !self.rests.contains(id) {
            self.ready.push_back(id.clone());
        }
    }

    /// Has the store read again.
    pub(super) fn read_since(&mut self, since: Timestamp) {
        self.behind = Some(self.behind.map_or(since, |behind| behind.min(since)));
    }

    /// What to do now. What is sent counts as on its way until [`Backlog::done`].
    pub(super) fn next(&mut self, now: Instant) -> NextEvent {
        while let Some((_, id)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.rests.remove(&id);
            if self.waiting.contains_key(&id) {
                self.ready.push_back(id);
            }
        }
        if let Some(id) = self.ready.pop_front()
            && let Some(wanted) = self.waiting.remove(&id)
        {
            self.rests.insert(id.clone());
            return NextEvent::Send(id, wanted);
        }
        if let Some(since) = self.behind.take() {
            return NextEvent::Read(since);
        }
        let waits = self
            .resting
            .iter()
            .find(|(_, id)| self.waiting.contains_key(id));
        NextEvent::Wait(waits.map(|(until, _)| *until))
    }

    /// The bundle was sent just now, or there was nothing to send.
    pub(super) fn done(&mut self, id: Arc<str>, sent: Option<Instant>) {
        match sent {
            Some(at) => self.resting.push_back((at + APART, id)),
            None => {
                self.rests.remove(&id);
                if self.waiting.contains_key(&id) {
                    self.ready.push_back(id);
                }
            }
        }
    }
}

/// How far apart two events of one bundle are: long enough for a handler to take the first.
pub(super) const APART: Duration = Duration::from_millis(100);

/// How many bundles may wait for one stream: an id and its bookkeeping take about 300 bytes, so 64 streams that all lag
/// hold 80 MB at most. More are read from the store.
pub(super) const WAITING: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Arc<str> {
        name.into()
    }

    fn wanted(mark: u64) -> Wanted {
        Wanted::news(mark, at(0))
    }

    fn late(second: i64) -> Wanted {
        Wanted::news(2, at(second))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_bundle_that_changes_often_is_sent_once_and_again_only_after_its_rest() {
        let mut backlog = Backlog::default();
        let now = Instant::now();
        for mark in 1..=5 {
            backlog.add(&id("a"), wanted(mark));
        }
        backlog.add(&id("b"), wanted(6));
        assert_eq!(backlog.next(now), NextEvent::Send(id("a"), wanted(5)));
        // While it is on its way it changes again.
        backlog.add(&id("a"), wanted(7));
        assert_eq!(backlog.next(now), NextEvent::Send(id("b"), wanted(6)));
        backlog.done(id("a"), Some(now));
        backlog.done(id("b"), Some(now));
        assert_eq!(backlog.next(now), NextEvent::Wait(Some(now + APART)));
        let early = now + APART - Duration::from_millis(1);
        assert_eq!(backlog.next(early), NextEvent::Wait(Some(now + APART)));
        assert_eq!(
            backlog.next(now + APART),
            NextEvent::Send(id("a"), wanted(7))
        );
        backlog.done(id("a"), None);
        assert_eq!(backlog.next(now + APART), NextEvent::Wait(None));
        assert!(backlog.rests.is_empty() && backlog.resting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_exceeds_the_bound_is_read_from_the_store_since_the_first_of_it() {
        let mut backlog = Backlog::default();
        let now = Instant::now();
        for number in 0..WAITING {
            backlog.add(&id(&number.to_string()), late(1));
        }
        backlog.add(&id("0"), late(2));
        assert_eq!(backlog.behind, None, "known already");
        backlog.add(&id("more"), late(3));
        backlog.add(&id("most"), late(4));
        assert_eq!(backlog.waiting.len(), WAITING);
        for _ in 0..WAITING {
            let NextEvent::Send(id, _) = backlog.next(now) else {
                panic!("all are sent first");
            };
            backlog.done(id, Some(now));
        }
        assert_eq!(backlog.next(now), NextEvent::Read(at(3)));
        assert_eq!(backlog.next(now), NextEvent::Wait(None));
    }

    #[test]
    fn news_are_sent_whatever_hash_was_asked_about() {
        let mut backlog = Backlog::default();
        let asked = Wanted {
            unless: Some("h".into()),
            ..wanted(1)
        };
        backlog.add(&id("a"), asked.clone());
        backlog.add(&id("b"), asked.clone());
        backlog.add(&id("b"), wanted(2));
        let now = Instant::now();
        assert_eq!(backlog.next(now), NextEvent::Send(id("a"), asked));
        assert_eq!(backlog.next(now), NextEvent::Send(id("b"), wanted(2)));
    }
}
