//! What is to be told of which work: statuses by id, and farewells to works that are not held.
//!
//! A farewell answers a deletion for which nothing has to be done, or says why a work cannot be held: it lives here
//! only, and its deliveries are acknowledged when the broker has taken the answer.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::unheard::Unheard;
use crate::queue::Queue;
use crate::uplink::Owed;
use crate::work::{Head, Index, WorkId};

/// The works of which something is to be told.
#[derive(Debug)]
pub struct Outbox {
    pub(super) queue: Queue,
    pub(super) unheard: Unheard,
    state: Mutex<State>,
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    asked: HashSet<WorkId>,
    farewells: HashMap<WorkId, Farewell>,
    // Deliveries that wait for a farewell.
    owed: usize,
    // Works whose `Deleted` is on its way to the broker.
    leaving: HashSet<WorkId>,
    // Works whose `Deleted` the broker has, by the epoch it was said of, and that the store could not forget yet.
    gone: HashMap<WorkId, u64>,
}

/// What is to be told of a work that is not held.
#[derive(Debug)]
struct Farewell {
    head: Head,
    refused: Option<String>,
    owed: Vec<Owed>,
}

/// The `Deleted` of a work is on its way to the broker for as long as this lives.
pub(super) struct Leaving<'a> {
    outbox: &'a Outbox,
    id: &'a WorkId,
}

