//! Tells the source every status until the broker has acknowledged it; only the newest of each work counts.
//!
//! The queue holds ids, not messages: what is sent is what the store says when its turn comes, so an outage of
//! any length costs one slot per work, and what waited longest goes first after a reconnect.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::error::chain;
use link::event::Action;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::metrics::{Metrics, Outcome};
use crate::reconcile::{Next, Queue};
use crate::uplink::Uplink;
use crate::work::{StatusRecord, Store, WorkId};

mod event;

pub use event::Reporter;

/// What reporting needs from the rest of the agent.
pub struct Report<S, U> {
    /// Where statuses are kept.
    pub store: S,
    /// Where they go.
    pub uplink: U,
    /// How they are written.
    pub reporter: Reporter,
    /// What is to be told.
    pub outbox: Arc<Outbox>,
    /// Counters.
    pub metrics: Metrics,
}

/// The works whose status is to be told.
#[derive(Debug)]
pub struct Outbox {
    queue: Queue,
    asked: Mutex<HashSet<WorkId>>,
}

// === impl Outbox ===

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self {
            queue: Queue::new(RETRY_FIRST, RETRY_MAX),
            asked: Mutex::default(),
        }
    }

    /// A work has a new status.
    pub fn add(&self, id: &WorkId) {
        self.queue.add(id);
    }

    /// The source asked for a status again, acknowledged or not.
    pub fn answer(&self, id: &WorkId) {
        self.asked().insert(id.clone());
        self.queue.add(id);
    }

    /// Waits until nothing is being sent or ready to be.
    pub async fn quiet(&self) {
        self.queue.quiet().await;
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashSet<WorkId>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Report ===

impl<S: Store, U: Uplink> Report<S, U> {
    /// Runs until `drain` fires; what is being sent then is waited for a moment, and sent again after the next
    /// start if that was too short.
    pub async fn run(self, drain: CancellationToken) {
        let this = Arc::new(self);
        for (id, entry) in this.store.index().entries() {
            if entry.status_hash.is_some() && !entry.acknowledged {
                this.outbox.add(&id);
            }
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            tasks.spawn(Arc::clone(&this).send_all(drain.clone()));
        }
        drain.cancelled().await;
        this.outbox.queue.close();
        let ended = async { while tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(LAST_ACKS, ended).await);
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
                id = self.outbox.queue.next() => id,
                changed = subscription.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
            };
            let Some(id) = id else { return };
            let next = self.send(&id).await;
            self.outbox.queue.finish(&id, next);
        }
    }

    async fn send(&self, id: &WorkId) -> Next {
        let asked = self.outbox.asked().remove(id);
        let Some(entry) = self.store.index().entry(id) else {
            return Next::Forget;
        };
        let loaded = match self.store.reported(id).await {
            Ok(loaded) => loaded,
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not read the status of work `{id}`");
                return self.again(id, asked);
            }
        };
        let Some((head, record)) = loaded else {
            return Next::Forget;
        };
        if entry.acknowledged && !asked {
            return Next::Forget;
        }
        let action = if asked {
            Action::ResyncResponse
        } else {
            Action::Update
        };
        let now = self.reporter.clock.now();
        let sequence = match self.store.next_sequence(now).await {
            Ok(sequence) => sequence,
            Err(error) => {
                warn!(error = %chain(&error), "Could not take a sequence id");
                return self.again(id, asked);
            }
        };
        let message = self.reporter.message(&head, &record, sequence, action);
        match self.uplink.publish(message).await {
            Ok(published) => {
                self.metrics.reported(Outcome::Success);
                debug!(
                    resource.id = %id, resource.version = %record.version, matched = published.matched,
                    "Reported the status of work `{id}`"
                );
                self.acknowledged(id, record).await
            }
            Err(failure) if failure.retryable => {
                self.metrics.reported(Outcome::Retry);
                debug!(resource.id = %id, error = %failure, "The status of work `{id}` waits for another try");
                self.again(id, asked)
            }
            Err(failure) => {
                self.metrics.reported(Outcome::Failure);
                warn!(
                    resource.id = %id, error = %failure,
                    "The status of work `{id}` cannot be sent; its next status is tried again"
                );
                Next::After(REFUSED_AGAIN)
            }
        }
    }

    /// Notes the acknowledgement; a work whose deletion was acknowledged leaves the store.
    async fn acknowledged(&self, id: &WorkId, record: StatusRecord) -> Next {
        let deleted = record.status.is_deleted();
        // Never both: killed in between, a deleted work with an acknowledged status would stay for good.
        let done = if deleted {
            self.store.remove(id).await
        } else {
            self.store.acknowledge(id, record).await
        };
        match done {
            Ok(()) => {
                if deleted {
                    info!(resource.id = %id, "Work `{id}` is gone and its deletion acknowledged");
                }
                Next::Forget
            }
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not note an acknowledgement");
                Next::Retry
            }
        }
    }

    fn again(&self, id: &WorkId, asked: bool) -> Next {
        if asked {
            self.outbox.asked().insert(id.clone());
        }
        Next::Retry
    }
}

// A third of the 100 unacknowledged publishes IoT Core allows; resync requests and pings pass beside them.
const IN_FLIGHT: usize = 32;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
const LAST_ACKS: Duration = Duration::from_secs(1);
// A status that is refused for good (policy, size) is tried once in a while: policies get repaired.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);
