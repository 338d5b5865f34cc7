//! Which consumers this process may send to and until when, as the lease renewer last learned.
//!
//! Everybody asks here, just before acting; the renewer alone changes it. What is asked costs a lock and a look at a map.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::id::ConsumerName;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::{ReplicaMetrics, SlotLost};
use crate::store::{Bucket, Fence, Instance};

mod kept;

/// What this process may send. Clones share it.
#[derive(Clone)]
pub struct Ownership(Option<Arc<Shared>>);

/// The consumer is another replica's, or nobody's yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwner;

/// Somebody works for a consumer. Its bucket is not given back before this is dropped.
#[must_use = "dropping it at once says that nobody works for the consumer"]
pub struct Work(Option<(Arc<Shared>, Bucket)>);

/// Tells of changes.
pub struct Changes(Option<watch::Receiver<u64>>);

struct Shared {
    instance: Instance,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    gone: watch::Sender<u64>,
    /// Why this process may not be connected to the broker, if so.
    withheld: watch::Sender<Option<&'static str>>,
    /// The renewer is to look.
    look: Notify,
    metrics: ReplicaMetrics,
}

#[derive(Default)]
struct State {
    until: Option<Instant>,
    /// The same of the last renewal, which may be over.
    last_until: Option<Instant>,
    held: BTreeMap<Bucket, Held>,
    /// How many work for each.
    working: BTreeMap<Bucket, usize>,
    lost: Option<SlotLost>,
    /// Who was there when the renewer looked last.
    here: Option<Vec<Instance>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    term: i64,
    /// It is to be given back: nothing new is begun.
    leaving: bool,
}

// === impl Ownership ===

impl Ownership {
    /// Of a process that has its store alone: everything, for ever, without a fence.
    pub fn sole() -> Self {
        Self(None)
    }

    /// Of one replica among others: nothing yet.
    pub(crate) fn replica(instance: Instance, metrics: ReplicaMetrics) -> Self {
        Self(Some(Arc::new(Shared {
            instance,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            gone: watch::Sender::new(0),
            withheld: watch::Sender::new(None),
            look: Notify::new(),
            metrics,
        })))
    }

    /// Whether there may be other replicas.
    pub fn is_shared(&self) -> bool {
        self.0.is_some()
    }

    /// Under which fence something may be sent to a consumer now and written about it; `None` for no fence.
    ///
    /// # Errors
    /// Nothing may be sent to it.
    pub fn fence(&self, consumer: &ConsumerName) -> Result<Option<Fence>, NotOwner> {
        let Some(shared) = &self.0 else {
            return Ok(None);
        };
        let bucket = Bucket::of(consumer);
        let term = shared.lock().term(bucket, Instant::now()).ok_or(NotOwner)?;
        Ok(Some(Fence {
            bucket,
            term,
            instance: shared.instance.clone(),
        }))
    }

    /// Whether what `fence` allowed is allowed still.
    pub fn still(&self, fence: Option<&Fence>) -> bool {
        match (&self.0, fence) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(shared), Some(fence)) => {
                shared.lock().term(fence.bucket, Instant::now()) == Some(fence.term)
            }
        }
    }

    /// Begins to work for a consumer, if it is this process's.
    pub fn work(&self, consumer: &ConsumerName) -> Option<Work> {
        let Some(shared) = &self.0 else {
            return Some(Work(None));
        };
        let bucket = Bucket::of(consumer);
        let mut state = shared.lock();
        state.term(bucket, Instant::now())?;
        *state.working.entry(bucket).or_default() += 1;
        drop(state);
        Some(Work(Some((shared.clone(), bucket))))
    }

    /// Tells from now on whenever something was gained, lost, or is to be given back.
    pub fn changes(&self) -> Changes {
        Changes(self.0.as_ref().map(|shared| shared.changed.subscribe()))
    }

    /// Tells from now on whenever a replica went, and it is this one that has everybody asked for statuses.
    pub fn losses(&self) -> Changes {
        Changes(self.0.as_ref().map(|shared| shared.gone.subscribe()))
    }

    /// Returns once the lease is over; never alone on a store. One that is renewed in time is not over.
    pub async fn over(&self) {
        loop {
            match self.until() {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                Some(_) => return,
                // It was over already when somebody looked.
                None if self.is_shared() && self.last_until().is_some() => return,
                None => pending::<()>().await,
            }
        }
    }

    /// Why this process may not be connected to the broker, if so; `None` for a process that has its store alone.
    pub fn withheld(&self) -> Option<watch::Receiver<Option<&'static str>>> {
        self.0.as_ref().map(|shared| shared.withheld.subscribe())
    }

    /// A write was refused: what is known here is old.
    pub fn refused(&self) {
        if let Some(shared) = &self.0 {
            shared.metrics.fenced.inc();
            shared.look.notify_one();
        }
    }

    /// The loss of the slot, if it was lost.
    pub(super) fn lost(&self) -> Option<SlotLost> {
        self.0.as_ref()?.lock().lost.clone()
    }
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Ownership(sole)"),
            Some(shared) => write!(f, "Ownership({})", shared.instance.as_str()),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// The term of a bucket for which something may be begun at `now`.
    fn term(&self, bucket: Bucket, now: Instant) -> Option<i64> {
        self.until.filter(|until| now < *until)?;
        let held = self.held.get(&bucket).filter(|held| !held.leaving)?;
        Some(held.term)
    }
}

// === impl Work ===

impl Drop for Work {
    fn drop(&mut self) {
        let Some((shared, bucket)) = &self.0 else {
            return;
        };
        let mut state = shared.lock();
        if let Some(working) = state.working.get_mut(bucket) {
            *working -= 1;
            if *working == 0 {
                state.working.remove(bucket);
                if state.held.get(bucket).is_some_and(|held| held.leaving) {
                    shared.look.notify_one();
                }
            }
        }
    }
}

// === impl Changes ===

impl Changes {
    /// Returns once something changed since the last time.
    pub async fn changed(&mut self) {
        if let Some(changes) = &mut self.0
            && changes.changed().await.is_ok()
        {
            return;
        }
        // Nothing changes any more.
        pending::<()>().await;
    }
}
