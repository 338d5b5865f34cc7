//! A Kubernetes cluster as the backend of an agent: connect, lead, open, run.
//!
//! Nothing but a wrong kubeconfig ends the process: an API server that is away, definitions that are not installed
//! and rights that are not granted yet are waited for, and `/readyz` says which.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use link::admin::{Check, Checks};
use link::backoff::Backoff;
use link::clock::Clock;
use link::error::{ExitKind, Failure, Hint, chain};
use link::id::ConsumerName;
use link::shutdown::Drain;
use link::supervise::Restarts;
use prometheus::Registry;
use tracing::{info, warn};

use super::{ClusterBackend, Front, health};
use crate::applier::kubernetes::{Kubernetes, KubernetesOptions};
use crate::cluster::election::{self, Election};
use crate::cluster::{self, definitions};
use crate::events::Recorder;
use crate::self_report::VersionOf;
use crate::work::{self, Found, Objects, Store, Work, WorkId};

/// A cluster that is connected to and not yet worked in.
pub(super) struct ClusterService {
    cluster: cluster::Cluster,
    options: KubernetesOptions,
    consumer: ConsumerName,
    election: Option<Election>,
    leader: Check,
    store: Check,
    target: Check,
    recorder: Recorder,
}

/// Another process leads from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another agent leads, the lease could not be renewed in time, or task `election` died")]
struct Deposed;

// === impl ClusterService ===

impl ClusterService {
    /// Finds the cluster; nothing is asked of it yet. The checks given are those of the store and of the target.
    pub(super) async fn connect(
        backend: ClusterBackend,
        consumer: &ConsumerName,
        clock: &Clock,
        registry: &Registry,
        restarts: &Restarts,
        checks: &Checks,
        (store, target): (Check, Check),
    ) -> Result<Self, Failure> {
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let api = health(checks.add("kubernetes"));
        let cluster = backend.options.connect(registry, restarts, api).await?;
        let election = backend.election.map(|candidate| {
            let config = election::ElectionConfig {
                namespace: cluster.namespace.clone(),
                name: format!("agent-{consumer}"),
                name_of_process: candidate.name_of_process,
                timing: election::Timing::default(),
            };
            config.build(cluster.client.clone(), registry, clock.clone())
        });
        let options = KubernetesOptions {
            agent_id: backend.agent_id,
            adopted: backend.adopted,
            poll: backend.poll,
        };
        let leader = checks.add("leader");
        let election = election.transpose().map_err(failed)?;
        Ok(Self {
            election: election.map(|election| election.shown_by(leader.clone())),
            leader,
            store,
            target,
            consumer: consumer.clone(),
            options,
            recorder: Recorder::start(&cluster, registry, restarts, clock.clone())
                .map_err(failed)?,
            cluster,
        })
    }

    /// Waits for the leadership, opens what the cluster holds, and works until `drain` is requested.
    pub(super) async fn run(self, front: Front, drain: Drain) -> Result<(), Failure> {
        // Whoever stands by is ready: it could take over, and a rolling update must not wait for it. Whether it could says
        // the election.
        front.runner.stand_by();
        for check in [&self.store, &self.target] {
            check.ok();
        }
        let leadership = match &self.election {
            None => {
                self.leader.ok();
                None
            }
            Some(election) => {
                info!(consumer = %self.consumer, "Waiting to lead");
                let Some(leadership) = election.acquire(&drain).await else {
                    return Ok(());
                };
                Some(leadership)
            }
        };
        let lost = async {
            match &leadership {
                Some(leadership) => leadership.lost().await,
                None => std::future::pending().await,
            }
        };
        let worked = tokio::select! {
            worked = self.work(front, drain) => worked,
            () = lost => return Err(Failure::new(ExitKind::Failed, Deposed).with_hint(
                "let the process be started again; it then stands by".to_string(),
            )),
        };
        if let Some(leadership) = leadership {
            leadership.release().await;
        }
        worked
    }

    async fn work(&self, mut front: Front, drain: Drain) -> Result<(), Failure> {
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = drain.requested() => return Ok(()),
        };
        let (store, applier) = opened;
        front.config.on_trouble = self.recorder.on_trouble();
        front.config.about.version_of = Some(self.version_of());
        let worked = front.run(store.clone(), applier, drain).await;
        if let Err(error) = store.flush().await {
            warn!(error = %chain(&error), "Could not note the last acknowledgements; those statuses are sent again");
        }
        worked
    }

    /// Opens works and ownership, however long it takes until the cluster lets us.
    async fn open(&self) -> (Objects, Kubernetes) {
        let client = &self.cluster.client;
        let fit = || definitions::check(client);
        patiently(&self.store, "use the definitions of works", fit).await;
        let store = patiently(&self.store, "read the works in the cluster", || {
            Objects::open(client.clone(), &self.cluster.namespace, &self.consumer)
        });
        let Found {
            store, unreadable, ..
        } = store.await;
        for object in unreadable {
            warn!("Left alone what is no work of this agent: {object}");
        }
        let applier = patiently(&self.target, "read the AppliedManifestWorks", || {
            Kubernetes::open(client.clone(), self.options.clone())
        });
        let applier = applier.await;
        let awaited = || self.await_source(&store, applier.owners());
        patiently(&self.store, "take over works", awaited).await;
        info!(
            works = store.index().ids().len(),
            "Opened the works in the cluster"
        );
        (store, applier)
    }

    /// Asks the API server for its version.
    fn version_of(&self) -> VersionOf {
        let client = self.cluster.client.clone();
        Box::new(move || {
            let client = client.clone();
            Box::pin(async move {
                let answer = client.apiserver_version().await;
                answer.ok().map(|version| version.git_version)
            })
        })
    }

    /// Works whose objects were taken over are held from now on, so that the next resync asks for them; without it
    /// nobody would ever say that they are to go.
    async fn await_source(
        &self,
        store: &Objects,
        owners: Vec<WorkId>,
    ) -> Result<(), work::StoreError> {
        let unknown = owners
            .into_iter()
            .filter(|id| store.index().entry(id).is_none());
        let mut works: Vec<Work> = unknown.map(Work::awaited).collect();
        if !works.is_empty() {
            info!(
                works = works.len(),
                "Taking over works that another agent left, or whose objects somebody changed"
            );
        }
        loop {
            let Err(error) = store.commit(Arc::new(works.clone())).await else {
                return Ok(());
            };
            let Some(taken) = error.foreign() else {
                return Err(error);
            };
            // It must not hold up all the others.
            warn!(error = %chain(&error), "Left alone a work whose name is taken");
            works.retain(|work| work.head.id != *taken);
        }
    }
}

/// Tries until it works; the check says why it does not.
async fn patiently<T, E, F>(check: &Check, what: &str, mut attempt: impl FnMut() -> F) -> T
where
    E: Hint + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, RETRY_MAX);
    loop {
        match attempt().await {
            Ok(value) => {
                check.ok();
                return value;
            }
            Err(error) => {
                let hint = error
                    .hint()
                    .map_or_else(String::new, |hint| format!("; hint: {hint}"));
                let why = format!("{}{hint}", chain(&error));
                warn!(error = why, "Could not {what}; trying again");
                check.failing(why);
            }
        }
        tokio::time::sleep(backoff.next_jittered(Duration::ZERO)).await;
    }
}

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(15);
