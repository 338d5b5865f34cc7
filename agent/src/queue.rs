//! A level-triggered queue of work ids: no id twice, none worked on by two at once, failures come back later.
//!
//! It holds at most one slot per work of the store, so it needs no other bound.
//!
//! kube-runtime's scheduler does not replace it: there, ids that are due have no order among each other, an id that
//! comes again while it is processed is the business of a runner that is private to its controller, and backoff by
//! cause, room for intake and the wait until all is quiet would have to be built around it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::backoff::Backoff;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::work_id::WorkId;

mod cause;

pub use cause::Cause;

/// The queue. Share it behind an `Arc`.
#[derive(Debug)]
pub struct WorkQueue {
    state: Mutex<State>,
    ready: Notify,
    taken: Notify,
    quiet: Notify,
    retry: (Duration, Duration),
}

/// An id that is being worked on. Should the worker panic, the id comes back later all the same.
#[must_use = "dropping it says that the work failed"]
pub struct Processing<'a> {
    queue: &'a WorkQueue,
    id: &'a WorkId,
    next: QueueAction,
}

/// What to do with an id after it was worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueAction {
    /// Nothing until it is added again.
    Forget,
    /// Come back after this time even if nothing changes.
    After(Duration),
    /// It failed: come back after a jittered delay that grows as long as the cause stays the same.
    Retry(Cause),
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<WorkId>,
    slots: HashMap<WorkId, Slot>,
    delayed: BTreeSet<(Instant, WorkId)>,
    failures: HashMap<WorkId, Failures>,
    closed: bool,
}

/// The failures of one id since its last success.
#[derive(Debug)]
struct Failures {
    backoff: Backoff,
    /// At most [`CAUSES`].
    causes: Vec<Cause>,
}

/// Where an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Ready,
    Delayed(Instant),
    /// Being worked on; `again` when it was added meanwhile.
    Running {
        again: bool,
    },
}

// === impl WorkQueue ===

impl WorkQueue {
    /// A queue whose failures come back after `first`, doubling up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            state: Mutex::default(),
            ready: Notify::new(),
            taken: Notify::new(),
            quiet: Notify::new(),
            retry: (first, max),
        }
    }

    /// Asks for an id to be worked on as soon as possible, or once more if it is being worked on.
    pub fn add(&self, id: &WorkId) {
        let mut state = self.state();
        match state.slots.get_mut(id) {
            Some(Slot::Ready) => return,
            Some(Slot::Running { again }) => {
                *again = true;
                return;
            }
            Some(Slot::Delayed(at)) => {
                let at = *at;
                state.delayed.remove(&(at, id.clone()));
            }
            None => {}
        }
        state.slots.insert(id.clone(), Slot::Ready);
        state.ready.push_back(id.clone());
        self.ready.notify_one();
    }

    /// Asks for an id to be worked on after a while, unless it is known already.
    pub fn add_later(&self, id: &WorkId, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.state();
        if state.slots.contains_key(id) {
            return;
        }
        state.slots.insert(id.clone(), Slot::Delayed(at));
        state.delayed.insert((at, id.clone()));
        self.ready.notify_one();
    }

    /// The next id, or `None` once the queue is closed. Give it back with [`WorkQueue::finish`].
    pub async fn next(&self) -> Option<WorkId> {
        loop {
            let wake_at = {
                let mut state = self.state();
                if state.closed {
                    self.ready.notify_one();
                    return None;
                }
                state.promote(Instant::now());
                if let Some(id) = state.ready.pop_front() {
                    state
                        .slots
                        .insert(id.clone(), Slot::Running { again: false });
                    // One wake-up may stand for many ids: pass it on.
                    self.ready.notify_one();
                    self.taken.notify_waiters();
                    return Some(id);
                }
                state.delayed.first().map(|(at, _)| *at)
            };
            match wake_at {
                None => self.ready.notified().await,
                Some(at) => {
                    tokio::select! {
                        () = self.ready.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        }
    }

    /// Waits until fewer than `most` ids are ready, so that intake does not run far ahead of the workers.
    pub async fn room(&self, most: usize) {
        loop {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            taken.as_mut().enable();
            if self.state().ready.len() < most {
                return;
            }
            taken.await;
        }
    }

    /// Gives an id back.
    pub fn finish(&self, id: &WorkId, next: QueueAction) {
        let mut state = self.state();
        let again = matches!(state.slots.remove(id), Some(Slot::Running { again: true }));
        let delay = match next {
            QueueAction::Retry(cause) => {
                let failures = state.failures.entry(id.clone());
                let failures = failures.or_insert_with(|| Failures::new(self.retry));
                Some(failures.delay(cause, self.retry))
            }
            QueueAction::After(delay) => {
                state.failures.remove(id);
                Some(delay)
            }
            QueueAction::Forget => {
                state.failures.remove(id);
                None
            }
        };
        if again {
            state.slots.insert(id.clone(), Slot::Ready);
            state.ready.push_back(id.clone());
            self.ready.notify_one();
        } else if let Some(delay) = delay {
            let at = Instant::now() + delay;
            state.slots.insert(id.clone(), Slot::Delayed(at));
            state.delayed.insert((at, id.clone()));
            // Somebody may sleep until a later time.
            self.ready.notify_one();
        }
        if state.is_quiet() {
            self.quiet.notify_waiters();
        }
    }

    /// Ends every [`WorkQueue::next`], now and later.
    pub fn close(&self) {
        self.state().closed = true;
        self.ready.notify_one();
    }

    /// Waits until nothing is ready or being worked on; delayed ids do not count.
    pub async fn quiet(&self) {
        loop {
            let notified = self.quiet.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.state().is_quiet() {
                return;
            }
            notified.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Processing ===

impl<'a> Processing<'a> {
    /// For an id that [`WorkQueue::next`] gave.
    pub fn new(queue: &'a WorkQueue, id: &'a WorkId) -> Self {
        Self {
            queue,
            id,
            next: QueueAction::Retry(Cause::default()),
        }
    }

    /// Gives the id back.
    pub fn finish(mut self, next: QueueAction) {
        self.next = next;
    }
}

impl Drop for Processing<'_> {
    fn drop(&mut self) {
        self.queue.finish(self.id, self.next);
    }
}

// === impl Failures ===

impl Failures {
    fn new((first, max): (Duration, Duration)) -> Self {
        Self {
            backoff: Backoff::new(first, max, max),
            causes: Vec::new(),
        }
    }

    // Another cause is progress, and what comes next may be close: the delays begin anew. Causes that alternate do not
    // keep them short, because each counts as new only once.
    fn delay(&mut self, cause: Cause, retry: (Duration, Duration)) -> Duration {
        if !self.causes.contains(&cause) && self.causes.len() < CAUSES {
            self.causes.push(cause);
            self.backoff = Self::new(retry).backoff;
        }
        self.backoff.next_jittered(Duration::ZERO)
    }
}

// === impl State ===

impl State {
    fn promote(&mut self, now: Instant) {
        while let Some((at, _)) = self.delayed.first() {
            if *at > now {
                return;
            }
            if let Some((_, id)) = self.delayed.pop_first() {
                self.slots.insert(id.clone(), Slot::Ready);
                self.ready.push_back(id);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.ready.is_empty()
            && !self
                .slots
                .values()
                .any(|slot| matches!(slot, Slot::Running { .. }))
    }
}

/// Causes of one id that begin its delays anew.
const CAUSES: usize = 8;

#[cfg(test)]
mod tests;
