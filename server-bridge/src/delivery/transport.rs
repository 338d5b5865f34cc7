//! Delivery's interface to MQTT: traits for publishing and receiving, implemented by sessions and by test doubles.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use link::message::Message;
use link::mqtt::{Ack, Inbound, PublishError, Session, State};
use tokio::sync::{Mutex, watch};

/// One connection to the broker, as far as delivery publishes through it.
pub(super) trait Outlet: Send + Sync + 'static {
    /// Queues a message; the inner future resolves with the broker's acknowledgement. Messages leave in the order in
    /// which they were queued.
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<Receipt, PublishError>>;

    /// Ends receiving for good; returns when the broker has confirmed it, or the connection is shut down.
    fn unsubscribe(&self) -> BoxFuture<'_, ()>;

    /// What the connection is doing.
    fn state(&self) -> watch::Receiver<State>;
}

/// Resolves with the broker's acknowledgement.
pub(super) type Receipt = BoxFuture<'static, Result<Ack, PublishError>>;

/// Where received messages come from.
pub(super) trait Intake: Send + 'static {
    /// The next message; `None` once the session is shut down.
    fn recv(&mut self) -> BoxFuture<'_, Option<Incoming>>;
}

/// A source of messages that a task takes up again where the last one left it.
pub(super) type SharedIntake = Arc<Mutex<Box<dyn Intake>>>;

/// A received message, and how to acknowledge it. Dropped without it, the broker delivers it again on the next
/// connection.
pub(super) struct Incoming {
    pub(super) message: Message,
    ack: Box<dyn FnOnce() + Send>,
}

// === impl Incoming ===

impl Incoming {
    pub(super) fn new(message: Message, ack: impl FnOnce() + Send + 'static) -> Self {
        Self {
            message,
            ack: Box::new(ack),
        }
    }

    /// Tells the broker that the message is taken care of.
    pub(super) fn ack(self) {
        (self.ack)();
    }
}

// === impl Outlet, Intake for a session ===

impl Outlet for Session {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<Receipt, PublishError>> {
        async move {
            let receipt = Session::publish(self, message).await?;
            Ok(receipt.boxed())
        }
        .boxed()
    }

    fn unsubscribe(&self) -> BoxFuture<'_, ()> {
        Session::unsubscribe(self).boxed()
    }

    fn state(&self) -> watch::Receiver<State> {
        Session::state(self)
    }
}

impl Intake for Inbound {
    fn recv(&mut self) -> BoxFuture<'_, Option<Incoming>> {
        async move {
            let mut delivery = Inbound::recv(self).await?;
            let message = std::mem::take(&mut delivery.message);
            Some(Incoming::new(message, move || delivery.ack()))
        }
        .boxed()
    }
}
