//! Schedule of status requests: which consumers are to be asked for statuses that differ, and when.
//!
//! Kept in memory: a bridge that has just started asks every consumer anyway.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use link::id::ConsumerName;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pacing::Distance;

/// Why statuses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestCause {
    /// This bridge has just subscribed.
    Subscribed,
    /// The agent has just said what it holds.
    Agent,
    /// A status was not taken because a later one, by its sequence id, was there.
    Stale,
}

/// The consumers of one session that are to be asked. The first request of a consumer is answered at once, further ones
/// together and ever less often.
#[derive(Debug, Default)]
pub(super) struct StatusRequests {
    schedule: Mutex<Schedule>,
    /// All are to be asked once more.
    everyone: AtomicBool,
    changed: Notify,
}

/// **Invariant:** `due` holds each consumer whose `Request::due` is there, at that time, and no other.
#[derive(Debug, Default)]
struct Schedule {
    consumers: HashMap<ConsumerName, Request>,
    due: BTreeSet<(Instant, ConsumerName)>,
    /// Those that have been quiet are forgotten when there are so many: each is looked at a few times at most for every
    /// one that comes.
    tidy_at: usize,
}

#[derive(Debug, Default)]
struct Request {
    /// When and why to ask next.
    due: Option<(Instant, RequestCause)>,
    asked: Distance,
}

// === impl StatusRequests ===

impl StatusRequests {
    /// Has a consumer asked, for the newest cause: at once after a subscription of ours, which has a pace of its own.
    pub(super) fn want(&self, consumer: &ConsumerName, cause: RequestCause, now: Instant) {
        self.want_at(consumer, cause, now, now);
    }

    /// The same, not before `at`. What is wanted sooner for another reason replaces it: if it was too soon, the answer is
    /// not taken either and brings this back.
    pub(super) fn want_at(
        &self,
        consumer: &ConsumerName,
        cause: RequestCause,
        at: Instant,
        now: Instant,
    ) {
        {
            let mut schedule = self.lock();
            schedule.tidy(now);
            let ask = schedule.consumers.entry(consumer.clone()).or_default();
            let at = match cause {
                RequestCause::Subscribed => at,
                RequestCause::Agent | RequestCause::Stale => at.max(ask.asked.next(now)),
            };
            let due = match ask.due {
                // It says nothing of what else the agent has to be asked for.
                Some((due, other)) if cause == RequestCause::Stale => (due.min(at), other),
                Some((due, _)) => (due.min(at), cause),
                None => (at, cause),
            };
            schedule.set(consumer, due);
        }
        self.changed.notify_one();
    }

    /// Has every consumer of the session asked as after a subscription of ours.
    pub(super) fn want_everyone(&self) {
        self.everyone.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether every consumer was wanted since this was last asked.
    pub(super) fn take_everyone(&self) -> bool {
        self.everyone.swap(false, Ordering::Relaxed)
    }

    /// Has a consumer asked again after a failure, later each time.
    pub(super) fn failed(&self, consumer: &ConsumerName, cause: RequestCause, now: Instant) {
        let mut schedule = self.lock();
        if let Some(ask) = schedule.consumers.get(consumer)
            && ask.due.is_none()
        {
            let due = (now + ask.asked.after_failure(), cause);
            schedule.set(consumer, due);
        }
    }

    /// The consumer that is due, if one is; it counts as asked.
    pub(super) fn take_due(&self, now: Instant) -> Option<(ConsumerName, RequestCause)> {
        let mut schedule = self.lock();
        schedule.due.first().filter(|(due, _)| *due <= now)?;
        let (_, consumer) = schedule.due.pop_first()?;
        let ask = schedule.consumers.get_mut(&consumer)?;
        let (_, cause) = ask.due.take()?;
        ask.asked.note(now);
        Some((consumer, cause))
    }

    /// When the next consumer is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.lock().due.first().map(|(due, _)| *due)
    }

    /// Returns once somebody wanted something.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Schedule ===

impl Schedule {
    /// Of a consumer that is known.
    fn set(&mut self, consumer: &ConsumerName, due: (Instant, RequestCause)) {
        let Some(ask) = self.consumers.get_mut(consumer) else {
            return;
        };
        let before = ask.due.replace(due).map(|(at, _)| at);
        if before == Some(due.0) {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, consumer.clone()));
        }
        self.due.insert((due.0, consumer.clone()));
    }

    fn tidy(&mut self, now: Instant) {
        if self.consumers.len() < self.tidy_at {
            return;
        }
        self.consumers
            .retain(|_, ask| ask.due.is_some() || !ask.asked.is_forgotten(now));
        self.tidy_at = (2 * self.consumers.len()).max(TIDY_LEAST);
    }
}

