//! The interface to the MQTT session: deliveries in, publishes out. Tests implement it without a broker.

use std::future::Future;

use link::message::Message;
use tokio::sync::watch;

/// A message that came in and is not acknowledged yet.
pub struct Incoming {
    message: Message,
    ack: PendingAck,
}

/// An acknowledgement that is pending. Dropped unused, the broker delivers again with the next connection.
pub struct PendingAck(Box<dyn FnOnce() + Send>);

/// Where deliveries come from.
pub trait Downlink: Send + Sync + 'static {
    /// The next delivery, or `None` when the session has ended.
    fn recv(&mut self) -> impl Future<Output = Option<Incoming>> + Send;
}

/// Where messages go. Clones share one session.
pub trait Uplink: Clone + Send + Sync + 'static {
    /// Publishes at least once and waits for the broker's acknowledgement.
    ///
    /// # Errors
    /// [`PublishFailure`] says whether trying again can help.
    fn publish(
        &self,
        message: Message,
    ) -> impl Future<Output = Result<Published, PublishFailure>> + Send;

    /// How the subscription stands; a new generation means that events may have been missed.
    fn subscription(&self) -> watch::Receiver<Subscription>;
}

/// How the subscription stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Rises with every SUBACK.
    pub generation: u64,
    /// Whether it is in force now.
    pub active: bool,
}

/// A message that the broker took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Whether anybody was subscribed (PUBACK reason 0x10 says no).
    pub matched: bool,
}

/// A message that the broker did not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PublishFailure {
    /// What happened, with its whole chain.
    pub message: String,
    /// Whether the same message may succeed later.
    pub retryable: bool,
}

// === impl Incoming ===

impl Incoming {
    /// A delivery; `ack` is called at most once. Dropped without it the broker delivers again.
    pub fn new(message: Message, ack: impl FnOnce() + Send + 'static) -> Self {
        Self {
            message,
            ack: PendingAck(Box::new(ack)),
        }
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Tells the broker that the effect is durable.
    pub fn ack(self) {
        self.ack.ack();
    }

    /// The acknowledgement alone, without the message.
    pub fn into_pending_ack(self) -> PendingAck {
        self.ack
    }
}

// === impl PendingAck ===

impl PendingAck {
    /// Tells the broker that the effect is durable.
    pub fn ack(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for PendingAck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingAck")
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("topic", &self.message.topic)
            .finish_non_exhaustive()
    }
}
