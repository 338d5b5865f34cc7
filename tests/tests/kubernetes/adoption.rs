//! A cluster that a Go Maestro agent leaves behind is taken over without an object being touched that is right already.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::crd::{AppliedManifestWork, ManifestWork};
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::ListParams;
use tests::go::{applied, deleted, deletion, next};
use tests::kubernetes::Cluster;
use tests::process::{Output, Process, ProcessSpec};
use tests::wait::wait_for;

use self::go_works::{GoWorks, ORPHAN, WORK};
use crate::conformance::{Fixture, LEADER};

mod go_works;

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_plan_and_changes_nothing() -> Result<()> {
    let mut fixture = Fixture::start("adoption-dry-run").await?;
    fixture.kill()?;
    let left = GoWorks::behind(&fixture, "mqtt.example.com:8883").await?;
    // Where no agent of ours has ever been.
    let fresh = Cluster::shared().await?.namespace("adoption").await?;
    let before = everything(&fixture, &fresh).await?;
    let output = adopt(
        &fixture,
        &fresh,
        &["--from-broker", &left.broker, "--dry-run"],
    )?;
    let output = finished(output).await?;
    ensure!(output.status.success(), "{output:?}");
    for words in [
        "2 works with 4 objects; none is made anew or removed",
        &format!("work {WORK}: waits until its source sends it"),
        &format!("AppliedManifestWork {}-{WORK}", left.hash),
        &format!("configmaps {}/updated stays as it is", fixture.namespace),
        "the other agent's fields become this agent's",
    ] {
        ensure!(
            output.stdout.contains(words),
            "no `{words}` in\n{}",
            output.stdout
        );
    }
    let after = everything(&fixture, &fresh).await?;
    ensure!(before == after, "{before:#?}, then {after:#?}");
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_adopted_is_gone_on_with_from_another_broker() -> Result<()> {
    let mut fixture = Fixture::start("adoption-verb").await?;
    fixture.kill()?;
    let left = GoWorks::behind(&fixture, "mqtt.example.com:8883").await?;
    let works = fixture.works()?.to_owned();
    let output = finished(adopt(&fixture, &works, &["--from-broker", &left.broker])?).await?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(
        output.stdout.contains("took over 2 works with 4 objects"),
        "{output:?}"
    );
    fixture.region.agent("cluster1")?.service.restart()?;
    takes_over(&mut fixture, &left).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_on_the_same_broker_takes_over_by_itself() -> Result<()> {
    let mut fixture = Fixture::start("adoption-broker").await?;
    fixture.kill()?;
    let broker = format!("localhost:{}", fixture.region.broker.address().port());
    let left = GoWorks::behind(&fixture, &broker).await?;
    fixture.region.agent("cluster1")?.service.restart()?;
    takes_over(&mut fixture, &left).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_over_the_identities_it_is_given() -> Result<()> {
    let mut fixture = Fixture::start("adoption-given").await?;
    fixture.kill()?;
    let left = GoWorks::behind(&fixture, "mqtt.example.com:8883").await?;
    let kubeconfig = fixture.kubeconfig.to_str().context("a path")?;
    let works = fixture.works()?.to_owned();
    let args = [
        ["--kubeconfig", kubeconfig],
        ["--namespace", &works],
        ["--agent-id", &works],
        ["--adopt-agent-id", &left.hash],
        LEADER,
    ];
    let _agent = fixture
        .region
        .another_agent("cluster1", "given", args.concat())?;
    takes_over(&mut fixture, &left).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_that_was_killed_is_finished_by_the_next() -> Result<()> {
    let mut fixture = Fixture::start("adoption-killed").await?;
    fixture.kill()?;
    let left = GoWorks::behind(&fixture, "mqtt.example.com:8883").await?;
    let works = fixture.works()?.to_owned();
    let held: Api<ManifestWork> = Api::namespaced(fixture.kube.clone(), &works);
    // Reads its plan at once, and is then slow enough to be killed half-way: the first AppliedManifestWork is taken over
    // three requests after the first work is held.
    let slowly = [
        "--from-broker",
        &left.broker,
        "--kube-api-qps",
        "0.5",
        "--kube-api-burst",
        "8",
    ];
    let mut killed = adopt(&fixture, &works, &slowly)?;
    wait_for("the first step", PATIENCE, async || {
        let held = held.list(&ListParams::default()).await?.items;
        ensure!(!held.is_empty(), "no work is held yet");
        anyhow::Ok(())
    })
    .await?;
    killed.kill()?;
    ensure!(!killed.stdout().contains("took over"), "it was too fast");
    for words in ["took over 2 works", ""] {
        let output = finished(adopt(&fixture, &works, &["--from-broker", &left.broker])?).await?;
        ensure!(
            output.status.success() && output.stdout.contains(words),
            "{output:?}"
        );
    }
    fixture.region.agent("cluster1")?.service.restart()?;
    takes_over(&mut fixture, &left).await?;
    fixture.passed();
    Ok(())
}

/// The agent was just started; its source still has one of two works.
async fn takes_over(fixture: &mut Fixture, left: &GoWorks) -> Result<()> {
    let asked = next(&mut fixture.source, "spec.resync_request").await?;
    let list = String::from_utf8_lossy(&asked.payload);
    ensure!(list.contains(WORK) && list.contains(ORPHAN), "{list}");

    // The same content: not an object is made anew.
    fixture
        .send(left.version(fixture, 5, &["value", "dropped"]))
        .await?;
    applied(&mut fixture.source, WORK, 5).await?;
    left.is_untouched(fixture).await?;
    for record in [WORK, ORPHAN] {
        let records = left.records(fixture, record).await?;
        ensure!(records.len() == 1, "{records:#?}");
    }
    let status = left
        .records(fixture, WORK)
        .await?
        .remove(0)
        .status
        .unwrap_or_default();
    ensure!(status.eviction_start_time.is_none(), "{status:?}");

    // What a version drops goes, also where the Go agent wrote it.
    fixture.send(left.version(fixture, 6, &["value"])).await?;
    applied(&mut fixture.source, WORK, 6).await?;
    for name in left.names() {
        let data = fixture.maps().get(name).await?.data.unwrap_or_default();
        ensure!(data.keys().eq(["value"]), "{name}: {data:?}");
    }
    left.is_untouched(fixture).await?;

    // What the source does not have stays until it says so.
    let orphan = fixture.maps().get("orphan").await?;
    ensure!(orphan.metadata.deletion_timestamp.is_none(), "{orphan:?}");
    for id in [ORPHAN, WORK] {
        fixture.send(deletion(id, 7)).await?;
        deleted(&mut fixture.source, id).await?;
        let records = left.records(fixture, id).await?;
        ensure!(records.is_empty(), "{records:#?}");
    }
    for name in left.names().chain(["orphan"]) {
        let found = fixture.maps().get_opt(name).await?;
        ensure!(found.is_none(), "{found:?}");
    }
    Ok(())
}

fn adopt(fixture: &Fixture, works: &str, args: &[&str]) -> Result<Process> {
    let kubeconfig = fixture.kubeconfig.to_str().context("a path")?;
    let agent_id = fixture.works()?;
    let spec = ProcessSpec::binary("agent")?
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
    Ok(spec.start(fixture.region.test_dir.path())?)
}

async fn finished(mut adopting: Process) -> Result<Output> {
    Ok(Output {
        status: adopting.exited(PATIENCE).await?,
        stdout: adopting.stdout(),
        stderr: adopting.stderr(),
    })
}

/// The resource version of everything an adoption could change.
async fn everything(fixture: &Fixture, works: &str) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, version: Option<String>| {
        all.insert(name, version.unwrap_or_default());
    };
    let list = ListParams::default();
    let ours = Api::<AppliedManifestWork>::all(fixture.kube.clone())
        .list(&list)
        .await?;
    for it in ours.items {
        if [WORK, ORPHAN].contains(&it.spec.manifest_work_name.as_str()) {
            let name = it.metadata.name.unwrap_or_default();
            // Other tests use the same works under other identities.
            if name.starts_with(&go_works::hash_of(fixture, "mqtt.example.com:8883")) {
                add(
                    format!("AppliedManifestWork {name}"),
                    it.metadata.resource_version,
                );
            }
        }
    }
    for namespace in [works, &fixture.namespace] {
        let maps = Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(
            fixture.kube.clone(),
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
    let held = Api::<ManifestWork>::namespaced(fixture.kube.clone(), works);
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
