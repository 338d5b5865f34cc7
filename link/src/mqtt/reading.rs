//! Whether the connection is read: the queue of received messages, the pause of the socket, and the watch over a broker
//! that sends nothing. They stand together because while nothing is read the broker cannot be said to send nothing.

use std::sync::Arc;

use tokio::time::Instant;

use super::inbound::Queue;
use super::liveness::{Liveness, PING_INTERVAL};
use super::shared::Shared;
use super::socket::ReadPause;

pub(super) struct Reading {
    pub(super) queue: Arc<Queue>,
    pub(super) liveness: Liveness,
    pause: ReadPause,
    shared: Arc<Shared>,
}

// === impl Reading ===

impl Reading {
    pub(super) fn new(queue: Arc<Queue>, pause: ReadPause, shared: Arc<Shared>) -> Self {
        Self {
            queue,
            liveness: Liveness::new(PING_INTERVAL, Instant::now()),
            pause,
            shared,
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.pause.is_paused()
    }

    /// Whether a peer was reached since this was last asked.
    pub(super) fn reached(&self) -> bool {
        self.pause.take_reached()
    }

    /// Stops when the queue is over its bound; returns whether it did.
    pub(super) fn stop_when_full(&mut self) -> bool {
        if self.is_stopped() || !self.queue.is_over() {
            return false;
        }
        self.shared.metrics.reading_stopped.inc();
        self.pause.pause();
        self.set_reading(false);
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
        self.pause.resume();
        self.set_reading(true);
    }

    fn set_reading(&mut self, reading: bool) {
        self.liveness.set_reading(reading, Instant::now());
        self.shared.reading.send_replace(reading);
    }
}