// === impl Outbox ===

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self {
            queue: Queue::new(RETRY_FIRST, RETRY_MAX),
            unheard: Unheard::default(),
            state: Mutex::default(),
            room: Notify::new(),
        }
    }

    /// A work has a new status.
    pub fn add(&self, id: &WorkId) {
        self.queue.add(id);
    }

    /// The source asked for a status again, acknowledged or not.
    pub fn answer(&self, id: &WorkId) {
        self.ask_again(id);
        self.queue.add(id);
    }

    /// A deletion came for a work that is not held: its source is told that the work is gone, then the delivery is
    /// acknowledged. Wait for [`Outbox::room`] first.
    pub fn farewell(&self, head: Head, owed: Owed) {
        let id = head.id.clone();
        self.state().farewell(head, None, owed);
        self.queue.add(&id);
    }

    /// A work came that cannot be held: its source is told why, then the delivery is acknowledged. Wait for
    /// [`Outbox::room`] first.
    pub fn decline(&self, head: Head, why: String, owed: Owed) {
        let id = head.id.clone();
        self.state().farewell(head, Some(why), owed);
        self.queue.add(&id);
    }

    /// A deletion came once more for a work that is being deleted. The `Deleted` that is still to be sent answers it too;
    /// one that is on its way, or has just been taken, may have missed its source and is said again.
    pub fn deletion_again(&self, head: Head, owed: Owed, index: &Index) {
        let id = head.id.clone();
        {
            let mut state = self.state();
            let said = state.leaving.contains(&id) || state.gone.contains_key(&id);
            if !said && index.entry(&id).is_some() {
                if self.unheard.take(&id) {
                    // Its source listens now.
                    self.queue.add(&id);
                }
                return owed.ack();
            }
            state.farewell(head, None, owed);
        }
        self.queue.add(&id);
    }

    /// Waits until fewer than `MOST_OWED` deliveries wait for a farewell.
    pub async fn room(&self) {
        loop {
            let made = self.room.notified();
            tokio::pin!(made);
            made.as_mut().enable();
            if self.state().owed < MOST_OWED {
                return;
            }
            made.await;
        }
    }

    /// Waits until nothing is being sent or ready to be.
    pub async fn quiet(&self) {
        self.queue.quiet().await;
    }

    /// Somebody listens: what nobody heard before is said again.
    pub(super) fn heard(&self) {
        for id in self.unheard.take_all() {
            self.queue.add(&id);
        }
    }

    pub(super) fn ask_again(&self, id: &WorkId) {
        self.state().asked.insert(id.clone());
    }

    pub(super) fn take_asked(&self, id: &WorkId) -> bool {
        self.state().asked.remove(id)
    }

    /// The farewell to a work, why it is refused if it is, and how many deliveries wait for it.
    pub(super) fn pending_farewell(&self, id: &WorkId) -> Option<(Head, Option<String>, usize)> {
        let state = self.state();
        let farewell = state.farewells.get(id)?;
        let Farewell {
            head,
            refused,
            owed,
        } = farewell;
        Some((head.clone(), refused.clone(), owed.len()))
    }

    /// Acknowledges the first `count` deliveries that wait for a farewell; those that came since are answered again.
    pub(super) fn said_farewell(&self, id: &WorkId, count: usize) {
        let (told, more) = {
            let mut state = self.state();
            let Some(farewell) = state.farewells.get_mut(id) else {
                return;
            };
            let rest = farewell.owed.split_off(count.min(farewell.owed.len()));
            let told = std::mem::replace(&mut farewell.owed, rest);
            let more = !farewell.owed.is_empty();
            if !more {
                state.farewells.remove(id);
            }
            state.owed = state.owed.saturating_sub(told.len());
            (told, more)
        };
        told.into_iter().for_each(Owed::ack);
        self.room.notify_waiters();
        if more {
            self.queue.add(id);
        }
    }

    pub(super) fn leave<'a>(&'a self, id: &'a WorkId) -> Leaving<'a> {
        self.state().leaving.insert(id.clone());
        Leaving { outbox: self, id }
    }

    /// The broker has the `Deleted` that was said of this epoch of a work.
    pub(super) fn mark_gone(&self, id: &WorkId, epoch: u64) {
        self.state().gone.insert(id.clone(), epoch);
    }

    /// Whether the broker has the `Deleted` of a work that is held still.
    pub(super) fn is_gone(&self, id: &WorkId, epoch: u64) -> bool {
        self.state().gone.get(id) == Some(&epoch)
    }

    pub(super) fn forget(&self, id: &WorkId) {
        self.state().gone.remove(id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

// === impl State ===

impl State {
    fn farewell(&mut self, head: Head, refused: Option<String>, owed: Owed) {
        self.owed += 1;
        let farewell = self
            .farewells
            .entry(head.id.clone())
            .or_insert_with(|| Farewell {
                head: head.clone(),
                refused: None,
                owed: Vec::new(),
            });
        if head.version >= farewell.head.version {
            farewell.head = head;
            farewell.refused = refused;
        }
        farewell.owed.push(owed);
    }
}

// === impl Leaving ===

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.outbox.state().leaving.remove(self.id);
    }
}

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Deliveries that may wait for a farewell: two windows of IoT Core (100 each) and some. Each keeps the attributes of an
/// event, 192 KB at worst, and not its payload.
const MOST_OWED: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use jiff::Timestamp;
    use link::message::Message;
    use link::order::Version;

    use super::*;
    use crate::uplink::Incoming;

    fn head(id: &str) -> Head {
        Head {
            id: id.into(),
            version: Version::FIRST,
            source: "maestro".into(),
            metadata: None,
            log_tracing: None,
            deleting_since: Some(Timestamp::UNIX_EPOCH),
            received_at: None,
            content: String::new(),
            rejected: None,
        }
    }

    fn owed(acks: &Arc<AtomicUsize>) -> Owed {
        let acks = Arc::clone(acks);
        let count = move || {
            acks.fetch_add(1, Ordering::SeqCst);
        };
        Incoming::new(Message::new("t", ""), count).owed()
    }

    #[tokio::test]
    async fn a_farewell_acknowledges_what_it_answers_and_what_came_since_is_answered_again() {
        let (outbox, acks) = (Outbox::new(), Arc::default());
        let id = WorkId::from("w");
        outbox.farewell(head("w"), owed(&acks));
        outbox.farewell(head("w"), owed(&acks));
        assert_eq!(outbox.queue.next().await, Some(id.clone()));
        let (.., count) = outbox.pending_farewell(&id).unwrap();
        outbox.farewell(head("w"), owed(&acks));
        outbox.said_farewell(&id, count);
        assert_eq!(acks.load(Ordering::SeqCst), 2);
        outbox.said_farewell(&id, 1);
        assert_eq!(acks.load(Ordering::SeqCst), 3);
        assert!(outbox.pending_farewell(&id).is_none());
    }

    #[tokio::test]
    async fn a_repeated_deletion_is_answered_by_the_deleted_that_is_still_to_be_sent() {
        let (outbox, acks) = (Outbox::new(), Arc::default());
        let (index, id) = (Index::default(), WorkId::from("w"));
        index.put(&head("w"));
        outbox.deletion_again(head("w"), owed(&acks), &index);
        assert_eq!(acks.load(Ordering::SeqCst), 1);
        assert_eq!(outbox.pending_farewell(&id), None);

        let leaving = outbox.leave(&id);
        outbox.deletion_again(head("w"), owed(&acks), &index);
        assert_eq!(acks.load(Ordering::SeqCst), 1, "it may have missed it");
        drop(leaving);
        assert!(outbox.pending_farewell(&id).is_some());
    }

    #[tokio::test]
    async fn only_so_many_deliveries_wait_for_a_farewell() {
        let (outbox, acks) = (Outbox::new(), Arc::default());
        for number in 0..MOST_OWED {
            outbox.room().await;
            outbox.farewell(head(&number.to_string()), owed(&acks));
        }
        let mut room = std::pin::pin!(outbox.room());
        assert!(futures_util::poll!(room.as_mut()).is_pending());
        outbox.said_farewell(&"0".into(), 1);
        room.await;
    }
}
