//! The controls of a broker: what is connected, and what is done to it from outside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::iot::ArnPrefix;
use tokio::io::DuplexStream;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use super::connection::{self, Peer};
use super::counters::Counts;
use super::faults::Faults;
use super::live::End;
use super::packet::Reason;
use super::presence::DisconnectReason;
use super::registry::{Fingerprint, Registry};
use super::shared::Shared;

pub use self::data_plane::{Content, DirectError, Publication};

mod data_plane;

/// Controls of a broker; clones control the same one.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) addresses: Addresses,
    pub(super) tasks: TaskTracker,
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) mqtt: SocketAddr,
    pub(super) alpn: Option<SocketAddr>,
    pub(super) https: Option<SocketAddr>,
}

/// One live connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The client id.
    pub client_id: String,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    /// How long it has been up.
    pub age: Duration,
    /// Filters it subscribed to, sorted.
    pub subscriptions: Vec<String>,
    /// Messages waiting for it or not acknowledged by it.
    pub backlog: usize,
}

// === impl Handle ===

impl Handle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses.mqtt
    }

    /// Where it listens for clients with ALPN, as on port 443.
    pub fn alpn_addr(&self) -> Option<SocketAddr> {
        self.addresses.alpn
    }

    /// Where it answers HTTPS, as on port 8443.
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.addresses.https
    }

    /// Certificates and policies.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Account and region.
    pub fn arn(&self) -> &ArnPrefix {
        &self.shared.arn
    }

    /// The faults to switch on.
    pub fn faults(&self) -> &Faults {
        &self.shared.environment.faults
    }

    /// What happened to messages so far.
    pub fn counts(&self) -> Counts {
        self.shared.environment.counters.snapshot()
    }

    /// The live connections, by client id.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let now = Instant::now();
        let mut all: Vec<_> = self
            .shared
            .hub
            .sessions()
            .into_iter()
            .filter_map(|session| {
                let link = session.link()?;
                let mut subscriptions: Vec<_> = session
                    .subscriptions()
                    .into_iter()
                    .map(|(filter, _)| filter)
                    .collect();
                subscriptions.sort();
                Some(ConnectionInfo {
                    client_id: link.client_id.to_string(),
                    fingerprint: link.fingerprint.clone(),
                    age: now.saturating_duration_since(link.since),
                    subscriptions,
                    backlog: session.backlog(),
                })
            })
            .collect();
        all.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        all
    }

    /// Messages kept for a client, connected or not; `None` without a session.
    pub fn backlog(&self, client_id: &str) -> Option<usize> {
        self.shared
            .hub
            .session(client_id)
            .map(|session| session.backlog())
    }

    /// DeleteConnection: ends a client's connection, with its session if `clean_session`; whether there was one.
    /// Its last will is published. The code an MQTT 5 client sees is assumed to be 0x98 (docs/IOT-CORE.md §2 point 18).
    pub fn disconnect(&self, client_id: &str, clean_session: bool) -> bool {
        self.end(client_id, clean_session, true)
    }

    /// As [`Self::disconnect`], without the last will.
    pub fn disconnect_without_will(&self, client_id: &str, clean_session: bool) -> bool {
        self.end(client_id, clean_session, false)
    }

    fn end(&self, client_id: &str, clean_session: bool, will: bool) -> bool {
        let Some(link) = self.shared.hub.link(client_id) else {
            return false;
        };
        if clean_session && let Some(session) = self.shared.hub.session(client_id) {
            session.set_expiry(Duration::ZERO);
        }
        let cause = DisconnectReason::ApiInitiatedDisconnect;
        link.end(End {
            will,
            ..End::with_reason(cause, Reason::ADMINISTRATIVE_ACTION)
        });
        true
    }

    /// A connection without a socket and TLS, for tests of time: with a paused clock it takes no time at all.
    /// `certificate` is who the client claims to be.
    pub fn connect_in_process(&self, certificate: &Fingerprint) -> DuplexStream {
        let (client, server) = tokio::io::duplex(IN_PROCESS_BUFFER);
        let peer = Peer {
            certificate: certificate.clone(),
            sockets: None,
            deadline: Instant::now() + self.shared.environment.limits.connect_timeout,
        };
        self.tasks.spawn(Box::pin(connection::serve(
            server,
            peer,
            self.shared.clone(),
        )));
        client
    }

    pub(super) async fn housekeeping(&self) {
        let mut tick = interval(HOUSEKEEPING);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.shared.hub.expire(Instant::now());
            self.shared.clients.expire(Instant::now());
        }
    }
}

// Sessions end within a second of their time.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

// What a socket's buffer holds by default on Linux loopback, so that back-pressure looks alike.
const IN_PROCESS_BUFFER: usize = 128 * 1024;
