//! Reports every status to the source until the broker has acknowledged it; only the newest of each work counts.
//!
//! The queue holds ids, not messages: what is sent is what the store has when the id is taken, so an outage of
//! any length costs one slot per work, and what waited longest goes first after a reconnect.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use link::bundle::Status;
use link::error::chain;
use link::event::Action;
use link::supervise::{Restarts, restarting};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::metrics::{Metrics, ResultCode};
use crate::queue::{Cause, Processing, QueueAction};
use crate::status::{self, Context};
use crate::uplink::{PublishFailure, Published, Uplink};
use crate::work::{self, Entry, StatusRecord, Store, WorkId};

mod event;
mod no_subscribers;
mod report_queue;

pub use event::Reporter;
pub use report_queue::ReportQueue;

/// What reporting needs from the rest of the agent.
pub struct Report<S, U> {
    /// Where statuses are kept.
    pub store: S,
    /// Where they go.
    pub uplink: U,
    /// How they are written.
    pub reporter: Reporter,
    /// What is to be reported.
    pub reports: Arc<ReportQueue>,
    /// Counters.
    pub metrics: Metrics,
}

// === impl Report ===

impl<S: Store, U: Uplink> Report<S, U> {
    /// Runs until `drain` fires; what is being sent then is waited for a moment, and sent again after the next
    /// start if that was too short.
    pub async fn run(self, drain: CancellationToken, restarts: Restarts) {
        let this = Arc::new(self);
        for (id, entry) in this.store.index().entries() {
            if entry.status_hash.is_some() && !entry.acknowledged {
                this.reports.add(&id);
            }
        }
        let senders = (0..IN_FLIGHT).map(|_| {
            restarting("report", &restarts, &drain, || {
                Arc::clone(&this).send_all(drain.clone())
            })
        });
        let mut senders = Box::pin(join_all(senders));
        tokio::select! {
            () = drain.cancelled() => this.reports.queue.close(),
            () = this.probe() => {}
            _ = &mut senders => return,
        }
        drop(tokio::time::timeout(LAST_ACKS, senders).await);
    }

    /// Tries a status that reached no subscriber once in a while. Never ends.
    async fn probe(&self) {
        loop {
            tokio::time::sleep(no_subscribers::PROBE).await;
            if let Some(id) = self.reports.no_subscribers.probe() {
                self.reports.add(&id);
            }
        }
    }

    async fn send_all(self: Arc<Self>, drain: CancellationToken) {
        let mut subscription = self.uplink.subscription();
        loop {
            // While offline nothing is taken from the queue, so its order is kept.
            tokio::select! {
                () = drain.cancelled() => return,
                up = subscription.wait_for(|now| now.active) => if up.is_err() { return },
            }
            let id = tokio::select! {
                id = self.reports.queue.next() => id,
                changed = subscription.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
            };
            let Some(id) = id else { return };
            let processing = Processing::new(&self.reports.queue, &id);
            processing.finish(self.send(&id).await);
        }
    }

