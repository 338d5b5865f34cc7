//! The sidecar of a Go Maestro server: it listens for plain MQTT 5 on loopback only, and carries the server's events over
//! this project's sessions to the broker.
//!
//! ```text
//!   Maestro ──MQTT 5, loopback──▶ near ─▶ lanes ─▶ far: sessions ──mutual TLS──▶ IoT Core
//!                                 near ◀── up   ◀──
//! ```
//!
//! **Invariant:** nothing is acknowledged to one side before the other side acknowledged it.
//! **Invariant:** nothing is kept on disk. What a loss takes, the server's resync brings back; so that it comes to resync,
//! its connection is closed when the broker began a session anew (`connection`, `far`).
//! **Invariant:** every queue is bounded, and who is ahead waits: the server by its receive maximum and by what is not read
//! from it, the broker by its window.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use link::admin::Checks;
use link::clock::Clock;
use link::endpoint::{Endpoint, Runner, SessionSpec};
use link::error::{ExitKind, Failure};
use link::id::{ClientId, SourceId};
use link::mqtt::{IN_FLIGHT_WINDOW, Reconnect, SHARED_SESSION_EXPIRY};
use link::party::Party;
use link::shutdown::Drain;
use link::supervise::TaskGroup;
use link::topic::Scheme;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::far::{ABSENT, Far};
use self::metrics::SidecarMetrics;
use self::near::Near;
use self::rights::TopicRights;
use self::up::Up;

mod connection;
mod end;
mod far;
mod handshake;
mod lanes;
mod log;
mod metrics;
mod near;
mod packet;
mod rights;
mod up;

/// Everything a sidecar needs to know.
#[derive(Clone, Debug)]
pub struct SidecarSettings {
    /// Broker, topics and certificate.
    pub endpoint: Endpoint,
    /// The source that the server speaks for.
    pub source: SourceId,
    /// Its client id, or what its client ids begin with.
    pub client_id: ClientId,
    /// The number of this replica, among several that each have a sidecar.
    pub slot: Option<u16>,
    /// MQTT connections, at least one.
    pub connections: u16,
    /// When to connect again.
    pub reconnect: Reconnect,
    /// How long the sessions stay connected without a server.
    pub grace: Duration,
    /// Wall clock.
    pub clock: Clock,
}

/// A sidecar that is ready to run: its socket is bound, nothing is dialled.
pub struct Sidecar {
    listener: TcpListener,
    near: Arc<Near>,
    runner: Runner,
    grace: Duration,
}

/// Binds the server's side.
///
/// # Errors
/// When the address is not loopback, or cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        let failure = Failure::usage(format!(
            "`{address}` is not a loopback address, and what is spoken there is neither encrypted nor authenticated"
        ));
        return Err(failure.with_hint(
            "run the sidecar beside the Maestro server, in its pod, and listen on 127.0.0.1:1883"
                .to_owned(),
        ));
    }
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(
            ExitKind::Failed,
            format!("listen for the Maestro server on `{address}`: {error}"),
        )
    })
}

// === impl SidecarSettings ===

impl SidecarSettings {
    /// Builds the sidecar on a socket that is bound. Adds the readiness checks `identity`, `broker` (with a number from the
    /// second session on) and `server`.
    ///
    /// # Errors
    /// What is wrong with the names or the certificate, or a metric that is registered twice.
    pub fn build_on(
        self,
        listener: TcpListener,
        registry: &Registry,
        checks: &Checks,
    ) -> Result<Sidecar, Failure> {
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let scheme = self.scheme();
        let (base, connections) = (&self.client_id, self.connections);
        let party = match self.slot {
            None => Party::bridge(&scheme, &self.source, base, connections),
            Some(slot) => Party::replica(&scheme, &self.source, base, slot, connections),
        };
        let lines = party.map_err(Failure::misuse)?.client_ids().into_iter();
        let lines = lines.map(|client_id| SessionSpec {
            client_id,
            subscriptions: Vec::new(),
            listens_later: true,
        });
        let (reconnect, clock) = (&self.reconnect, self.clock.clone());
        let links = self
            .endpoint
            .links(lines.collect(), reconnect, clock, registry, checks)?;
        let (permit, permitted) = watch::channel(Some(ABSENT));
        let rights = TopicRights::new(scheme.clone(), &self.source);
        let far = Arc::new(Far::new(links.sessions, permit, rights));
        let window = IN_FLIGHT_WINDOW.saturating_mul(connections);
        let near = Near::new(
            far,
            Up::new(links.inbound),
            scheme,
            NonZeroU16::new(window).unwrap_or(NonZeroU16::MIN),
            SidecarMetrics::register(registry).map_err(failed)?,
            checks.add("server"),
        );
        Ok(Sidecar {
            listener,
            near: Arc::new(near),
            runner: links.runner.only_while(&permitted),
            grace: self.grace,
        })
    }

    /// The topics of the configuration; without any those of upstream's charts, which is what stands beside it.
    fn scheme(&self) -> Scheme {
        match self.endpoint.broker.topics {
            Some(_) => self.endpoint.scheme.clone(),
            None => Scheme::upstream(&self.source),
        }
    }
}

// === impl Sidecar ===

impl Sidecar {
    /// Runs until `drain` is requested, then lets what is on its way be acknowledged (3 s at most), tells the server, and
    /// closes the sessions. A part that dies requests the drain.
    ///
    /// # Errors
    /// [`link::supervise::TaskDied`] names the part that died first.
    pub async fn run(self, drain: Drain) -> Result<(), Failure> {
        let pending = drain.register("sidecar");
        let stop = drain.token();
        let sessions_done = CancellationToken::new();
        let mut sessions = TaskGroup::new(stop.clone());
        sessions.spawn("sessions", self.runner.run(sessions_done.clone()));
        let mut parts = TaskGroup::new(stop.clone());
        let (near, far, present) = (
            self.near.clone(),
            self.near.far.clone(),
            self.near.present(),
        );
        let (grace, until) = (self.grace, stop.clone());
        parts.spawn("presence", async move {
            far.follow(present, grace, until).await;
        });
        let (metrics, until) = (self.near.metrics.clone(), stop.clone());
        parts.spawn("ages", async move {
            let mut tick = tokio::time::interval(AGES_EVERY);
            while until.run_until_cancelled(tick.tick()).await.is_some() {
                metrics.show_ages();
            }
        });
        parts.spawn("listener", near.serve(self.listener, stop));
        let worked = parts.join().await;
        sessions_done.cancel();
        let connected = sessions.join().await;
        info!("The sidecar has stopped");
        drop(pending);
        Ok(worked.and(connected)?)
    }
}

/// How long the sessions stay connected without a server, unless told otherwise: as long as the broker would keep a member
/// of a shared subscription that is away. The Go client is back within it after its first attempts (docs/MAESTRO.md §1.6).
pub const GRACE: Duration = SHARED_SESSION_EXPIRY;

// What Maestro publishes came to it by gRPC, where a message has 4 MiB by default (docs/MAESTRO.md §5.7). Far above what the broker
// takes, so that the server hears about a single event what is wrong with it.
const PACKET_BYTES: u32 = 5 * 1024 * 1024;

// For a client that asks for none; the Go client's own.
const KEEP_ALIVE_SECONDS: u16 = 60;

const AGES_EVERY: Duration = Duration::from_secs(1);
