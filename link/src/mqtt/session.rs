//! The handle that publishes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rumqttc::QoS;
use tokio::sync::{mpsc, oneshot, watch};

use super::IN_FLIGHT_WINDOW;
use super::reason::PublishError;
use super::shared::{Shared, Unsubscribing};
use super::state::{State, Subscriptions};
use crate::iot::limits::{ConnectionLimits, LimitError};
use crate::message::Message;

/// Publishes through one connection; clones share it.
#[derive(Clone)]
pub struct Session {
    queue: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    limits: Arc<ConnectionLimits>,
}

/// Delivery guarantee of one publish. There is no QoS 2 on IoT Core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qos {
    /// Written to the socket, nothing more.
    AtMostOnce,
    /// Acknowledged by the broker.
    #[default]
    AtLeastOnce,
}

/// The broker has the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Whether there is a subscriber: `false` stands for PUBACK 0x10, "no matching subscribers".
    pub matched: bool,
}

/// Resolves with the broker's acknowledgement. Dropped before the message went out, it withdraws the message.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Ack, PublishError>>);

pub(super) struct Outgoing {
    pub(super) message: Message,
    pub(super) qos: Qos,
    pub(super) receipt: oneshot::Sender<Result<Ack, PublishError>>,
}

// === impl Qos ===

impl Qos {
    pub(super) fn as_sent(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce => QoS::AtLeastOnce,
        }
    }
}

// === impl Session ===

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        limits: ConnectionLimits,
    ) -> (Self, mpsc::Receiver<Outgoing>) {
        let (queue, outgoing) = mpsc::channel(QUEUE_CAPACITY);
        (
            Self {
                queue,
                shared,
                limits: Arc::new(limits),
            },
            outgoing,
        )
    }

    /// Queues a QoS 1 publish. Waits while the queue is full, also when disconnected.
    ///
    /// # Errors
    /// [`PublishError::Limit`] at once when the message does not fit the limits or what the broker said in CONNACK; a
    /// receipt fails with it when a later connection takes less. [`PublishError::Closed`] after shutdown.
    pub async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        self.publish_with(message, Qos::AtLeastOnce).await
    }

    /// Queues a publish with a chosen guarantee.
    ///
    /// # Errors
    /// As [`Session::publish`].
    pub async fn publish_with(&self, message: Message, qos: Qos) -> Result<Receipt, PublishError> {
        self.check(&message)?;
        let (receipt, resolved) = oneshot::channel();
        let outgoing = Outgoing {
            message,
            qos,
            receipt,
        };
        self.queue
            .send(outgoing)
            .await
            .map_err(|_| PublishError::Closed)?;
        Ok(Receipt(resolved))
    }

    /// Measures a message as it will be sent. What passes can be encoded: nothing else reaches the client library, which
    /// would take its own error for a broken connection and try again for ever.
    fn check(&self, message: &Message) -> Result<(), PublishError> {
        let mut fits = self.limits.check_message(message);
        if let (Ok(()), Some(limit)) = (&fits, self.shared.packet_limit()) {
            fits = fits_packet(message, limit);
        }
        fits.map_err(|source| PublishError::limit(&message.topic, source))
    }

    /// Ends receiving for good, on this connection or the next one; publishing goes on. Returns when the broker has
    /// confirmed it, or the session was ended. What the broker gave to this session before still comes, and is acked.
    pub async fn unsubscribe(&self) {
        self.shared.unsubscribing.send_if_modified(|leaving| {
            let first = *leaving == Unsubscribing::No;
            if first {
                *leaving = Unsubscribing::Asked;
            }
            first
        });
        let (mut leaving, mut state) = (self.shared.unsubscribing.subscribe(), self.state());
        tokio::select! {
            _ = leaving.wait_for(|leaving| *leaving == Unsubscribing::Done) => {}
            _ = state.wait_for(State::is_ended) => {}
        }
    }

    /// Subscribes to these filters in place of those before, on this connection and on every session of the broker
    /// after it; publishing waits for the answer. A filter that is left out is delivered until the broker's session
    /// ends. [`Self::subscriptions`] says what the broker confirmed, [`State::Unsubscribed`] what it refused.
    pub fn listen(&self, filters: Vec<String>) {
        self.shared.filters.send_if_modified(|wanted| {
            let changed = *wanted != filters;
            *wanted = filters;
            changed
        });
    }

    /// What the broker delivers to this session. It stays what it was while there is no connection.
    pub fn subscriptions(&self) -> watch::Receiver<Subscriptions> {
        self.shared.subscriptions.subscribe()
    }

    /// The Maximum Packet Size of the last CONNACK, in bytes; `None` before the first, and where the broker named none.
    pub fn packet_limit(&self) -> Option<usize> {
        self.shared.packet_limit()
    }

    /// What the session is doing; watchers see every change of epoch.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Waits until publishes flow. Returns `false` if the session was shut down instead.
    pub async fn ready(&self) -> bool {
        let mut state = self.state();
        let reached = state
            .wait_for(|state| state.is_ready() || matches!(state, State::Closed))
            .await;
        reached.is_ok_and(|state| state.is_ready())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

// === impl Receipt ===

impl Future for Receipt {
    type Output = Result<Ack, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|resolved| resolved.unwrap_or(Err(PublishError::Closed)))
    }
}

/// Whether a message fits the Maximum Packet Size of a CONNACK.
pub(super) fn fits_packet(message: &Message, limit: usize) -> Result<(), LimitError> {
    let bytes = message.packet_bytes();
    if bytes > limit {
        return Err(LimitError::Packet { bytes, limit });
    }
    Ok(())
}

// Two windows: one in flight, one ready to follow, so that the pump never waits for its callers.
const QUEUE_CAPACITY: usize = 2 * IN_FLIGHT_WINDOW as usize;
