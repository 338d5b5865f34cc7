//! What driver, pump and deliveries share: the client handle, the connection's number and the ack gate.

use std::sync::Mutex;

use rumqttc::{AsyncClient, ManualAck, PubAck};
use tokio::sync::{Notify, watch};

use super::metrics::Metrics;
use super::state::State;

/// The connection as the driver sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Connection {
    /// Rises with every CONNACK.
    pub(super) number: u64,
    /// Whether it is up.
    pub(super) up: bool,
    /// Rises whenever the broker started a session without our subscriptions.
    pub(super) broker_session: u64,
    /// Whether the broker kept the session of the previous connection.
    pub(super) resumed: bool,
}

pub(super) struct Shared {
    pub(super) client: AsyncClient,
    pub(super) connection: watch::Sender<Connection>,
    pub(super) state: watch::Sender<State>,
    pub(super) metrics: Metrics,
    reconnect: Notify,
    reconnect_reason: Mutex<&'static str>,
    message_fault: Mutex<Option<String>>,
    // Number of the connection whose deliveries may be acked. Guards the send as well, so that no ack of an old
    // connection can slip into the library's queue after the driver emptied it: a stale ack ends the next one.
    ack_gate: Mutex<u64>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(client: AsyncClient, metrics: Metrics) -> Self {
        Self {
            client,
            connection: watch::Sender::new(Connection::default()),
            state: watch::Sender::new(State::Connecting),
            metrics,
            reconnect: Notify::new(),
            reconnect_reason: Mutex::new(""),
            message_fault: Mutex::new(None),
            ack_gate: Mutex::new(0),
        }
    }

    /// The pump asks the driver to reconnect.
    pub(super) fn ask_reconnect(&self, reason: &'static str) {
        *locked(&self.reconnect_reason) = reason;
        self.reconnect.notify_one();
    }

    /// Resolves when the pump asked for a new connection, with its reason.
    pub(super) async fn reconnect_asked(&self) -> &'static str {
        self.reconnect.notified().await;
        *locked(&self.reconnect_reason)
    }

    /// The driver notes that the broker hung up because of a message.
    pub(super) fn note_message_fault(&self, reason: String) {
        *locked(&self.message_fault) = Some(reason);
    }

    pub(super) fn take_message_fault(&self) -> Option<String> {
        locked(&self.message_fault).take()
    }

    pub(super) fn open_ack_gate(&self, connection: u64) {
        *locked(&self.ack_gate) = connection;
    }

    pub(super) fn close_ack_gate(&self) {
        self.open_ack_gate(0);
    }

    /// Queues a PUBACK; drops it when its connection is gone, because the broker will deliver again.
    pub(super) fn ack(&self, connection: u64, packet_id: u16) {
        let gate = locked(&self.ack_gate);
        if *gate != connection {
            return;
        }
        if let Err(error) = self
            .client
            .try_manual_ack(ManualAck::PubAck(PubAck::new(packet_id, None)))
        {
            tracing::warn!(%error, "Could not queue a PUBACK; the broker will deliver the message again");
        }
    }
}

// The sections under these locks cannot panic half-way, so a poisoned lock holds sound data.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
