//! What is to be reported of which work: statuses by id, and removal notices of works that are not held.
//!
//! A removal notice answers a deletion for which nothing has to be done, or says why a work cannot be held: it lives here
//! only, and its deliveries are acknowledged when the broker has taken the answer.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::no_subscribers::NoSubscribers;
use crate::queue::WorkQueue;
use crate::uplink::PendingAck;
use crate::work::{Head, WorkId, WorkIndex};

/// The works of which something is to be reported.
#[derive(Debug)]
pub struct ReportQueue {
    pub(super) queue: WorkQueue,
    pub(super) no_subscribers: NoSubscribers,
    state: Mutex<State>,
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    asked: HashSet<WorkId>,
    removal_notices: HashMap<WorkId, RemovalNotice>,
    // Deliveries that wait for a removal notice.
    waiting: usize,
    // Works whose `Deleted` is on its way to the broker.
    leaving: HashSet<WorkId>,
    // Works whose `Deleted` the broker has, by the epoch it is about, and that the store could not forget yet.
    gone: HashMap<WorkId, u64>,
}

/// What is to be reported of a work that is not held.
#[derive(Debug)]
struct RemovalNotice {
    head: Head,
    refused: Option<String>,
    acks: Vec<PendingAck>,
}

/// The `Deleted` of a work is on its way to the broker for as long as this lives.
pub(super) struct Leaving<'a> {
    reports: &'a ReportQueue,
    id: &'a WorkId,
}

// === impl ReportQueue ===

