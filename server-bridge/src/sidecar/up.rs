//! Events of agents on their way to the server: taken from the sessions in order, and acknowledged to the broker when the
//! server acknowledged them.
//!
//! **Invariant:** what was taken and not acknowledged stays here in its order, whatever becomes of the server's
//! connection; the next one gets it first.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU16;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use link::mqtt::{Delivery, IN_FLIGHT_WINDOW, Inbound};
use tokio::time::Instant;

/// What agents said.
pub(super) struct Up {
    sources: Vec<Inbound>,
    // In the order in which they were taken; the first `sent` are with the server.
    pending: VecDeque<Pending>,
    sent: usize,
    bytes: usize,
    ids: HashSet<NonZeroU16>,
    last: u16,
    // Rises, so that one busy session does not keep the others waiting.
    turn: usize,
}

struct Pending {
    delivery: Delivery,
    id: Option<NonZeroU16>,
    bytes: usize,
    since: Instant,
}

// === impl Up ===

impl Up {
    /// Over what the sessions receive.
    pub(super) fn new(sources: Vec<Inbound>) -> Self {
        Self {
            sources,
            pending: VecDeque::new(),
            sent: 0,
            bytes: 0,
            ids: HashSet::new(),
            last: 0,
            turn: 0,
        }
    }

    /// A connection of the server begins: it has been sent nothing.
    pub(super) fn begin(&mut self) {
        self.sent = 0;
        self.ids.clear();
        for pending in &mut self.pending {
            pending.id = None;
        }
    }

    /// How many wait for the server's acknowledgement, and since when the oldest does.
    pub(super) fn waiting(&self) -> (usize, Option<Instant>) {
        let oldest = self.pending.front().map(|pending| pending.since);
        (self.pending.len(), oldest)
    }

    /// How many of them the server has.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Whether one more may be taken: as many as the broker leaves unacknowledged, and what their bytes may be.
    pub(super) fn has_room(&self) -> bool {
        let window = usize::from(IN_FLIGHT_WINDOW) * self.sources.len();
        self.pending.len() < window && self.bytes < UP_BYTES
    }

    /// Takes the next one of any session. Cancelled, it takes nothing.
    pub(super) async fn take(&mut self) {
        let sessions = self.sources.len();
        if sessions == 0 {
            return std::future::pending().await;
        }
        self.turn = (self.turn + 1) % sessions;
        let (before, after) = self.sources.split_at_mut(self.turn);
        let waiting = after.iter_mut().chain(before).map(|source| {
            async {
                match source.recv().await {
                    Some(delivery) => delivery,
                    // The session is shut down, and with it soon the process.
                    None => std::future::pending().await,
                }
            }
            .boxed()
        });
        let (delivery, _, _) = select_all(waiting).await;
        let bytes = delivery.message.metered_bytes();
        self.bytes += bytes;
        self.pending.push_back(Pending {
            delivery,
            id: None,
            bytes,
            since: Instant::now(),
        });
    }

    /// The next one that the server has not been sent, with an id for it, as long as the server has fewer than `window`.
    pub(super) fn next(&mut self, window: usize) -> Option<(NonZeroU16, &Delivery)> {
        if self.sent >= window || self.sent >= self.pending.len() {
            return None;
        }
        let id = loop {
            self.last = self.last.wrapping_add(1);
            match NonZeroU16::new(self.last) {
                Some(id) if !self.ids.contains(&id) => break id,
                _ => {}
            }
        };
        self.ids.insert(id);
        let pending = &mut self.pending[self.sent];
        pending.id = Some(id);
        self.sent += 1;
        Some((id, &pending.delivery))
    }

    /// The server has taken it: so has the broker its acknowledgement. `false` for an id that the server does not have.
    pub(super) fn acknowledge(&mut self, id: NonZeroU16) -> bool {
        if !self.ids.remove(&id) {
            return false;
        }
        let of_it = |pending: &Pending| pending.id == Some(id);
        let position = self.pending.iter().take(self.sent).position(of_it);
        let Some(pending) = position.and_then(|position| self.pending.remove(position)) else {
            return false;
        };
        self.sent -= 1;
        self.bytes -= pending.bytes;
        pending.delivery.ack();
        true
    }
}

/// Bytes that may wait for the server's acknowledgement: two windows of the largest packets.
const UP_BYTES: usize = 2 * IN_FLIGHT_WINDOW as usize * link::iot::limits::PACKET_BYTES;
