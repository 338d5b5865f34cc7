//! What a session is doing, for readiness checks, resync and people.

use std::sync::Arc;
use std::time::Duration;

use super::reason::{ConnectError, SubscribeError};

/// What a session is doing.
#[derive(Clone, Debug)]
pub enum State {
    /// Dialling, or waiting for CONNACK and SUBACK.
    Connecting,
    /// Connected and subscribed: publishes flow.
    Ready {
        /// Rises with every connection that became ready, so that a watcher that missed a short gap still sees it.
        epoch: u64,
        /// Whether the broker kept the session, and with it the messages of the gap.
        resumed: bool,
    },
    /// The broker refused a subscription; asked again after a while.
    Unsubscribed(Arc<SubscribeError>),
    /// Not connected; the next attempt comes after the delay.
    Waiting {
        /// Why the last connection ended or could not be made.
        error: Arc<ConnectError>,
        /// Delay before the next attempt; zero while this process may not be connected.
        retry_in: Duration,
    },
    /// Shut down.
    Closed,
}

/// The subscriptions that the broker has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// The number of the broker's session that holds the subscriptions; 0 before the first. It rises with each session
    /// that began without them, so that a watcher sees that messages may have been lost even when it missed a short gap.
    pub session: u64,
    /// The filters.
    pub filters: Vec<String>,
}

// === impl State ===

impl State {
    /// Whether publishes flow.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Whether nothing comes in because the session was ended on purpose: shut down, or withheld.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Waiting { error, .. } => matches!(**error, ConnectError::Withheld(_)),
            _ => false,
        }
    }

    /// The number of the ready connection, if it is one.
    pub fn epoch(&self) -> Option<u64> {
        match self {
            Self::Ready { epoch, .. } => Some(*epoch),
            _ => None,
        }
    }
}
