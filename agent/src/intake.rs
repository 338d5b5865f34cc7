//! From a delivery to a durable work: decode, decide, make durable, and only then ack.
//!
//! A delivery is acked for one of two reasons: what it asks for is done (or durable, or answered), or its content is refused,
//! counted and explained, because the broker would only deliver the same again and block the topic. Whatever fails on
//! this side is tried again in place, for as long as it takes or until the agent is drained: a delivery that is dropped
//! unacked comes again with the next connection, which may be weeks later. Deliveries are taken in batches that share
//! their disk syncs.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use link::backoff::Backoff;
use link::bundle::resync::StatusRequest;
use link::clock::Clock;
use link::error::chain;
use link::id::ConsumerName;
use link::telemetry::Throttle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::received::{RefusalReason, Taken};
use crate::report::ReportQueue;
use crate::self_report::Register;
use crate::uplink::{Downlink, Incoming};
use crate::work::{self, Store, Work, WorkId, created};

mod decide;
mod decline;
mod explain;
pub mod resync;
mod tell;

pub use decide::{Decision, Refused, Rules, decide};
pub use explain::refusal_lines;
use resync::Arrivals;

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
    pub queue: Arc<WorkQueue>,
    /// What is reported to the source.
    pub reports: Arc<ReportQueue>,
    /// Whether the applier holds objects of a work.
    pub owns: Owns,
    /// Who wants reports of this agent, and what it refused.
    pub register: Arc<Register>,
    /// Notes when something comes in.
    pub arrivals: Arc<Arrivals>,
    /// Log lines about refused events; see [`refusal_lines`].
    pub refusals: Throttle<RefusalReason>,
    /// Counters.
    pub metrics: Metrics,
    /// Wall clock.
    pub clock: Clock,
}

/// Which consumer a received topic speaks for.
pub type ConsumerOf = Box<dyn Fn(&str) -> Option<ConsumerName> + Send + Sync>;

/// Whether the applier holds objects of a work.
pub type Owns = Box<dyn Fn(&WorkId) -> bool + Send + Sync>;

/// The works of one batch and the deliveries that wait for them.
#[derive(Default)]
struct Batch {
    works: Vec<Work>,
    ids: HashSet<WorkId>,
    waiting: Vec<Incoming>,
}

