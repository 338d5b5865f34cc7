//! Events of the server on their way to the broker: one lane per session, each in order.
//!
//! The lanes belong to one connection of the server. They end with it, before the next one begins: what the session has not
//! sent yet is withdrawn, and the server, which got no acknowledgement, says it again.
//!
//! **Invariant:** what was given after a withdrawn event is withdrawn too, so that nothing of a consumer goes out of order.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::num::NonZeroU16;

use futures_util::FutureExt as _;
use link::message::Message;
use link::mqtt::{Ack, PublishError, Receipt, Session};
use link::topic::Scheme;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::end::ConnectionEnd;
use super::log::SidecarLine;
use crate::event_log::EventLog;

/// What became of an event.
pub(super) type Settled = (NonZeroU16, Result<Ack, PublishError>);

/// The lanes of one connection.
pub(super) struct Lanes {
    queues: Vec<mpsc::Sender<Item>>,
    done: mpsc::Receiver<(u64, Settled)>,
    open: BTreeMap<u64, Open>,
    ids: HashSet<NonZeroU16>,
    next: u64,
    bytes: usize,
    window: usize,
    tasks: Vec<AbortOnDropHandle<()>>,
}

struct Item {
    number: u64,
    packet_id: NonZeroU16,
    message: Message,
}

struct Open {
    since: Instant,
    bytes: usize,
}

// === impl Lanes ===

impl Lanes {
    /// A lane for each session; `window` is how many events the server may have unacknowledged.
    pub(super) fn new(
        sessions: &[Session],
        window: usize,
        scheme: &Scheme,
        log: &EventLog<SidecarLine>,
    ) -> Self {
        // No more than the window is ever open, so that no channel is ever full.
        let (settled, done) = mpsc::channel(window);
        let lanes = sessions.iter().map(|session| {
            let (queue, items) = mpsc::channel(window);
            let lane = Lane {
                session: session.clone(),
                settled: settled.clone(),
                scheme: scheme.clone(),
                log: log.clone(),
            };
            let task = AbortOnDropHandle::new(tokio::spawn(lane.run(items)));
            (queue, task)
        });
        let (queues, tasks) = lanes.unzip();
        Self {
            queues,
            done,
            open: BTreeMap::new(),
            ids: HashSet::new(),
            next: 0,
            bytes: 0,
            window,
            tasks,
        }
    }

    /// Takes an event whose packet had so many bytes.
    ///
    /// # Errors
    /// What the server did wrong.
    pub(super) fn push(
        &mut self,
        lane: usize,
        packet_id: NonZeroU16,
        message: Message,
        bytes: usize,
    ) -> Result<(), ConnectionEnd> {
        if self.open.len() >= self.window {
            return Err(ConnectionEnd::window());
        }
        if !self.ids.insert(packet_id) {
            return Err(ConnectionEnd::reused());
        }
        let item = Item {
            number: self.next,
            packet_id,
            message,
        };
        let queue = self.queues.get(lane);
        if queue.is_none_or(|queue| queue.try_send(item).is_err()) {
            // A lane that is gone has panicked: the server comes again, and gets new ones.
            return Err(ConnectionEnd::Broken);
        }
        let since = Instant::now();
        self.open.insert(self.next, Open { since, bytes });
        self.next += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// The next event that was settled. Cancelled, it loses nothing.
    pub(super) async fn settled(&mut self) -> Settled {
        let Some((number, settled)) = self.done.recv().await else {
            return std::future::pending().await;
        };
        if let Some(open) = self.open.remove(&number) {
            self.bytes -= open.bytes;
        }
        self.ids.remove(&settled.0);
        settled
    }

    /// Ends them, and returns when they have ended.
    pub(super) async fn end(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks.drain(..) {
            // It was aborted, or panicked, which has been told.
            drop(task.await);
        }
    }

    /// How many are not settled.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < DOWN_BYTES
    }

    /// How many are not settled, and since when the oldest is not.
    pub(super) fn waiting(&self) -> (usize, Option<Instant>) {
        let oldest = self.open.first_key_value().map(|(_, open)| open.since);
        (self.open.len(), oldest)
    }
}

struct Lane {
    session: Session,
    settled: mpsc::Sender<(u64, Settled)>,
    scheme: Scheme,
    log: EventLog<SidecarLine>,
}

// === impl Lane ===

impl Lane {
    async fn run(self, mut items: mpsc::Receiver<Item>) {
        let mut receipts = Receipts::default();
        loop {
            let (number, settled) = tokio::select! {
                settled = receipts.next() => settled,
                Some(item) = items.recv() => {
                    let Item { number, packet_id, message } = item;
                    let consumer = self.scheme.consumer_of(&message.topic);
                    match self.session.publish(message).await {
                        Ok(receipt) => {
                            receipts.0.push_back((number, packet_id, receipt));
                            continue;
                        }
                        Err(error) => {
                            self.tell(consumer.as_ref(), &error);
                            (number, (packet_id, Err(error)))
                        }
                    }
                }
                else => return,
            };
            if self.settled.send((number, settled)).await.is_err() {
                return;
            }
        }
    }

    /// What never leaves is told by consumer; what the broker refuses is told where it is answered.
    fn tell(&self, consumer: Option<&link::id::ConsumerName>, error: &PublishError) {
        if let Some(held) = self.log.admit(SidecarLine::Down("too_large"), consumer) {
            let consumer = consumer.map(link::id::ConsumerName::as_str);
            let hint = link::error::Hint::hint(error);
            let error = link::error::chain(error);
            warn!(
                consumer,
                hint,
                held_back = held,
                "Refused an event of the server: {error}"
            );
        }
    }
}

/// What the session has and has not settled, oldest first. The broker answers in order.
#[derive(Default)]
struct Receipts(VecDeque<(u64, NonZeroU16, Receipt)>);

// === impl Receipts ===

impl Receipts {
    /// The next one that is settled. Cancelled, it loses nothing.
    async fn next(&mut self) -> (u64, Settled) {
        let result = poll_fn(|context| match self.0.front_mut() {
            Some((_, _, receipt)) => receipt.poll_unpin(context),
            None => std::task::Poll::Pending,
        })
        .await;
        match self.0.pop_front() {
            Some((number, packet_id, _)) => (number, (packet_id, result)),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Receipts {
    /// The newest first: whichever the session finds withdrawn, all behind it are.
    fn drop(&mut self) {
        while self.0.pop_back().is_some() {}
    }
}

/// Bytes of events that may wait for the broker before no more is read. A window of the largest that one session carries is
/// half of it.
const DOWN_BYTES: usize =
    2 * link::mqtt::IN_FLIGHT_WINDOW as usize * link::iot::limits::PACKET_BYTES;
