//! Which consumers are to be asked for the statuses that differ, and when.
//!
//! Kept in memory: a bridge that has just started asks every consumer anyway.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use link::id::ConsumerName;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::delivery::pacing::Distance;

/// Why statuses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Cause {
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
pub(in crate::delivery) struct Asks {
    consumers: Mutex<HashMap<ConsumerName, Ask>>,
    /// All are to be asked once more.
    everyone: AtomicBool,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Ask {
    /// When and why to ask next.
    due: Option<(Instant, Cause)>,
    asked: Distance,
}

// === impl Asks ===

impl Asks {
    /// Has a consumer asked, for the newest cause: at once after a subscription of ours, which has a pace of its own.
    pub(in crate::delivery) fn want(&self, consumer: &ConsumerName, cause: Cause, now: Instant) {
        self.want_at(consumer, cause, now, now);
    }

    /// The same, not before `at`. What is wanted sooner for another reason replaces it: if it was too soon, the answer is
    /// not taken either and brings this back.
    pub(in crate::delivery) fn want_at(
        &self,
        consumer: &ConsumerName,
        cause: Cause,
        at: Instant,
        now: Instant,
    ) {
        {
            let mut consumers = self.lock();
            if !consumers.contains_key(consumer) {
                consumers.retain(|_, ask| ask.due.is_some() || !ask.asked.is_forgotten(now));
            }
            let ask = consumers.entry(consumer.clone()).or_default();
            let at = match cause {
                Cause::Subscribed => at,
                Cause::Agent | Cause::Stale => at.max(ask.asked.next(now)),
            };
            ask.due = Some(match ask.due {
                // It says nothing of what else the agent has to be asked for.
                Some((due, other)) if cause == Cause::Stale => (due.min(at), other),
                Some((due, _)) => (due.min(at), cause),
                None => (at, cause),
            });
        }
        self.changed.notify_one();
    }

    /// Has every consumer of the session asked as after a subscription of ours.
    pub(in crate::delivery) fn want_everyone(&self) {
        self.everyone.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether every consumer was wanted since this was last asked.
    pub(in crate::delivery) fn take_everyone(&self) -> bool {
        self.everyone.swap(false, Ordering::Relaxed)
    }

    /// Has a consumer asked again after a failure, later each time.
    pub(in crate::delivery) fn failed(&self, consumer: &ConsumerName, cause: Cause, now: Instant) {
        let mut consumers = self.lock();
        if let Some(ask) = consumers.get_mut(consumer)
            && ask.due.is_none()
        {
            ask.due = Some((now + ask.asked.after_failure(), cause));
        }
    }

    /// The consumer that is due, if one is; it counts as asked.
    pub(in crate::delivery) fn take_due(&self, now: Instant) -> Option<(ConsumerName, Cause)> {
        let mut consumers = self.lock();
        let (consumer, ask) = consumers
            .iter_mut()
            .filter_map(|(consumer, ask)| Some((ask.due?.0, consumer, ask)))
            .filter(|(due, ..)| *due <= now)
            .min_by_key(|(due, ..)| *due)
            .map(|(_, consumer, ask)| (consumer, ask))?;
        let (_, cause) = ask.due.take()?;
        ask.asked.note(now);
        Some((consumer.clone(), cause))
    }

    /// When the next consumer is due.
    pub(in crate::delivery) fn next_due(&self) -> Option<Instant> {
        let consumers = self.lock();
        consumers.values().filter_map(|ask| Some(ask.due?.0)).min()
    }

    /// Returns once somebody wanted something.
    pub(in crate::delivery) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ConsumerName, Ask>> {
        self.consumers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::pacing::LONGEST;

    #[test]
    fn the_first_request_is_answered_at_once_and_many_are_answered_together() {
        let c1 = ConsumerName::new("c1").unwrap();
        let asks = Asks::default();
        let start = Instant::now();
        let mut answers = Vec::new();
        for millis in (0..360_000).step_by(100) {
            let now = start + Duration::from_millis(millis);
            asks.want(&c1, Cause::Agent, now);
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
        asks.want(&c1, Cause::Agent, later);
        assert!(asks.take_due(later).is_some());
        // Our own subscription does not wait, and the newest cause counts.
        asks.want(&c1, Cause::Agent, later);
        assert!(asks.take_due(later).is_none());
        asks.want(&c1, Cause::Subscribed, later);
        assert_eq!(asks.take_due(later), Some((c1.clone(), Cause::Subscribed)));
        asks.failed(&c1, Cause::Subscribed, later);
        assert!(asks.take_due(later).is_none());
        assert!(asks.next_due().is_some());
    }

    #[test]
    fn what_was_stale_is_asked_for_when_it_will_not_be_and_takes_nothing_from_other_causes() {
        let c1 = ConsumerName::new("c1").unwrap();
        let asks = Asks::default();
        let now = Instant::now();
        let minutes = |minutes: u64| now + Duration::from_secs(60 * minutes);
        asks.want_at(&c1, Cause::Stale, minutes(5), now);
        asks.want_at(&c1, Cause::Stale, minutes(3), now);
        assert_eq!(asks.next_due(), Some(minutes(3)));
        assert_eq!(asks.take_due(minutes(3)), Some((c1.clone(), Cause::Stale)));
        asks.want(&c1, Cause::Subscribed, minutes(3));
        asks.want_at(&c1, Cause::Stale, minutes(5), minutes(3));
        assert_eq!(
            asks.take_due(minutes(3)),
            Some((c1.clone(), Cause::Subscribed))
        );
        // However often it is said, it is paced.
        let mut asked = 0;
        for second in 0..3600 {
            let now = minutes(10) + Duration::from_secs(second);
            asks.want_at(&c1, Cause::Stale, now, now);
            asked += u64::from(asks.take_due(now).is_some());
        }
        assert!((60..70).contains(&asked), "{asked}");
    }
}
