//! Pausing a work, an agent by annotation, and an agent by flag: nothing is done, and the source is told so.

use agent::crd::PAUSED;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tests::api::Bundle;

use super::{OperationsFixture, value_of};

/// Why it says that it is paused.
fn paused(bundle: &Bundle) -> Option<&str> {
    let conditions = bundle.status["conditions"].as_array()?;
    let is_it = |it: &&Value| it["type"] == "Paused" && it["status"] == "True";
    conditions.iter().find(is_it)?["message"].as_str()
}

fn annotation(value: Option<&str>) -> Patch<Value> {
    Patch::Merge(json!({ "metadata": { "annotations": { PAUSED: value } } }))
}

/// While a bundle is paused and `other` is perhaps not, nothing happens to its object; then `resume` lets it go on.
async fn holds_still(fixture: &OperationsFixture, id: &str, why: &str) -> Result<()> {
    let told = fixture.bundle(id, "the pause", |it| {
        paused(it).is_some_and(|text| text.contains(why))
    });
    told.await?;
    let maps = fixture.maps();
    let before = maps.get("a").await?;
    fixture.change(id, 1, "a", "2").await?;
    let told = fixture.bundle(id, "the pause of version 2", |it| {
        it.observed_version() == 2 && paused(it).is_some()
    });
    told.await?;
    ensure!(value_of(&maps, "a").await?.as_deref() == Some("1"));
    // Drift stays, and so does what is to be deleted.
    let drift = json!({ "data": { "value": "3" } });
    maps.patch("a", &PatchParams::default(), &Patch::Merge(&drift))
        .await?;
    fixture.api.delete_bundle(id).await?;
    let other = fixture.post("b", "1").await?;
    let told = fixture.bundle(&other, "another look", |it| it.observed_version() == 1);
    told.await?;
    let after = maps.get("a").await?;
    ensure!(after.metadata.uid == before.metadata.uid);
    ensure!(value_of(&maps, "a").await?.as_deref() == Some("3"));
    let bundle = fixture.api.bundle(id).await?.context("it is there")?;
    ensure!(paused(&bundle).is_some(), "{:#}", bundle.status);
    Ok(())
}

/// Afterwards the bundle is deleted and another one applied.
async fn goes_on(fixture: &OperationsFixture, id: &str) -> Result<()> {
    fixture.value("a", None).await?;
    fixture.value("b", Some("1")).await?;
    let gone = tests::wait::wait_for("the bundle to be gone", super::PATIENCE, async || {
        let bundle = fixture.api.bundle(id).await?;
        ensure!(bundle.is_none(), "{bundle:?}");
        anyhow::Ok(())
    });
    gone.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_work_is_left_alone_until_it_is_resumed() -> Result<()> {
    let fixture = OperationsFixture::open("operations-pause-work", &[]).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let works = fixture.works()?;
    let params = PatchParams::default();
    works
        .patch(&id, &params, &annotation(Some("under repair")))
        .await?;
    holds_still(&fixture, &id, "under repair").await?;
    works.patch(&id, &params, &annotation(None)).await?;
    goes_on(&fixture, &id).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_work_that_somebody_deletes_here_waits_too() -> Result<()> {
    let fixture = OperationsFixture::open("operations-pause-delete", &[]).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let works = fixture.works()?;
    let params = PatchParams::default();
    works
        .patch(&id, &params, &annotation(Some("under repair")))
        .await?;
    let told = fixture.bundle(&id, "the pause", |it| paused(it).is_some());
    told.await?;
    let before = fixture.maps().get("a").await?;
    let work = works.get(&id).await?;
    works.delete(&id, &DeleteParams::default()).await?;
    let other = fixture.post("b", "1").await?;
    fixture.applied(&other, 1).await?;
    let after = works.get_opt(&id).await?.context("the work waits")?;
    ensure!(after.metadata.uid == work.metadata.uid, "{after:?}");
    ensure!(fixture.maps().get("a").await?.metadata.uid == before.metadata.uid);
    works.patch(&id, &params, &annotation(None)).await?;
    tests::wait::wait_for("the work done over", super::PATIENCE, async || {
        let map = fixture
            .maps()
            .get_opt("a")
            .await?
            .context("it comes back")?;
        ensure!(map.metadata.uid != before.metadata.uid, "it is still there");
        anyhow::Ok(())
    })
    .await?;
    fixture.applied(&id, 1).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_paused_by_its_state_does_nothing_until_it_is_resumed() -> Result<()> {
    let fixture = OperationsFixture::open("operations-pause-state", &[]).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let states: Api<ConfigMap> = Api::namespaced(fixture.kube.clone(), fixture.work_namespace()?);
    let params = PatchParams::default();
    let name = "agent-cluster1-state";
    states
        .patch(name, &params, &annotation(Some("moving")))
        .await?;
    holds_still(&fixture, &id, "moving").await?;
    ensure!(value_of(&fixture.maps(), "b").await?.is_none());
    states
        .patch(name, &params, &annotation(Some("false")))
        .await?;
    goes_on(&fixture, &id).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_paused_by_flag_does_nothing_until_it_starts_without() -> Result<()> {
    let mut fixture =
        OperationsFixture::open("operations-pause-flag", &["--disable-leader-election"]).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    fixture.region.agent("cluster1")?.service.kill()?;
    let kubeconfig = fixture.cluster.kubeconfig().display().to_string();
    let namespace = fixture.work_namespace()?;
    let args = [
        ["--kubeconfig", &kubeconfig],
        ["--namespace", namespace],
        ["--agent-id", namespace],
        ["--paused", "--disable-leader-election"],
    ];
    let mut flagged = fixture
        .region
        .another_agent("cluster1", "flagged", args.concat())?;
    flagged.ready().await?;
    holds_still(&fixture, &id, "--paused").await?;
    ensure!(value_of(&fixture.maps(), "b").await?.is_none());
    flagged.process().stop(super::PATIENCE).await?;
    fixture.region.agent("cluster1")?.service.restart()?;
    goes_on(&fixture, &id).await?;
    fixture.passed();
    Ok(())
}