    async fn send(&self, id: &WorkId) -> QueueAction {
        let asked = self.reports.take_asked(id);
        let Some(entry) = self.store.index().entry(id) else {
            self.reports.forget(id);
            return self.send_removal_notice(id).await;
        };
        if self.reports.is_gone(id, entry.epoch) {
            return self.let_go(id).await;
        }
        // What is held speaks for itself.
        self.reports.notice_sent(id, usize::MAX);
        let loaded = match self.store.reported(id).await {
            Ok(loaded) => loaded,
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not read the status of work `{id}`");
                return self.again(id, asked);
            }
        };
        let Some((head, record)) = loaded else {
            return QueueAction::Forget;
        };
        if entry.acknowledged && !asked {
            return QueueAction::Forget;
        }
        let action = if asked {
            Action::ResyncResponse
        } else {
            Action::Update
        };
        // Until the work has left the store, or is known to stay.
        let _leaving = record.status.is_deleted().then(|| self.reports.leave(id));
        match self.publish(&head, &record, action).await {
            Ok(Published { matched: true }) => {
                self.reports.subscriber_found();
                self.acknowledged(id, &entry, record).await
            }
            Ok(Published { matched: false }) => {
                self.no_subscribers(id);
                QueueAction::Forget
            }
            Err(QueueAction::Retry(_)) => self.again(id, asked),
            Err(next) => next,
        }
    }

    /// Tells the source of a deletion that its work is gone, or of a work why it cannot be held, and acknowledges what
    /// it sent then.
    async fn send_removal_notice(&self, id: &WorkId) -> QueueAction {
        let Some((head, refused, count)) = self.reports.pending_notice(id) else {
            return QueueAction::Forget;
        };
        let context = Context {
            previous: &Status::default(),
            generation: i64::from(head.version.get()),
            now: self.reporter.clock.now(),
            max_raw_bytes: 0,
        };
        let status = match refused {
            Some(why) => status::rejected(&why, context),
            None => status::deleted(self.reporter.consumer.as_str(), context),
        };
        let record = StatusRecord {
            version: head.version,
            hash: link::bundle::status_hash(&status),
            status,
            acknowledged: false,
            applied_at: None,
        };
        match self.publish(&head, &record, Action::Update).await {
            // Received or not: who deletes asks again until it is confirmed, and who creates when it is asked.
            Ok(Published { .. }) => {
                self.reports.notice_sent(id, count);
                QueueAction::Forget
            }
            Err(next) => next,
        }
    }

    /// Publishes a status; answers with what to do when that did not work.
    async fn publish(
        &self,
        head: &work::Head,
        record: &StatusRecord,
        action: Action,
    ) -> Result<Published, QueueAction> {
        let id = &head.id;
        let now = self.reporter.clock.now();
        let sequence = self.store.next_sequence(now).await.map_err(|error| {
            warn!(error = %chain(&error), "Could not take a sequence id");
            QueueAction::Retry(Cause::default())
        })?;
        let message = self.reporter.message(head, record, sequence, action);
        let PublishFailure { message, retryable } = match self.uplink.publish(message).await {
            Ok(published) => {
                self.metrics.reported(if published.matched {
                    ResultCode::Success
                } else {
                    ResultCode::NoSubscribers
                });
                debug!(
                    resource.id = %id, resource.version = %record.version, matched = published.matched,
                    "Reported the status of work `{id}`"
                );
                return Ok(published);
            }
            Err(failure) => failure,
        };
        if retryable {
            self.metrics.reported(ResultCode::Retry);
            debug!(resource.id = %id, error = %message, "The status of work `{id}` waits for another try");
            return Err(QueueAction::Retry(Cause::default()));
        }
        self.metrics.reported(ResultCode::Failure);
        warn!(
            resource.id = %id, error = %message,
            "The status of work `{id}` cannot be sent; its next status is tried again"
        );
        Err(QueueAction::After(REFUSED_AGAIN))
    }

    /// The broker took a status and says that nobody is subscribed: it counts as unreported.
    fn no_subscribers(&self, id: &WorkId) {
        if let Some(held_back) = self.reports.no_subscribers.note(id) {
            warn!(
                resource.id = %id, topic = self.reporter.topic, held_back,
                "Nobody listens to the statuses of this agent: they are kept and tried again; hint: see that the source is \
                 connected, and that its `agentEvents` topic covers this one"
            );
        }
    }

    /// Notes the acknowledgement; a work whose deletion was acknowledged leaves the store.
    async fn acknowledged(&self, id: &WorkId, entry: &Entry, record: StatusRecord) -> QueueAction {
        if record.status.is_deleted() {
            // The deletion of another version came meanwhile: its own `Deleted` follows.
            let current = self.store.index().entry(id);
            if current.is_some_and(|current| current.version != record.version) {
                return QueueAction::Forget;
            }
            // Never acknowledged in the record as well: killed in between, it would stay for good.
            self.reports.note_gone(id, entry.epoch);
            return self.let_go(id).await;
        }
        match self.store.acknowledge(id, record).await {
            Ok(()) => QueueAction::Forget,
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not note an acknowledgement");
                QueueAction::Retry(Cause::default())
            }
        }
    }

    /// Has the store forget a work whose `Deleted` the broker has.
    async fn let_go(&self, id: &WorkId) -> QueueAction {
        match self.store.remove(id).await {
            Ok(()) => {
                self.reports.forget(id);
                info!(resource.id = %id, "Work `{id}` is gone and its deletion acknowledged");
                QueueAction::Forget
            }
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not forget a deleted work");
                QueueAction::Retry(Cause::default())
            }
        }
    }

    fn again(&self, id: &WorkId, asked: bool) -> QueueAction {
        if asked {
            self.reports.ask_again(id);
        }
        QueueAction::Retry(Cause::default())
    }
}

// A third of the 100 unacknowledged publishes IoT Core allows; resync requests and pings pass beside them.
const IN_FLIGHT: usize = 32;
const LAST_ACKS: Duration = Duration::from_secs(1);
// A status that is refused for good (policy, size) is tried once in a while: policies get repaired.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);
