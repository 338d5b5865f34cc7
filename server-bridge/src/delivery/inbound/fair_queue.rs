//! A fair queue of what agents sent: of each consumer a few statuses are stored at a time, one part of a list is kept, and one list is
//! answered, so that one agent takes neither the way up nor the store's connections from the others. Does no I/O.
//!
//! Statuses and parts wait in the order in which they came, statuses of one bundle only the newest. Of the lists only the newest waits: it
//! says all that an older one said, and more truly. Lists are answered ever less often while they go on ([`Distance`]).
//!
//! **Invariant:** what waits is bounded by whoever adds to it, who asks [`FairQueue::waiting`].

use std::collections::{HashMap, VecDeque};

use link::id::ConsumerName;
use tokio::time::Instant;

use crate::delivery::pacing::Distance;

/// What becomes of a status or a part that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Enqueued<T> {
    /// It is its turn.
    Now(T),
    /// It waits.
    Waits,
    /// It waits in the place of this one, which is not needed any more.
    Replaces(T),
}

/// Who is being served, and who waits.
pub(super) struct FairQueue<T> {
    consumers: HashMap<ConsumerName, Consumer<T>>,
    waiting: usize,
    /// How many of those are lists.
    lists: usize,
}

struct Consumer<T> {
    statuses: WorkQueue<T>,
    parts: WorkQueue<T>,
    answering: bool,
    list: Option<T>,
    answered: Distance,
}

/// Those at work and those behind them.
struct WorkQueue<T> {
    at_work: usize,
    waiting: VecDeque<T>,
}

// === impl FairQueue ===

impl<T> FairQueue<T> {
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

    /// A status came. If it is its turn, [`FairQueue::stored`] is called when it is done. `replaces` says of one that waits
    /// whether this one says all that it said.
    pub(super) fn status(
        &mut self,
        consumer: &ConsumerName,
        status: T,
        replaces: impl Fn(&T, &T) -> bool,
    ) -> Enqueued<T> {
        let known = self.consumers.entry(consumer.clone()).or_default();
        let turn = known.statuses.join(status, STATUSES, replaces);
        self.waiting += usize::from(matches!(turn, Enqueued::Waits));
        turn
    }

    /// A status is done; the one whose turn it is now.
    pub(super) fn stored(&mut self, consumer: &ConsumerName) -> Option<T> {
        let next = self.consumers.get_mut(consumer)?.statuses.next();
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// A part of a list came. If it is its turn, [`FairQueue::kept`] is called when it is done.
    pub(super) fn part(&mut self, consumer: &ConsumerName, part: T) -> Enqueued<T> {
        let known = self.consumers.entry(consumer.clone()).or_default();
        let turn = known.parts.join(part, PARTS, |_, _| false);
        self.waiting += usize::from(matches!(turn, Enqueued::Waits));
        turn
    }

    /// A part is done; the one whose turn it is now.
    pub(super) fn kept(&mut self, consumer: &ConsumerName) -> Option<T> {
        let next = self.consumers.get_mut(consumer)?.parts.next();
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// A list came. Gives the one it replaces; [`FairQueue::due`] gives it when it is its turn.
    pub(super) fn list(&mut self, consumer: &ConsumerName, list: T) -> Option<T> {
        let known = self.consumers.entry(consumer.clone()).or_default();
        let replaced = known.list.replace(list);
        if replaced.is_none() {
            self.waiting += 1;
            self.lists += 1;
        }
        replaced
    }

    /// A list whose turn it is, if there is one; [`FairQueue::answered`] is called when it is done.
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
            statuses: WorkQueue::default(),
            parts: WorkQueue::default(),
            answering: false,
            list: None,
            answered: Distance::default(),
        }
    }
}

// === impl WorkQueue ===

