//! The Kubernetes applier: works are applied to the API server of a cluster.
//!
//! `object` says which object a manifest declares, `claims` keeps who holds what in AppliedManifestWorks, `apply` and
//! `release` change objects, `watch` tells what somebody else changed. `aliases`, `fields`, `update`, `conflict`,
//! `managed`, `field_managers` and `explain` are pure; none of them talks to a server.
//!
//! A work that names no strategy is applied by server-side apply with force as `work-agent`: what its manifests say
//! is put back when somebody edits it, what they do not mention is left to others. Status in a manifest is sent
//! along; the server ignores it wherever status is a subresource.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use link::bundle::manifest::ObjectRef;
use link::error::Hint;
use serde_json::Value;
use tokio::sync::mpsc;

use self::claims::Claims;
use self::claims::foreign::ForeignClaims;
use self::discovery::Discovery;
use self::executor::Executor;
use self::server::Server;
use self::watch::WatchIndex;
use super::{
    Applied, Applier, ApplierError, Change, Claim, Desired, Fingerprint, HeldObject,
    ObjectIdentity, RecordMetadata, Release, Released,
};
use crate::cluster::hint;
use crate::keyed_lock::KeyedLock;
use crate::work_id::WorkId;

mod aliases;
mod apply;
mod claims;
pub(crate) mod conflict;
pub(crate) mod discovery;
pub mod executor;
pub(crate) mod explain;
mod field_managers;
pub(crate) mod fields;
mod identity;
pub(crate) mod managed;
mod object;
mod own_kinds;
mod owners;
mod release;
pub(crate) mod resource;
mod resume;
mod server;
pub(crate) mod update;
mod watch;

pub use identity::AgentId;
pub(crate) use managed::upgrade as upgrade_managed_fields;

/// Applies works to a cluster; clones share it.
#[derive(Clone)]
pub struct Kubernetes(Arc<Inner>);

/// How a cluster is used.
#[derive(Clone, Debug)]
pub struct KubernetesOptions {
    /// Under which identity objects are held.
    pub agent_id: AgentId,
    /// Identities of other agents whose AppliedManifestWorks are taken over.
    pub adopted: Vec<AgentId>,
    /// How often objects are read that may not be watched.
    pub poll: Duration,
}

/// The cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// It does not tell which kinds it has.
    #[error("read the kinds of the API server")]
    Discover(#[source] kube::Error),
    /// It does not tell what the works hold.
    #[error("list AppliedManifestWorks")]
    Load(#[source] kube::Error),
}

/// What the parts of the applier share.
struct Inner {
    server: Server,
    agent_id: AgentId,
    adopted: Vec<AgentId>,
    poll: Duration,
    executor: Executor,
    discovery: Discovery,
    claims: Mutex<Claims>,
    foreign: ForeignClaims,
    index: WatchIndex,
    locks: KeyedLock,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Reads the kinds of the cluster and what the works hold.
    ///
    /// # Errors
    /// See [`KubernetesError`].
    pub async fn open(client: Client, options: KubernetesOptions) -> Result<Self, KubernetesError> {
        let discovery = Discovery::read(client.clone()).await;
        let inner = Inner {
            executor: Executor::new(client.clone()),
            poll: options.poll,
            server: Server::new(client),
            agent_id: options.agent_id,
            adopted: options.adopted,
            discovery: discovery.map_err(KubernetesError::Discover)?,
            claims: Mutex::default(),
            foreign: ForeignClaims::default(),
            index: WatchIndex::default(),
            locks: KeyedLock::default(),
        };
        inner.load().await.map_err(KubernetesError::Load)?;
        Ok(Self(Arc::new(inner)))
    }

    /// Every work that holds something, whether this agent holds the work or not.
    pub fn owners(&self) -> Vec<WorkId> {
        self.0.claims().owners()
    }
}

// === impl Options ===

impl KubernetesOptions {
    /// The identity, and those whose works are taken over.
    pub fn new(agent_id: AgentId, adopted: Vec<AgentId>) -> Self {
        Self {
            agent_id,
            adopted,
            poll: POLL,
        }
    }
}

// === impl Kubernetes: Applier ===

impl Applier for Kubernetes {
    async fn claim(
        &self,
        owner: &WorkId,
        declared: &[Claim],
    ) -> Result<Vec<HeldObject>, ApplierError> {
        self.0.claim(owner, declared).await
    }

    async fn register(&self, owner: &WorkId) -> Result<(), ApplierError> {
        self.0.register(owner).await
    }

    async fn apply(&self, owner: &WorkId, desired: Desired<'_>) -> Result<Applied, ApplierError> {
        self.0.apply(owner, desired).await
    }

    async fn conflicting_managers(&self, desired: Desired<'_>) -> Vec<String> {
        self.0.conflicting_managers(desired).await
    }

    async fn observe(&self, object: &ObjectRef) -> Result<Option<Value>, ApplierError> {
        self.0.observe(object).await
    }

    async fn release(
        &self,
        owner: &WorkId,
        held: &HeldObject,
        mode: Release,
    ) -> Result<Released, ApplierError> {
        self.0.release(owner, held, mode).await
    }

    async fn settle(&self, owner: &WorkId) -> Result<(), ApplierError> {
        self.0.settle(owner).await
    }

    fn describe(&self, owner: &WorkId, metadata: RecordMetadata) {
        self.0.claims().describe(owner, metadata);
    }

    fn owns(&self, owner: &WorkId) -> bool {
        self.0.claims().owns(owner)
    }

    fn resume(&self, owner: &WorkId, claims: usize, seen: &[(ObjectRef, Fingerprint)]) -> bool {
        self.0.resume(owner, claims, seen)
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        watch::run(&self.0, changes).await;
    }

    async fn learn(&self, declared: &[ObjectRef]) {
        self.0.learn(declared).await;
    }

    fn identify(&self, declared: &ObjectRef) -> ObjectIdentity {
        self.0.identify(declared)
    }
}

// === impl Inner ===

impl Inner {
    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the AppliedManifestWorks of an agent are ours.
    fn is_ours(&self, agent_id: &str) -> bool {
        agent_id == self.agent_id.as_str()
            || self
                .adopted
                .iter()
                .any(|adopted| adopted.as_str() == agent_id)
    }
}

// === impl Error ===

impl Hint for KubernetesError {
    fn hint(&self) -> Option<String> {
        let (Self::Discover(error) | Self::Load(error)) = self;
        Some(match error {
            kube::Error::Api(status) if status.code == 404 => {
                "the definitions are missing: `agent crds | kubectl apply -f -`".into()
            }
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                "let the agent's account list AppliedManifestWorks; `agent permissions` prints the role".into()
            }
            kube::Error::Api(_) => hint(error).unwrap_or_else(|| AGAIN.into()),
            _ => "check that the API server can be reached with the kubeconfig given".into(),
        })
    }
}

const AGAIN: &str = "it is tried again; the API server's log tells more";

// Only for objects that may not be watched.
const POLL: Duration = Duration::from_secs(30);
