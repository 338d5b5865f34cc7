//! Brings the target to what the works say, level-triggered: a changed work, a changed object, a timer and a
//! retry all end in the same [`Reconciler::reconcile`].

use std::sync::Arc;
use std::time::Duration;

use link::bundle::manifest::ObjectRef;
use link::bundle::{Condition, DeleteOption, Spec, Status, status_hash};
use link::clock::Clock;
use link::error::chain;
use link::id::ConsumerName;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::health::Health;
use crate::intake::{OnWork, blocking};
use crate::metrics::{self, Metrics};
use crate::status::{self, Context, Outcome};
use crate::target::{Change, Claim, ErrorKind, Held, Released, Target, TargetError};
use crate::work::{self, Entry, StatusRecord, Store, Work, WorkId};

mod plan;
mod queue;

pub use plan::{Step, plan, release_mode};
pub use queue::{Next, Queue};

/// What reconcile needs from the rest of the agent.
pub struct Reconciler<T> {
    /// The desired works.
    pub store: Arc<Store>,
    /// Where they are applied.
    pub target: T,
    /// Works to look at.
    pub queue: Arc<Queue>,
    /// Told of every work with a new status.
    pub on_status: OnWork,
    /// The consumer this agent is.
    pub consumer: ConsumerName,
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

/// What one look at a work came to.
struct Result {
    status: Status,
    retry: bool,
}

// === impl Reconciler ===

impl<T: Target> Reconciler<T> {
    /// Looks at every work once, then at what changes, with [`WORKERS`] workers, until `drain` fires. A work that
    /// is being applied then is finished first.
    pub async fn run(self, drain: CancellationToken) {
        let this = Arc::new(self);
        this.look_at_everything();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..WORKERS {
            tasks.spawn(Arc::clone(&this).work());
        }
        tokio::select! {
            () = drain.cancelled() => {}
            () = this.watch() => {}
        }
        this.queue.close();
        while tasks.join_next().await.is_some() {}
    }

    async fn watch(&self) {
        let (sender, mut changes) = mpsc::channel(CHANGES);
        let receive = async {
            while let Some(change) = changes.recv().await {
                match change {
                    Change::Works(works) => works.iter().for_each(|id| self.queue.add(id)),
                    Change::Everything => self.look_at_everything(),
                }
            }
        };
        tokio::join!(self.target.watch(sender), receive);
    }

    fn look_at_everything(&self) {
        for (id, _) in self.store.entries() {
            self.queue.add(&id);
        }
    }

    async fn work(self: Arc<Self>) {
        while let Some(id) = self.queue.next().await {
            let timer = self.metrics.reconcile_seconds.start_timer();
            let next = self.reconcile(&id).await;
            timer.observe_duration();
            self.metrics.reconciled(if next == Next::Retry {
                metrics::Outcome::Retry
            } else {
                metrics::Outcome::Success
            });
            self.queue.finish(&id, next);
        }
    }

    /// Looks at one work and brings the target to it.
    pub async fn reconcile(&self, id: &WorkId) -> Next {
        let (store, key) = (Arc::clone(&self.store), id.clone());
        let read = blocking(move || {
            let Some(entry) = store.entry(&key) else {
                return Ok(None);
            };
            let record = store.status(&key);
            Ok::<_, work::Error>(store.read(&key)?.map(|work| (entry, work, record)))
        });
        let (entry, work, record) = match read.await {
            Ok(Some(read)) => read,
            Ok(None) => return Next::Forget,
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not read work `{id}`");
                return Next::Retry;
            }
        };
        let previous = record.map_or_else(Status::default, |record| record.status);
        let result = if entry.deleting {
            self.remove(id, &entry, &work, &previous).await
        } else {
            self.apply(id, &work, &previous).await
        };
        let Result { mut status, retry } = result;
        status::fit(&mut status, self.max_status_bytes, self.clock.now());
        if let Err(error) = self.keep(id, &entry, &work, status).await {
            warn!(resource.id = %id, error = %chain(&error), "Could not keep the status of work `{id}`");
            return Next::Retry;
        }
        if retry {
            Next::Retry
        } else if entry.deleting {
            // The report removes it once the deletion is acknowledged.
            Next::Forget
        } else {
            Next::After(jittered(self.period))
        }
    }

    async fn apply(&self, id: &WorkId, work: &Work, previous: &Status) -> Result {
        let context = self.context(work, previous);
        let rejected = work.head.rejected.as_deref();
        match (parse(work), rejected) {
            (Ok(spec), None) => {
                let (outcomes, retry) = self.apply_spec(id, spec).await;
                Result {
                    status: status::judge(outcomes, context),
                    retry,
                }
            }
            (Ok(spec), Some(problem)) => Result {
                status: status::rejected(problem, context),
                // What was accepted before stays in force; the status is about the version that cannot be used.
                retry: !spec.manifests.is_empty() && self.apply_spec(id, spec).await.1,
            },
            (Err(unreadable), rejected) => Result {
                status: status::rejected(rejected.unwrap_or(&unreadable), context),
                retry: false,
            },
        }
    }

