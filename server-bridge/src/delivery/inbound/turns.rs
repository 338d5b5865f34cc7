//! Whose turn it is: of each consumer a few statuses are stored at a time, one part of a list is kept, and one list is
//! answered, so that one agent takes neither the way up nor the store's connections from the others. Does no I/O.
//!
//! Statuses and parts wait in the order in which they came, statuses of one bundle only the newest. Of the lists only the newest waits: it
//! says all that an older one said, and more truly. Lists are answered ever less often while they go on ([`Distance`]).
//!
//! **Invariant:** what waits is bounded by whoever adds to it, who asks [`Turns::waiting`].

use std::collections::{HashMap, VecDeque};

use link::id::ConsumerName;
use tokio::time::Instant;

use crate::delivery::pacing::Distance;

/// What becomes of a status or a part that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<T> {
    /// It is its turn.
    Now(T),
    /// It waits.
    Waits,
    /// It waits in the place of this one, which is not needed any more.
    Replaces(T),
}

/// Who is being served, and who waits.
pub(super) struct Turns<T> {
    consumers: HashMap<ConsumerName, Consumer<T>>,
    waiting: usize,
    /// How many of those are lists.
    lists: usize,
}

struct Consumer<T> {
    statuses: Line<T>,
    parts: Line<T>,
    answering: bool,
    list: Option<T>,
    answered: Distance,
}

/// Those at work and those behind them.
struct Line<T> {
    at_work: usize,
    waiting: VecDeque<T>,
}

// === impl Turns ===

impl<T> Turns<T> {
    pub(super) fn new() -> Self {
        Self {
            consumers: HashMap::new(),
            waiting: 0,
            lists: 0,
        }
    }

    /// How much waits for its turn.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// A status came. If it is its turn, [`Turns::stored`] is called when it is done. `replaces` says of one that waits
    /// whether this one says all that it said.
    pub(super) fn status(
        &mut self,
        consumer: &ConsumerName,
        status: T,
        replaces: impl Fn(&T, &T) -> bool,
    ) -> Turn<T> {
        let known = self.consumers.entry(consumer.clone()).or_default();
        let turn = known.statuses.join(status, STATUSES, replaces);
        self.waiting += usize::from(matches!(turn, Turn::Waits));
        turn
    }

    /// A status is done; the one whose turn it is now.
    pub(super) fn stored(&mut self, consumer: &ConsumerName) -> Option<T> {
        let next = self.consumers.get_mut(consumer)?.statuses.next();
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// A part of a list came. If it is its turn, [`Turns::kept`] is called when it is done.
    pub(super) fn part(&mut self, consumer: &ConsumerName, part: T) -> Turn<T> {
        let known = self.consumers.entry(consumer.clone()).or_default();
        let turn = known.parts.join(part, PARTS, |_, _| false);
        self.waiting += usize::from(matches!(turn, Turn::Waits));
        turn
    }

    /// A part is done; the one whose turn it is now.
    pub(super) fn kept(&mut self, consumer: &ConsumerName) -> Option<T> {
        let next = self.consumers.get_mut(consumer)?.parts.next();
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// A list came. Gives the one it replaces; [`Turns::due`] gives it when it is its turn.
    pub(super) fn list(&mut self, consumer: &ConsumerName, list: T) -> Option<T> {
        let known = self.consumers.entry(consumer.clone()).or_default();
        let replaced = known.list.replace(list);
        if replaced.is_none() {
            self.waiting += 1;
            self.lists += 1;
        }
        replaced
    }

    /// A list whose turn it is, if there is one; [`Turns::answered`] is called when it is done.
    pub(super) fn due(&mut self, now: Instant) -> Option<T> {
        if self.lists == 0 {
            return None;
        }
        let due = |known: &&mut Consumer<T>| known.due(now).is_some_and(|at| at <= now);
        let known = self.consumers.values_mut().find(due)?;
        known.answering = true;
        known.answered.note(now);
        self.waiting -= 1;
        self.lists -= 1;
        known.list.take()
    }

    /// When the turn of the next list comes that only waits for its time.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.lists == 0 {
            return None;
        }
        let due = |known: &Consumer<T>| known.due(now);
        self.consumers.values().filter_map(due).min()
    }

    /// A list is answered.
    pub(super) fn answered(&mut self, consumer: &ConsumerName) {
        if let Some(known) = self.consumers.get_mut(consumer) {
            known.answering = false;
        }
    }

    /// Forgets consumers that have been quiet.
    pub(super) fn forget_quiet(&mut self, now: Instant) {
        self.consumers.retain(|_, known| !known.is_quiet(now));
    }
}

// === impl Consumer ===

impl<T> Consumer<T> {
    fn due(&self, now: Instant) -> Option<Instant> {
        (self.list.is_some() && !self.answering).then(|| self.answered.next(now))
    }

    fn is_quiet(&self, now: Instant) -> bool {
        let nobody = self.statuses.at_work == 0 && self.parts.at_work == 0;
        let idle = nobody && !self.answering && self.list.is_none();
        idle && self.answered.is_forgotten(now)
    }
}

impl<T> Default for Consumer<T> {
    fn default() -> Self {
        Self {
            statuses: Line::default(),
            parts: Line::default(),
            answering: false,
            list: None,
            answered: Distance::default(),
        }
    }
}

// === impl Line ===

