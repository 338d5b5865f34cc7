//! `sandbox up` with a cluster: its summary names the kubeconfig, a bundle becomes an object there, and all of it goes when
//! that is asked for.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::Value;
use tests::api::{self, Change, config_map};
use tests::kubernetes::Cluster;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;
use tests::wait::wait_for;

use super::{PATIENCE, value_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_on_a_cluster_says_so_and_applies_there() -> Result<()> {
    let test_dir = TestDir::new("operations-up")?;
    // Of its own: `sandbox up` gives every consumer a namespace that goes by its name.
    let cluster = Cluster::start(test_dir.path()).await?;
    let kubeconfig = cluster.kubeconfig();
    let up = ProcessSpec::binary("sandbox")?.args(["up", "--json", "--kubeconfig"]);
    let mut region = up.arg(kubeconfig).start(test_dir.path())?;
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
    let said = region.stderr();
    for part in [
        "what this makes stays when this stops, unless with `--clean`",
        "left: ",
        "namespace `sandbox-cluster1`",
    ] {
        ensure!(said.contains(part), "`{part}` in {said}");
    }
    let client = cluster.client().await?;
    ensure!(value_of(&maps, "cluster1").await?.is_some());
    ensure!(left(&client).await? == ["sandbox-cluster1", DEFINITIONS[0], DEFINITIONS[1]]);

    // The next one has never heard of what is there, and takes it away all the same.
    let up = ProcessSpec::binary("sandbox")?.args(["up", "--json", "--clean", "--kubeconfig"]);
    let mut region = up.arg(kubeconfig).label("clean").start(test_dir.path())?;
    let line = region.line_with("\"operator\"", PATIENCE).await?;
    let summary: Value = serde_json::from_str(&line)?;
    let api = api::Api::new(summary["api"].as_str().context("an address")?)?;
    let change = Change::create("cluster1", vec![config_map("second", "hello")]);
    api.create_bundle(&change).await?;
    wait_for("the second object", PATIENCE, async || {
        ensure!(value_of(&maps, "second").await?.is_some());
        anyhow::Ok(())
    })
    .await?;
    region.signal("INT")?;
    let status = region.exited(PATIENCE).await?;
    let said = region.stderr();
    ensure!(
        status.success() && said.contains("is clean"),
        "{status}: {said}"
    );
    for name in ["cluster1", "second"] {
        ensure!(value_of(&maps, name).await?.is_none(), "{name} is left");
    }
    let left = left(&client).await?;
    ensure!(left.is_empty(), "{left:?}");
    drop(cluster);
    test_dir.passed();
    Ok(())
}

/// Names of namespaces and definitions that a sandbox makes.
async fn left(client: &Client) -> Result<Vec<String>> {
    let all = ListParams::default();
    let namespaces = Api::<Namespace>::all(client.clone())
        .list_metadata(&all)
        .await?;
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let definitions = definitions.list_metadata(&all).await?;
    let names = namespaces
        .items
        .into_iter()
        .filter_map(|it| it.metadata.name);
    let mut names: Vec<String> = names.filter(|name| name.starts_with("sandbox-")).collect();
    let definitions = definitions
        .items
        .into_iter()
        .filter_map(|it| it.metadata.name);
    let ours = definitions.filter(|name| DEFINITIONS.contains(&name.as_str()));
    names.extend(ours);
    names.sort_unstable_by_key(|name| !name.starts_with("sandbox-"));
    Ok(names)
}

const DEFINITIONS: [&str; 2] = [
    "appliedmanifestworks.work.open-cluster-management.io",
    "manifestworks.work.open-cluster-management.io",
];
