//! Received messages and the guard that acks them.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::IN_FLIGHT_WINDOW;
use super::shared::Shared;
use crate::message::Message;

/// Received messages in the broker's order.
pub struct Inbound {
    queue: mpsc::Receiver<Delivery>,
}

/// A received message. Acked when its effect is durable; dropped without an ack it is delivered again on the
/// next connection.
pub struct Delivery {
    /// The message.
    pub message: Message,
    connection: u64,
    packet_id: Option<u16>,
    shared: Arc<Shared>,
}

// === impl Inbound ===

impl Inbound {
    pub(super) fn new() -> (mpsc::Sender<Delivery>, Self) {
        let (sender, queue) = mpsc::channel(CAPACITY);
        (sender, Self { queue })
    }

    /// The next message; `None` once the session is shut down.
    pub async fn recv(&mut self) -> Option<Delivery> {
        self.queue.recv().await
    }

    /// The next message if one is waiting.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        self.queue.try_recv().ok()
    }
}

// === impl Delivery ===

impl Delivery {
    pub(super) fn new(
        message: Message,
        connection: u64,
        packet_id: Option<u16>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            message,
            connection,
            packet_id,
            shared,
        }
    }

    /// Tells the broker that the message is taken care of. Without effect for QoS 0, and for a connection that is
    /// gone: the broker will deliver again.
    pub fn ack(self) {
        if let Some(packet_id) = self.packet_id {
            self.shared.ack(self.connection, packet_id);
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// Deliveries that may wait for the consumer: one window of this connection, one that a reconnect delivers again,
/// and as many QoS 0 messages as half a window.
const CAPACITY: usize = IN_FLIGHT_WINDOW as usize * 5 / 2;
