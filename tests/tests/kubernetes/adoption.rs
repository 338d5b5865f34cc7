//! A cluster that a Go Maestro agent leaves behind is taken over without an object being touched that is right already.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::crd::{AppliedManifestWork, ManifestWork};
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::ListParams;
use tests::go::{applied, deleted, deletion, next};
use tests::kubernetes::Cluster;
use tests::process::{Output, Process, Spec};
use tests::wait::wait_for;

use self::left::{Left, ORPHAN, WORK};
use crate::conformance::{Ground, LEADER};

mod left;

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_plan_and_changes_nothing() -> Result<()> {
    let mut ground = Ground::start("adoption-dry-run").await?;
    ground.region.agent("cluster1")?.service.kill()?;
    let left = Left::behind(&ground, "mqtt.example.com:8883").await?;
    // Where no agent of ours has ever been.
    let fresh = Cluster::shared().await?.namespace("adoption").await?;
    let before = everything(&ground, &fresh).await?;
    let output = adopt(
        &ground,
        &fresh,
        &["--from-broker", &left.broker, "--dry-run"],
    )?;
    let output = finished(output).await?;
    ensure!(output.status.success(), "{output:?}");
    for words in [
        "2 works with 4 objects; none is made anew or removed",
        &format!("work {WORK}: waits until its source sends it"),
        &format!("AppliedManifestWork {}-{WORK}", left.hash),
        &format!("configmaps {}/updated stays as it is", ground.namespace),
        "the other agent's fields become this agent's",
    ] {
        ensure!(
            output.stdout.contains(words),
            "no `{words}` in\n{}",
            output.stdout
        );
    }
    let after = everything(&ground, &fresh).await?;
    ensure!(before == after, "{before:#?}, then {after:#?}");
    ground.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_adopted_is_gone_on_with_from_another_broker() -> Result<()> {
    let mut ground = Ground::start("adoption-verb").await?;
    ground.region.agent("cluster1")?.service.kill()?;
    let left = Left::behind(&ground, "mqtt.example.com:8883").await?;
    let works = ground.works()?.to_owned();
    let output = finished(adopt(&ground, &works, &["--from-broker", &left.broker])?).await?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(
        output.stdout.contains("took over 2 works with 4 objects"),
        "{output:?}"
    );
    ground.region.agent("cluster1")?.service.restart()?;
    takes_over(&mut ground, &left).await?;
    ground.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_on_the_same_broker_takes_over_by_itself() -> Result<()> {
    let mut ground = Ground::start("adoption-broker").await?;
    ground.region.agent("cluster1")?.service.kill()?;
    let broker = format!("localhost:{}", ground.region.broker.address().port());
    let left = Left::behind(&ground, &broker).await?;
    ground.region.agent("cluster1")?.service.restart()?;
    takes_over(&mut ground, &left).await?;
    ground.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_over_the_identities_it_is_given() -> Result<()> {
    let mut ground = Ground::start("adoption-given").await?;
    ground.region.agent("cluster1")?.service.kill()?;
    let left = Left::behind(&ground, "mqtt.example.com:8883").await?;
    let kubeconfig = ground.kubeconfig.to_str().context("a path")?;
    let works = ground.works()?.to_owned();
    let args = [
        ["--kubeconfig", kubeconfig],
        ["--namespace", &works],
        ["--agent-id", &works],
        ["--adopt-agent-id", &left.hash],
        LEADER,
    ];
    let _agent = ground
        .region
        .another_agent("cluster1", "given", args.concat())?;
    takes_over(&mut ground, &left).await?;
    ground.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_that_was_killed_is_finished_by_the_next() -> Result<()> {
    let mut ground = Ground::start("adoption-killed").await?;
    ground.region.agent("cluster1")?.service.kill()?;
    let left = Left::behind(&ground, "mqtt.example.com:8883").await?;
    let works = ground.works()?.to_owned();
    let held: Api<ManifestWork> = Api::namespaced(ground.kube.clone(), &works);
    // Slow enough to be killed half-way.
    let slowly = [
        "--from-broker",
        &left.broker,
        "--kube-api-qps",
        "4",
        "--kube-api-burst",
        "1",
    ];
    let mut killed = adopt(&ground, &works, &slowly)?;
    wait_for("the first step", PATIENCE, async || {
        let held = held.list(&ListParams::default()).await?.items;
        ensure!(!held.is_empty(), "no work is held yet");
        anyhow::Ok(())
    })
    .await?;
    killed.kill()?;
    ensure!(!killed.stdout().contains("took over"), "it was too fast");
    for words in ["took over 2 works", ""] {
        let output = finished(adopt(&ground, &works, &["--from-broker", &left.broker])?).await?;
        ensure!(
            output.status.success() && output.stdout.contains(words),
            "{output:?}"
        );
    }
    ground.region.agent("cluster1")?.service.restart()?;
    takes_over(&mut ground, &left).await?;
    ground.passed();
    Ok(())
}

/// The agent was just started; its source still has one of two works.
async fn takes_over(ground: &mut Ground, left: &Left) -> Result<()> {
    let asked = next(&mut ground.source, "spec.resync_request").await?;
    let list = String::from_utf8_lossy(&asked.payload);
    ensure!(list.contains(WORK) && list.contains(ORPHAN), "{list}");

    // The same content: not an object is made anew.
    ground
        .send(left.version(ground, 5, &["value", "dropped"]))
        .await?;
    applied(&mut ground.source, WORK, 5).await?;
    left.is_untouched(ground).await?;
    for record in [WORK, ORPHAN] {
        let records = left.records(ground, record).await?;
        ensure!(records.len() == 1, "{records:#?}");
    }
    let status = left
        .records(ground, WORK)
        .await?
        .remove(0)
        .status
        .unwrap_or_default();
    ensure!(status.eviction_start_time.is_none(), "{status:?}");

    // What a version drops goes, also where the Go agent wrote it.
    ground.send(left.version(ground, 6, &["value"])).await?;
    applied(&mut ground.source, WORK, 6).await?;
    for name in left.names() {
        let data = ground.maps().get(name).await?.data.unwrap_or_default();
        ensure!(data.keys().eq(["value"]), "{name}: {data:?}");
    }
    left.is_untouched(ground).await?;

    // What the source does not have stays until it says so.
    let orphan = ground.maps().get("orphan").await?;
    ensure!(orphan.metadata.deletion_timestamp.is_none(), "{orphan:?}");
    for id in [ORPHAN, WORK] {
        ground.send(deletion(id, 7)).await?;
        deleted(&mut ground.source, id).await?;
        let records = left.records(ground, id).await?;
        ensure!(records.is_empty(), "{records:#?}");
    }
    for name in left.names().chain(["orphan"]) {
        let found = ground.maps().get_opt(name).await?;
        ensure!(found.is_none(), "{found:?}");
    }
    Ok(())
}

fn adopt(ground: &Ground, works: &str, args: &[&str]) -> Result<Process> {
    let kubeconfig = ground.kubeconfig.to_str().context("a path")?;
    let agent_id = ground.works()?;
    let spec = Spec::binary("agent")?
        .args([
            "adopt",
            "--consumer-name",
            "cluster1",
            "--agent-id",
            agent_id,
        ])
        .args(["--kubeconfig", kubeconfig, "--namespace", works])
        .args(args)
        .label("adopt");
    Ok(spec.start(ground.region.scratch.path())?)
}

async fn finished(mut adopting: Process) -> Result<Output> {
    Ok(Output {
        status: adopting.exited(PATIENCE).await?,
        stdout: adopting.stdout(),
        stderr: adopting.stderr(),
    })
}

/// The resource version of everything an adoption could change.
async fn everything(ground: &Ground, works: &str) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, version: Option<String>| {
        all.insert(name, version.unwrap_or_default());
    };
    let list = ListParams::default();
    let ours = Api::<AppliedManifestWork>::all(ground.kube.clone())
        .list(&list)
        .await?;
    for it in ours.items {
        if [WORK, ORPHAN].contains(&it.spec.manifest_work_name.as_str()) {
            let name = it.metadata.name.unwrap_or_default();
            // Other tests use the same works under other identities.
            if name.starts_with(&left::hash_of(ground, "mqtt.example.com:8883")) {
                add(
                    format!("AppliedManifestWork {name}"),
                    it.metadata.resource_version,
                );
            }
        }
    }
    for namespace in [works, &ground.namespace] {
        let maps = Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(
            ground.kube.clone(),
            namespace,
        );
        for map in maps.list(&list).await?.items {
            let name = map.metadata.name.unwrap_or_default();
            add(
                format!("ConfigMap {namespace}/{name}"),
                map.metadata.resource_version,
            );
        }
    }
    let held = Api::<ManifestWork>::namespaced(ground.kube.clone(), works);
    for work in held.list(&list).await?.items {
        let name = work.metadata.name.unwrap_or_default();
        add(
            format!("ManifestWork {name}"),
            work.metadata.resource_version,
        );
    }
    Ok(all)
}

const PATIENCE: Duration = Duration::from_secs(60);
