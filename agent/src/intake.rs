//! From a delivery to a durable work: decode, decide, make durable, and only then ack.
//!
//! Deliveries are taken in batches that share their disk syncs. A bad event is acked too, after it was counted
//! and explained: the broker would only deliver the same again and block the topic.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use link::backoff::Backoff;
use link::bundle::resync::StatusRequest;
use link::clock::Clock;
use link::error::{Hint as _, chain};
use link::event::Event;
use link::id::ConsumerName;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::health::Health;
use crate::metrics::Metrics;
use crate::reconcile::Queue;
use crate::uplink::{Downlink, Incoming};
use crate::work::{self, Store, Work, WorkId};

mod decide;
pub mod resync;

pub use decide::{Decision, Refusal, Refused, Rules, Taken, decide};

/// What intake needs from the rest of the agent.
pub struct Intake<S, D> {
    /// Where deliveries come from.
    pub downlink: D,
    /// Which consumer a topic speaks for.
    pub consumer_of: ConsumerOf,
    /// Whom to listen to.
    pub rules: Rules,
    /// Where works are made durable.
    pub store: S,
    /// Works that changed.
    pub queue: Arc<Queue>,
    /// Told of every work whose status the source wants again.
    pub on_status_wanted: OnWork,
    /// The readiness of the store.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
    /// Wall clock.
    pub clock: Clock,
}

/// Which consumer a received topic speaks for.
pub type ConsumerOf = Box<dyn Fn(&str) -> Option<ConsumerName> + Send + Sync>;

/// Told of a work.
pub type OnWork = Box<dyn Fn(&WorkId) + Send + Sync>;

/// The works of one batch and the deliveries that wait for them.
#[derive(Default)]
struct Batch {
    works: Vec<Work>,
    ids: HashSet<WorkId>,
    waiting: Vec<Incoming>,
}

// === impl Intake ===

