//! The agent with all that it runs on: certificate, MQTT session, works, target, readiness.
//! [`Settings`] → [`Settings::build`] → [`Service::run`]; a region in one process builds several.

mod cluster;
mod directory;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use link::admin::{Check, Checks};
use link::bundle::resync::PART_BYTES;
use link::clock::Clock;
use link::endpoint::{Endpoint, Runner, SessionSpec};
use link::error::{ExitKind, Failure};
use link::event::agent_report::AgentTarget;
use link::id::ConsumerName;
use link::iot::filter;
use link::mqtt::{Inbound, Reconnect};
use link::party::Party;
use link::shutdown::Drain;
use link::supervise::{Restarts, TaskGroup};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::AgentConfig;
use crate::applier::Applier;
use crate::applier::kubernetes::AgentId;
use crate::cluster::ClusterOptions;
use crate::health::Health;
use crate::intake::Rules;
use crate::metrics::Metrics;
use crate::self_report::About;
use crate::session::MqttUplink;
use crate::work::Store;

/// Everything an agent needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Broker, topics and certificate.
    pub endpoint: Endpoint,
    /// The consumer this agent is.
    pub consumer: ConsumerName,
    /// The CloudEvents source of this agent; its client id is this and `-client`.
    pub event_source: String,
    /// Sources that may send; `None` means any.
    pub sources: Option<BTreeSet<String>>,
    /// Where works are kept and manifests applied.
    pub backend: Backend,
    /// Why nothing is to be applied or removed, if the agent is paused.
    pub paused: Option<String>,
    /// Longest JSON text of one feedback value in bytes.
    pub max_raw_bytes: usize,
    /// When to connect again.
    pub reconnect: Reconnect,
    /// Wall clock.
    pub clock: Clock,
}

/// Where works are kept and manifests applied.
#[derive(Clone, Debug)]
pub enum Backend {
    /// Directories of this machine.
    Directory {
        /// One file per object.
        root: PathBuf,
        /// Works, statuses and ownership.
        state_dir: PathBuf,
        /// How often applied files are compared with what they should be.
        sweep: Duration,
    },
    /// A Kubernetes cluster.
    Cluster(ClusterBackend),
}

/// A Kubernetes cluster as the backend of an agent.
#[derive(Clone, Debug)]
pub struct ClusterBackend {
    /// How to reach it.
    pub options: ClusterOptions,
    /// The agent's identity in it.
    pub agent_id: AgentId,
    /// Identities whose works are taken over.
    pub adopted: Vec<AgentId>,
    /// How often objects are looked at that cannot be watched.
    pub poll: Duration,
    /// Whether several processes agree on one that works.
    pub election: Option<ElectionOptions>,
}

/// One process at a time does the work.
#[derive(Clone, Debug)]
pub struct ElectionOptions {
    /// A name that no other running process has.
    pub name_of_process: Option<String>,
}

/// An agent that is ready to run.
pub struct Service {
    front: Front,
    backend: OpenedBackend,
}

/// Everything but the backend.
struct Front {
    config: AgentConfig,
    inbound: Inbound,
    uplink: MqttUplink,
    following: Pin<Box<dyn Future<Output = ()> + Send>>,
    runner: Runner,
    consumer: ConsumerName,
}

enum OpenedBackend {
    Directory(directory::Directories),
    Cluster(Box<cluster::ClusterService>),
}

// === impl Settings ===

