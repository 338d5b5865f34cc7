//! Records when consumers were last heard, in the background: a few seconds of notes in one write.
//!
//! What cannot be noted is noted when the consumer is heard again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use link::error::chain;
use link::id::ConsumerName;
use tokio::time::{Duration, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Context;
use super::log::DeliveryLine;
use crate::store::Store;

/// The consumers that were heard since they were last noted.
#[derive(Debug, Default)]
pub(super) struct LastSeen(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    consumers: HashSet<ConsumerName>,
    /// When the first of them was.
    since: Option<Timestamp>,
}

// === impl LastSeen ===

impl LastSeen {
    /// A consumer was heard.
    pub(super) fn note(&self, consumer: &ConsumerName, at: Timestamp) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.consumers.len() < MOST && !heard.consumers.contains(consumer) {
            heard.consumers.insert(consumer.clone());
            heard.since.get_or_insert(at);
        }
    }

    /// Who was heard, and since when: what is noted must not be later than what was heard, or an agent that went would
    /// seem to have spoken afterwards.
    fn take(&self) -> Option<(Vec<ConsumerName>, Timestamp)> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = heard.since.take()?;
        Some((heard.consumers.drain().collect(), since))
    }
}

/// Writes down who was heard until `drain` is cancelled, and once more then.
pub(super) async fn run<S: Store>(context: Context<S>, drain: CancellationToken) {
    let mut tick = interval(EVERY);
    loop {
        let goes_on = drain.run_until_cancelled(tick.tick()).await.is_some();
        if let Some((heard, since)) = context.last_seen.take()
            && let Err(error) = context.store.note_seen(heard, since).await
            && let Some(held_back) = context.log.admit(DeliveryLine::Store, None)
        {
            warn!(
                held_back,
                "Could not note which consumers were heard: {}",
                chain(&error)
            );
        }
        if !goes_on {
            return;
        }
    }
}

/// Names that wait to be noted: 64 sessions that each receive 100 events a second from other consumers make 32 000 in five
/// seconds, with names of 100 bytes 3 MB.
const MOST: usize = 32_000;

/// The store leaves alone what was noted within a minute, so that this says how late a note comes, not how many there are.
const EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_not_later_than_what_was_heard() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let name = |name: &str| ConsumerName::new(name).unwrap();
        let seen = LastSeen::default();
        assert_eq!(seen.take(), None);
        seen.note(&name("a"), at(1));
        seen.note(&name("a"), at(2));
        assert_eq!(seen.take(), Some((vec![name("a")], at(1))));
        seen.note(&name("b"), at(3));
        assert_eq!(seen.take(), Some((vec![name("b")], at(3))));
    }
}
