//! The Kubernetes applier keeps its promises at a real API server: what it applies, repairs, shares, leaves alone and
//! gives up.

use std::time::Duration;

use agent::applier::kubernetes::{AgentId, Kubernetes, KubernetesOptions};
use agent::applier::{
    Applied, Applier as _, ApplierError, Change, Claim, Desired, HeldObject, Release, Released,
    Strategy,
};
use agent::work::WorkId;
use anyhow::{Context as _, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use link::bundle::manifest::ObjectRef;
use serde_json::{Value, json};
use tests::kubernetes::Cluster;
use tests::wait::{quick_enough, wait_for};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

mod drift;
mod kills;
mod kinds;
mod records;
mod release;
mod rights;
mod sharing;
mod strategies;
mod versions;

/// A namespace, and an applier that works in it under an identity of its own.
struct Bench {
    /// Of somebody else.
    client: Client,
    namespace: String,
    agent_id: AgentId,
    applier: Kubernetes,
    changes: mpsc::Receiver<Change>,
    watching: JoinHandle<()>,
}

// === impl Bench ===

impl Bench {
    async fn new(name: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let client = cluster.client().await?;
        install(&client).await?;
        let namespace = cluster.namespace(name).await?;
        Self::of(client.clone(), client, namespace, &[]).await
    }

    /// `user` is the agent's client.
    async fn of(client: Client, user: Client, namespace: String, adopted: &[&str]) -> Result<Self> {
        let agent_id = AgentId::from(namespace.as_str());
        let adopted = adopted.iter().map(|&id| id.into()).collect();
        let options = KubernetesOptions::new(agent_id.clone(), adopted);
        let applier = Kubernetes::open(user, options).await?;
        let (changes, watching) = watch(&applier);
        Ok(Self {
            client,
            namespace,
            agent_id,
            applier,
            changes,
            watching,
        })
    }

    /// The agent is killed and starts again.
    async fn restart(&mut self) -> Result<()> {
        self.watching.abort();
        let options = KubernetesOptions::new(self.agent_id.clone(), Vec::new());
        self.applier = Kubernetes::open(self.client.clone(), options).await?;
        (self.changes, self.watching) = watch(&self.applier);
        Ok(())
    }

    fn map(&self, name: &str, color: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": {"color": color},
        })
    }

    async fn apply(&self, work: &str, manifest: &Value, strategy: &Strategy) -> Outcome {
        let object = ObjectRef::of(manifest);
        let desired = Desired {
            object: &object,
            manifest,
            strategy,
            executor: None,
            may_remove: true,
        };
        self.applier.apply(&work.into(), desired).await
    }

    async fn claim(&self, work: &str, manifests: &[(Value, Strategy)]) -> Result<Vec<HeldObject>> {
        let claims: Vec<Claim> = manifests
            .iter()
            .filter(|(_, strategy)| *strategy != Strategy::ReadOnly)
            .map(|(manifest, strategy)| Claim {
                object: ObjectRef::of(manifest),
                content: strategy.insists_on_content().then(|| manifest.to_string()),
            })
            .collect();
        Ok(self.applier.claim(&work.into(), &claims).await?)
    }

    /// One look at a work, as reconcile does it.
    async fn look(&self, work: &str, manifests: &[(Value, Strategy)]) -> Result<Vec<Outcome>> {
        let stale = self.claim(work, manifests).await?;
        let mut outcomes = Vec::new();
        for (manifest, strategy) in manifests {
            outcomes.push(self.apply(work, manifest, strategy).await);
        }
        let mut settled = true;
        for held in stale {
            let released = self
                .applier
                .release(&work.into(), &held, Release::Remove)
                .await?;
            settled &= !matches!(released, Released::Pending(_));
        }
        if settled {
            self.applier.settle(&work.into()).await?;
        }
        Ok(outcomes)
    }

    /// One look at a work of one manifest without options, which succeeds.
    async fn hold(&self, work: &str, manifest: &Value) -> Result<Applied> {
        let looks = [(manifest.clone(), Strategy::Default)];
        let mut outcomes = self.look(work, &looks).await?;
        Ok(outcomes.remove(0)?)
    }

    /// One look at a work that is to go, at its only object.
    async fn give_up(&self, work: &str, mode: Release) -> Result<Released> {
        let held = self.applier.claim(&work.into(), &[]).await?;
        let [held] = held.as_slice() else {
            bail!("held: {held:?}");
        };
        let released = self.applier.release(&work.into(), held, mode).await?;
        if !matches!(released, Released::Pending(_)) {
            self.applier.settle(&work.into()).await?;
        }
        Ok(released)
    }

    fn maps(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind("", "ConfigMap"))
    }

    async fn color(&self, name: &str) -> Result<String> {
        let map = self.maps().get(name).await?;
        Ok(map.data["data"]["color"]
            .as_str()
            .unwrap_or_default()
            .into())
    }

    /// Somebody else edits a ConfigMap.
    async fn edit(&self, name: &str, patch: Value) -> Result<()> {
        edit(&self.maps(), name, patch).await
    }

    async fn create(&self, manifest: Value) -> Result<()> {
        let map = serde_json::from_value(manifest)?;
        self.maps().create(&PostParams::default(), &map).await?;
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.maps().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    async fn owners(&self, name: &str) -> Result<Vec<String>> {
        let map = self.maps().get(name).await?;
        let owners = map.metadata.owner_references.unwrap_or_default();
        Ok(owners.into_iter().map(|owner| owner.uid).collect())
    }

    fn records(&self) -> Api<DynamicObject> {
        applied_works(&self.client)
    }

    fn record_name(&self, work: &str) -> String {
        format!("{}-{work}", self.agent_id)
    }

    async fn record(&self, work: &str) -> Result<DynamicObject> {
        Ok(self.records().get(&self.record_name(work)).await?)
    }

    /// The names of all records of this agent.
    async fn living_records(&self) -> Result<Vec<String>> {
        let all = self
            .records()
            .list(&kube::api::ListParams::default())
            .await?;
        let names = all.items.into_iter().filter_map(|it| it.metadata.name);
        let prefix = self.record_name("");
        Ok(names.filter(|name| name.starts_with(&prefix)).collect())
    }

    /// Waits until a work is to be looked at again; answers with who else was told meanwhile.
    async fn woken(&mut self, work: &str) -> Result<Vec<WorkId>> {
        let deadline = Instant::now() + tests::wait::patient(PATIENCE);
        let mut others = Vec::new();
        loop {
            let change = tokio::time::timeout_at(deadline, self.changes.recv()).await;
            match change.with_context(|| format!("`{work}` was not woken; told: {others:?}"))? {
                Some(Change::Works(works)) if works.contains(&work.into()) => {
                    others.extend(works.into_iter().filter(|told| *told != work.into()));
                    return Ok(others);
                }
                Some(Change::Works(works)) => others.extend(works),
                other => bail!("{other:?}"),
            }
        }
    }

    /// Whether what somebody else does to an object of a work wakes it as soon as that is promised. It is done anew, to
    /// an object that is as it should be, when the machine was late.
    async fn woken_soon(
        &mut self,
        work: &str,
        mut act: impl AsyncFnMut(&Self, &str) -> Result<()>,
    ) -> Result<()> {
        let mut round = 0;
        quick_enough("waking the owner", SOON, async || {
            round += 1;
            self.hold(work, &self.map(work, "red")).await?;
            while self.changes.try_recv().is_ok() {}
            act(self, &format!("green {round}")).await?;
            let begun = Instant::now();
            self.woken(work).await?;
            Ok(begun.elapsed())
        })
        .await
    }

    /// Until the watch of ConfigMaps follows, an event may come with the list. A work of its own tells.
    async fn watched(&mut self) -> Result<Vec<WorkId>> {
        self.hold("marker", &self.map("marker", "red")).await?;
        // An earlier one may have done so too.
        let seen = uuid::Uuid::new_v4().to_string();
        self.edit("marker", json!({"data": {"seen": seen}})).await?;
        self.woken("marker").await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

type Outcome = Result<Applied, ApplierError>;

fn watch(applier: &Kubernetes) -> (mpsc::Receiver<Change>, JoinHandle<()>) {
    let (sender, changes) = mpsc::channel(CHANGES);
    let applier = applier.clone();
    (
        changes,
        tokio::spawn(async move { applier.watch(sender).await }),
    )
}

async fn edit(objects: &Api<DynamicObject>, name: &str, patch: Value) -> Result<()> {
    let params = PatchParams {
        field_manager: Some("somebody-else".into()),
        ..PatchParams::default()
    };
    objects.patch(name, &params, &Patch::Merge(patch)).await?;
    Ok(())
}

fn kind(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

pub(super) fn applied_works(client: &Client) -> Api<DynamicObject> {
    let kind = kind("work.open-cluster-management.io", "AppliedManifestWork");
    Api::all_with(client.clone(), &kind)
}

/// Installs the agent's own kinds.
pub(super) async fn install(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in agent::crd::definitions() {
        let name = definition.metadata.name.clone().context("a name")?;
        let params = PatchParams::apply("tests").force();
        definitions
            .patch(&name, &params, &Patch::Apply(definition))
            .await?;
    }
    let works = applied_works(client);
    let list = async || works.list(&kube::api::ListParams::default()).await;
    wait_for("the agent's kinds", PATIENCE, list).await?;
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);
/// What the agent promises for drift and for status.
const SOON: Duration = Duration::from_secs(1);
const CHANGES: usize = 16;
