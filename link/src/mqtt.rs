//! One MQTT 5 connection with delivery guarantees: nothing is acked before the caller says so, nothing is
//! reported as sent before the broker acknowledged it, and the broker's limits are kept on this side.
//!
//! ```text
//!   Session::publish ─▶ pump ─▶ client library ─▶ broker        receipts resolve with the PUBACK
//!   Inbound::recv    ◀─ driver ◀─ event loop    ◀─ broker        Delivery::ack sends the PUBACK
//! ```
//!
//! Two tasks: the *driver* polls the library's event loop and never waits for a consumer; the *pump* subscribes, then
//! publishes in order behind the limits. Both run inside [`Driver::run`], and end together. The client library appears
//! in no signature outside this module.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::id::ClientId;
use crate::identity::Identity;
use crate::iot::limits::ConnectionLimits;
use crate::tls;

mod credentials;
mod driver;
mod inbound;
mod liveness;
mod metrics;
mod options;
mod pace;
mod pump;
mod reading;
mod reason;
mod resumption;
mod session;
mod shared;
mod socket;
mod state;
mod will;

pub use driver::Driver;
pub use inbound::{Delivery, Inbound};
pub use metrics::SessionMetrics;
pub use reason::{ConnectError, PublishError, SubscribeError};
pub use session::{Ack, Qos, Receipt, Session};
pub use state::{State, Subscriptions};
pub use will::Will;

/// What a session needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Broker host; also the TLS server name, so never an address towards IoT Core.
    pub host: String,
    /// Broker port; 443 makes the session speak ALPN `x-amzn-mqtt-ca`.
    pub port: u16,
    /// The id that the party's policy names.
    pub client_id: ClientId,
    /// Topic filters, subscribed before anything is published.
    pub subscriptions: Vec<String>,
    /// Keep-alive asked for; IoT Core grants 30–1 200 s.
    pub keep_alive: Duration,
    /// How long the broker keeps the session after a lost connection; zero asks for none. Of a shared subscription
    /// [`SHARED_SESSION_EXPIRY`] at most is asked for.
    pub session_expiry: Duration,
    /// Whether the first connection goes on with the session that the broker keeps of this client id, instead of
    /// starting a clean one.
    pub resume: bool,
    /// Whether the broker keeps the session, for [`Self::session_expiry`], when the driver is told to stop.
    pub keep_session: bool,
    /// What is asked for with each subscription.
    pub subscription: SubscriptionOptions,
    /// What the broker publishes when the connection ends without a DISCONNECT.
    pub will: Option<Will>,
    /// The broker's limits, kept on this side.
    pub limits: ConnectionLimits,
    /// TLS versions and ALPN.
    pub tls: tls::TlsOptions,
    /// Longest time for TCP, TLS and CONNACK together.
    pub connect_timeout: Duration,
    /// When to try again.
    pub reconnect: Reconnect,
}

/// What is asked for with each subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The most that messages come with: they come with this or with what they were published with, whichever is less.
    pub qos: Qos,
    /// Whether messages come with the retain flag they were published with; else it says that one was kept before.
    pub retain_as_published: bool,
}

/// Delays between connection attempts.
#[derive(Clone, Debug)]
pub struct Reconnect {
    /// Longest delay before the first retry.
    pub first: Duration,
    /// Ceiling of the doubling.
    pub max: Duration,
    /// A connection must last this long for the delay to start over.
    pub stable_after: Duration,
    /// Least delay after a takeover or a refused authorisation: IoT Core admits one CONNECT per client id and
    /// ten seconds when measured (docs/IOT-CORE.md §1.2).
    pub refused: Duration,
}

// === impl Reconnect ===

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            max: Duration::from_secs(60),
            stable_after: Duration::from_secs(60),
            refused: Duration::from_secs(10),
        }
    }
}

impl Reconnect {
    fn backoff(&self) -> Backoff {
        Backoff::new(self.first, self.max, self.stable_after)
    }
}

// === impl Config ===

impl Config {
    /// A session with the defaults this project uses towards IoT Core.
    pub fn new(host: impl Into<String>, port: u16, client_id: ClientId) -> Self {
        Self {
            host: host.into(),
            port,
            client_id,
            subscriptions: Vec::new(),
            keep_alive: Duration::from_secs(60),
            session_expiry: Duration::from_secs(3600),
            resume: false,
            keep_session: false,
            subscription: SubscriptionOptions::default(),
            will: None,
            limits: ConnectionLimits::IOT_CORE,
            tls: tls::TlsOptions::default(),
            connect_timeout: Duration::from_secs(20),
            reconnect: Reconnect::default(),
        }
    }

    /// The session expiry asked for.
    fn expiry(&self) -> Duration {
        let shared = self
            .subscriptions
            .iter()
            .any(|filter| filter.starts_with("$share/"));
        if shared {
            self.session_expiry.min(SHARED_SESSION_EXPIRY)
        } else {
            self.session_expiry
        }
    }

    /// Builds the parts; nothing is dialled before [`Driver::run`].
    ///
    /// # Errors
    /// [`tls::TlsError`] when the identity makes no TLS configuration.
    pub fn build(
        self,
        identity: watch::Receiver<Arc<Identity>>,
        metrics: SessionMetrics,
    ) -> Result<(Session, Inbound, Driver), tls::TlsError> {
        driver::build(self, identity, metrics)
    }
}

/// Messages the broker may leave unacknowledged in either direction: IoT Core's window per client
/// (docs/IOT-CORE.md §1.2).
pub const IN_FLIGHT_WINDOW: u16 = crate::iot::limits::IN_FLIGHT;

/// How long the broker keeps a session of a shared subscription at most. Some brokers go on giving a member that is away
/// its part of everything for as long; the others' sessions are there meanwhile, so that keeping it is no help. Longer
/// than a reconnection takes.
pub const SHARED_SESSION_EXPIRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
