//! An agent at work while its release goes and comes; the process here stands for the pod.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tests::api::{self, Change, config_map};
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;

use super::super::{AGENT, PATIENCE, REGION, path, tool};
use super::{ChartCluster, SPACE};

#[tokio::test(flavor = "multi_thread")]
async fn applied_objects_outlive_the_release_that_runs_the_agent_and_it_goes_on_with_them()
-> Result<()> {
    let fixture = ChartCluster::open("chart-at-work").await?;
    let chart = path(AGENT);
    fixture.release("install", "agent", &chart, &[]).await?;
    let builder = RegionBuilder::new("chart-at-work-region", BrokerKind::Sandbox);
    let mut region = builder.on_cluster(&fixture.cluster).start().await?;
    let api = region.api().await?;
    let change = Change::create("cluster1", vec![config_map("kept", "0")]);
    let id = api.create_bundle(&change).await?.id;
    let uid = holds(&api, &id, &fixture.client, "0").await?;
    let turns: [&[&[&str]]; 3] = [
        &[&["uninstall", "agent"], &["install", "agent", &chart]],
        &[&["upgrade", "agent", &chart, "--set", "installCRDs=false"]],
        &[&["uninstall", "agent"], &["install", "renamed", &chart]],
    ];
    for (turn, steps) in (1..).zip(turns) {
        region.agent("cluster1")?.service.kill()?;
        for step in steps {
            let region: &[&str] = if step.len() > 2 {
                &["--set", REGION]
            } else {
                &[]
            };
            fixture.helm(SPACE, &[step, region].concat()).await?;
            let kept: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), "default");
            let kept = kept.get("kept").await?.metadata;
            ensure!(
                kept.uid == uid && kept.deletion_timestamp.is_none(),
                "{step:?}: {kept:?}"
            );
        }
        let agent = &mut region.agent("cluster1")?.service;
        agent.restart()?;
        agent.ready().await?;
        let value = turn.to_string();
        let change = Change::of(turn, vec![config_map("kept", &value)]);
        api.change_bundle(&id, &change).await?;
        let now = holds(&api, &id, &fixture.client, &value).await?;
        ensure!(now == uid, "made anew in turn {turn}");
    }
    region.passed();
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rendered_without_a_cluster_follows_from_the_values_alone() -> Result<()> {
    let fixture = ChartCluster::open("chart-function").await?;
    let chart = path(AGENT);
    let render = async || {
        let helm = tool(fixture.test_dir.path(), "helm").await?;
        let arguments = [
            "template",
            "agent",
            &chart,
            "--namespace",
            SPACE,
            "--set",
            REGION,
        ];
        fixture.started(helm.args(arguments)).await
    };
    let before = render().await?;
    ensure!(
        before
            .stdout
            .matches("kind: CustomResourceDefinition")
            .count()
            == 2,
        "{before:?}"
    );
    fixture.release("install", "another", &chart, &[]).await?;
    let after = render().await?;
    ensure!(before.stdout == after.stdout, "{}", after.stdout);
    fixture.passed();
    Ok(())
}

/// Waits until the ConfigMap has the value and the source knows; gives its uid.
async fn holds(api: &api::Api, id: &str, client: &Client, value: &str) -> Result<Option<String>> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let held = wait_for("the bundle to be applied", PATIENCE, async || {
        let bundle = api.bundle(id).await?.context("it is there")?;
        ensure!(bundle.is("Applied"), "{:#}", bundle.status);
        let map = maps.get("kept").await?;
        let now = map.data.as_ref().and_then(|data| data.get("value"));
        ensure!(now.map(String::as_str) == Some(value), "{now:?}");
        anyhow::Ok(map.metadata.uid)
    });
    Ok(held.await?)
}
