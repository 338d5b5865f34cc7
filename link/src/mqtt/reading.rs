//! Whether the connection is read: the queue of received messages, the gate under TLS, and the watch over a silent
//! broker, which stand together because what is not read cannot be heard.

use std::sync::Arc;

use tokio::time::Instant;

use super::gate::Gate;
use super::inbound::Queue;
use super::liveness::{Liveness, PING_INTERVAL};
use super::shared::Shared;

pub(super) struct Reading {
    pub(super) queue: Arc<Queue>,
    pub(super) liveness: Liveness,
    gate: Gate,
    shared: Arc<Shared>,
}

// === impl Reading ===

impl Reading {
    pub(super) fn new(queue: Arc<Queue>, gate: Gate, shared: Arc<Shared>) -> Self {
        Self {
            queue,
            liveness: Liveness::new(PING_INTERVAL, Instant::now()),
            gate,
            shared,
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.gate.is_closed()
    }

    /// Stops when the queue is over its bound; returns whether it did.
    pub(super) fn stop_when_full(&mut self) -> bool {
        if self.is_stopped() || !self.queue.is_over() {
            return false;
        }
        self.shared.metrics.reading_stopped.inc();
        self.gate.close();
        self.tell(false);
        true
    }

    /// Resolves when reading is stopped and may go on.
    pub(super) async fn room(&self) {
        if !self.is_stopped() {
            return std::future::pending().await;
        }
        while !self.queue.has_room() {
            self.queue.room.notified().await;
        }
    }

    pub(super) fn go_on(&mut self) {
        self.gate.open();
        self.tell(true);
    }

    fn tell(&mut self, reading: bool) {
        self.liveness.set_reading(reading, Instant::now());
        self.shared.reading.send_replace(reading);
    }
}
