//! The whole path with a cluster at its end: REST → bridge → broker → agent → API server, and the status back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use tests::api::{Change, config_map};
use tests::kubernetes::Cluster;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_becomes_an_object_and_its_deletion_removes_it() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("path").await?;
    let mut region = RegionBuilder::new("kubernetes-path", BrokerKind::Sandbox)
        .on_cluster(cluster)
        .start()
        .await?;
    let api = region.api().await?;
    let mut manifest = config_map("a", "1");
    manifest["metadata"]["namespace"] = namespace.as_str().into();
    let created = api
        .create_bundle(&Change::create("cluster1", vec![manifest]))
        .await?;
    wait_for("the bundle to be applied", PATIENCE, async || {
        let bundle = api.bundle(&created.id).await?.context("it is there")?;
        ensure!(
            bundle.is("Applied") && bundle.is("Available"),
            "{:#}",
            bundle.status
        );
        anyhow::Ok(())
    })
    .await?;
    let objects: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &namespace);
    objects.get("a").await?;
    api.delete_bundle(&created.id).await?;
    wait_for("the bundle to be gone", PATIENCE, async || {
        let bundle = api.bundle(&created.id).await?;
        ensure!(
            bundle.is_none(),
            "{:#}",
            bundle.map(|b| b.status).unwrap_or_default()
        );
        anyhow::Ok(())
    })
    .await?;
    ensure!(objects.get_opt("a").await?.is_none());
    region.passed();
    Ok(())
}
