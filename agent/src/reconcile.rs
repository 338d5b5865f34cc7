//! Brings the target to what the works say, level-triggered: a changed work, a changed object, a timer and a
//! retry all end in the same [`Reconciler::reconcile`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use link::bundle::manifest::ObjectRef;
use link::bundle::{Spec, Status};
use link::clock::Clock;
use link::error::chain;
use link::id::ConsumerName;
use link::supervise::{Restarts, restarting};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::applier::{Applier, ApplierError, ApplierErrorKind, EXECUTOR_RETRY, OnTrouble};
use crate::change::Change;
use crate::health::Health;
use crate::metrics::{self, Metrics};
use crate::queue::{Cause, Processing, QueueAction, WorkQueue};
use crate::status::{self, Context};
use crate::work::{Entry, Store, Stored, Work, WorkId};

mod apply;
mod finished;
mod hold;
mod judge;
mod plan;
mod record_status;
mod remove;
mod resume;
mod unmatched;
mod write_conflicts;

use record_status::StatusWrite;
use resume::WorkSnapshot;

pub use plan::{given_up, plan, release_mode};
pub use write_conflicts::WriteConflicts;

/// What reconcile needs from the rest of the agent.
pub struct Reconciler<S, T> {
    /// The desired works.
    pub store: S,
    /// Where they are applied.
    pub applier: Arc<T>,
    /// Works to look at.
    pub queue: Arc<WorkQueue>,
    /// Called for every work with a new status.
    pub on_status: OnWork,
    /// Works that are repaired too often.
    pub write_conflicts: WriteConflicts,
    /// Called for every object that could not be brought to what its work declares.
    pub on_trouble: OnTrouble,
    /// The consumer this agent is.
    pub consumer: ConsumerName,
    /// Why nothing is to be applied or removed, if the agent was started paused.
    pub paused: Option<String>,
    /// How often a work is looked at when nothing happens.
    pub period: Duration,
    /// Longest JSON text of one feedback value in bytes.
    pub max_raw_bytes: usize,
    /// Longest JSON text of one status in bytes.
    pub max_status_bytes: usize,
    /// The readiness of the target.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
    /// Wall clock.
    pub clock: Clock,
}

/// Called with a work. Must not block.
pub type OnWork = Box<dyn Fn(&WorkId) + Send + Sync>;

/// What one pass over a work came to.
struct PassResult {
    status: Status,
    again: Recheck,
    /// What was seen, when nothing is left to be done.
    snapshot: Option<WorkSnapshot>,
}

/// When a work has to be reconciled again although nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recheck {
    /// After the period.
    Eventually,
    /// After this time.
    After(Duration),
    /// After a delay that grows with each failure of the same cause.
    Backoff,
}

// === impl Reconciler ===

impl<S: Store, T: Applier> Reconciler<S, T> {
    /// Reconciles every work once, then what changes, with [`WORKERS`] workers, until `drain` fires. A work that
    /// is being applied then is finished first; one whose worker dies comes back.
    pub async fn run(self, drain: CancellationToken, restarts: Restarts) {
        let this = Arc::new(self);
        let workers = (0..WORKERS)
            .map(|_| restarting("reconcile", &restarts, &drain, || Arc::clone(&this).work()));
        let mut begun = false;
        let watches = restarting("watches", &restarts, &drain, || {
            let (this, drain) = (Arc::clone(&this), drain.clone());
            let begins = !std::mem::replace(&mut begun, true);
            async move {
                if begins {
                    this.begin();
                } else {
                    // The watches died: what changed meanwhile is not known.
                    this.queue_everything();
                }
                tokio::select! {
                    () = drain.cancelled() => {}
                    () = this.watch() => {}
                }
            }
        });
        let closing = async {
            drain.cancelled().await;
            this.queue.close();
        };
        tokio::join!(join_all(workers), watches, closing);
    }

    /// Runs until one of the watches ends.
    async fn watch(&self) {
        let (sender, mut changes) = mpsc::channel(CHANGES);
        let receive = async {
            while let Some(change) = changes.recv().await {
                match change {
                    Change::Works(works) => works.iter().for_each(|id| self.queue.add(id)),
                    Change::Everything => self.queue_everything(),
                }
            }
        };
        tokio::select! {
            () = self.applier.watch(sender.clone()) => {}
            () = self.store.watch(sender) => {}
            () = receive => {}
        }
    }

    fn queue_everything(&self) {
        for id in self.store.index().ids() {
            self.queue.add(&id);
        }
    }

    async fn work(self: Arc<Self>) {
        while let Some(id) = self.queue.next().await {
            let processing = Processing::new(&self.queue, &id);
            let timer = self.metrics.reconcile_seconds.start_timer();
            let next = self.reconcile(&id).await;
            timer.observe_duration();
            self.metrics
                .reconciled(if matches!(next, QueueAction::Retry(_)) {
                    metrics::ResultCode::Retry
                } else {
                    metrics::ResultCode::Success
                });
            processing.finish(next);
        }
    }