impl<S: Store, D: Downlink> Intake<S, D> {
    /// Runs until the session ends or `drain` fires. A delivery whose work is not durable stays unacked.
    pub async fn run(mut self, drain: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = drain.cancelled() => return,
                incoming = self.next() => incoming,
            };
            let Some(first) = first else { return };
            let mut batch = Batch::default();
            self.take(first, &mut batch, &drain).await;
            while batch.works.len() < BATCH_WORKS {
                // Only what is there already: nobody waits for company.
                let next = tokio::select! {
                    biased;
                    incoming = self.downlink.recv() => incoming,
                    () = std::future::ready(()) => None,
                };
                let Some(next) = next else { break };
                self.take(next, &mut batch, &drain).await;
            }
            self.flush(&mut batch, &drain).await;
        }
    }

    /// The next delivery, once works in hand have made room: what was made durable just now is applied from memory.
    async fn next(&mut self) -> Option<Incoming> {
        self.queue.room(BACKLOG).await;
        self.downlink.recv().await
    }

    async fn take(&self, incoming: Incoming, batch: &mut Batch, drain: &CancellationToken) {
        let message = incoming.message();
        let event = match link::event::decode(message) {
            Ok(event) => event,
            Err(error) => {
                self.refuse(
                    &message.topic,
                    None,
                    &Refused {
                        reason: Refusal::NotAnEvent,
                        explanation: chain(&error),
                    },
                );
                return incoming.ack();
            }
        };
        let repeated = event
            .resource_id
            .as_deref()
            .is_some_and(|id| batch.ids.contains(&WorkId::from(id)));
        if repeated {
            // The decision needs the index as it will be after the batch.
            self.flush(batch, drain).await;
        }
        let topic_consumer = (self.consumer_of)(&message.topic);
        let index = self.store.index();
        match decide(&event, topic_consumer.as_ref(), &self.rules, |id| {
            index.entry(id)
        }) {
            Decision::Store {
                mut head,
                payload,
                taken,
            } => {
                head.received_at = Some(self.clock.now());
                let held = match &payload {
                    Some(_) => None,
                    None => match self.store.read(&head.id).await {
                        Ok(held) => held.map(|stored| stored.work),
                        // Unacked it comes again; taken without the held payload it would forget how to delete.
                        Err(error) => return self.cannot_read(&error),
                    },
                };
                self.explain_taken(&head, taken);
                batch.ids.insert(head.id.clone());
                batch.works.push(Decision::into_work(head, payload, held));
                batch.waiting.push(incoming);
            }
            Decision::Duplicate => {
                if let Some(id) = event.resource_id.as_deref() {
                    // A deletion that comes again may have missed its acknowledgement, which is on its way or over.
                    index.note_refused_while_deleting(&id.into());
                }
                debug!(resource.id = event.resource_id, "Ignored a repeated event");
                self.metrics.duplicates.inc();
                incoming.ack();
            }
            Decision::AnswerStatuses(request) => {
                self.answer(&request);
                if resync::source_is_new(&event) {
                    index.want_resync();
                }
                incoming.ack();
            }
            Decision::Refuse(refused) => {
                if refused.reason == Refusal::Deleting
                    && let Some(id) = event.resource_id.as_deref()
                {
                    index.note_refused_while_deleting(&id.into());
                }
                self.refuse(&message.topic, Some(&event), &refused);
                incoming.ack();
            }
        }
    }

    /// Makes the batch durable and acks it. A full or broken disk holds up intake, never an unkept promise.
    async fn flush(&self, batch: &mut Batch, drain: &CancellationToken) {
        let Batch { works, waiting, .. } = std::mem::take(batch);
        if works.is_empty() {
            return;
        }
        let works = Arc::new(works);
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, RETRY_MAX);
        while let Err(error) = self.store.commit(Arc::clone(&works)).await {
            let hint = error
                .hint()
                .map_or_else(String::new, |hint| format!("; hint: {hint}"));
            self.health.failing(format!("{}{hint}", chain(&error)));
            error!(
                error = %chain(&error),
                works = works.len(),
                "Could not make received works durable; they stay unacknowledged and are tried again"
            );
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(backoff.next_jittered(Duration::ZERO)) => {}
            }
        }
        self.health.ok();
        for incoming in waiting {
            incoming.ack();
        }
        for work in works.iter() {
            self.queue.add(&work.head.id);
        }
    }

    fn cannot_read(&self, error: &work::Error) {
        self.health.failing(chain(error));
        error!(
            error = %chain(error),
            "Could not read the held work of an event; the event stays unacknowledged and comes again"
        );
    }

    fn answer(&self, request: &StatusRequest) {
        let wanted = resync::statuses_wanted(request, self.store.index());
        info!(
            asked = request.status_hashes.len(),
            answers = wanted.len(),
            "Answering a status resync request"
        );
        for id in wanted {
            (self.on_status_wanted)(&id);
        }
    }

    fn explain_taken(&self, head: &work::Head, taken: Taken) {
        self.metrics.taken(taken);
        let (id, version) = (&head.id, head.version);
        match (&head.rejected, taken) {
            (Some(problem), _) => warn!(
                resource.id = %id, resource.version = %version, source = head.source, problem,
                "Rejected version {version} of work `{id}`; its status says why"
            ),
            (None, Taken::Deletion) => info!(
                resource.id = %id, source = head.source, latency_ms = self.age_ms(head.deleting_since),
                "Received the deletion of work `{id}`"
            ),
            (None, _) => info!(
                resource.id = %id, resource.version = %version, source = head.source,
                "Received version {version} of work `{id}`"
            ),
        }
    }

    fn refuse(&self, topic: &str, event: Option<&Event>, refused: &Refused) {
        self.metrics.refused(refused.reason);
        warn!(
            topic,
            reason = refused.reason.as_str(),
            event.id = event.map(|event| event.id.as_str()),
            source = event.map(|event| event.source.as_str()),
            resource.id = event.and_then(|event| event.resource_id.as_deref()),
            "Refused an event: {}",
            refused.explanation
        );
    }

    fn age_ms(&self, since: Option<Timestamp>) -> Option<i64> {
        let now = self.clock.now().as_millisecond();
        since.map(|since| now.saturating_sub(since.as_millisecond()).max(0))
    }
}

/// Runs file-system work off the event loop.
pub(crate) async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

// As many as IoT Core leaves unacknowledged (100 in flight), so one batch can hold a full window.
const BATCH_WORKS: usize = 100;
// More than the workers take at once, so that they never wait for the next batch; with that batch it is what a store
// has to keep at hand.
const BACKLOG: usize = 32;
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
