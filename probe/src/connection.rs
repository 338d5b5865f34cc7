//! One connection for one command: the first failure to connect is the answer, not the start of a retry.

use std::sync::Arc;
use std::time::Duration;

use link::identity::Identity;
use link::mqtt::{self, Inbound, Session, State};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

mod lost;

use self::lost::lost;
pub use self::lost::{
    Lost, connect_denied_hint, publish_hint, publish_kind, subscribe_denied_hint,
};
use crate::target::Target;

/// A connection that is up and subscribed.
pub struct Connection {
    /// Publishes.
    pub session: Session,
    /// Receives.
    pub inbound: Inbound,
    stop: CancellationToken,
    driver: AbortOnDropHandle<()>,
    // The session watches it for new certificates; it must outlive the driver.
    _identity: watch::Sender<Arc<Identity>>,
}

/// A connection on its way.
pub struct Opening {
    address: String,
    connection: Result<(Connection, Registry), Lost>,
}

// === impl Connection ===

impl Connection {
    /// Connects, subscribes and waits until both are acknowledged.
    ///
    /// # Errors
    /// [`Lost`]: the first reason that came, or the deadline.
    pub async fn open(
        target: &Target,
        identity: Arc<Identity>,
        subscriptions: Vec<String>,
        within: Duration,
    ) -> Result<Self, Lost> {
        let opening = Opening::start(target, identity, subscriptions, within);
        match timeout(within, opening.ready()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Lost::Timeout {
                address: target.address(),
                within,
            }),
        }
    }

    /// Resolves when waiting on is pointless: the broker refused us or a subscription, or somebody took the client id.
    pub async fn refused(session: &Session, address: String) -> Lost {
        let mut state = session.state();
        let fatal = |state: &State| match state {
            State::Waiting { error, .. } => error.is_refusal(),
            State::Unsubscribed(_) | State::Closed => true,
            State::Connecting | State::Ready { .. } => false,
        };
        match state.wait_for(fatal).await {
            Ok(state) => lost(&state, address),
            Err(_) => Lost::Closed,
        }
    }

    /// Sends DISCONNECT; does not wait long for it.
    pub async fn close(self) {
        self.stop.cancel();
        // The outcome is known already; a broker that does not take the goodbye changes nothing.
        let _ = timeout(GOODBYE, self.driver).await;
    }
}

// === impl Opening ===

impl Opening {
    /// Starts to connect, in the background.
    pub fn start(
        target: &Target,
        identity: Arc<Identity>,
        subscriptions: Vec<String>,
        within: Duration,
    ) -> Self {
        let address = target.address();
        let connection = start(target, identity, subscriptions, within);
        Self {
            address,
            connection,
        }
    }

    /// Waits for CONNACK.
    ///
    /// # Errors
    /// Why there was none.
    pub async fn connected(&mut self) -> Result<(), Lost> {
        let (connection, registry) = match &self.connection {
            Ok(parts) => parts,
            Err(_) => return Ok(()),
        };
        let mut state = connection.session.state();
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                decided = state.wait_for(|state| !matches!(state, State::Connecting)) => {
                    return match decided {
                        Ok(state) if matches!(*state, State::Ready { .. } | State::Unsubscribed(_)) => Ok(()),
                        Ok(state) => Err(lost(&state, self.address.clone())),
                        Err(_) => Err(Lost::Closed),
                    };
                }
                _ = look.tick() => if has_connack(registry) { return Ok(()) },
            }
        }
    }

    /// Waits for CONNACK and SUBACK. Dropped before, it gives up.
    ///
    /// # Errors
    /// The first reason that came.
    pub async fn ready(self) -> Result<Connection, Lost> {
        let (connection, _) = self.connection?;
        let mut state = connection.session.state();
        let lost = match state
            .wait_for(|state| !matches!(state, State::Connecting))
            .await
        {
            Ok(decided) if decided.is_ready() => None,
            Ok(decided) => Some(lost(&decided, self.address.clone())),
            Err(_) => Some(Lost::Closed),
        };
        match lost {
            None => Ok(connection),
            Some(lost) => Err(lost),
        }
    }
}

fn start(
    target: &Target,
    identity: Arc<Identity>,
    subscriptions: Vec<String>,
    within: Duration,
) -> Result<(Connection, Registry), Lost> {
    let mut config = mqtt::Config::new(target.host.clone(), target.port, target.client_id.clone());
    config.subscriptions = subscriptions;
    config.keep_alive = target.keep_alive;
    config.session_expiry = Duration::ZERO;
    config.connect_timeout = within;
    config.tls = target.tls.clone();
    // Collecting entropy takes AWS-LC 30 to 60 ms once per process; meanwhile the name is looked up and dialled.
    drop(tokio::task::spawn_blocking(first_random));
    let (keep, identity) = watch::channel(identity);
    let registry = Registry::new();
    let metrics = mqtt::SessionMetrics::register(&registry).map_err(Lost::Metrics)?;
    let (session, inbound, driver) = config.build(identity, metrics).map_err(Lost::Tls)?;
    let stop = CancellationToken::new();
    let driver = AbortOnDropHandle::new(tokio::spawn(driver.run(stop.clone())));
    let connection = Connection {
        session,
        inbound,
        stop,
        driver,
        _identity: keep,
    };
    Ok((connection, registry))
}

fn first_random() {
    let mut byte = [0];
    if let Some(provider) = rustls::crypto::CryptoProvider::get_default() {
        // Whoever needs random bytes in earnest will report that there are none.
        let _ = provider.secure_random.fill(&mut byte);
    }
}

// A session tells CONNACK and SUBACK apart only in its metrics; whoever works with it needs both.
fn has_connack(registry: &Registry) -> bool {
    registry
        .gather()
        .iter()
        .filter(|family| family.name() == "mqtt_connections_total")
        .any(|family| {
            family
                .get_metric()
                .iter()
                .any(|metric| metric.get_counter().get_value() > 0.0)
        })
}

// A round trip to the other side of the world and back.
const GOODBYE: Duration = Duration::from_millis(600);

// Fine enough for a time in milliseconds.
const LOOK: Duration = Duration::from_millis(1);
