//! Received messages, the queue in which they wait for their consumer, and the guard that acks them.
//!
//! **Contract:** a message that was received is never dropped because its consumer is behind: it waits here. The queue is
//! bounded by bytes; over the bound the driver stops reading from the connection, and the broker waits.
//! **Invariant:** after a reconnect into a kept session nothing that came in it before waits here: the broker delivers it
//! again, and what cannot be acked would only be done twice.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rumqttc::{Publish, PublishProperties};
use tokio::sync::Notify;

use super::IN_FLIGHT_WINDOW;
use super::shared::Shared;
use crate::iot::limits::PACKET_BYTES;
use crate::message::{ExtraProperties, Message};

/// Received messages in the broker's order.
pub struct Inbound {
    queue: Arc<Queue>,
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

/// What was received and not yet taken.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// Told when the consumer has taken enough for reading to go on.
    pub(super) room: Notify,
    closed: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    // Nobody will ever take anything: the session only publishes.
    abandoned: bool,
}

// === impl Inbound ===

impl Inbound {
    pub(super) fn new() -> (Arc<Queue>, Self) {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            room: Notify::new(),
            closed: AtomicBool::new(false),
        });
        (queue.clone(), Self { queue })
    }

    /// The next message; `None` once the session is shut down.
    pub async fn recv(&mut self) -> Option<Delivery> {
        loop {
            // Asked before looking: what closes the queue after the look still leaves its permit.
            let closed = self.queue.closed.load(Ordering::Acquire);
            if let Some(delivery) = self.queue.pop() {
                return Some(delivery);
            }
            if closed {
                return None;
            }
            self.queue.arrived.notified().await;
        }
    }

    /// The next message if one is waiting.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        self.queue.pop()
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let mut waiting = self.queue.locked();
        waiting.abandoned = true;
        let left = std::mem::take(&mut waiting.deliveries);
        waiting.bytes = 0;
        drop(waiting);
        drop(left);
        self.queue.room.notify_one();
    }
}

// === impl Queue ===

impl Queue {
    pub(super) fn push(&self, delivery: Delivery) {
        let mut waiting = self.locked();
        if waiting.abandoned {
            return;
        }
        waiting.bytes += delivery.weight();
        waiting.deliveries.push_back(delivery);
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Whether so much waits that no more should be read.
    pub(super) fn is_over(&self) -> bool {
        self.locked().bytes >= BUFFER_BYTES
    }

    /// Whether enough was taken for reading to go on: well below the bound, so that it does not start and stop with
    /// every message.
    pub(super) fn has_room(&self) -> bool {
        self.locked().bytes <= BUFFER_BYTES / 2
    }

    /// Drops what came over these connections: the broker kept their session and delivers it again. What an older
    /// session left stays, because that is not delivered again.
    pub(super) fn forget(&self, connections: &Range<u64>) {
        let mut waiting = self.locked();
        waiting.deliveries.retain(|delivery| {
            delivery.packet_id.is_none() || !connections.contains(&delivery.connection)
        });
        waiting.bytes = waiting.deliveries.iter().map(Delivery::weight).sum();
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Delivery> {
        let mut waiting = self.locked();
        let delivery = waiting.deliveries.pop_front()?;
        waiting.bytes -= delivery.weight();
        let has_room = waiting.bytes <= BUFFER_BYTES / 2;
        drop(waiting);
        if has_room {
            self.room.notify_one();
        }
        Some(delivery)
    }

    // Nothing under this lock panics half-way.
    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The number under which the broker expects the ack; `None` at QoS 0, which has none.
    pub fn packet_id(&self) -> Option<u16> {
        self.packet_id
    }

    fn weight(&self) -> usize {
        self.message.metered_bytes() + OVERHEAD_BYTES
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", &self.message.topic)
            .field("payload_bytes", &self.message.payload.len())
            .finish_non_exhaustive()
    }
}

/// A message as the client library received it.
pub(super) fn received(publish: &Publish) -> Message {
    let properties = publish.properties.as_ref();
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.clone(),
        content_type: properties.and_then(|properties| properties.content_type.clone()),
        user_properties: properties
            .map(|properties| properties.user_properties.clone())
            .unwrap_or_default(),
        retain: publish.retain,
        expiry_seconds: properties.and_then(|properties| properties.message_expiry_interval),
        extra: properties.and_then(extra),
    }
}

fn extra(properties: &PublishProperties) -> Option<Box<ExtraProperties>> {
    let extra = ExtraProperties {
        payload_format_indicator: properties.payload_format_indicator,
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.clone(),
    };
    (extra != ExtraProperties::default()).then(|| Box::new(extra))
}

/// Bytes that may wait for the consumer before reading stops: two windows of the largest packets (30 MB), so that a
/// broker that keeps the window never fills it, whatever is acked late.
pub(super) const BUFFER_BYTES: usize = 2 * IN_FLIGHT_WINDOW as usize * PACKET_BYTES;

// What a message takes besides its text: handles, lengths and the queue's own slot.
const OVERHEAD_BYTES: usize = 512;