impl<T> Line<T> {
    fn join(&mut self, new: T, most: usize, replaces: impl Fn(&T, &T) -> bool) -> Turn<T> {
        if self.at_work < most {
            self.at_work += 1;
            return Turn::Now(new);
        }
        let mut waiting = self.waiting.iter_mut();
        if let Some(older) = waiting.find(|older| replaces(&new, older)) {
            return Turn::Replaces(std::mem::replace(older, new));
        }
        self.waiting.push_back(new);
        Turn::Waits
    }

    /// One is done; the next takes its place.
    fn next(&mut self) -> Option<T> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.at_work = self.at_work.saturating_sub(1);
        }
        next
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            at_work: 0,
            waiting: VecDeque::new(),
        }
    }
}

/// Statuses of one consumer being stored at a time. The store commits those together that wait, of all consumers; one that
/// sends alone has as many in each commit, so that 100 at once, all that a session receives, are a dozen commits.
const STATUSES: usize = 8;

/// Parts of one consumer being kept at a time: whoever keeps one holds a lock of its consumer, so more would only wait.
const PARTS: usize = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn consumer(name: &str) -> ConsumerName {
        ConsumerName::new(name).unwrap()
    }

    #[test]
    fn a_few_statuses_of_a_consumer_are_stored_at_a_time_in_order_and_hold_up_no_other_consumer() {
        let (c1, c2) = (consumer("c1"), consumer("c2"));
        let mut turns = Turns::new();
        let alike = |new: &u32, old: &u32| new % 100 == old % 100;
        let most = u32::try_from(STATUSES).unwrap();
        for number in 11..11 + most {
            assert_eq!(turns.status(&c1, number, alike), Turn::Now(number));
        }
        for number in [4, 5, 106, 7, 8, 9] {
            assert_eq!(turns.status(&c1, number, alike), Turn::Waits);
        }
        assert_eq!(turns.status(&c1, 6, alike), Turn::Replaces(106));
        assert_eq!(turns.status(&c2, 10, alike), Turn::Now(10));
        assert_eq!(turns.waiting(), 6);
        let rest: Vec<u32> = std::iter::from_fn(|| turns.stored(&c1)).collect();
        assert_eq!((rest, turns.waiting()), (vec![4, 5, 6, 7, 8, 9], 0));
        for _ in 1..STATUSES {
            assert_eq!(turns.stored(&c1), None);
        }
        assert_eq!(turns.stored(&c2), None);
        turns.forget_quiet(Instant::now());
        assert!(turns.consumers.is_empty());
    }

    #[test]
    fn one_part_of_a_consumer_is_kept_at_a_time_beside_its_statuses_and_those_of_others() {
        let (c1, c2) = (consumer("c1"), consumer("c2"));
        let mut turns = Turns::new();
        assert_eq!(turns.part(&c1, 1), Turn::Now(1));
        for part in [2, 3] {
            assert_eq!(turns.part(&c1, part), Turn::Waits);
        }
        assert_eq!(turns.part(&c2, 4), Turn::Now(4));
        assert_eq!(turns.status(&c1, 5, |_, _| true), Turn::Now(5));
        assert_eq!(turns.stored(&c1), None);
        assert_eq!((turns.kept(&c1), turns.waiting()), (Some(2), 1));
        turns.forget_quiet(Instant::now());
        assert_eq!((turns.kept(&c1), turns.waiting()), (Some(3), 0));
        assert_eq!((turns.kept(&c1), turns.kept(&c2)), (None, None));
        turns.forget_quiet(Instant::now());
        assert!(turns.consumers.is_empty());
    }

    #[test]
    fn one_list_of_a_consumer_is_answered_at_a_time_the_newest_and_ever_less_often() {
        let (c1, c2) = (consumer("c1"), consumer("c2"));
        let mut turns = Turns::new();
        let now = Instant::now();
        assert_eq!(turns.list(&c1, 1), None);
        assert_eq!((turns.due(now), turns.due(now)), (Some(1), None));
        // While it is answered, however long that takes, the others wait, and only the newest of them.
        assert_eq!(turns.list(&c1, 2), None);
        assert_eq!(turns.list(&c1, 3), Some(2));
        let later = now + Duration::from_secs(600);
        assert_eq!((turns.due(later), turns.next_due(later)), (None, None));
        assert_eq!(turns.list(&c2, 4), None);
        assert_eq!(turns.due(later), Some(4));
        turns.answered(&c1);
        assert_eq!((turns.due(later), turns.waiting()), (Some(3), 0));
        turns.answered(&c1);
        let mut answers = Vec::new();
        for second in 0..300 {
            let now = later + Duration::from_secs(1 + second);
            turns.list(&c1, 5);
            if turns.due(now).is_some() {
                turns.answered(&c1);
                answers.push(1 + second);
            }
        }
        assert_eq!(answers, [2, 6, 14, 30, 62, 122, 182, 242]);
        let last = turns.next_due(later).unwrap();
        assert_eq!(last - later, Duration::from_secs(302));
        assert_eq!(turns.due(last), Some(5));
        turns.answered(&c1);
        turns.answered(&c2);
        turns.forget_quiet(last);
        assert_eq!(turns.consumers.len(), 1);
        turns.forget_quiet(last + Duration::from_secs(120));
        assert!(turns.consumers.is_empty());
    }
}