impl ReportQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            queue: WorkQueue::new(RETRY_FIRST, RETRY_MAX),
            no_subscribers: NoSubscribers::default(),
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
    /// acknowledged. Wait for [`ReportQueue::room`] first.
    pub fn removal_notice(&self, head: Head, ack: PendingAck) {
        let id = head.id.clone();
        self.state().removal_notice(head, None, ack);
        self.queue.add(&id);
    }

    /// A work came that cannot be held: its source is told why, then the delivery is acknowledged. Wait for
    /// [`ReportQueue::room`] first.
    pub fn decline(&self, head: Head, why: String, ack: PendingAck) {
        let id = head.id.clone();
        self.state().removal_notice(head, Some(why), ack);
        self.queue.add(&id);
    }

    /// A deletion came once more for a work that is being deleted. The `Deleted` that is still to be sent answers it too;
    /// one that is on its way, or has just been taken, may have missed its source and is reported again.
    pub fn deletion_again(&self, head: Head, ack: PendingAck, index: &WorkIndex) {
        let id = head.id.clone();
        {
            let mut state = self.state();
            let answered = state.leaving.contains(&id) || state.gone.contains_key(&id);
            if !answered && index.entry(&id).is_some() {
                if self.no_subscribers.take(&id) {
                    // Its source listens now.
                    self.queue.add(&id);
                }
                return ack.ack();
            }
            state.removal_notice(head, None, ack);
        }
        self.queue.add(&id);
    }

    /// Waits until fewer than `MOST_UNACKNOWLEDGED` deliveries wait for a removal notice.
    pub async fn room(&self) {
        loop {
            let made = self.room.notified();
            tokio::pin!(made);
            made.as_mut().enable();
            if self.state().waiting < MOST_UNACKNOWLEDGED {
                return;
            }
            made.await;
        }
    }

    /// Waits until nothing is being sent or ready to be.
    pub async fn quiet(&self) {
        self.queue.quiet().await;
    }

    /// Somebody is subscribed: what nobody received before is reported again.
    pub(super) fn subscriber_found(&self) {
        for id in self.no_subscribers.take_all() {
            self.queue.add(&id);
        }
    }

    pub(super) fn ask_again(&self, id: &WorkId) {
        self.state().asked.insert(id.clone());
    }

    pub(super) fn take_asked(&self, id: &WorkId) -> bool {
        self.state().asked.remove(id)
    }

    /// The removal notice of a work, why it is refused if it is, and how many deliveries wait for it.
    pub(super) fn pending_notice(&self, id: &WorkId) -> Option<(Head, Option<String>, usize)> {
        let state = self.state();
        let removal_notice = state.removal_notices.get(id)?;
        let RemovalNotice {
            head,
            refused,
            acks,
        } = removal_notice;
        Some((head.clone(), refused.clone(), acks.len()))
    }

    /// Acknowledges the first `count` deliveries that wait for a removal notice; those that came since are answered again.
    pub(super) fn notice_sent(&self, id: &WorkId, count: usize) {
        let (answered, more) = {
            let mut state = self.state();
            let Some(removal_notice) = state.removal_notices.get_mut(id) else {
                return;
            };
            let rest = removal_notice
                .acks
                .split_off(count.min(removal_notice.acks.len()));
            let answered = std::mem::replace(&mut removal_notice.acks, rest);
            let more = !removal_notice.acks.is_empty();
            if !more {
                state.removal_notices.remove(id);
            }
            state.waiting = state.waiting.saturating_sub(answered.len());
            (answered, more)
        };
        answered.into_iter().for_each(PendingAck::ack);
        self.room.notify_waiters();
        if more {
            self.queue.add(id);
        }
    }

    pub(super) fn leave<'a>(&'a self, id: &'a WorkId) -> Leaving<'a> {
        self.state().leaving.insert(id.clone());
        Leaving { reports: self, id }
    }

    /// The broker has the `Deleted` of this epoch of a work.
    pub(super) fn note_gone(&self, id: &WorkId, epoch: u64) {
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

impl Default for ReportQueue {
    fn default() -> Self {
        Self::new()
    }
}

// === impl State ===

impl State {
    fn removal_notice(&mut self, head: Head, refused: Option<String>, ack: PendingAck) {
        self.waiting += 1;
        let removal_notice = self
            .removal_notices
            .entry(head.id.clone())
            .or_insert_with(|| RemovalNotice {
                head: head.clone(),
                refused: None,
                acks: Vec::new(),
            });
        if head.version >= removal_notice.head.version {
            removal_notice.head = head;
            removal_notice.refused = refused;
        }
        removal_notice.acks.push(ack);
    }
}

// === impl Leaving ===

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.reports.state().leaving.remove(self.id);
    }
}

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Deliveries that may wait for a removal notice: two windows of IoT Core (100 each) and some. Each keeps the attributes of an
/// event, 192 KB at worst, and not its payload.
const MOST_UNACKNOWLEDGED: usize = 256;

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

    fn pending(acks: &Arc<AtomicUsize>) -> PendingAck {
        let acks = Arc::clone(acks);
        let count = move || {
            acks.fetch_add(1, Ordering::SeqCst);
        };
        Incoming::new(Message::new("t", ""), count).into_pending_ack()
    }

    #[tokio::test]
    async fn a_removal_notice_acknowledges_what_it_answers_and_what_came_since_is_answered_again() {
        let (reports, acks) = (ReportQueue::new(), Arc::default());
        let id = WorkId::from("w");
        reports.removal_notice(head("w"), pending(&acks));
        reports.removal_notice(head("w"), pending(&acks));
        assert_eq!(reports.queue.next().await, Some(id.clone()));
        let (.., count) = reports.pending_notice(&id).unwrap();
        reports.removal_notice(head("w"), pending(&acks));
        reports.notice_sent(&id, count);
        assert_eq!(acks.load(Ordering::SeqCst), 2);
        reports.notice_sent(&id, 1);
        assert_eq!(acks.load(Ordering::SeqCst), 3);
        assert!(reports.pending_notice(&id).is_none());
    }

    #[tokio::test]
    async fn a_repeated_deletion_is_answered_by_the_deleted_that_is_still_to_be_sent() {
        let (reports, acks) = (ReportQueue::new(), Arc::default());
        let (index, id) = (WorkIndex::default(), WorkId::from("w"));
        index.put(&head("w"));
        reports.deletion_again(head("w"), pending(&acks), &index);
        assert_eq!(acks.load(Ordering::SeqCst), 1);
        assert_eq!(reports.pending_notice(&id), None);

        let leaving = reports.leave(&id);
        reports.deletion_again(head("w"), pending(&acks), &index);
        assert_eq!(acks.load(Ordering::SeqCst), 1, "it may have missed it");
        drop(leaving);
        assert!(reports.pending_notice(&id).is_some());
    }

    #[tokio::test]
    async fn only_so_many_deliveries_wait_for_a_removal_notice() {
        let (reports, acks) = (ReportQueue::new(), Arc::default());
        for number in 0..MOST_UNACKNOWLEDGED {
            reports.room().await;
            reports.removal_notice(head(&number.to_string()), pending(&acks));
        }
        let mut room = std::pin::pin!(reports.room());
        assert!(futures_util::poll!(room.as_mut()).is_pending());
        reports.notice_sent(&"0".into(), 1);
        room.await;
    }
}
