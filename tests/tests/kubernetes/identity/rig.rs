//! The part of an agent that brings a cluster to its works, at the real API server: versions of one work are handed to
//! it, and it looks when it is told to.

use std::sync::Arc;
use std::time::Duration;

use agent::applier::kubernetes::{AgentId, Kubernetes, KubernetesOptions};
use agent::health::Health;
use agent::metrics::Metrics;
use agent::queue::WorkQueue;
use agent::reconcile::{Reconciler, WriteConflicts};
use agent::work::{Files, Head, Work, WorkId};
use anyhow::{Context as _, Result, ensure};
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use link::bundle::manifest::ObjectRef;
use link::bundle::{Condition, Status};
use link::clock::Clock;
use link::id::ConsumerName;
use link::order::Version;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::kubernetes::Cluster;
use tests::wait::wait_for;

use crate::applier::{applied_works, install};
use crate::fixture::PATIENCE;

/// An agent with one work, and a namespace for its objects.
pub(super) struct Rig {
    pub(super) client: Client,
    pub(super) namespace: String,
    agent_id: AgentId,
    adopted: Vec<AgentId>,
    reconciler: Reconciler<Arc<Files>, Kubernetes>,
    version: i64,
    spec: Value,
    _directory: TempDir,
}

// === impl Rig ===

impl Rig {
    pub(super) async fn new(name: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let client = cluster.client().await?;
        install(&client).await?;
        let namespace = cluster.namespace(name).await?;
        Self::of(client, namespace, &[]).await
    }

    /// One that takes over what agents of these identities hold.
    pub(super) async fn of(client: Client, namespace: String, adopted: &[&str]) -> Result<Self> {
        let agent_id = AgentId::from(namespace.as_str());
        let adopted: Vec<AgentId> = adopted.iter().map(|&id| id.into()).collect();
        let directory = tempfile::tempdir()?;
        let store = Arc::new(Files::open(directory.path())?.store);
        let options = KubernetesOptions::new(agent_id.clone(), adopted.clone());
        let applier = Kubernetes::open(client.clone(), options).await?;
        Ok(Self {
            reconciler: reconciler(store, applier)?,
            client,
            namespace,
            agent_id,
            adopted,
            version: 0,
            spec: Value::Null,
            _directory: directory,
        })
    }

    /// The agent is killed and starts again.
    pub(super) async fn restart(&mut self) -> Result<()> {
        let options = KubernetesOptions::new(self.agent_id.clone(), self.adopted.clone());
        let applier = Kubernetes::open(self.client.clone(), options).await?;
        self.reconciler = reconciler(Arc::clone(&self.reconciler.store), applier)?;
        Ok(())
    }

    /// The next version of the work, looked at once.
    pub(super) async fn becomes(&mut self, spec: Value) -> Result<Status> {
        self.version += 1;
        self.spec = spec;
        self.commit(false)?;
        self.look().await
    }

    pub(super) async fn look(&self) -> Result<Status> {
        self.reconciler.reconcile(&self.work()).await;
        let record = self.reconciler.store.status(&self.work())?;
        Ok(record.context("a status")?.status)
    }

    /// Deletes the work and looks until it is gone; nothing of it may be left then.
    pub(super) async fn ends(&mut self) -> Result<()> {
        self.commit(true)?;
        wait_for("the work to be gone", PATIENCE, async || {
            let status = self.look().await?;
            let gone = status.condition("Deleted").is_some_and(Condition::is_true);
            ensure!(gone, "{:?}", status.condition("Deleting"));
            anyhow::Ok(())
        })
        .await?;
        ensure!(self.record().await?.is_none(), "its record is gone");
        Ok(())
    }

    /// Deletes the work, which takes no more than one look.
    pub(super) async fn ends_at_once(&mut self) -> Result<()> {
        self.commit(true)?;
        let status = self.look().await?;
        let gone = status.condition("Deleted").is_some_and(Condition::is_true);
        ensure!(gone, "{:?}", status.condition("Deleting"));
        ensure!(self.record().await?.is_none(), "its record is gone");
        Ok(())
    }

