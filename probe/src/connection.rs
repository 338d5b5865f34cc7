//! One connection for one command: the first failure to connect is the answer, not the start of a retry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use link::identity::Identity;
use link::iot::limits::ConnectionLimits;
use link::mqtt::{self, Inbound, Session, State};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

mod error;
mod told;

use self::error::of_state;
pub use self::error::{
    ConnectionError, connect_denied_hint, connect_hint, publish_hint, publish_kind,
    subscribe_denied_hint,
};
pub use self::told::publish_error;
use crate::peer;
use crate::session::SessionSettings;
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
pub struct PendingConnection {
    address: String,
    connection: Result<(Connection, Registry), ConnectionError>,
}

// === impl Connection ===

impl Connection {
    /// Connects, subscribes and waits until both are acknowledged.
    ///
    /// # Errors
    /// [`ConnectionError`]: the first reason that came, or the deadline.
    pub async fn open(
        target: &Target,
        identity: Arc<Identity>,
        filters: Vec<String>,
        settings: &SessionSettings,
        within: Duration,
    ) -> Result<Self, ConnectionError> {
        let mut pending = PendingConnection::start(target, &identity, filters, settings, within);
        pending.settled_within(within, target, &identity).await?;
        pending.opened()
    }

    /// The same, unless `interrupt` comes first: `None` then, and a broker that knows us has a DISCONNECT.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_until(
        interrupt: impl Future<Output = ()>,
        target: &Target,
        identity: Arc<Identity>,
        filters: Vec<String>,
        settings: &SessionSettings,
        within: Duration,
    ) -> Result<Option<Self>, ConnectionError> {
        let mut pending = PendingConnection::start(target, &identity, filters, settings, within);
        tokio::select! {
            settled = pending.settled_within(within, target, &identity) => settled?,
            () = interrupt => {
                pending.leave().await;
                return Ok(None);
            }
        }
        pending.opened().map(Some)
    }

    /// Resolves when waiting on is pointless: the broker refused us or a subscription, or somebody took the client id.
    pub async fn refused(session: &Session, address: String) -> ConnectionError {
        let mut state = session.state();
        let fatal = |state: &State| match state {
            State::Waiting { error, .. } => error.is_refusal(),
            State::Unsubscribed(_) | State::Closed => true,
            State::Connecting | State::Ready { .. } => false,
        };
        match state.wait_for(fatal).await {
            Ok(state) => of_state(&state, address),
            Err(_) => ConnectionError::Closed,
        }
    }

    /// Waits for a payload; others on the topic, such as a late ping, are acked and passed over. `None` when the session
    /// ended before.
    pub async fn returned(&mut self, payload: &Bytes) -> Option<Instant> {
        while let Some(delivery) = self.inbound.recv().await {
            let ours = delivery.message.payload == *payload;
            delivery.ack();
            if ours {
                return Some(Instant::now());
            }
        }
        None
    }

    /// Sends DISCONNECT; does not wait long for it.
    pub async fn close(self) {
        debug!("Sending DISCONNECT");
        self.stop.cancel();
        // The outcome is known already; a broker that does not take the DISCONNECT changes nothing.
        let _ = timeout(DISCONNECT_WITHIN, self.driver).await;
    }
}

// === impl PendingConnection ===

impl PendingConnection {
    /// Starts to connect, in the background.
    pub fn start(
        target: &Target,
        identity: &Arc<Identity>,
        filters: Vec<String>,
        settings: &SessionSettings,
        within: Duration,
    ) -> Self {
        let address = target.address();
        let SessionSettings { resume, expiry, .. } = settings;
        debug!(
            keep_alive = target.keep_alive.as_secs(),
            session_expiry = expiry.as_secs(),
            clean_start = !resume,
            "Sending CONNECT to `{address}` as `{}`",
            target.client_id
        );
        let connection = start(target, identity.clone(), filters, settings, within);
        Self {
            address,
            connection,
        }
    }