impl Settings {
    /// Opens the backend and the session; nothing is dialled yet. Adds the readiness checks `identity`, `broker`,
    /// `store`, `target` and `resync`, in a cluster also `kubernetes` and `leader`.
    ///
    /// # Errors
    /// What is wrong with the configuration, the certificate, the kubeconfig or one of the directories.
    pub async fn build(self, registry: &Registry, checks: &Checks) -> Result<Service, Failure> {
        let scheme = self.endpoint.scheme.clone();
        let party = Party::agent_as(&scheme, &self.consumer, &self.event_source)
            .map_err(Failure::misuse)?;
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let restarts = Restarts::register(registry).map_err(failed)?;
        let (store, target) = (checks.add("store"), checks.add("target"));
        let backend = match self.backend {
            Backend::Directory {
                root,
                state_dir,
                sweep,
            } => OpenedBackend::Directory(directory::Directories::open(&root, &state_dir, sweep)?),
            Backend::Cluster(backend) => OpenedBackend::Cluster(Box::new(
                cluster::ClusterService::connect(
                    backend,
                    &self.consumer,
                    &self.clock,
                    registry,
                    &restarts,
                    checks,
                    (store.clone(), target.clone()),
                )
                .await?,
            )),
        };
        let metrics = Metrics::register(registry).map_err(failed)?;
        let lines = party
            .client_ids()
            .into_iter()
            .map(|client_id| SessionSpec {
                client_id,
                subscriptions: party.subscribes().to_vec(),
                listens_later: false,
            })
            .collect();
        let mut links =
            self.endpoint
                .links(lines, &self.reconnect, self.clock.clone(), registry, checks)?;
        let (Some(session), Some(inbound)) = (links.sessions.pop(), links.inbound.pop()) else {
            return Err(Failure::new(ExitKind::Failed, "the agent has no session"));
        };
        let agent_topic = scheme.agent_events(&self.consumer);
        let config = AgentConfig {
            rules: Rules {
                consumer: self.consumer.clone(),
                sources: self.sources,
            },
            agent: self.event_source,
            resync_topic: scheme
                .agent_broadcast(&self.consumer)
                .unwrap_or_else(|| agent_topic.clone()),
            agent_topic,
            consumer_of: Box::new({
                let broadcast = scheme.source_broadcast_filter();
                let us = self.consumer.clone();
                move |topic| {
                    let to_all = broadcast
                        .as_deref()
                        .is_some_and(|filter| filter::matches(filter, topic));
                    if to_all {
                        Some(us.clone())
                    } else {
                        scheme.consumer_of(topic)
                    }
                }
            }),
            on_trouble: Box::new(|_, _, _| {}),
            paused: self.paused,
            period: backend.period(),
            max_raw_bytes: self.max_raw_bytes,
            max_status_bytes: PART_BYTES,
            store_health: health(store),
            target_health: health(target),
            resync_health: health(checks.add("resync")),
            about: About::new(backend.target(), self.clock.now()).with_identity(links.identity),
            metrics,
            restarts,
            clock: self.clock,
        };
        let (uplink, following) = MqttUplink::new(session);
        Ok(Service {
            front: Front {
                config,
                inbound,
                uplink,
                following: Box::pin(following),
                runner: links.runner,
                consumer: self.consumer,
            },
            backend,
        })
    }
}

// === impl Service ===

impl Service {
    /// Runs until `drain` is requested; the session is closed last, when the final statuses are out.
    ///
    /// # Errors
    /// When another process leads from now on, and this one must end so that two never work at once; or when a task died
    /// that cannot be made again.
    pub async fn run(self, drain: Drain) -> Result<(), Failure> {
        let pending = drain.register(format!("agent {}", self.front.consumer));
        let ended = match self.backend {
            OpenedBackend::Directory(backend) => {
                Box::pin(self.front.run(backend.store, backend.applier, drain)).await
            }
            OpenedBackend::Cluster(backend) => Box::pin(backend.run(self.front, drain)).await,
        };
        drop(pending);
        ended
    }
}

// === impl Front ===

impl Front {
    /// Runs the session and the agent on it. Dropped half-way, it ends both.
    async fn run<S: Store, T: Applier>(
        self,
        store: S,
        applier: T,
        drain: Drain,
    ) -> Result<(), Failure> {
        let Self {
            config,
            inbound,
            uplink,
            following,
            runner,
            consumer,
        } = self;
        let done = CancellationToken::new();
        let mut session = TaskGroup::new(done.clone());
        session.spawn("session", runner.run(done.clone()));
        session.spawn("subscription", following);
        info!(consumer = %consumer, "Agent is running");
        let agent = config.build(store, applier, inbound, uplink);
        // Ends with the drain, or with the session.
        let stop = drain.token().child_token();
        let mut working = Box::pin(agent.run(stop.clone()));
        let worked = tokio::select! {
            worked = &mut working => worked,
            () = done.cancelled() => {
                stop.cancel();
                working.await
            }
        };
        done.cancel();
        let connected = session.join().await;
        info!(consumer = %consumer, "Agent has stopped");
        // The session first: when it dies, what it feeds ends too.
        connected.and(worked).map_err(Failure::failed)
    }
}

// === impl Opened ===

impl OpenedBackend {
    // Jittered up to one and a half times. Changes are noticed long before: files by the sweep, objects by watches,
    // so that in a cluster this only guards against what nobody foresaw, and each pass costs requests.
    fn period(&self) -> Duration {
        match self {
            Self::Directory(_) => Duration::from_secs(240),
            Self::Cluster(_) => Duration::from_secs(3600),
        }
    }

    fn target(&self) -> AgentTarget {
        match self {
            Self::Directory(_) => AgentTarget::Directory,
            Self::Cluster(_) => AgentTarget::Kubernetes,
        }
    }
}

fn health(check: Check) -> Health {
    check.ok();
    Health::new(move |state| match state {
        Ok(()) => check.ok(),
        Err(why) => check.failing(why),
    })
}
