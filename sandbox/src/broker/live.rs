//! The handle by which the rest of the broker reaches one live connection.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lock;
use super::packet::Reason;
use super::permissions::Permissions;
use super::presence::DisconnectReason;

/// A live connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Never used twice.
    pub(super) id: u64,
    pub(super) client_id: Arc<str>,
    /// SHA-256 of the client certificate.
    pub(super) fingerprint: String,
    pub(super) since: Instant,
    /// What orders the lifecycle events of this client id.
    pub(super) version: u64,
    pub(super) permissions: Permissions,
    end: Mutex<Option<End>>,
    ended: Notify,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// What presence events say.
    pub(super) cause: DisconnectReason,
    /// The code of the DISCONNECT to an MQTT 5 client; without one the socket is just closed.
    pub(super) reason: Option<Reason>,
    /// Whether the last will is published.
    pub(super) will: bool,
}

// === impl Link ===

impl Link {
    pub(super) fn new(
        id: u64,
        client_id: Arc<str>,
        fingerprint: String,
        version: u64,
        permissions: Permissions,
    ) -> Self {
        Self {
            id,
            client_id,
            fingerprint,
            since: Instant::now(),
            version,
            permissions,
            end: Mutex::new(None),
            ended: Notify::new(),
        }
    }

    /// Asks the connection to end; the first reason stands.
    pub(super) fn end(&self, end: End) {
        lock(&self.end).get_or_insert(end);
        self.ended.notify_one();
    }

    /// Waits until the connection is asked to end.
    pub(super) async fn ended(&self) -> End {
        loop {
            if let Some(end) = *lock(&self.end) {
                return end;
            }
            self.ended.notified().await;
        }
    }
}

// === impl End ===

impl End {
    /// The broker ends it with a reason code.
    pub(super) const fn with_reason(cause: DisconnectReason, reason: Reason) -> Self {
        Self {
            cause,
            reason: Some(reason),
            will: true,
        }
    }

    /// The connection is closed without a DISCONNECT.
    pub(super) const fn silent(cause: DisconnectReason) -> Self {
        Self {
            cause,
            reason: None,
            will: true,
        }
    }
}