/// The agent is asked to stop: what is not done stays unacked.
struct Drained;

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
            if let Err(Drained) = self.take_batch(first, &drain).await {
                return;
            }
        }
    }

    /// The next delivery. Works in hand get a moment to make room, so that what was made durable just now is applied
    /// from memory; a slow target holds up nothing, because its queue has one slot for each work and no payloads.
    async fn next(&mut self) -> Option<Incoming> {
        drop(tokio::time::timeout(PATIENCE, self.queue.room(BACKLOG)).await);
        self.downlink.recv().await
    }

    async fn take_batch(
        &mut self,
        first: Incoming,
        drain: &CancellationToken,
    ) -> Result<(), Drained> {
        let mut batch = Batch::default();
        self.take(first, &mut batch, drain).await?;
        while batch.works.len() < BATCH_WORKS {
            // Only what is there already: a batch does not wait to fill up.
            let next = tokio::select! {
                biased;
                incoming = self.downlink.recv() => incoming,
                () = std::future::ready(()) => None,
            };
            let Some(next) = next else { break };
            self.take(next, &mut batch, drain).await?;
        }
        self.flush(&mut batch, drain).await
    }

    async fn take(
        &self,
        incoming: Incoming,
        batch: &mut Batch,
        drain: &CancellationToken,
    ) -> Result<(), Drained> {
        self.arrivals.note();
        let message = incoming.message();
        let event = match link::event::decode(message) {
            Ok(event) => event,
            Err(error) => {
                self.refuse(
                    &message.topic,
                    None,
                    &Refused {
                        reason: RefusalReason::NotAnEvent,
                        explanation: chain(&error),
                    },
                );
                incoming.ack();
                return Ok(());
            }
        };
        let repeated = event
            .resource_id
            .as_deref()
            .is_some_and(|id| batch.ids.contains(&WorkId::from(id)));
        if repeated {
            // The decision needs the index as it will be after the batch.
            self.flush(batch, drain).await?;
        }
        let topic_consumer = (self.consumer_of)(&message.topic);
        self.note_asked(&event, topic_consumer.as_ref());
        let index = self.store.index();
        let decision = decide(
            &event,
            topic_consumer.as_ref(),
            &self.rules,
            |id| index.entry(id),
            |id| index.is_late(id, &event),
        );
        match decision {
            Decision::Store {
                head,
                payload,
                taken,
            } => {
                let held = match &payload {
                    Some(_) => None,
                    None if self.store.keeps_payloads() => None,
                    // Without the held payload it would forget how to delete.
                    None => self.held(&head.id, batch, drain).await?,
                };
                self.add(
                    incoming,
                    Decision::into_work(head, payload, held),
                    taken,
                    batch,
                );
            }
            Decision::Absent(head) if (self.owns)(&head.id) || self.store.may_hold(&head.id) => {
                // Its objects have to go, although the work itself is lost.
                let work = Decision::into_work(head, None, None);
                self.add(incoming, work, Taken::Deletion, batch);
            }
            Decision::Absent(head) => {
                self.metrics.taken(Taken::Absent);
                info!(resource.id = %head.id, source = head.source, "Work `{}` is to be deleted and is not held", head.id);
                self.register.deleted(head.id.as_str());
                self.make_room(batch, drain).await?;
                index.note_deletion(&head, created(head.metadata.as_deref()).as_deref());
                self.reports
                    .removal_notice(head, incoming.into_pending_ack());
            }
            Decision::Leaving(head) => {
                debug!(resource.id = %head.id, "A deletion came again");
                self.metrics.duplicates.inc();
                self.make_room(batch, drain).await?;
                self.reports
                    .deletion_again(head, incoming.into_pending_ack(), index);
            }
            Decision::Duplicate => {
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
                self.refuse(&message.topic, Some(&event), &refused);
                match (refused.reason, event.resource_id.as_deref()) {
                    (RefusalReason::Deleting, Some(id)) => {
                        index.note_refused_while_deleting(&id.into());
                    }
                    // The status of what is held says which version that is, which its source seems not to know.
                    (RefusalReason::OldVersion, Some(id)) => self.reports.answer(&id.into()),
                    // Should the source want it after all, it says so when it is asked.
                    (RefusalReason::Tombstoned, _) => index.want_resync(),
                    _ => {}
                }
                incoming.ack();
            }
        }
        Ok(())
    }

    fn add(&self, incoming: Incoming, mut work: Work, taken: Taken, batch: &mut Batch) {
        work.head.received_at = Some(self.clock.now());
        self.explain_taken(&work.head, taken);
        batch.ids.insert(work.head.id.clone());
        batch.works.push(work);
        batch.waiting.push(incoming);
    }

    /// The work as it is held. What is in the batch becomes durable first when that takes longer than one attempt.
    async fn held(
        &self,
        id: &WorkId,
        batch: &mut Batch,
        drain: &CancellationToken,
    ) -> Result<Option<Work>, Drained> {
        if let Ok(held) = self.store.read(id).await {
            return Ok(held.map(|stored| stored.work));
        }
        self.flush(batch, drain).await?;
        let held = patiently(drain, "read the held work of an event", || {
            self.store.read(id)
        });
        Ok(held.await?.map(|stored| stored.work))
    }

    /// Waits until another removal notice may be queued. What is in the batch does not wait with it.
    async fn make_room(&self, batch: &mut Batch, drain: &CancellationToken) -> Result<(), Drained> {
        if let Ok(()) = tokio::time::timeout(Duration::ZERO, self.reports.room()).await {
            return Ok(());
        }
        self.flush(batch, drain).await?;
        self.room(drain).await
    }

    /// Makes the batch durable and acks it. A full or broken disk stops intake; nothing is acked before it is durable.
    async fn flush(&self, batch: &mut Batch, drain: &CancellationToken) -> Result<(), Drained> {
        let Batch {
            works, mut waiting, ..
        } = std::mem::take(batch);
        if works.is_empty() {
            return Ok(());
        }
        let mut works = Arc::new(works);
        let mut refused = Vec::new();
        loop {
            let committed = patiently(drain, "make received works durable", || {
                self.commit(Arc::clone(&works))
            });
            let Some((at, why)) = committed.await? else {
                break;
            };
            let mut others = Arc::unwrap_or_clone(works);
            refused.push((others.remove(at), waiting.remove(at), why));
            works = Arc::new(others);
        }
        for incoming in waiting {
            incoming.ack();
        }
        for work in works.iter() {
            self.note_taken(&work.head);
            self.queue.add(&work.head.id);
        }
        for (work, incoming, why) in refused {
            self.decline(work.head, incoming, why, drain).await?;
        }
        Ok(())
    }

    fn answer(&self, request: &StatusRequest) {
        let wanted = resync::statuses_wanted(request, self.store.index());
        info!(
            asked = request.status_hashes.len(),
            answers = wanted.len(),
            "Answering a status resync request"
        );
        for id in wanted {
            self.reports.answer(&id);
        }
    }
}

/// Tries until it works: readiness says why it does not, see [`work::Watched`].
async fn patiently<T, F>(
    drain: &CancellationToken,
    what: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Drained>
where
    F: Future<Output = Result<T, work::StoreError>>,
{
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, RETRY_MAX);
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error!(
                error = %chain(&error),
                "Could not {what}; its events stay unacknowledged and it is tried again"
            ),
        }
        tokio::select! {
            () = drain.cancelled() => return Err(Drained),
            () = tokio::time::sleep(backoff.next_jittered(Duration::ZERO)) => {}
        }
    }
}

// As many as IoT Core leaves unacknowledged (100 in flight), so one batch can hold a full window.
const BATCH_WORKS: usize = 100;
// More than the workers take at once, so that they never wait for the next batch; with that batch it is what a store
// has to keep at hand.
const BACKLOG: usize = 32;
// A batch can hold a full window, so that however slow the target is 500 events a second are taken.
const PATIENCE: Duration = Duration::from_millis(200);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
