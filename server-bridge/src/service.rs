//! Assembles the bridge: store, certificate, MQTT sessions, API, gRPC, readiness.
//! [`BridgeSettings`] → [`BridgeSettings::build_on`] → [`Service::run`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use link::admin::{Check, Checks};
use link::clock::Clock;
use link::endpoint::{Endpoint, Runner, SessionSpec};
use link::error::{ExitKind, Failure};
use link::id::{ClientId, SourceId};
use link::mqtt::{Reconnect, SHARED_SESSION_EXPIRY};
use link::party::Party;
use link::shutdown::Drain;
use link::supervise::{Restarts, TaskGroup};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::api::{self, Api, HostName};
use crate::callers::{self, Access, Callers, CallersWatcher, ServerTls};
use crate::delivery::{self, Delivery, Pool};
use crate::grpc::{self, Grpc};
use crate::replicas::{self, Membership, Ownership};
use crate::store::postgres::PostgresStore;
use crate::store::{AnyStore, Location, Store};

mod registration;
mod watch;

use registration::register_listed;
use watch::watch_store;

/// Everything a bridge needs to know.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
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
    /// How it shares a PostgreSQL store with others.
    pub replicas: replicas::ReplicaOptions,
    /// Consumers to register at start.
    pub consumers: Option<PathBuf>,
    /// Whether agents delete works this bridge does not know.
    pub delete_unknown_works: bool,
    /// Whether the broker's lifecycle events are heard.
    pub lifecycle_events: bool,
    /// Address of the REST API.
    pub api_listen: SocketAddr,
    /// Names by which callers address it, besides loopback and addresses.
    pub api_hosts: Vec<HostName>,
    /// Whether the status page is served beside the API.
    pub ui: bool,
    /// How gRPC is offered, if it is.
    pub grpc: grpc::GrpcOptions,
    /// How callers are known, and what they may do.
    pub callers: callers::CallersConfig,
    /// When to connect again.
    pub reconnect: Reconnect,
    /// Wall clock; what is stored in a database that others use too is dated by its own.
    pub clock: Clock,
}

/// A bridge that is ready to run: its store is open, its sockets are bound, nothing is dialled.
pub struct Service {
    api: Api<AnyStore>,
    grpc: Option<Grpc<AnyStore>>,
    watcher: CallersWatcher,
    delivery: Delivery<AnyStore>,
    runner: Runner,
    store: AnyStore,
    store_check: Check,
    restarts: Restarts,
    membership: Option<Membership<PostgresStore>>,
}

// === impl BridgeSettings ===

impl BridgeSettings {
    /// Opens the store, registers the preloaded consumers, takes a slot if the store may have other bridges, and builds the
    /// sessions; the API is on a socket that is bound already, whatever `api_listen` says, and so is gRPC, if there is one.
    /// Adds the readiness checks `store`, `identity` and `broker`, with a server certificate `tls`, and among replicas `slot`
    /// and `leases`. `None` when `stop` was cancelled while it waited for the store or for a slot.
    ///
    /// # Errors
    /// What is wrong with the configuration, the certificate or the store.
    pub async fn build_on(
        self,
        listener: TcpListener,
        grpc: Option<TcpListener>,
        registry: &Registry,
        checks: &Checks,
        stop: &CancellationToken,
    ) -> Result<Option<Service>, Failure> {
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        // Whatever is wrong with the names is found before anything is opened: the longest are those of the last slot.
        self.party(match &self.store {
            Location::Sqlite(_) => None,
            Location::Postgres(_) => Some(self.replicas.slots.saturating_sub(1)),
        })?;
        let callers = self.callers.clone();
        let callers = callers.build(self.clock.clone(), registry, checks).await?;
        let metrics = replicas::ReplicaMetrics::register(registry).map_err(failed)?;
        let restarts = Restarts::register(registry).map_err(failed)?;
        let location = self.store.clone().registered(registry).map_err(failed)?;
        // A database that is away is waited for; whoever wants to stop meanwhile does.
        let opening = self.open(location, restarts.clone());
        let Some(store) = stop.run_until_cancelled(opening).await.transpose()? else {
            return Ok(None);
        };
        let membership = match &store {
            AnyStore::Sqlite(_) => None,
            AnyStore::Postgres(store) => {
                let store = PostgresStore::clone(store);
                let joining = Membership::join(store, &self.replicas, metrics, checks, stop);
                match joining.await {
                    Some(membership) => Some(membership),
                    None => return Ok(None),
                }
            }
        };
        let store_check = checks.add("store");
        let Callers {
            access,
            https,
            grpc: grpc_tls,
            watcher,
        } = callers;
        let parts = Parts {
            listener,
            grpc: grpc.map(|listener| (listener, grpc_tls)),
            access,
            https,
            store: store.clone(),
            restarts: restarts.clone(),
        };
        let slot = membership.as_ref().map(Membership::slot);
        let ownership = membership
            .as_ref()
            .map_or_else(Ownership::sole, Membership::ownership);
        match self.assemble(parts, slot, ownership, registry, checks) {
            Ok((api, grpc, delivery, runner)) => Ok(Some(Service {
                api,
                grpc,
                watcher,
                delivery,
                runner,
                store,
                store_check,
                restarts,
                membership,
            })),
            Err(failure) => {
                if let Some(membership) = membership {
                    membership.leave().await;
                }
                Err(failure)
            }
        }
    }

