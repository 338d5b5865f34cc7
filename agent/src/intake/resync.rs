//! Both halves of the resync at this end: asking for missed specs, choosing the statuses to send again
//! (wire.md §4.4–4.5).

use std::collections::HashMap;
use std::time::Duration;

use link::backoff::Backoff;
use link::bundle::resync::{SpecRequest, StatusRequest, split};
use link::clock::Clock;
use link::event::{Action, Event, Kind, RESYNC_ANSWER, RESYNC_ID, RESYNC_PART, encode};
use link::id::ConsumerName;
use link::message::Message;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::uplink::Uplink;
use crate::work::{Index, Store, WorkId};

/// Asks the source for what this agent misses after every new subscription, and when the store lost something.
pub struct Resync<S, U> {
    /// Where requests go.
    pub uplink: U,
    /// What is held.
    pub store: S,
    /// The consumer this agent is.
    pub consumer: ConsumerName,
    /// The CloudEvents source of this agent.
    pub agent: String,
    /// The topic of this agent's events.
    pub topic: String,
    /// Wall clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
}

// === impl Resync ===

impl<S: Store, U: Uplink> Resync<S, U> {
    /// Runs until `drain` fires or the session ends.
    pub async fn run(self, drain: CancellationToken) {
        tokio::select! {
            () = drain.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&self) {
        let mut subscription = self.uplink.subscription();
        let mut asked = 0;
        let mut wanted = false;
        loop {
            let now = *subscription.borrow_and_update();
            if now.active && (now.generation != asked || wanted) {
                wanted = false;
                if self.ask().await {
                    asked = now.generation;
                    continue;
                }
                // The session went down meanwhile; the next generation asks again.
            }
            tokio::select! {
                changed = subscription.changed() => if changed.is_err() { return },
                () = self.store.index().resync_wanted() => wanted = true,
            }
        }
    }

    /// Sends every part; false when the subscription changed before all were taken.
    async fn ask(&self) -> bool {
        let messages = self.request();
        let parts = messages.len();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, RETRY_MAX);
        let started = *self.uplink.subscription().borrow();
        for message in messages {
            while let Err(failure) = self.uplink.publish(message.clone()).await {
                if !failure.retryable || *self.uplink.subscription().borrow() != started {
                    warn!(error = %failure, "Could not send the resync request");
                    return !failure.retryable;
                }
                tokio::time::sleep(backoff.next_jittered(Duration::ZERO)).await;
            }
        }
        self.metrics.resync_requests.inc();
        info!(parts, "Asked the source for missed works");
        true
    }

    /// The request's messages: one towards a Go peer unless the list is long, parts marked so that ours can join
    /// them. An unmarked list is complete in itself.
    fn request(&self) -> Vec<Message> {
        let now = self.clock.now();
        let parts = split(self.store.index().held_versions());
        let count = parts.len();
        let id = uuid::Uuid::new_v4().to_string();
        parts
            .into_iter()
            .enumerate()
            .map(|(index, resource_versions)| {
                let data =
                    serde_json::to_vec(&SpecRequest { resource_versions }).unwrap_or_default();
                let kind = Kind::spec(Action::ResyncRequest);
                let mut event = Event::new(&self.agent, kind, &self.consumer, now).with_data(data);
                if count > 1 {
                    event.extensions.insert(RESYNC_ID.into(), id.clone());
                    event
                        .extensions
                        .insert(RESYNC_PART.into(), format!("{}/{count}", index + 1));
                }
                encode(&event, &self.topic)
            })
            .collect()
    }
}

/// Whether a status resync request says that the source has just subscribed. Then what this agent asked before may
/// have reached nobody, or died with that source half answered, and it has to ask once more. A request that answers
/// ours says so itself.
pub fn source_is_new(event: &Event) -> bool {
    !event.extensions.contains_key(RESYNC_ANSWER)
}

/// The works whose status the source should get again: those it lists with another hash, all when it lists none.
/// Ids we do not hold are ignored, as are works without a status, which will report anyway.
pub fn statuses_wanted(request: &StatusRequest, index: &Index) -> Vec<WorkId> {
    let theirs: HashMap<&str, &str> = request
        .status_hashes
        .iter()
        .map(|held| (held.resource_id.as_str(), held.status_hash.as_str()))
        .collect();
    index
        .entries()
        .into_iter()
        .filter(|(id, entry)| match &entry.status_hash {
            None => false,
            Some(ours) => {
                theirs.is_empty()
                    || theirs
                        .get(id.as_str())
                        .is_some_and(|their_hash| *their_hash != &**ours)
            }
        })
        .map(|(id, _)| id)
        .collect()
}

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