    /// Applies each manifest, then prunes. One that fails does not stop the others.
    async fn apply_spec(&self, id: &WorkId, spec: Spec) -> (Vec<Outcome>, bool) {
        let delete_option = spec.delete_option.clone();
        let steps = plan(spec, |object| self.target.resource(object));
        let claims: Vec<Claim> = steps.iter().filter_map(Step::claim).collect();
        let stale = match self.target.claim(id, &claims).await {
            Ok(stale) => {
                self.health.ok();
                stale
            }
            Err(error) => {
                self.health.failing(error.message.clone());
                let failed = |step| Outcome {
                    step,
                    applied: Err(error.message.clone()),
                    observed: Err(error.message.clone()),
                };
                return (steps.into_iter().map(failed).collect(), true);
            }
        };
        let mut retry = false;
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            let (outcome, again) = self.apply_step(id, step).await;
            retry |= again;
            outcomes.push(outcome);
        }
        if !stale.is_empty() {
            let (_, failed) = self.release(id, &stale, delete_option.as_ref()).await;
            retry |= failed;
        }
        (outcomes, retry)
    }

    async fn apply_step(&self, id: &WorkId, step: Step) -> (Outcome, bool) {
        let Step {
            object,
            manifest,
            strategy,
            ..
        } = &step;
        let (applied, observed) = match self.target.apply(id, manifest, object, strategy).await {
            Ok(applied) => {
                if applied.changed {
                    info!(resource.id = %id, object = %object, "Applied {object}");
                }
                (Ok(()), applied.observed)
            }
            Err(error) => {
                self.explain(id, object, &error);
                (Err(error), None)
            }
        };
        let observed = match observed {
            Some(observed) => Ok(Some(observed)),
            None => self
                .target
                .observe(object)
                .await
                .map_err(|error| error.message),
        };
        let retry = applied.as_ref().is_err_and(TargetError::is_retryable);
        let applied = applied.map_err(|error| error.message);
        (
            Outcome {
                step,
                applied,
                observed,
            },
            retry,
        )
    }

    /// Gives held objects up. Returns whether something is still there, and whether it should be tried again.
    async fn release(
        &self,
        id: &WorkId,
        held: &[Held],
        option: Option<&DeleteOption>,
    ) -> (bool, bool) {
        let mut left = false;
        // Against the order in which they were applied.
        for held in held.iter().rev() {
            let object = held.object();
            let mode = release_mode(option, &object, &self.target.resource(&object));
            match self.target.release(id, held, mode).await {
                Ok(Released::Gone) => {
                    info!(resource.id = %id, object = %object, "Removed {object}");
                }
                Ok(Released::Left) => {
                    info!(resource.id = %id, object = %object, "Gave up {object} without removing it");
                }
                Ok(Released::Pending) => left = true,
                Err(error) => {
                    self.explain(id, &object, &error);
                    left = true;
                }
            }
        }
        let settled = self.target.settle(id).await;
        if let Err(error) = &settled {
            warn!(resource.id = %id, error = %error, "Could not record what work `{id}` gave up");
        }
        (left, left || settled.is_err())
    }

    async fn remove(&self, id: &WorkId, entry: &Entry, work: &Work, previous: &Status) -> Result {
        let context = self.context(work, previous);
        let deleting = status::deleting(context);
        let held = match self.target.claim(id, &[]).await {
            Ok(held) => held,
            Err(error) => {
                self.health.failing(error.message);
                return Result {
                    status: deleting,
                    retry: true,
                };
            }
        };
        if !held.is_empty() {
            // Tell it before it may take long; a status that differs only here is sent once.
            let told = self.keep(id, entry, work, deleting.clone()).await;
            if let Err(error) = told {
                warn!(resource.id = %id, error = %chain(&error), "Could not keep the status of work `{id}`");
            }
        }
        let option = parse(work).ok().and_then(|spec| spec.delete_option);
        let (left, retry) = self.release(id, &held, option.as_ref()).await;
        Result {
            status: if left || retry {
                deleting
            } else {
                status::deleted(self.consumer.as_str(), context)
            },
            retry: left || retry,
        }
    }

    /// Keeps a status that differs from the last one and passes it on.
    async fn keep(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        status: Status,
    ) -> std::result::Result<(), work::Error> {
        let applied = status.condition("Applied").is_some_and(Condition::is_true)
            && status.condition("Deleting").is_none();
        let now = self.clock.now();
        let mut record = StatusRecord {
            version: work.head.version,
            hash: status_hash(&status),
            status,
            acknowledged: false,
            applied_at: applied.then_some(now),
        };
        let (store, key, epoch) = (Arc::clone(&self.store), id.clone(), entry.epoch);
        let kept = blocking(move || {
            let old = store
                .status(&key)
                .filter(|old| old.version == record.version);
            if let Some(first) = old.and_then(|old| old.applied_at).filter(|_| applied) {
                record.applied_at = Some(first);
            }
            // The same words about another version are news: the source waits for that version's status.
            let known = store
                .status(&key)
                .is_some_and(|old| old.hash == record.hash && old.version == record.version);
            if known {
                return Ok(None);
            }
            store.put_status(&key, epoch, &record).map(Some)
        });
        match kept.await? {
            Some(true) => (self.on_status)(id),
            Some(false) => debug!(resource.id = %id, "Dropped a status of an older version"),
            None => {}
        }
        Ok(())
    }

    fn context<'a>(&self, work: &Work, previous: &'a Status) -> Context<'a> {
        Context {
            previous,
            generation: i64::from(work.head.version.get()),
            now: self.clock.now(),
            max_raw_bytes: self.max_raw_bytes,
        }
    }

    fn explain(&self, id: &WorkId, object: &ObjectRef, error: &TargetError) {
        if error.kind == ErrorKind::Unavailable {
            self.health.failing(error.message.clone());
        }
        warn!(
            resource.id = %id, object = %object, error = %error,
            "Could not bring {object} to what work `{id}` declares"
        );
    }
}

// Checked at intake; should it not be readable all the same, it must not count as "declares nothing".
fn parse(work: &Work) -> std::result::Result<Spec, String> {
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

/// Works applied at the same time, as many as the Go agent's (wire.md §6.1).
pub const WORKERS: usize = 10;
// Each holds a batch of ids; reconcile only adds them to a queue, so a few are enough.
const CHANGES: usize = 16;

#[cfg(test)]
mod tests;
