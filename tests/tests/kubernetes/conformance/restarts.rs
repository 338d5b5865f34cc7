//! Rows 3, 6, 7, 8 and 14: what holds over restarts and lost connections.

use agent::crd::{AppliedManifestWork, ManifestWork};
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::ListParams;
use link::order::SequenceId;
use serde_json::{Value, json};
use tests::go::{
    AGENT_TOPIC, REQUEST, applied, attributes, deleted, deletion, kind, names, next,
    status_request, value,
};
use tests::region::Network;
use tests::wait::wait_for;

use super::{Fixture, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn sequence_ids_rise_over_a_crash() -> Result<()> {
    let mut fixture = Fixture::start("conformance-sequence").await?;
    let mut last: Option<SequenceId> = None;
    for version in 1..=4 {
        let value_now = format!("value {version}");
        fixture
            .send(fixture.bundle("a", "update_request", version, &value_now))
            .await?;
        let (told, _) = applied(&mut fixture.source, "a", version).await?;
        let id: SequenceId = value(&told, "sequenceid").context("it is there")?.parse()?;
        ensure!(id.is_newer_than(last)?, "{last:?}, then {id:?}");
        last = Some(id);
        // As `kill -9`.
        fixture.restart().await?;
    }
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_source_a_restarted_agent_keeps_everything() -> Result<()> {
    // The Go agent's flag is taken and means nothing.
    let args = ["--appliedmanifestwork-eviction-grace-period=1s"];
    let mut fixture = Fixture::with("conformance-keep", Network::Direct, &args).await?;
    fixture
        .send(fixture.bundle("a", "create_request", 1, "one"))
        .await?;
    applied(&mut fixture.source, "a", 1).await?;
    let before = fixture.maps().get("a").await?.metadata;
    fixture.restart().await?;
    // The source says nothing; the agent works on: it repairs what somebody breaks.
    let maps = fixture.maps();
    let broken = json!({ "data": { "value": "broken" } });
    let params = kube::api::PatchParams::default();
    maps.patch("a", &params, &kube::api::Patch::Merge(&broken))
        .await?;
    wait_for("the repair", PATIENCE, async || {
        let value = fixture.value_of("a").await?;
        ensure!(value.as_deref() == Some("one"), "{value:?}");
        anyhow::Ok(())
    })
    .await?;
    let after = maps.get("a").await?.metadata;
    ensure!(before.uid == after.uid, "{before:?}, then {after:?}");
    for applied in kept(&fixture, "a").await? {
        let status = applied.status.unwrap_or_default();
        ensure!(status.eviction_start_time.is_none(), "{status:?}");
        ensure!(applied.metadata.deletion_timestamp.is_none());
    }
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_says_what_it_holds() -> Result<()> {
    let mut fixture = Fixture::start("conformance-lists").await?;
    for id in ["a", "b"] {
        fixture
            .send(fixture.bundle(id, "create_request", 1, "one"))
            .await?;
        applied(&mut fixture.source, id, 1).await?;
    }
    let before = fixture.maps().get("a").await?.metadata;
    fixture.region.agent("cluster1")?.service.restart()?;
    let asked = next(&mut fixture.source, "spec.resync_request").await?;
    ensure!(attributes(&asked) == names(REQUEST), "{asked:?}");
    let mut held: Value = serde_json::from_slice(&asked.payload)?;
    let list = held["resourceVersions"].as_array_mut().context("a list")?;
    list.sort_by_key(ToString::to_string);
    ensure!(
        held == json!({ "resourceVersions": [
            { "resourceID": "a", "resourceVersion": 1 }, { "resourceID": "b", "resourceVersion": 1 },
        ]}),
        "{held}"
    );
    // A source that has a newer `a`, a new `c` and no `b` any more.
    fixture
        .send(fixture.bundle("a", "resync_response", 2, "two"))
        .await?;
    fixture
        .send(fixture.bundle("c", "resync_response", 1, "one"))
        .await?;
    let mut unknown = deletion("b", 1);
    for (name, value) in &mut unknown.user_properties {
        if name == "ce-type" {
            *value = value.replace("delete_request", "resync_response");
        }
    }
    fixture.send(unknown).await?;
    deleted(&mut fixture.source, "b").await?;
    wait_for("what the source has", PATIENCE, async || {
        let values = [
            fixture.value_of("a").await?,
            fixture.value_of("b").await?,
            fixture.value_of("c").await?,
        ];
        let [a, b, c] = values.each_ref().map(Option::as_deref);
        ensure!((a, b, c) == (Some("two"), None, Some("one")), "{values:?}");
        anyhow::Ok(())
    })
    .await?;
    ensure!(before.uid == fixture.maps().get("a").await?.metadata.uid);
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_gets_the_statuses_that_it_does_not_have() -> Result<()> {
    let mut fixture = Fixture::start("conformance-statuses").await?;
    let mut hashes = Vec::new();
    for id in ["a", "b"] {
        fixture
            .send(fixture.bundle(id, "create_request", 1, "one"))
            .await?;
        let (told, _) = applied(&mut fixture.source, id, 1).await?;
        hashes.push(
            value(&told, "statushash")
                .context("it is there")?
                .to_owned(),
        );
    }
    let list = |a: &str, b: &str| {
        json!({ "statusHashes": [
            { "resourceID": "a", "statusHash": a }, { "resourceID": "b", "statusHash": b },
            { "resourceID": "unheard-of", "statusHash": "" },
        ]})
        .to_string()
    };
    // Silence for what it has; then only what differs; then everything.
    fixture
        .send(status_request(&list(&hashes[0], &hashes[1])))
        .await?;
    fixture.send(status_request(&list(&hashes[0], ""))).await?;
    let told = next(&mut fixture.source, "status.").await?;
    ensure!(kind(&told).ends_with("status.resync_response"), "{told:?}");
    ensure!(value(&told, "resourceid") == Some("b"), "{told:?}");
    fixture
        .send(status_request(r#"{"statusHashes":[]}"#))
        .await?;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let told = next(&mut fixture.source, "status.resync_response").await?;
        ids.push(value(&told, "resourceid").unwrap_or_default().to_owned());
    }
    ids.sort();
    ensure!(ids == ["a", "b"], "{ids:?}");
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_storm_of_reconnects() -> Result<()> {
    let fixture = Fixture::with("conformance-storm", Network::Cutting, &[]).await?;
    let cutter = fixture.region.cutter.as_ref().context("it cuts")?;
    cutter.calm(false);
    let ids: Vec<String> = (0..20).map(|number| format!("w{number}")).collect();
    for id in &ids {
        // What nobody took is sent again when the agent asks.
        let message = fixture.bundle(id, "create_request", 1, "one");
        let _ = fixture.source.session.publish(message).await?.await?;
    }
    wait_for("some cuts", PATIENCE, async || {
        let cuts = cutter.cuts();
        ensure!(cuts >= 5, "{cuts}");
        anyhow::Ok(())
    })
    .await?;
    cutter.calm(true);
    let works: Api<ManifestWork> = Api::namespaced(fixture.kube.clone(), fixture.works()?);
    let mut missing = ids;
    while !missing.is_empty() {
        // The source answers the agent's list, as Go does after every subscription.
        for id in &missing {
            fixture
                .send(fixture.bundle(id, "resync_response", 1, "one"))
                .await?;
        }
        let first = missing[0].clone();
        wait_for("a work", PATIENCE, async || works.get(&first).await).await?;
        let held = works.list(&ListParams::default()).await?.items;
        missing.retain(|id| {
            !held
                .iter()
                .any(|work| work.metadata.name.as_ref() == Some(id))
        });
    }
    wait_for("every object", PATIENCE, async || {
        let maps = fixture.maps().list(&ListParams::default()).await?;
        let count = maps.items.iter().filter(|map| {
            map.metadata
                .name
                .as_deref()
                .is_some_and(|name| name.starts_with('w'))
        });
        let count = count.count();
        ensure!(count == 20, "{count} objects");
        anyhow::Ok(())
    })
    .await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_comes_back_after_another_took_its_same_client_id() -> Result<()> {
    let mut fixture = Fixture::start("conformance-takeover").await?;
    fixture.forget();
    let other = fixture
        .region
        .peer("cluster1-work-agent-client", &[AGENT_TOPIC])?;
    ensure!(other.session.ready().await);
    other.shutdown().await?;
    let asked = next(&mut fixture.source, "spec.resync_request").await?;
    ensure!(attributes(&asked) == names(REQUEST), "{asked:?}");
    fixture
        .send(fixture.bundle("a", "create_request", 1, "one"))
        .await?;
    applied(&mut fixture.source, "a", 1).await?;
    let output = fixture.region.agent("cluster1")?.service.process().output();
    ensure!(output.contains("session taken over"), "{output}");
    fixture.passed();
    Ok(())
}

async fn kept(fixture: &Fixture, work: &str) -> Result<Vec<AppliedManifestWork>> {
    let all: Api<AppliedManifestWork> = Api::all(fixture.kube.clone());
    let id = agent::applier::kubernetes::AgentId::from(fixture.works()?);
    let mut all = all.list(&ListParams::default()).await?.items;
    all.retain(|it| it.spec.agent_id == id.as_str() && it.spec.manifest_work_name == work);
    ensure!(!all.is_empty(), "no AppliedManifestWork of {work}");
    Ok(all)
}
