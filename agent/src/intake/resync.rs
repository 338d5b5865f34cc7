//! Both halves of the resync at this end: asking for missed specs, choosing the statuses to send again
//! (docs/MAESTRO.md §4.4–4.5).
//!
//! Each request makes the source send everything that may differ, so requests are merged, wait while something comes in,
//! and keep a distance that grows while they go on. Only a new subscription asks at once. A request that the broker
//! refuses is not forgotten: readiness says so, and it is sent again after a while, because policies get repaired.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::backoff::Backoff;
use link::bundle::resync::{HeldVersion, SpecRequest, StatusRequest, split};
use link::clock::Clock;
use link::event::{Action, Event, Kind, RESYNC_ANSWER, RESYNC_ID, RESYNC_PART, encode};
use link::id::ConsumerName;
use link::iot::limits::fits;
use link::message::Message;
use link::supervise::{Restarts, restarting};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::health::Health;
use crate::metrics::Metrics;
use crate::uplink::{PublishFailure, Uplink};
use crate::work::{Store, WorkId, WorkIndex};

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
    /// When something came in last.
    pub arrivals: Arc<Arrivals>,
    /// Whether the source can be asked.
    pub health: Health,
    /// Wall clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
}

/// When something came in last.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<Option<Instant>>);

/// When the next request may be sent.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    last: Option<Instant>,
    distance: Duration,
}

/// What became of a request.
enum Asked {
    /// The broker has all of it.
    Taken,
    /// The broker refuses it, and would refuse the same again.
    Refused,
    /// The subscription changed before all parts were taken.
    Interrupted,
}

// === impl Resync ===

impl<S: Store, U: Uplink> Resync<S, U> {
    /// Runs until `drain` fires.
    pub async fn run(self, drain: CancellationToken, restarts: Restarts) {
        let this = Arc::new(self);
        restarting("resync", &restarts, &drain, || {
            let (this, drain) = (Arc::clone(&this), drain.clone());
            async move {
                tokio::select! {
                    () = drain.cancelled() => {}
                    () = this.watch() => {}
                }
            }
        })
        .await;
    }

    async fn watch(&self) {
        let mut subscription = self.uplink.subscription();
        let mut asked = 0;
        let mut wanted: Option<Instant> = None;
        let mut pace = Pace::default();
        let mut refused: Option<Instant> = None;
        loop {
            let now = *subscription.borrow_and_update();
            let due = wanted.map(|since| pace.due(since, self.arrivals.last()));
            let due = due.map(|due| refused.map_or(due, |at| due.max(at + REFUSED_AGAIN)));
            let is_due = due.is_some_and(|due| due <= Instant::now());
            if now.active && (now.generation != asked || is_due) {
                // What is wanted from here on is for another request.
                let before = wanted.take();
                let outcome = self.ask().await;
                let at = Instant::now();
                match outcome {
                    Asked::Taken => {
                        asked = now.generation;
                        refused = None;
                        pace.asked(at);
                        continue;
                    }
                    Asked::Refused => {
                        asked = now.generation;
                        refused = Some(at);
                        wanted = before.or(Some(at));
                        continue;
                    }
                    // The next session asks, of whatever generation.
                    Asked::Interrupted => wanted = before,
                }
            }
            tokio::select! {
                changed = subscription.changed() => if changed.is_err() { return },
                () = self.store.index().resync_wanted() => {
                    wanted.get_or_insert_with(Instant::now);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && now.active && !is_due => {}
            }
        }
    }

    /// Sends every part.
    async fn ask(&self) -> Asked {
        let messages = self.request();
        let parts = messages.len();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, RETRY_MAX);
        let started = *self.uplink.subscription().borrow();
        for message in messages {
            while let Err(failure) = self.uplink.publish(message.clone()).await {
                if !failure.retryable {
                    self.refused(&failure);
                    return Asked::Refused;
                }
                if *self.uplink.subscription().borrow() != started {
                    warn!(error = %failure, "Could not send the resync request");
                    return Asked::Interrupted;
                }
                tokio::time::sleep(backoff.next_jittered(Duration::ZERO)).await;
            }
        }
        self.metrics.resync_requests.inc();
        info!(parts, "Asked the source for missed works");
        self.health.ok();
        Asked::Taken
    }

    fn refused(&self, failure: &PublishFailure) {
        let hint = format!(
            "see that the policy of the agent's certificate lets it publish to `{}`",
            self.topic
        );
        warn!(
            error = %failure, hint,
            "Could not ask the source for missed works; it is tried again in {} s", REFUSED_AGAIN.as_secs()
        );
        self.health.failing(format!(
            "the source cannot be asked for missed works: {failure}; hint: {hint}"
        ));
    }

    /// The request's messages: one towards a Go peer unless the list is long, parts marked so that ours can join
    /// them. An unmarked list is complete in itself.
    fn request(&self) -> Vec<Message> {
        let now = self.clock.now();
        let held = self.store.index().held_versions();
        let all = held.len();
        // One whose id alone fills a message was taken by an older agent; its source sends it again.
        let held: Vec<HeldVersion> = held
            .into_iter()
            .filter(|held| held.resource_id.len() <= LONGEST_ID)
            .collect();
        if held.len() < all {
            warn!(
                works = all - held.len(),
                "Left works with very long ids out of the resync request"
            );
        }
        let parts = split(held);
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
            .inspect(|message| {
                if let Err(misfit) = fits(message) {
                    warn!("A part of the resync request cannot be sent: {misfit}");
                }
            })
            .collect()
    }
}

// === impl Arrivals ===

impl Arrivals {
    /// Something came in.
    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pace ===

impl Pace {
    /// A request was sent.
    fn asked(&mut self, now: Instant) {
        let goes_on = self
            .last
            .is_some_and(|last| now.duration_since(last) < CALM);
        self.distance = if goes_on {
            (2 * self.distance).min(MOST_DISTANCE)
        } else {
            LEAST_DISTANCE
        };
        self.last = Some(now);
    }

    /// When a request that is wanted since then may be sent, given when something came in last.
    fn due(&self, since: Instant, arrived: Option<Instant>) -> Instant {
        let Some(last) = self.last else { return since };
        // What comes in long after the last request is no answer to it.
        let answer = arrived.filter(|arrived| arrived.duration_since(last) < PATIENCE);
        let quiet = answer.map_or(since, |arrived| arrived + QUIET);
        since
            .max(last + self.distance)
            .max(quiet.min(since + PATIENCE))
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
pub fn statuses_wanted(request: &StatusRequest, index: &WorkIndex) -> Vec<WorkId> {
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
// As with a status that is refused.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);
/// The least time between two requests, unless the subscription is new; doubled while they go on.
const LEAST_DISTANCE: Duration = Duration::from_secs(2);
const MOST_DISTANCE: Duration = Duration::from_secs(60);
// Above the longest distance, or each of them would count as quiet.
const CALM: Duration = Duration::from_secs(180);
// As long as nothing has come in for, an answer is over: a source sends 100 events a second.
const QUIET: Duration = Duration::from_secs(1);
// A source that never pauses must not keep us from asking.
const PATIENCE: Duration = Duration::from_secs(30);
// In JSON at worst six times as long, which fits a part.
const LONGEST_ID: usize = 16 * 1024;

#[cfg(test)]
mod tests;