    /// The record of what the work holds.
    pub(super) async fn record(&self) -> Result<Option<DynamicObject>> {
        Ok(applied_works(&self.client)
            .get_opt(&self.record_name())
            .await?)
    }

    pub(super) fn record_name(&self) -> String {
        format!("{}-{}", self.agent_id, self.namespace)
    }

    /// The objects of a manifest's kind, where it is.
    pub(super) fn objects(&self, manifest: &Value) -> Api<DynamicObject> {
        let object = ObjectRef::of(manifest);
        let kind = GroupVersionKind::gvk(&object.group, &object.version, &object.kind);
        let resource = ApiResource::from_gvk(&kind);
        match object.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    pub(super) async fn live(&self, manifest: &Value) -> Result<Option<DynamicObject>> {
        let name = ObjectRef::of(manifest).name;
        Ok(self.objects(manifest).get_opt(&name).await?)
    }

    pub(super) async fn uid(&self, manifest: &Value) -> Result<Option<String>> {
        let live = self.live(manifest).await?;
        Ok(live.and_then(|live| live.metadata.uid))
    }

    /// A manifest in the namespace of the rig.
    pub(super) fn manifest(&self, api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
        let mut manifest = rest;
        manifest["apiVersion"] = api_version.into();
        manifest["kind"] = kind.into();
        manifest["metadata"] = json!({"name": name, "namespace": self.namespace});
        manifest
    }

    fn work(&self) -> WorkId {
        self.namespace.as_str().into()
    }

    fn commit(&self, deleting: bool) -> Result<()> {
        let head = Head {
            id: self.work(),
            version: Version::new(self.version).context("a version")?,
            source: "maestro".into(),
            metadata: None,
            log_tracing: None,
            deleting_since: deleting.then(|| self.reconciler.clock.now()),
            received_at: None,
            content: self.version.to_string(),
            rejected: None,
        };
        let payload = self.spec.to_string().into();
        Ok(Files::commit(
            &self.reconciler.store,
            &[Work { head, payload }],
        )?)
    }
}

fn reconciler(
    store: Arc<Files>,
    applier: Kubernetes,
) -> Result<Reconciler<Arc<Files>, Kubernetes>> {
    Ok(Reconciler {
        store,
        applier: Arc::new(applier),
        queue: Arc::new(WorkQueue::new(
            Duration::from_secs(1),
            Duration::from_secs(9),
        )),
        on_status: Box::new(|_| {}),
        write_conflicts: WriteConflicts::default(),
        on_trouble: Box::new(|_, _, _| {}),
        consumer: ConsumerName::new("cluster1")?,
        paused: None,
        period: Duration::from_secs(240),
        max_raw_bytes: 1024,
        max_status_bytes: 120_000,
        health: Health::ignored(),
        metrics: Metrics::register(&prometheus::Registry::new())?,
        clock: Clock::system(),
    })
}

/// A spec of these manifests.
pub(super) fn manifests<'a>(all: impl IntoIterator<Item = &'a Value>) -> Value {
    let all: Vec<&Value> = all.into_iter().collect();
    json!({ "manifests": all })
}

/// Whether a manifest was applied.
pub(super) fn applied(status: &Status, ordinal: usize) -> bool {
    let of_manifest = status.resource_status.get(ordinal);
    let conditions = of_manifest.map(|it| it.conditions.iter());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.kind == "Applied" && condition.is_true())
}

/// What is said about a manifest that was not applied.
pub(super) fn refusal(status: &Status, ordinal: usize) -> String {
    let of_manifest = status.resource_status.get(ordinal);
    let conditions = of_manifest.map(|it| it.conditions.iter());
    let mut conditions = conditions.into_iter().flatten();
    let refusal = conditions.find(|condition| condition.kind == "Applied" && !condition.is_true());
    refusal.map_or_else(String::new, |refusal| refusal.message.clone())
}
