//! The running side of an endpoint: the watched certificate, the sessions that use it, and their readiness.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Endpoint;
use crate::admin::{Check, Checks};
use crate::clock::Clock;
use crate::error::{ExitKind, Failure, Hint, chain};
use crate::id::ClientId;
use crate::identity::{self, Identity, Watcher};
use crate::mqtt::{self, Driver, Inbound, Reconnect, Session, State};
use crate::supervise::{TaskDied, TaskGroup};

/// One session to open.
#[derive(Clone, Debug)]
pub struct SessionSpec {
    /// Its client id.
    pub client_id: ClientId,
    /// Its topic filters; none for a session that only publishes.
    pub subscriptions: Vec<String>,
    /// Whether it gets its filters while it runs, by [`Session::listen`]. The broker keeps its session for
    /// [`mqtt::SHARED_SESSION_EXPIRY`], because the filters may be shared.
    pub listens_later: bool,
}

/// Sessions that share one certificate, and what drives them.
pub struct Links {
    /// The sessions, in the order of the lines.
    pub sessions: Vec<Session>,
    /// The received messages of each session that subscribes.
    pub inbound: Vec<Inbound>,
    /// The newest good certificate; the next connection uses it.
    pub identity: watch::Receiver<Arc<Identity>>,
    /// Drives them; nothing is dialled before it runs.
    pub runner: Runner,
}

/// Drives the certificate watcher and the sessions of [`Links`].
pub struct Runner {
    watcher: Watcher,
    drivers: Vec<Driver>,
    readiness: Vec<(Check, watch::Receiver<State>)>,
    identity_check: Check,
    identity: watch::Receiver<Arc<Identity>>,
    clock: Clock,
}

// === impl Endpoint ===

impl Endpoint {
    /// Loads the certificate and builds the sessions. Adds the readiness checks `identity` and `broker` (with a number
    /// from the second session on).
    ///
    /// # Errors
    /// When the certificate is refused (exit code 2) or a metric is registered twice.
    pub fn links(
        &self,
        lines: Vec<SessionSpec>,
        reconnect: &Reconnect,
        clock: Clock,
        registry: &Registry,
        checks: &Checks,
    ) -> Result<Links, Failure> {
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let metrics = identity::IdentityMetrics::register(registry).map_err(failed)?;
        let watching = identity::watch(
            self.identity.clone(),
            clock.clone(),
            identity::WatchOptions::default(),
            metrics,
        );
        let (identity, watcher) = watching.map_err(Failure::misuse)?;
        info!(certificate = %identity.borrow().describe(), "Loaded the client certificate");
        let metrics = mqtt::SessionMetrics::register(registry).map_err(failed)?;
        let mut links = Links {
            sessions: Vec::new(),
            inbound: Vec::new(),
            identity: identity.clone(),
            runner: Runner {
                watcher,
                drivers: Vec::new(),
                readiness: Vec::new(),
                identity_check: checks.add("identity"),
                identity: identity.clone(),
                clock,
            },
        };
        for (index, line) in lines.into_iter().enumerate() {
            let name = if index == 0 {
                "broker".to_string()
            } else {
                format!("broker-{index}")
            };
            links.open(
                self,
                line,
                reconnect,
                identity.clone(),
                metrics.clone(),
                checks.add(name),
            )?;
        }
        Ok(links)
    }
}

// === impl Links ===

impl Links {
    fn open(
        &mut self,
        endpoint: &Endpoint,
        line: SessionSpec,
        reconnect: &Reconnect,
        identity: watch::Receiver<Arc<Identity>>,
        metrics: mqtt::SessionMetrics,
        check: Check,
    ) -> Result<(), Failure> {
        let mut config = mqtt::Config {
            subscriptions: line.subscriptions,
            reconnect: reconnect.clone(),
            ..endpoint.session(line.client_id)
        };
        if line.listens_later {
            config.session_expiry = mqtt::SHARED_SESSION_EXPIRY;
        }
        let subscribes = line.listens_later || !config.subscriptions.is_empty();
        let (session, inbound, driver) =
            config.build(identity, metrics).map_err(Failure::misuse)?;
        self.runner.readiness.push((check, session.state()));
        self.runner.drivers.push(driver);
        self.sessions.push(session);
        if subscribes {
            self.inbound.push(inbound);
        }
        Ok(())
    }
}

// === impl Runner ===

impl Runner {
    /// Passes every check for now: this process stands by for another one and does not connect, which is right for it.
    pub fn stand_by(&self) {
        self.identity_check.ok();
        for (check, _) in &self.readiness {
            check.ok();
        }
    }

    /// The sessions are connected only while `withheld` holds nothing; what it holds otherwise is the reason, for people.
    #[must_use]
    pub fn only_while(mut self, withheld: &watch::Receiver<Option<&'static str>>) -> Self {
        let drivers = self.drivers.into_iter();
        let only_while = |driver: Driver| driver.only_while(withheld.clone());
        self.drivers = drivers.map(only_while).collect();
        self
    }

    /// Runs until `drain` is cancelled and every session has disconnected.
    ///
    /// # Errors
    /// [`TaskDied`] when a task ended that must not; `drain` is cancelled then, so that the rest of the process ends.
    pub async fn run(self, drain: CancellationToken) -> Result<(), TaskDied> {
        let mut tasks = TaskGroup::new(drain.clone());
        for driver in self.drivers {
            tasks.spawn("MQTT session", driver.run(drain.clone()));
        }
        for (check, state) in self.readiness {
            check.failing("connecting");
            let until = drain.clone();
            tasks.spawn("readiness of the broker", async move {
                show_session(check, state).await;
                // A session that ended too early is reported by its own task.
                until.cancelled().await;
            });
        }
        let showing = show_identity(
            self.identity_check,
            self.identity,
            self.watcher.problem(),
            self.clock,
        );
        let until = drain.clone();
        tasks.spawn("readiness of the identity", async move {
            until.run_until_cancelled(showing).await;
        });
        tasks.spawn("identity watcher", self.watcher.run(drain));
        tasks.join().await
    }
}

/// Follows one session until it is closed.
async fn show_session(check: Check, mut state: watch::Receiver<State>) {
    loop {
        match &*state.borrow_and_update() {
            State::Ready { .. } => check.ok(),
            State::Connecting => {}
            State::Waiting { error, .. } => check.failing(with_hint(error.as_ref())),
            State::Unsubscribed(error) => check.failing(with_hint(error.as_ref())),
            State::Closed => return check.failing("closed"),
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// A bad set in the mount is a matter for the log and the metrics while the one in use is good; only when that has run
/// out is the process not ready.
async fn show_identity(
    check: Check,
    identity: watch::Receiver<Arc<Identity>>,
    mut problem: watch::Receiver<Option<identity::IdentityProblem>>,
    clock: Clock,
) {
    loop {
        let expired = identity.borrow().describe().is_expired(clock.now());
        match &*problem.borrow_and_update() {
            Some(problem) if expired => check.failing(with_hint(problem.error.as_ref())),
            _ => check.ok(),
        }
        // The set in use may run out while the same bad one lies in the mount: look again now and then.
        let waited = tokio::time::timeout(EXPIRY_CHECK, problem.changed()).await;
        if matches!(waited, Ok(Err(_))) {
            return;
        }
    }
}

fn with_hint<E: Hint + 'static>(error: &E) -> String {
    match error.hint() {
        Some(hint) => format!("{}; hint: {hint}", chain(error)),
        None => chain(error),
    }
}

const EXPIRY_CHECK: Duration = Duration::from_secs(60);