impl<T> WorkQueue<T> {
    fn join(&mut self, new: T, most: usize, replaces: impl Fn(&T, &T) -> bool) -> Enqueued<T> {
        if self.at_work < most {
            self.at_work += 1;
            return Enqueued::Now(new);
        }
        let mut waiting = self.waiting.iter_mut();
        if let Some(older) = waiting.find(|older| replaces(&new, older)) {
            return Enqueued::Replaces(std::mem::replace(older, new));
        }
        self.waiting.push_back(new);
        Enqueued::Waits
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

impl<T> Default for WorkQueue<T> {
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
        let mut fair_queue = FairQueue::new();
        let alike = |new: &u32, old: &u32| new % 100 == old % 100;
        let most = u32::try_from(STATUSES).unwrap();
        for number in 11..11 + most {
            assert_eq!(fair_queue.status(&c1, number, alike), Enqueued::Now(number));
        }
        for number in [4, 5, 106, 7, 8, 9] {
            assert_eq!(fair_queue.status(&c1, number, alike), Enqueued::Waits);
        }
        assert_eq!(fair_queue.status(&c1, 6, alike), Enqueued::Replaces(106));
        assert_eq!(fair_queue.status(&c2, 10, alike), Enqueued::Now(10));
        assert_eq!(fair_queue.waiting(), 6);
        let rest: Vec<u32> = std::iter::from_fn(|| fair_queue.stored(&c1)).collect();
        assert_eq!((rest, fair_queue.waiting()), (vec![4, 5, 6, 7, 8, 9], 0));
        for _ in 1..STATUSES {
            assert_eq!(fair_queue.stored(&c1), None);
        }
        assert_eq!(fair_queue.stored(&c2), None);
        fair_queue.forget_quiet(Instant::now());
        assert!(fair_queue.consumers.is_empty());
    }

    #[test]
    fn one_part_of_a_consumer_is_kept_at_a_time_beside_its_statuses_and_those_of_others() {
        let (c1, c2) = (consumer("c1"), consumer("c2"));
        let mut fair_queue = FairQueue::new();
        assert_eq!(fair_queue.part(&c1, 1), Enqueued::Now(1));
        for part in [2, 3] {
            assert_eq!(fair_queue.part(&c1, part), Enqueued::Waits);
        }
        assert_eq!(fair_queue.part(&c2, 4), Enqueued::Now(4));
        assert_eq!(fair_queue.status(&c1, 5, |_, _| true), Enqueued::Now(5));
        assert_eq!(fair_queue.stored(&c1), None);
        assert_eq!((fair_queue.kept(&c1), fair_queue.waiting()), (Some(2), 1));
        fair_queue.forget_quiet(Instant::now());
        assert_eq!((fair_queue.kept(&c1), fair_queue.waiting()), (Some(3), 0));
        assert_eq!((fair_queue.kept(&c1), fair_queue.kept(&c2)), (None, None));
        fair_queue.forget_quiet(Instant::now());
        assert!(fair_queue.consumers.is_empty());
    }

    #[test]
    fn one_list_of_a_consumer_is_answered_at_a_time_the_newest_and_ever_less_often() {
        let (c1, c2) = (consumer("c1"), consumer("c2"));
        let mut fair_queue = FairQueue::new();
        let now = Instant::now();
        assert_eq!(fair_queue.list(&c1, 1), None);
        assert_eq!((fair_queue.due(now), fair_queue.due(now)), (Some(1), None));
        // While it is answered, however long that takes, the others wait, and only the newest of them.
        assert_eq!(fair_queue.list(&c1, 2), None);
        assert_eq!(fair_queue.list(&c1, 3), Some(2));
        let later = now + Duration::from_secs(600);
        assert_eq!(
            (fair_queue.due(later), fair_queue.next_due(later)),
            (None, None)
        );
        assert_eq!(fair_queue.list(&c2, 4), None);
        assert_eq!(fair_queue.due(later), Some(4));
        fair_queue.answered(&c1);
        assert_eq!((fair_queue.due(later), fair_queue.waiting()), (Some(3), 0));
        fair_queue.answered(&c1);
        let mut answers = Vec::new();
        for second in 0..300 {
            let now = later + Duration::from_secs(1 + second);
            fair_queue.list(&c1, 5);
            if fair_queue.due(now).is_some() {
                fair_queue.answered(&c1);
                answers.push(1 + second);
            }
        }
        assert_eq!(answers, [2, 6, 14, 30, 62, 122, 182, 242]);
        let last = fair_queue.next_due(later).unwrap();
        assert_eq!(last - later, Duration::from_secs(302));
        assert_eq!(fair_queue.due(last), Some(5));
        fair_queue.answered(&c1);
        fair_queue.answered(&c2);
        fair_queue.forget_quiet(last);
        assert_eq!(fair_queue.consumers.len(), 1);
        fair_queue.forget_quiet(last + Duration::from_secs(120));
        assert!(fair_queue.consumers.is_empty());
    }
}
