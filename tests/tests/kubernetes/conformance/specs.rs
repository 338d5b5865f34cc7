//! Rows 1, 2, 4, 5, 12 and 13: what one event does.

use agent::crd::ManifestWork;
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::ListParams;
use link::bundle::{Status, status_hash};
use link::clock::{Clock, rfc3339_nanos};
use link::message::Message;
use link::order::SequenceId;
use serde_json::{Value, json};
use tests::go::{
    APPLIED_STATUS, DELETED_STATUS, SOURCE_TOPIC, TRACING, applied, attributes, deleted, deletion,
    event, kind, names, next, spec, status, status_request, value,
};
use tests::wait::wait_for;

use super::{Fixture, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_becomes_an_object_and_its_status_goes_back() -> Result<()> {
    let mut fixture = Fixture::start("conformance-create").await?;
    fixture
        .send(fixture.bundle("a", "create_request", 1, "one"))
        .await?;
    let (told, status) = applied(&mut fixture.source, "a", 1).await?;
    ensure!(attributes(&told) == names(APPLIED_STATUS), "{told:?}");
    ensure!(kind(&told).ends_with("status.update_request"), "{told:?}");
    for (name, expected) in [
        ("source", "cluster1-work-agent"),
        ("clustername", "cluster1"),
        ("originalsource", "maestro"),
        ("resourceversion", "1"),
        ("logtracing", TRACING),
        ("statushash", &status_hash(&status)),
    ] {
        ensure!(value(&told, name) == Some(expected), "`{name}` of {told:?}");
    }
    let sequence: SequenceId = value(&told, "sequenceid").context("it is there")?.parse()?;
    ensure!(sequence.node() == 1);
    let metadata: Value = serde_json::from_str(value(&told, "metadata").unwrap_or_default())?;
    ensure!(
        metadata["uid"] == "a" && metadata["generation"] == 1 && metadata["labels"]["team"] == "a",
        "{metadata}"
    );
    ensure!(fixture.value_of("a").await?.as_deref() == Some("one"));
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_is_ignored_and_an_equal_one_makes_no_noise() -> Result<()> {
    let mut fixture = Fixture::start("conformance-versions").await?;
    fixture
        .send(fixture.bundle("a", "create_request", 1, "one"))
        .await?;
    applied(&mut fixture.source, "a", 1).await?;
    fixture
        .send(fixture.bundle("a", "update_request", 2, "two"))
        .await?;
    applied(&mut fixture.source, "a", 2).await?;
    let before = fixture.maps().get("a").await?.metadata.resource_version;

    fixture
        .send(fixture.bundle("a", "update_request", 1, "one"))
        .await?;
    fixture
        .send(fixture.bundle("a", "update_request", 2, "two"))
        .await?;
    // What comes next is the answer to what was asked last.
    fixture
        .send(status_request(r#"{"statusHashes":[]}"#))
        .await?;
    let next = next(&mut fixture.source, "status.").await?;
    ensure!(kind(&next).ends_with("status.resync_response"), "{next:?}");
    ensure!(value(&next, "resourceversion") == Some("2"), "{next:?}");
    let after = fixture.maps().get("a").await?.metadata.resource_version;
    ensure!(before == after, "{before:?}, then {after:?}");
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deletion_is_acknowledged() -> Result<()> {
    let mut fixture = Fixture::start("conformance-delete").await?;
    fixture
        .send(fixture.bundle("a", "create_request", 1, "one"))
        .await?;
    applied(&mut fixture.source, "a", 1).await?;
    // Maestro deletes with the old data.
    let at = rfc3339_nanos(Clock::system().now());
    let data = json!({ "manifests": [fixture.map("a", "one")] }).to_string();
    let more = [("deletiontimestamp", at.as_str())];
    fixture
        .send(spec("a", "delete_request", 1, &more, Some(&data)))
        .await?;
    let gone = deleted(&mut fixture.source, "a").await?;
    ensure!(attributes(&gone) == names(DELETED_STATUS), "{gone:?}");
    ensure!(fixture.value_of("a").await?.is_none());
    nothing_is_held(&fixture).await?;
    // Once more, and of what was never there.
    for id in ["a", "b"] {
        delete_as_a_source(&mut fixture, id).await?;
    }
    // Some brokers send no version.
    let more = [("resourceid", "c"), ("originalsource", ""), more[0]];
    let unversioned = event(SOURCE_TOPIC, "maestro", "spec.delete_request", &more, None);
    fixture.send(unversioned).await?;
    deleted(&mut fixture.source, "c").await?;
    nothing_is_held(&fixture).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_events_harm_nobody() -> Result<()> {
    let mut fixture = Fixture::start("conformance-malformed").await?;
    let data = json!({ "manifests": [fixture.map("a", "one")] }).to_string();
    let good = fixture.bundle("a", "create_request", 1, "one");
    let without = |name: &str| {
        let mut message = good.clone();
        let header = format!("ce-{name}");
        message.user_properties.retain(|(key, _)| *key != header);
        message
    };
    let mut foreign = without("type");
    let kind = "work.example.com.v1.secrets.spec.create_request";
    foreign
        .user_properties
        .push(("ce-type".into(), kind.into()));
    for (message, reason) in [
        (without("clustername"), "foreign_consumer"),
        (without("resourceid"), "missing_resource_id"),
        (without("resourceversion"), "missing_version"),
        (without("type"), "not_an_event"),
        (foreign, "data_type"),
        (spec("a", "resync_request", 1, &[], Some(&data)), "action"),
    ] {
        refused(&mut fixture, message, reason).await?;
    }
    // What has an id is answered: nothing in it, nothing that can be read, an object without a name.
    let nameless = json!({ "manifests": [{ "apiVersion": "v1", "kind": "ConfigMap" }] });
    for (id, data) in [
        ("empty", r#"{"manifests":[]}"#.to_owned()),
        ("broken", r#"{"manifests":1}"#.to_owned()),
        ("nameless", nameless.to_string()),
    ] {
        fixture
            .send(spec(id, "create_request", 1, &[], Some(&data)))
            .await?;
        status(&mut fixture.source, id, |_, status| {
            let applied = status.condition("Applied");
            applied.is_some_and(|it| it.status == "False" && !it.message.is_empty())
        })
        .await?;
    }
    fixture.send(good).await?;
    applied(&mut fixture.source, "a", 1).await?;
    fixture.passed();
    Ok(())
}

/// A deletion that meets the end of the one before is not answered but asked for: then a source sends it again.
async fn delete_as_a_source(fixture: &mut Fixture, id: &str) -> Result<()> {
    fixture.send(deletion(id, 1)).await?;
    loop {
        let message = next(&mut fixture.source, "").await?;
        if kind(&message).ends_with("spec.resync_request") {
            fixture.send(deletion(id, 1)).await?;
        } else if value(&message, "resourceid") == Some(id) {
            let status: Status = serde_json::from_slice(&message.payload)?;
            if status.is_deleted() {
                return Ok(());
            }
        }
    }
}

async fn nothing_is_held(fixture: &Fixture) -> Result<()> {
    let works: Api<ManifestWork> = Api::namespaced(fixture.kube.clone(), fixture.works()?);
    wait_for("no work to be left", PATIENCE, async || {
        let left = works.list(&ListParams::default()).await?.items;
        ensure!(left.is_empty(), "{left:?}");
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

async fn refused(fixture: &mut Fixture, message: Message, reason: &str) -> Result<()> {
    let labels = [("reason", reason)];
    let service = &mut fixture.region.agent("cluster1")?.service;
    let before = service.metrics().await?.count(REFUSED, &labels);
    tests::go::send(&fixture.source, message).await?;
    wait_for(reason, PATIENCE, async || {
        let page = service.metrics().await?;
        let counted = page.count(REFUSED, &labels);
        ensure!(counted == before + 1, "{counted} refused");
        Ok(())
    })
    .await?;
    Ok(())
}

const REFUSED: &str = "agent_events_refused_total";