    async fn open(&self, location: Location, restarts: Restarts) -> Result<AnyStore, Failure> {
        let store = location.open(restarts).await?;
        // Before anything is written.
        store.assign_source(&self.source).await?;
        if let Some(file) = &self.consumers {
            register_listed(&store, file, &store.clock(&self.clock)).await?;
        }
        Ok(store)
    }

    /// The names and topics of this bridge: with a slot those of one among several.
    fn party(&self, slot: Option<u16>) -> Result<Party, Failure> {
        let (scheme, source, base) = (&self.endpoint.scheme, &self.source, &self.client_id);
        let party = match slot {
            None => Party::bridge(scheme, source, base, self.connections),
            Some(slot) => Party::replica(scheme, source, base, slot, self.connections),
        };
        let party = party.map_err(Failure::misuse)?;
        Ok(match self.lifecycle_events {
            true => party.hearing_lifecycle_events(),
            false => party,
        })
    }

    /// What runs, over a store that is open.
    fn assemble(
        self,
        parts: Parts,
        slot: Option<u16>,
        ownership: Ownership,
        registry: &Registry,
        checks: &Checks,
    ) -> Result<Built, Failure> {
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let party = self.party(slot)?;
        let clock = parts.store.clock(&self.clock);
        let withheld = ownership.withheld();
        let scheme = self.endpoint.scheme.clone();
        let config = delivery::DeliveryConfig {
            source: self.source.clone(),
            scheme: match slot {
                None => scheme,
                Some(_) => {
                    Party::replica_scheme(&scheme, &self.client_id).map_err(Failure::misuse)?
                }
            },
            delete_unknown_works: self.delete_unknown_works,
            // One and a half of what was asked for until the connection is given up (MQTT 5, 3.1.2.10), then until the
            // session is, and a margin for what is on its way.
            broker_patience: self.endpoint.broker.keep_alive * 3 / 2
                + SHARED_SESSION_EXPIRY
                + SILENCE_MARGIN,
            ownership,
        };
        let lines = party
            .client_ids()
            .into_iter()
            .enumerate()
            .map(|(index, client_id)| SessionSpec {
                client_id,
                subscriptions: if config.listener(index) == index {
                    party.subscribes_on(index)
                } else {
                    Vec::new()
                },
                listens_later: false,
            });
        let links = self.endpoint.links(
            lines.collect(),
            &self.reconnect,
            self.clock.clone(),
            registry,
            checks,
        )?;
        let runner = match withheld {
            Some(withheld) => links.runner.only_while(&withheld),
            None => links.runner,
        };
        let Some(pool) = Pool::new(links.sessions) else {
            return Err(Failure::new(ExitKind::Failed, "the bridge has no session"));
        };
        let grpc = grpc::GrpcConfig {
            options: self.grpc,
            ..grpc::GrpcConfig::new(self.source.clone(), self.endpoint.scheme.clone())
        };
        let grpc = parts.grpc.map(|(listener, tls)| {
            let (store, clock) = (parts.store.clone(), clock.clone());
            grpc.build_on(listener, tls, store, clock, parts.access.clone(), registry)
        });
        let unbuilt = |error| Failure::new(ExitKind::Failed, error);
        let grpc = grpc.transpose().map_err(unbuilt)?;
        let api = api::ApiConfig {
            listen: self.api_listen,
            hosts: self.api_hosts,
            access: parts.access,
            tls: parts.https,
            ui: self.ui,
            process: api::ProcessView::new(checks.clone(), config.ownership.clone()),
            ..api::ApiConfig::new(self.source, self.endpoint.scheme)
        };
        let signs = delivery::Signs {
            check: checks.add("delivery"),
            restarts: parts.restarts,
        };
        let delivery = config
            .build(
                parts.store.clone(),
                pool,
                links.inbound,
                clock.clone(),
                registry,
                signs,
            )
            .map_err(failed)?;
        let metrics = api::ApiMetrics::register(registry).map_err(failed)?;
        let api = api.build_on(parts.listener, parts.store, clock, metrics)?;
        info!(address = %api.address(), "The API listens");
        if let Some(grpc) = &grpc {
            info!(address = %grpc.address(), "gRPC listens");
        }
        Ok((api, grpc, delivery, runner))
    }
}