const TIDY_LEAST: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::pacing::LONGEST;

    #[test]
    fn the_first_request_is_answered_at_once_and_many_are_answered_together() {
        let c1 = ConsumerName::new("c1").unwrap();
        let asks = StatusRequests::default();
        let start = Instant::now();
        let mut answers = Vec::new();
        for millis in (0..360_000).step_by(100) {
            let now = start + Duration::from_millis(millis);
            asks.want(&c1, RequestCause::Agent, now);
            if asks.take_due(now).is_some() {
                answers.push(millis / 1000);
            }
        }
        assert_eq!(answers, [0, 2, 6, 14, 30, 62, 122, 182, 242, 302]);
        // The last request is answered too.
        let due = asks.next_due().unwrap();
        assert_eq!(due - start, Duration::from_secs(362));
        assert!(asks.take_due(due).is_some());
        assert_eq!(asks.next_due(), None);
        // After a quiet while it is the first again.
        let later = due + 2 * LONGEST;
        asks.want(&c1, RequestCause::Agent, later);
        assert!(asks.take_due(later).is_some());
        // Our own subscription does not wait, and the newest cause counts.
        asks.want(&c1, RequestCause::Agent, later);
        assert!(asks.take_due(later).is_none());
        asks.want(&c1, RequestCause::Subscribed, later);
        assert_eq!(
            asks.take_due(later),
            Some((c1.clone(), RequestCause::Subscribed))
        );
        asks.failed(&c1, RequestCause::Subscribed, later);
        assert!(asks.take_due(later).is_none());
        assert!(asks.next_due().is_some());
    }

    #[test]
    fn a_hundred_thousand_consumers_are_each_asked_once_in_order_and_forgotten() {
        // Looking at all of them for each would take minutes.
        let asks = StatusRequests::default();
        let start = Instant::now();
        let later = |number: u64| start + Duration::from_micros(number);
        for number in 0..100_000 {
            let consumer = ConsumerName::new(format!("c{number}")).unwrap();
            asks.want_at(
                &consumer,
                RequestCause::Subscribed,
                later(number + 9),
                start,
            );
            asks.want_at(&consumer, RequestCause::Subscribed, later(number), start);
        }
        for number in 0..100_000 {
            assert_eq!(asks.next_due(), Some(later(number)));
            let (consumer, _) = asks.take_due(later(100_000)).unwrap();
            assert_eq!(consumer.as_str(), format!("c{number}"));
        }
        assert_eq!(asks.next_due(), None);
        let quiet = start + 3 * LONGEST;
        for number in 0..100_000 {
            let consumer = ConsumerName::new(format!("d{number}")).unwrap();
            asks.want(&consumer, RequestCause::Agent, quiet);
        }
        assert_eq!(asks.lock().consumers.len(), 100_000);
    }

    #[test]
    fn what_was_stale_is_asked_for_when_it_will_not_be_and_takes_nothing_from_other_causes() {
        let c1 = ConsumerName::new("c1").unwrap();
        let asks = StatusRequests::default();
        let now = Instant::now();
        let minutes = |minutes: u64| now + Duration::from_secs(60 * minutes);
        asks.want_at(&c1, RequestCause::Stale, minutes(5), now);
        asks.want_at(&c1, RequestCause::Stale, minutes(3), now);
        assert_eq!(asks.next_due(), Some(minutes(3)));
        assert_eq!(
            asks.take_due(minutes(3)),
            Some((c1.clone(), RequestCause::Stale))
        );
        asks.want(&c1, RequestCause::Subscribed, minutes(3));
        asks.want_at(&c1, RequestCause::Stale, minutes(5), minutes(3));
        assert_eq!(
            asks.take_due(minutes(3)),
            Some((c1.clone(), RequestCause::Subscribed))
        );
        // However often it is said, it is paced.
        let mut asked = 0;
        for second in 0..3600 {
            let now = minutes(10) + Duration::from_secs(second);
            asks.want_at(&c1, RequestCause::Stale, now, now);
            asked += u64::from(asks.take_due(now).is_some());
        }
        assert!((60..70).contains(&asked), "{asked}");
    }
}
