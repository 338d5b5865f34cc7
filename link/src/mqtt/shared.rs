//! What driver, pump and deliveries share: the client handle, the connection's number, what the broker allows, and the
//! deliveries that may still be acked.

use std::collections::HashSet;
use std::sync::Mutex;

use rumqttc::{AsyncClient, DisconnectProperties, DisconnectReasonCode, ManualAck, PubAck};
use tokio::sync::{Notify, watch};

use super::metrics::SessionMetrics;
use super::state::{State, Subscriptions};

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

/// Whether the session still subscribes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unsubscribing {
    /// It does.
    #[default]
    No,
    /// An UNSUBSCRIBE is to be sent, on this connection or the next one.
    Asked,
    /// The broker has confirmed it.
    Done,
}

pub(super) struct Shared {
    client: Mutex<AsyncClient>,
    pub(super) connection: watch::Sender<Connection>,
    pub(super) state: watch::Sender<State>,
    /// Whether what the broker sends is read; while it is not, no answer can come.
    pub(super) reading: watch::Sender<bool>,
    pub(super) unsubscribing: watch::Sender<Unsubscribing>,
    /// The filters to subscribe to.
    pub(super) filters: watch::Sender<Vec<String>>,
    /// The subscriptions that the broker has confirmed.
    pub(super) subscriptions: watch::Sender<Subscriptions>,
    pub(super) metrics: SessionMetrics,
    reconnect: Notify,
    reconnect_reason: Mutex<&'static str>,
    message_fault: Mutex<Option<String>>,
    packet_limit: Mutex<Option<usize>>,
    // Guards the send as well, so that no ack of an old connection can slip into the library's queue after the driver
    // emptied it: the library takes a stale or repeated ack for a broken session.
    unacked: Mutex<Unacked>,
}

/// The connection whose deliveries may be acked (0 for none), and those of its packet ids that were not yet.
#[derive(Default)]
struct Unacked {
    connection: u64,
    packet_ids: HashSet<u16>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(client: AsyncClient, metrics: SessionMetrics, filters: Vec<String>) -> Self {
        Self {
            client: Mutex::new(client),
            connection: watch::Sender::new(Connection::default()),
            state: watch::Sender::new(State::Connecting),
            reading: watch::Sender::new(true),
            unsubscribing: watch::Sender::default(),
            filters: watch::Sender::new(filters),
            subscriptions: watch::Sender::default(),
            metrics,
            reconnect: Notify::new(),
            reconnect_reason: Mutex::new(""),
            message_fault: Mutex::new(None),
            packet_limit: Mutex::new(None),
            unacked: Mutex::default(),
        }
    }

    /// The handle of the library's event loop of now. What was asked for by an older one fails.
    pub(super) fn client(&self) -> AsyncClient {
        locked(&self.client).clone()
    }

    /// Does something with the library on this connection; `None` when that is gone. The driver says that it is gone before it
    /// empties the library's queue, so that nothing can slip into the queue of the next one, before what was lost with this.
    pub(super) fn while_connected<T>(
        &self,
        connection: Connection,
        act: impl FnOnce(AsyncClient) -> T,
    ) -> Option<T> {
        // Held meanwhile: the driver waits with what it has to say.
        let now = self.connection.borrow();
        (*now == connection).then(|| act(self.client()))
    }

    /// Says what the session is doing on this connection; `false`, and nothing said, when that is gone: the driver has said
    /// since what it does instead.
    pub(super) fn say(&self, connection: Connection, state: State) -> bool {
        let say = |_| self.state.send_replace(state);
        self.while_connected(connection, say).is_some()
    }

    /// Disconnects, and ends the broker's session too. The library's event loop ends with it.
    pub(super) fn end_session(&self) {
        let properties = DisconnectProperties {
            session_expiry_interval: Some(0),
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        };
        let reason = DisconnectReasonCode::NormalDisconnection;
        if let Err(error) = self
            .client()
            .try_disconnect_now_with_properties(reason, properties)
        {
            tracing::warn!(%error, "Could not queue the DISCONNECT");
        }
    }

    /// Disconnects after what was asked for before, acks too, and leaves the broker's session to its expiry. The library's
    /// event loop ends with it.
    pub(super) fn leave_session(&self) {
        if let Err(error) = self.client().try_disconnect() {
            tracing::warn!(%error, "Could not queue the DISCONNECT");
        }
    }

    /// The same without waiting for any answer of the broker: one that never comes would keep the DISCONNECT back. What
    /// was to be acked just now is delivered again to whoever resumes the session.
    pub(super) fn leave_session_at_once(&self) {
        if let Err(error) = self.client().try_disconnect_now() {
            tracing::warn!(%error, "Could not queue the DISCONNECT");
        }
    }

    pub(super) fn replace_client(&self, client: AsyncClient) {
        *locked(&self.client) = client;
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

    /// The driver notes that the connection ended because of a message.
    pub(super) fn note_message_fault(&self, reason: String) {
        *locked(&self.message_fault) = Some(reason);
    }

    pub(super) fn take_message_fault(&self) -> Option<String> {
        locked(&self.message_fault).take()
    }

    /// The largest packet the broker takes, as its last CONNACK said; `None` before the first, or if it said nothing.
    pub(super) fn packet_limit(&self) -> Option<usize> {
        *locked(&self.packet_limit)
    }

    /// Notes what a CONNACK said.
    pub(super) fn set_packet_limit(&self, limit: Option<usize>) {
        *locked(&self.packet_limit) = limit;
    }

    /// Deliveries of this connection may be acked from now on, and none of the one before.
    pub(super) fn allow_acks(&self, connection: u64) {
        *locked(&self.unacked) = Unacked {
            connection,
            packet_ids: HashSet::new(),
        };
    }

    /// No delivery may be acked until the next connection.
    pub(super) fn refuse_acks(&self) {
        self.allow_acks(0);
    }

    /// Notes that the connection that is up delivered a message which wants an ack.
    pub(super) fn expect_ack(&self, packet_id: u16) {
        locked(&self.unacked).packet_ids.insert(packet_id);
    }

    /// Queues a PUBACK; drops it when its connection is gone, because the broker will deliver again, and when the same
    /// delivery was acked already.
    pub(super) fn ack(&self, connection: u64, packet_id: u16) {
        let mut unacked = locked(&self.unacked);
        if unacked.connection != connection || !unacked.packet_ids.remove(&packet_id) {
            return;
        }
        if let Err(error) = self
            .client()
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