/// What runs.
type Built = (
    Api<AnyStore>,
    Option<Grpc<AnyStore>>,
    Delivery<AnyStore>,
    Runner,
);

/// What is there before the sessions.
struct Parts {
    listener: TcpListener,
    grpc: Option<(TcpListener, Option<ServerTls>)>,
    access: Access,
    https: Option<ServerTls>,
    store: AnyStore,
    restarts: Restarts,
}

// === impl Service ===

impl Service {
    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api.address()
    }

    /// Where gRPC listens, if it does.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(Grpc::address)
    }

    /// Runs until `drain` is requested, then stops in order: no more requests, what is being delivered, the leases, the
    /// sessions, the slot, the store. A part that dies requests the drain, and so does the loss of the slot.
    ///
    /// # Errors
    /// [`link::supervise::TaskDied`] names the part that died first; [`replicas::SlotLost`] says who has the slot.
    pub async fn run(self, drain: Drain) -> Result<(), Failure> {
        let pending = drain.register("server-bridge");
        let stop = drain.token();
        let sessions_done = CancellationToken::new();
        let mut sessions = TaskGroup::new(stop.clone());
        sessions.spawn("sessions", self.runner.run(sessions_done.clone()));
        let mut parts = TaskGroup::new(stop.clone());
        parts.spawn("api", self.api.serve(stop.clone().cancelled_owned()));
        if let Some(grpc) = self.grpc {
            parts.spawn("grpc", grpc.serve(self.restarts.clone(), stop.clone()));
        }
        parts.spawn("callers", self.watcher.run(stop.clone()));
        parts.spawn("delivery", self.delivery.run(stop.clone()));
        let leases_done = CancellationToken::new();
        let keeping = self.membership.map(|membership| {
            let (restarts, done, stop) = (self.restarts.clone(), leases_done.clone(), stop.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                membership.keep(&restarts, &done, &stop).await;
                membership
            }))
        });
        let (store, check) = (self.store.clone(), self.store_check);
        parts.spawn(
            "store-check",
            watch_store(store, check, self.restarts, stop),
        );
        let worked = parts.join().await;
        leases_done.cancel();
        let membership = match keeping {
            Some(keeping) => keeping.await.ok(),
            None => None,
        };
        sessions_done.cancel();
        let connected = sessions.join().await;
        let lost = membership.as_ref().and_then(Membership::lost);
        if let Some(membership) = membership {
            // Its client ids are free now.
            membership.leave().await;
        }
        self.store.close().await;
        info!("The bridge has stopped");
        drop(pending);
        if let Some(lost) = lost {
            return Err(lost.into());
        }
        Ok(worked.and(connected)?)
    }
}

const SILENCE_MARGIN: Duration = Duration::from_secs(15);