    /// Waits for CONNACK.
    ///
    /// # Errors
    /// Why there was none.
    pub async fn connected(&mut self) -> Result<(), ConnectionError> {
        let (connection, registry) = match &self.connection {
            Ok(parts) => parts,
            // Said by `ready`, which has it to give away.
            Err(_) => return Ok(()),
        };
        let mut state = connection.session.state();
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                decided = state.wait_for(|state| !matches!(state, State::Connecting)) => {
                    return match decided {
                        Ok(state) if matches!(*state, State::Ready { .. } | State::Unsubscribed(_)) => Ok(()),
                        Ok(state) => Err(of_state(&state, self.address.clone())),
                        Err(_) => Err(ConnectionError::Closed),
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
    pub async fn ready(mut self) -> Result<Connection, ConnectionError> {
        self.settled().await?;
        self.opened()
    }

    fn opened(self) -> Result<Connection, ConnectionError> {
        self.connection.map(|(connection, _)| connection)
    }

    /// Gives up, and says DISCONNECT to a broker that knows us.
    pub async fn leave(self) {
        if let Ok((connection, _)) = self.connection {
            connection.close().await;
        }
    }

    async fn settled_within(
        &mut self,
        within: Duration,
        target: &Target,
        identity: &Identity,
    ) -> Result<(), ConnectionError> {
        match timeout(within, self.settled()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(explained(error, target, identity).await),
            Err(_) => Err(ConnectionError::Timeout {
                address: target.address(),
                within,
            }),
        }
    }

    async fn settled(&mut self) -> Result<(), ConnectionError> {
        let (connection, _) = match &self.connection {
            Ok(parts) => parts,
            // Said by `opened`, which has it to give away.
            Err(_) => return Ok(()),
        };
        let mut state = connection.session.state();
        match state
            .wait_for(|state| !matches!(state, State::Connecting))
            .await
        {
            Ok(decided) if decided.is_ready() => Ok(()),
            Ok(decided) => Err(of_state(&decided, self.address.clone())),
            Err(_) => Err(ConnectionError::Closed),
        }
    }
}

// A port that speaks another protocol closes, or answers with what is no MQTT: what it speaks says more than that.
async fn explained(
    error: ConnectionError,
    target: &Target,
    identity: &Identity,
) -> ConnectionError {
    match &error {
        ConnectionError::Connect { address, source } if peer::may_explain(source) => {
            match peer::recognise(target, identity).await {
                Some(source) => ConnectionError::Peer {
                    address: address.clone(),
                    source,
                },
                None => error,
            }
        }
        _ => error,
    }
}

fn start(
    target: &Target,
    identity: Arc<Identity>,
    filters: Vec<String>,
    settings: &SessionSettings,
    within: Duration,
) -> Result<(Connection, Registry), ConnectionError> {
    let mut config = mqtt::Config::new(target.host.clone(), target.port, target.client_id.clone());
    config.subscriptions = filters;
    config.keep_alive = target.keep_alive;
    config.session_expiry = settings.expiry;
    config.keep_session = !settings.expiry.is_zero();
    config.resume = settings.resume;
    config.subscription = settings.subscription;
    config.will.clone_from(&settings.will);
    config.connect_timeout = within;
    config.tls = target.tls.clone();
    if settings.unpaced {
        config.limits = ConnectionLimits::without_rates();
    }
    // Collecting entropy takes AWS-LC 30 to 60 ms once per process; meanwhile the name is looked up and dialled.
    drop(tokio::task::spawn_blocking(first_random));
    let (keep, identity) = watch::channel(identity);
    let registry = Registry::new();
    let metrics = mqtt::SessionMetrics::register(&registry).map_err(ConnectionError::Metrics)?;
    let (session, inbound, driver) = config
        .build(identity, metrics)
        .map_err(ConnectionError::Tls)?;
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

// Acks of the last moment, the DISCONNECT and what a machine with other things to do adds; a broker that takes nothing keeps
// a command that long.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(2);

// Fine enough for a time in milliseconds.
const LOOK: Duration = Duration::from_millis(1);
