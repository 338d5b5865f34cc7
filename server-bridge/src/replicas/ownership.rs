//! Which consumers are this process's to send to, as the keeper last heard and until when.
//!
//! Everybody asks here, just before acting; the keeper alone changes it. What is asked costs a lock and a look at a map.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::id::ConsumerName;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::{Metrics, SlotLost};
use crate::store::{Bucket, Fence, Instance};

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
    /// The keeper is to look.
    look: Notify,
    metrics: Metrics,
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
    /// Who was there when the keeper looked last.
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
    pub(crate) fn replica(instance: Instance, metrics: Metrics) -> Self {
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
        while let Some(until) = self.until() {
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
        pending::<()>().await;
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

    // --- the keeper's side ---

    /// Everything that is held is held until then.
    pub(crate) fn renewed(&self, until: Instant) {
        self.change(|state| {
            let lapsed = state.until.is_none_or(|before| before <= Instant::now());
            state.until = Some(until);
            state.last_until = Some(until);
            lapsed
        });
    }

    /// What the store says is ours, with its term. What is to be given back stays so.
    pub(crate) fn owns(&self, leases: impl IntoIterator<Item = (Bucket, i64)>) {
        let leases: BTreeMap<Bucket, i64> = leases.into_iter().collect();
        self.change(|state| {
            let held = leases.iter().map(|(bucket, term)| {
                let before = state.held.get(bucket);
                let leaving = before.is_some_and(|held| held.leaving && held.term == *term);
                let term = *term;
                (*bucket, Held { term, leaving })
            });
            let held: BTreeMap<Bucket, Held> = held.collect();
            let changed = held != state.held;
            state.held = held;
            changed
        });
    }

    /// What was just taken.
    pub(super) fn took(&self, leases: impl IntoIterator<Item = (Bucket, i64)>, over: usize) {
        if let Some(shared) = &self.0 {
            shared.metrics.taken_over.inc_by(over as u64);
        }
        self.change(|state| {
            let before = state.held.len();
            let leaving = false;
            let taken = leases.into_iter();
            state
                .held
                .extend(taken.map(|(bucket, term)| (bucket, Held { term, leaving })));
            state.held.len() != before
        });
    }

    /// Nothing new is begun for these.
    pub(crate) fn leave(&self, buckets: impl IntoIterator<Item = Bucket>) {
        self.change(|state| {
            let mut changed = false;
            for bucket in buckets {
                if let Some(held) = state.held.get_mut(&bucket) {
                    changed |= !std::mem::replace(&mut held.leaving, true);
                }
            }
            changed
        });
    }

    /// What is to be given back and nobody works for any more.
    pub(crate) fn left(&self) -> Vec<Bucket> {
        let Some(shared) = &self.0 else {
            return Vec::new();
        };
        let state = shared.lock();
        let leaving = state.held.iter().filter(|(_, held)| held.leaving);
        leaving
            .map(|(bucket, _)| *bucket)
            .filter(|bucket| !state.working.contains_key(bucket))
            .collect()
    }

    /// All that is held.
    pub(super) fn held(&self) -> Vec<Bucket> {
        let state = self.0.as_ref().map(|shared| shared.lock());
        state.map_or_else(Vec::new, |state| state.held.keys().copied().collect())
    }

    /// These were given back.
    pub(super) fn gave_back(&self, buckets: &[Bucket]) {
        self.change(|state| {
            state.held.retain(|bucket, _| !buckets.contains(bucket));
            false
        });
    }

    /// A renewal failed: says so if what is held has run out meanwhile.
    pub(super) fn not_renewed(&self) {
        if let Some(shared) = &self.0 {
            shared.metrics.failures.inc();
        }
        self.change(|state| {
            let over = state.until.is_some_and(|until| until <= Instant::now());
            if over {
                state.until = None;
            }
            over
        });
    }

    /// The slot is another's, and with it everything.
    pub(super) fn slot_lost(&self, lost: SlotLost) {
        self.change(|state| {
            state.held.clear();
            state.until = None;
            state.lost = Some(lost);
            true
        });
    }

    /// Notes who is there, in the order of their slots. Whether somebody else went since the last time and, of those that
    /// were there then and are still, this is the first.
    pub(super) fn sees(&self, here: &[Instance]) -> bool {
        let Some(shared) = &self.0 else {
            return false;
        };
        let before = shared
            .lock()
            .here
            .replace(here.to_vec())
            .unwrap_or_default();
        let me = &shared.instance;
        let gone = before.iter().any(|one| one != me && !here.contains(one));
        let first = here.iter().find(|one| before.contains(one));
        gone && first == Some(me)
    }

    /// Others went: their sessions may have lost what agents said.
    pub(crate) fn others_gone(&self) {
        if let Some(shared) = &self.0 {
            shared.gone.send_modify(|times| *times += 1);
        }
    }

    /// Until when what is held was held by the last renewal.
    pub(super) fn last_until(&self) -> Option<Instant> {
        self.0.as_ref()?.lock().last_until
    }

    /// Says whether this process may be connected to the broker.
    pub(super) fn withhold(&self, reason: Option<&'static str>) {
        if let Some(shared) = &self.0 {
            shared.withheld.send_if_modified(|known| {
                let changed = *known != reason;
                *known = reason;
                changed
            });
        }
    }

    /// Until when what is held is held.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.as_ref()?.lock().until
    }

    /// Returns when the keeper is to look before its time.
    pub(super) async fn look(&self) {
        match &self.0 {
            Some(shared) => shared.look.notified().await,
            None => pending().await,
        }
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let Some(shared) = &self.0 else {
            return;
        };
        let changed = {
            let mut state = shared.lock();
            let changed = change(&mut state);
            let owned = state.held.values().filter(|held| !held.leaving).count();
            let owned = if state.until.is_some() { owned } else { 0 };
            shared
                .metrics
                .owned
                .set(i64::try_from(owned).unwrap_or(i64::MAX));
            changed
        };
        if changed {
            shared.changed.send_modify(|times| *times += 1);
        }
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
