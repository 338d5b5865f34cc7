//! An IoT Core stand-in: an MQTT 5 and 3.1.1 broker with mutual TLS, a certificate registry and policies, that
//! keeps the numbers and refusals of docs/IOT-CORE.md §2.
//!
//! ```text
//! listener → connection ─ read ──→ hub → session queues
//!                       └ write ←─────── session
//! ```
//!
//! Each connection is one task; messages are shared, queues are bounded, and no lock is held across an await.
//! What it deliberately lacks: QoS 2, subscription identifiers, persistence of sessions over a restart, rules.

use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::clock::Clock;
use link::error::Hint;
use link::iot::ArnPrefix;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::counters::Counters;
use self::environment::Environment;
use self::listener::Listener;
use self::presence::Presence;
use self::shared::Shared;

pub use self::clients::ConnectionRecord;
pub use self::counters::Counts;
pub use self::faults::{
    AlpnRule, CertificateRefusal, FaultSettings, Faults, Front, Handshake, Port, Swallowed,
    Takeover, TlsVersion,
};
pub use self::handle::{ConnectionInfo, Content, DirectError, Handle, Publication};
pub use self::limits::{Limits, Quotas};
pub use self::presence::DisconnectReason;
pub use self::registry::{
    Certificate, CertificateState, Fingerprint, Policy, PolicyVersion, Pretence, PretendedState,
    RegisteredThing, Registry, RegistryError, Tags, ThingChange,
};

mod clients;
mod codec;
mod confirmation;
mod connection;
mod counters;
mod environment;
mod faults;
mod filter;
mod handle;
mod hub;
mod limits;
mod listener;
mod live;
mod notices;
mod packet;
mod permissions;
mod presence;
mod quota;
mod registry;
mod rival;
mod router;
mod session;
mod shared;

/// How to make a broker.
#[derive(Clone)]
pub struct BrokerConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server's certificate chain in PEM.
    pub certificate_pem: String,
    /// The server's private key in PEM.
    pub key_pem: String,
    /// Account and region of the resource names in policies.
    pub arn: ArnPrefix,
    /// Certificates and policies; may be shared with whoever changes them.
    pub registry: Registry,
    /// Sizes, counts and times. Defaults to IoT Core's.
    pub limits: Limits,
    /// Rates. Defaults to IoT Core's.
    pub quotas: Quotas,
    /// Where else to listen, for clients with ALPN, as on port 443 of IoT Core: MQTT or HTTPS.
    pub alpn_listen: Option<SocketAddr>,
    /// Where to answer HTTPS, as on port 8443 of IoT Core: 403 to all, with the time.
    pub https_listen: Option<SocketAddr>,
    /// Server names a client may ask for; empty for any.
    pub server_names: Vec<String>,
    /// Whether a client must offer ALPN `x-amzn-mqtt-ca`, as on port 443.
    pub require_alpn: bool,
    /// Wall clock for the time stamps of lifecycle events.
    pub clock: Clock,
}

/// A bound broker that does not serve yet.
pub struct Broker {
    handle: Handle,
    listener: Listener,
    stop: CancellationToken,
}

/// A broker that serves until [`shutdown`](Self::shutdown) or until it is dropped.
pub struct RunningBroker {
    handle: Handle,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// Why a broker could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BrokerBindError {
    /// The address cannot be listened on.
    #[error("listen on `{address}`")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The server certificate is not PEM.
    #[error("read server certificate")]
    CertificatePem(#[source] rustls_pki_types::pem::Error),
    /// The server key is not PEM.
    #[error("read server key")]
    KeyPem(#[source] rustls_pki_types::pem::Error),
    /// Certificate and key do not make a TLS server.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
}

// === impl BrokerConfig ===

impl BrokerConfig {
    /// IoT Core's numbers, any server name, no ALPN, an empty registry.
    pub fn new(
        listen: SocketAddr,
        certificate_pem: impl Into<String>,
        key_pem: impl Into<String>,
    ) -> Self {
        Self {
            listen,
            certificate_pem: certificate_pem.into(),
            key_pem: key_pem.into(),
            arn: ArnPrefix::default(),
            registry: Registry::new(),
            limits: Limits::IOT_CORE,
            quotas: Quotas::IOT_CORE,
            alpn_listen: None,
            https_listen: None,
            server_names: Vec::new(),
            require_alpn: false,
            clock: Clock::system(),
        }
    }
}

// === impl Broker ===

impl Broker {
    /// Binds the socket; connections are accepted once it runs.
    ///
    /// # Errors
    /// When the address is taken or the server identity is unusable.
    pub async fn bind(config: BrokerConfig) -> Result<Self, BrokerBindError> {
        let listener = Listener::bind(&config).await?;
        let environment = Environment {
            limits: config.limits,
            quotas: config.quotas,
            faults: Faults::new(),
            counters: Counters::default(),
        };
        let presence = Presence::new(config.clock);
        let shared = Shared::new(environment, config.registry, presence, config.arn);
        let handle = Handle {
            shared: Arc::new(shared),
            addresses: listener.addresses(),
            tasks: TaskTracker::new(),
        };
        Ok(Self {
            handle,
            listener,
            stop: CancellationToken::new(),
        })
    }

    /// Its controls.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until the future completes, then drops every connection.
    pub async fn run(self, until: impl Future<Output = ()>) {
        let Self {
            handle,
            listener,
            stop,
        } = self;
        let _guard = stop.clone().drop_guard();
        let accepting = listener.run(handle.shared.clone(), handle.tasks.clone(), stop.clone());
        tokio::select! {
            () = accepting => {}
            () = handle.housekeeping() => {}
            () = rival::run(handle.clone()) => {}
            () = until => {}
        }
        stop.cancel();
        handle.tasks.close();
        handle.tasks.wait().await;
    }

    /// Serves in the background.
    pub fn spawn(self) -> RunningBroker {
        let handle = self.handle();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move { self.run(until.cancelled()).await });
        RunningBroker { handle, task, stop }
    }
}

impl Deref for Broker {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        &self.handle
    }
}

// === impl RunningBroker ===

impl RunningBroker {
    /// Its controls.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Drops every connection and waits until all tasks are gone.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Deref for RunningBroker {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl BrokerBindError ===

impl BrokerBindError {
    /// Whether another process listens there.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse)
    }

    /// The address that cannot be listened on, if it is that.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Listen { address, .. } => Some(*address),
            Self::CertificatePem(_) | Self::KeyPem(_) | Self::Tls(_) => None,
        }
    }
}

impl Hint for BrokerBindError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { .. } => Some("choose another address, or port 0 for a free one".into()),
            Self::CertificatePem(_) | Self::KeyPem(_) | Self::Tls(_) => {
                Some("remove the state directory to make a new certificate authority".into())
            }
        }
    }
}

/// A lock that survives a panic elsewhere: every critical section leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
