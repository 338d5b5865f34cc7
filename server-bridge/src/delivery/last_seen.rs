//! Records when consumers were last heard, in the background: a few seconds of notes in one write.
//!
//! What cannot be noted is noted when the consumer is heard again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

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
pub(super) struct LastSeen(Mutex<HashSet<ConsumerName>>);

// === impl LastSeen ===

impl LastSeen {
    /// A consumer was heard.
    pub(super) fn note(&self, consumer: &ConsumerName) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < MOST && !heard.contains(consumer) {
            heard.insert(consumer.clone());
        }
    }

    fn take(&self) -> Vec<ConsumerName> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.drain().collect()
    }
}

/// Writes down who was heard until `drain` is cancelled, and once more then.
pub(super) async fn run<S: Store>(context: Context<S>, drain: CancellationToken) {
    let mut tick = interval(EVERY);
    loop {
        let goes_on = drain.run_until_cancelled(tick.tick()).await.is_some();
        let heard = context.last_seen.take();
        if !heard.is_empty()
            && let Err(error) = context.store.note_seen(heard, context.clock.now()).await
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
