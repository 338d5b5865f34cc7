//! One connection from CONNECT to its last byte, as one task: a reader and a writer future side by side, so that
//! neither a client that does not read nor one that does not stop writing can block the other direction.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use link::iot::limits::{CLIENT_ID_BYTES, KEEP_ALIVE_GRACE_PERCENT};
use link::telemetry::clip;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::faults;
use super::live::{End, Link};
use super::packet::{Message, Reason, Version, Will};
use super::presence::{DisconnectReason, Party, clamp_expiry};
use super::registry::Fingerprint;
use super::session::Session;
use super::shared::Shared;

use self::read::Reader;
use self::write::Writer;

mod handshake;
mod publish;
mod read;
mod subscribe;
mod write;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) certificate: Fingerprint,
    /// The client's address and the one it dialled; absent without a socket.
    pub(super) sockets: Option<(SocketAddr, SocketAddr)>,
    /// When a complete CONNECT must be there.
    pub(super) deadline: Instant,
}

/// An accepted connection, without its socket.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) version: Version,
    pub(super) link: Arc<Link>,
    pub(super) session: Arc<Session>,
    pub(super) keep_alive: Duration,
    pub(super) will: Option<Will>,
    pub(super) address: Option<IpAddr>,
}

/// Serves a connection until it ends.
pub(super) async fn serve<S>(stream: S, peer: Peer, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let Some((connection, mut reader, mut writer)) =
        handshake::accept(stream, &peer, &shared).await
    else {
        return;
    };
    shared.environment.counters.connected.add(1);
    let version = connection.link.version;
    connection.publish_event(shared.presence.connected(&connection.party(), version));
    let end = tokio::select! {
        end = reader.run(&connection) => end,
        end = writer.run(&connection) => end,
        end = connection.link.ended() => end,
        end = connection.registry_ends_it() => end,
        end = connection.lifetime_ends_it() => end,
        () = connection.half_opens() => {
            connection.ended(End::silent(DisconnectReason::ConnectionLost));
            connection.half_open_ends().await;
            return;
        }
    };
    // 3.1.1 has no DISCONNECT from the server: its translation is empty and only the close remains.
    writer.close(end.reason).await;
    connection.ended(end);
}

// === impl Peer ===

impl Peer {
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.sockets.map(|(from, _)| from.ip())
    }
}

// === impl Connection ===

impl Connection {
    /// Leaving ACTIVE ends a connection. IoT Core takes minutes for it (docs/IOT-CORE.md §1.6); here it is at once. The
    /// code is assumed.
    async fn registry_ends_it(&self) -> End {
        let mut changes = self.shared.registry.changes();
        loop {
            if !self.link.permissions.is_active() {
                return End::with_reason(DisconnectReason::AuthError, Reason::NOT_AUTHORIZED);
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// How long a client may be silent, or take nothing of what is sent to it.
    pub(super) fn patience(&self) -> Duration {
        self.keep_alive * KEEP_ALIVE_GRACE_PERCENT / 100
    }

    async fn lifetime_ends_it(&self) -> End {
        let Some(range) = self.shared.environment.faults.get().lifetime else {
            return std::future::pending().await;
        };
        sleep(faults::within(range)).await;
        let cause = DisconnectReason::ServerInitiatedDisconnect;
        if faults::happens(0.5) {
            End::with_reason(cause, Reason::SERVER_SHUTTING_DOWN)
        } else {
            End::silent(cause)
        }
    }

    /// Completes when the broker is to take the connection for lost.
    async fn half_opens(&self) {
        let mut faults = self.shared.environment.faults.watch();
        let client_id = &self.link.client_id;
        let changed = faults.wait_for(|faults| faults::hits(&faults.half_open, client_id));
        if changed.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Completes when the socket of a connection that was taken for lost is to be closed.
    async fn half_open_ends(&self) {
        let mut faults = self.shared.environment.faults.watch();
        let client_id = &self.link.client_id;
        let over = faults.wait_for(|faults| !faults::hits(&faults.half_open, client_id));
        let _ = tokio::time::timeout(HALF_OPEN, over).await;
    }

    fn ended(&self, end: End) {
        let now = Instant::now();
        let shared = &self.shared;
        shared.clients.disconnected(
            &self.link.client_id,
            self.link.id,
            self.session.expiry(),
            (shared.presence.now(), end.cause),
            now,
        );
        shared
            .hub
            .detach(&self.session, self.link.id, &shared.environment, now);
        tracing::debug!(
            client.id = %clip(&self.link.client_id, CLIENT_ID),
            reason = end.cause.as_str(),
            "Connection ended",
        );
        if end.will
            && let Some(will) = &self.will
        {
            let message = self.will_message(will, now);
            shared.hub.publish(&Arc::new(message), &shared.environment);
        }
        let version = self.link.version;
        self.publish_event(
            shared
                .presence
                .disconnected(&self.party(), version, end.cause),
        );
    }

    fn will_message(&self, will: &Will, now: Instant) -> Message {
        Message {
            topic: will.topic.as_str().into(),
            payload: will.payload.clone(),
            qos: will.qos,
            retain: will.retain,
            properties: will.properties.clone(),
            expires_at: will.expiry.map(|expiry| now + clamp_expiry(expiry)),
            publisher: Some(self.link.client_id.clone()),
        }
    }

    /// Whom lifecycle events are about.
    pub(super) fn party(&self) -> Party<'_> {
        Party {
            client_id: &self.link.client_id,
            certificate: &self.link.fingerprint,
            session: self.session.identifier,
            address: self.address,
        }
    }

    /// Publishes a lifecycle event.
    pub(super) fn publish_event(&self, event: Option<Message>) {
        self.shared.publish_event(event);
    }

    /// How a refusal looks to this client: 5 gets the code, 3.1.1 a close (docs/IOT-CORE.md §1.3).
    pub(super) fn refusal(&self, reason: Reason) -> End {
        let cause = match reason {
            Reason::NOT_AUTHORIZED => DisconnectReason::ForbiddenAccess,
            _ => DisconnectReason::ClientError,
        };
        End::with_reason(cause, reason)
    }
}

// Longer than anybody watches; it frees the socket of a client that never looks.
const HALF_OPEN: Duration = Duration::from_secs(60 * 60);

// What a log line shows of a client id: all of it.
const CLIENT_ID: usize = CLIENT_ID_BYTES;