    /// Brings the target to what one work says.
    pub async fn reconcile(&self, id: &WorkId) -> QueueAction {
        let Some(entry) = self.store.index().entry(id) else {
            return QueueAction::Forget;
        };
        if let Some(left) = self.conflict_pause(id, &entry) {
            return QueueAction::After(left);
        }
        let Stored { work, record } = match self.store.read(id).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return QueueAction::Forget,
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not read work `{id}`");
                return QueueAction::Retry(Cause::default());
            }
        };
        let previous = record
            .as_ref()
            .map_or_else(Status::default, |record| record.status.clone());
        if work.is_awaited() {
            return self.hold_awaited(id, &entry).await;
        }
        let paused = self.paused.clone();
        let paused = paused.or_else(|| self.store.index().paused());
        let paused = paused.or_else(|| entry.paused.as_deref().map(Into::into));
        let is_paused = paused.is_some();
        let going = entry.deleting || entry.dropped;
        let PassResult {
            mut status,
            again,
            snapshot,
        } = match paused {
            Some(why) => self.observe_only(&work, &previous, &why).await,
            None if going => self.remove(id, &entry, &work, record.as_ref()).await,
            None => self.apply(id, &entry, &work, &previous).await,
        };
        if going && !entry.deleting && !is_paused && again == Recheck::Eventually {
            return self.forget(id).await;
        }
        status::fit(&mut status, self.max_status_bytes, self.clock.now());
        let cause = Cause::from(&status);
        // The report has the store forget a work that is gone.
        let gone = going && !is_paused && again == Recheck::Eventually;
        let write = if gone {
            StatusWrite::Later
        } else {
            let snapshot = snapshot.filter(|_| again == Recheck::Eventually);
            StatusWrite::Now(snapshot.and_then(|snapshot| self.encode(snapshot)))
        };
        let kept = self.record_status(id, &entry, &work, record.as_ref(), status, write);
        if let Err(error) = kept.await {
            warn!(resource.id = %id, error = %chain(&error), "Could not keep the status of work `{id}`");
            return QueueAction::Retry(Cause::default());
        }
        match again {
            Recheck::Backoff => QueueAction::Retry(cause),
            Recheck::After(delay) => QueueAction::After(delay),
            // The report removes it once the deletion is acknowledged.
            Recheck::Eventually if going => QueueAction::Forget,
            Recheck::Eventually => QueueAction::After(jittered(self.period)),
        }
    }

    /// How long a work whose objects somebody else changes again and again has to wait yet. What is new of it does not
    /// wait: another version, its end, a pause.
    fn conflict_pause(&self, id: &WorkId, entry: &Entry) -> Option<Duration> {
        let left = self.write_conflicts.wait(id, entry.epoch, Instant::now())?;
        let news = entry.deleting
            || entry.dropped
            || entry.paused.is_some()
            || self.store.index().paused().is_some();
        (!news).then_some(left)
    }

    /// Forgets a work that somebody removed on this side, now that its objects are gone.
    async fn forget(&self, id: &WorkId) -> QueueAction {
        match self.store.remove(id).await {
            Ok(()) => QueueAction::Forget,
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not forget work `{id}`");
                QueueAction::Retry(Cause::default())
            }
        }
    }

    fn context<'a>(&self, work: &Work, previous: &'a Status) -> Context<'a> {
        Context {
            previous,
            generation: i64::from(work.head.version.get()),
            now: self.clock.now(),
            max_raw_bytes: self.max_raw_bytes,
        }
    }

    fn explain(&self, id: &WorkId, object: &ObjectRef, error: &ApplierError) {
        if error.kind == ApplierErrorKind::Unavailable {
            self.health.failing(error.message.clone());
        }
        warn!(
            resource.id = %id, object = %object, error = %error,
            "Could not bring {object} to what work `{id}` declares"
        );
        (self.on_trouble)(id, object, error);
    }
}

// === impl Recheck ===

impl Recheck {
    /// The earlier of two.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Eventually, again) | (again, Self::Eventually) => again,
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
            (Self::Backoff, _) | (_, Self::Backoff) => Self::Backoff,
        }
    }
}

impl From<&ApplierError> for Recheck {
    fn from(error: &ApplierError) -> Self {
        match error.kind {
            ApplierErrorKind::NotAllowed => Self::After(EXECUTOR_RETRY),
            _ if error.is_retryable() => Self::Backoff,
            _ => Self::Eventually,
        }
    }
}

// Checked at intake; should it not be readable all the same, it must not count as "declares nothing".
fn parse(work: &Work) -> Result<Spec, String> {
    if work.payload.is_empty() {
        return Ok(Spec::default());
    }
    serde_json::from_slice(&work.payload)
        .map_err(|error| format!("the spec is not a manifest bundle: {error}"))
}

// Between the period and one and a half times it, so that thousands of works do not come due together.
fn jittered(period: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() % 1_000;
    #[expect(clippy::cast_precision_loss, reason = "below 1 000")]
    period.mul_f64(1.0 + random as f64 / 2_000.0)
}

/// Works applied at the same time, as many as the Go agent's (docs/MAESTRO.md §6.1).
pub const WORKERS: usize = 10;
// Each holds a batch of ids; reconcile only adds them to a queue, so a few are enough.
const CHANGES: usize = 16;

#[cfg(test)]
mod tests;
