//! `sandbox up` with a cluster: its summary names the kubeconfig, and a bundle becomes an object there.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::Value;
use tests::api::{self, Change, config_map};
use tests::kubernetes::Cluster;
use tests::process::Spec;
use tests::scratch::Scratch;
use tests::wait::wait_for;

use super::{PATIENCE, value_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_on_a_cluster_says_so_and_applies_there() -> Result<()> {
    let scratch = Scratch::new("operations-up")?;
    // Of its own: `sandbox up` gives every consumer a namespace that goes by its name.
    let cluster = Cluster::start(scratch.path()).await?;
    let kubeconfig = cluster.kubeconfig();
    let up = Spec::binary("sandbox")?.args(["up", "--json", "--kubeconfig"]);
    let mut region = up.arg(kubeconfig).start(scratch.path())?;
    let line = region.line_with("\"operator\"", PATIENCE).await?;
    let summary: Value = serde_json::from_str(&line)?;
    let consumers = summary["consumers"].as_array().context("a list")?;
    ensure!(!consumers.is_empty());
    let file = kubeconfig.to_str().context("a path")?;
    let api = api::Api::new(summary["api"].as_str().context("an address")?)?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await?, "default");
    for consumer in consumers {
        ensure!(consumer["target"] == file, "{consumer}");
        let name = consumer["name"].as_str().context("a name")?;
        let change = Change::create(name, vec![config_map(name, "hello")]);
        api.create_bundle(&change).await?;
        wait_for("the object", PATIENCE, async || {
            let value = value_of(&maps, name).await?;
            ensure!(value.as_deref() == Some("hello"), "{value:?}");
            anyhow::Ok(())
        })
        .await?;
    }
    region.signal("INT")?;
    let status = region.exited(PATIENCE).await?;
    ensure!(status.success(), "{status}");
    drop(cluster);
    scratch.passed();
    Ok(())
}
