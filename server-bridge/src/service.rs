//! The bridge with its real surroundings: store, certificate, MQTT sessions, API, readiness.
//! [`Settings`] → [`Settings::build`] → [`Service::run`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use link::admin::{Check, Checks};
use link::clock::Clock;
use link::endpoint::{Endpoint, Line, Runner};
use link::error::{ExitKind, Failure, chain};
use link::id::{ClientId, SourceId};
use link::iot::Party;
use link::mqtt::Reconnect;
use link::shutdown::Drain;
use link::supervise::{Restarts, Vital, restarting};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::api::{self, Api, HostName};
use crate::delivery::{self, Delivery, Pool};
use crate::preload;
use crate::store::{AnyStore, Location, Store};

/// Everything a bridge needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Broker, topics and certificate.
    pub endpoint: Endpoint,
    /// The source it speaks for.
    pub source: SourceId,
    /// Its client id, or what its client ids begin with.
    pub client_id: ClientId,
    /// MQTT connections, at least one.
    pub connections: u16,
    /// Where everything is kept.
    pub store: Location,
    /// Consumers to register at start.
    pub consumers: Option<PathBuf>,
    /// Whether agents delete works this bridge does not know.
    pub delete_unknown_works: bool,
    /// Address of the REST API.
    pub api_listen: SocketAddr,
    /// Names by which callers address it, besides loopback and addresses.
    pub api_hosts: Vec<HostName>,
    /// When to connect again.
    pub reconnect: Reconnect,
    /// Wall clock.
    pub clock: Clock,
}

/// A bridge that is ready to run: its store is open, its sockets are bound, nothing is dialled.
pub struct Service {
    api: Api<AnyStore>,
    delivery: Delivery<AnyStore>,
    runner: Runner,
    store: AnyStore,
    store_check: Check,
    restarts: Restarts,
}

// === impl Settings ===

impl Settings {
    /// Opens the store, registers the preloaded consumers, binds the API and builds the sessions. Adds the readiness
    /// checks `store`, `identity` and `broker`.
    ///
    /// # Errors
    /// What is wrong with the configuration, the certificate, the store or the address.
    pub async fn build(self, registry: &Registry, checks: &Checks) -> Result<Service, Failure> {
        let listener = api::bind(self.api_listen).await?;
        self.build_on(listener, registry, checks).await
    }

    /// The same with the API on a socket that is bound already, whatever `api_listen` says.
    ///
    /// # Errors
    /// As [`Settings::build`].
    pub async fn build_on(
        self,
        listener: TcpListener,
        registry: &Registry,
        checks: &Checks,
    ) -> Result<Service, Failure> {
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let party = Party::bridge(
            &self.endpoint.scheme,
            &self.source,
            &self.client_id,
            self.connections,
        )
        .map_err(Failure::misuse)?;
        let restarts = Restarts::register(registry).map_err(failed)?;
        let store = self.store.registered(registry).map_err(failed)?;
        let store = store.open(restarts.clone()).await?;
        let store_check = checks.add("store");
        if let Some(file) = &self.consumers {
            let listed = preload::read(file)?;
            let new = store.ensure_consumers(listed, self.clock.now()).await?;
            info!(new, file = %file.display(), "Registered the listed consumers");
        }
        let config = delivery::Config {
            source: self.source.clone(),
            scheme: self.endpoint.scheme.clone(),
            delete_unknown_works: self.delete_unknown_works,
        };
        let lines = party
            .client_ids()
            .into_iter()
            .enumerate()
            .map(|(index, client_id)| Line {
                client_id,
                subscriptions: if config.listener(index) == index {
                    party.subscribes().to_vec()
                } else {
                    Vec::new()
                },
            });
        let links = self.endpoint.links(
            lines.collect(),
            &self.reconnect,
            self.clock.clone(),
            registry,
            checks,
        )?;
        let Some(pool) = Pool::new(links.sessions) else {
            return Err(Failure::new(ExitKind::Failed, "the bridge has no session"));
        };
        let api = api::Config {
            listen: self.api_listen,
            hosts: self.api_hosts,
            ..api::Config::new(self.source, self.endpoint.scheme)
        };
        let signs = delivery::Signs {
            check: checks.add("delivery"),
            restarts: restarts.clone(),
        };
        let delivery = config
            .build(
                store.clone(),
                pool,
                links.inbound,
                self.clock.clone(),
                registry,
                signs,
            )
            .map_err(failed)?;
        let metrics = api::Metrics::register(registry).map_err(failed)?;
        let api = api.build_on(listener, store.clone(), self.clock, metrics)?;
        info!(address = %api.address(), "The API listens");
        Ok(Service {
            api,
            delivery,
            runner: links.runner,
            store,
            store_check,
            restarts,
        })
    }
}

// === impl Service ===

impl Service {
    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api.address()
    }

    /// Runs until `drain` is requested, then stops in order: no more requests, what is being delivered, the sessions,
    /// the store. A part that dies requests the drain.
    ///
    /// # Errors
    /// [`link::supervise::TaskDied`] names the part that died first.
    pub async fn run(self, drain: Drain) -> Result<(), Failure> {
        let pending = drain.register("server-bridge");
        let stop = drain.token();
        let sessions_done = CancellationToken::new();
        let mut sessions = Vital::new(stop.clone());
        sessions.spawn("sessions", self.runner.run(sessions_done.clone()));
        let mut parts = Vital::new(stop.clone());
        parts.spawn("api", self.api.serve(stop.clone().cancelled_owned()));
        parts.spawn("delivery", self.delivery.run(stop.clone()));
        let (store, check, restarts) = (self.store.clone(), self.store_check, self.restarts);
        parts.spawn("store-check", async move {
            restarting("store-check", &restarts, &stop, || {
                watch_store(store.clone(), check.clone(), stop.clone())
            })
            .await;
        });
        let worked = parts.join().await;
        sessions_done.cancel();
        let connected = sessions.join().await;
        self.store.close().await;
        info!("The bridge has stopped");
        drop(pending);
        Ok(worked.and(connected)?)
    }
}

/// Says whether writes can be committed now, until `stop` is done.
async fn watch_store(store: AnyStore, check: Check, stop: CancellationToken) {
    let mut tick = tokio::time::interval(STORE_CHECK);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let Some(answer) = stop
            .run_until_cancelled(timeout(STORE_ANSWER, store.ping()))
            .await
        else {
            return;
        };
        match answer {
            Ok(Ok(())) => check.ok(),
            Ok(Err(error)) => check.failing(chain(&error)),
            Err(_) => check.failing(format!(
                "the store did not commit within {} s",
                STORE_ANSWER.as_secs()
            )),
        }
    }
}

const STORE_CHECK: Duration = Duration::from_secs(5);

// A commit takes milliseconds, behind a full queue of large ones a second or two.
const STORE_ANSWER: Duration = Duration::from_secs(10);
