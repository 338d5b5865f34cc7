//! What people do with a running agent in a cluster: stand by, pause, look, repair, restrict.

use std::time::Duration;

use agent::crd::ManifestWork;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::Value;
use tests::api::{self, Bundle, Change};
use tests::kubernetes::Cluster;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::wait::wait_for;

mod cluster;
mod leaders;
mod paused;
mod permissions;
mod seen;
mod up;
mod works;

/// A region whose agent `cluster1` is in a cluster.
struct OperationsFixture {
    region: Region,
    api: api::Api,
    cluster: &'static Cluster,
    kube: Client,
    /// Where its objects are.
    namespace: String,
}

// === impl OperationsFixture ===

impl OperationsFixture {
    async fn open(test: &str, agent_args: &[&str]) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let builder = RegionBuilder::new(test, BrokerKind::Sandbox).on_cluster(cluster);
        Self::of(cluster, builder.agent_args(agent_args.iter().copied())).await
    }

    async fn of(cluster: &'static Cluster, builder: RegionBuilder) -> Result<Self> {
        let mut region = builder.start().await?;
        Ok(Self {
            api: region.api().await?,
            region,
            cluster,
            kube: cluster.client().await?,
            namespace: cluster.namespace("operations").await?,
        })
    }

    fn map(&self, name: &str, value: &str) -> Value {
        let mut manifest = api::config_map(name, value);
        manifest["metadata"]["namespace"] = self.namespace.as_str().into();
        manifest
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.kube.clone(), &self.namespace)
    }

    fn works(&self) -> Result<Api<ManifestWork>> {
        Ok(Api::namespaced(self.kube.clone(), self.work_namespace()?))
    }

    fn work_namespace(&self) -> Result<&str> {
        let namespace = self.region.agents["cluster1"].namespace.as_deref();
        namespace.context("the agent is in a cluster")
    }

    /// A bundle of one ConfigMap, not waited for.
    async fn post(&self, name: &str, value: &str) -> Result<String> {
        let change = Change::create("cluster1", vec![self.map(name, value)]);
        Ok(self.api.create_bundle(&change).await?.id)
    }

    /// The next version of such a bundle.
    async fn change(&self, id: &str, version: i64, name: &str, value: &str) -> Result<()> {
        let change = Change::of(version, vec![self.map(name, value)]);
        self.api.change_bundle(id, &change).await?;
        Ok(())
    }

    async fn applied(&self, id: &str, version: i64) -> Result<Bundle> {
        self.bundle(id, "it to be applied", |bundle| {
            bundle.observed_version() == version && bundle.is("Applied") && bundle.is("Available")
        })
        .await
    }

    async fn bundle(
        &self,
        id: &str,
        what: &str,
        is_it: impl Fn(&Bundle) -> bool,
    ) -> Result<Bundle> {
        let bundle = wait_for(what, PATIENCE, async || {
            let bundle = self.api.bundle(id).await?.context("it is there")?;
            ensure!(is_it(&bundle), "{:#}", bundle.status);
            anyhow::Ok(bundle)
        });
        Ok(bundle.await?)
    }

    /// Waits until a ConfigMap has this value, or is gone.
    async fn value(&self, name: &str, expected: Option<&str>) -> Result<()> {
        let maps = self.maps();
        wait_for("the object", PATIENCE, async || {
            let value = value_of(&maps, name).await?;
            ensure!(value.as_deref() == expected, "{value:?}");
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }

    fn passed(self) {
        self.region.passed();
    }
}

async fn value_of(maps: &Api<ConfigMap>, name: &str) -> Result<Option<String>> {
    let map = maps.get_opt(name).await?;
    Ok(map.and_then(|map| map.data?.remove("value")))
}

const PATIENCE: Duration = Duration::from_secs(60);
