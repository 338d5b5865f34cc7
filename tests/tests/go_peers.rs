//! Scripted peers that speak as the Go implementation does, attribute by attribute (docs/MAESTRO.md §2–§4): a source towards
//! our agent, an agent towards our bridge.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::bundle::{Status, status_hash};
use link::clock::{Clock, rfc3339_nanos};
use link::order::SequenceId;
use serde_json::{Value, json};
use tests::api::{Change, config_map};
use tests::fleet::files;
use tests::go::{
    AGENT_TOPIC, APPLIED_STATUS, DELETED_STATUS, REQUEST, SOURCE_TOPIC, SPEC, TRACING, agent_list,
    agent_status, attributes, deleted, kind, names, next, send, spec, status_request, value,
};
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_serves_a_go_source() -> Result<()> {
    let mut region = RegionBuilder::new("go-source", BrokerKind::Sandbox)
        .start()
        .await?;
    region.bridge.kill()?;
    let mut source = region.peer("go-source", &[AGENT_TOPIC])?;
    ensure!(source.session.ready().await);
    let target = region.agents["cluster1"].target.clone();

    // After every subscription the agent asks what it misses, in one unmarked event.
    region.agent("cluster1")?.service.restart()?;
    let asked = next(&mut source, "spec.resync_request").await?;
    ensure!(attributes(&asked) == names(REQUEST), "{asked:?}");
    ensure!(value(&asked, "originalsource") == Some(""), "{asked:?}");
    ensure!(asked.payload == r#"{"resourceVersions":[]}"#, "{asked:?}");

    let data = json!({ "manifests": [config_map("a", "<one> & \u{2028}")] }).to_string();
    send(&source, spec(ID, "create_request", 1, &[], Some(&data))).await?;
    let told = next(&mut source, "status.update_request").await?;
    ensure!(attributes(&told) == names(APPLIED_STATUS), "{told:?}");
    ensure!(told.content_type.as_deref() == Some("application/json"));
    for (name, expected) in [
        ("source", "cluster1-work-agent"),
        ("clustername", "cluster1"),
        ("originalsource", "maestro"),
        ("resourceid", ID),
        ("resourceversion", "1"),
        ("logtracing", TRACING),
    ] {
        ensure!(value(&told, name) == Some(expected), "`{name}` of {told:?}");
    }
    let status: Status = serde_json::from_slice(&told.payload)?;
    let hash = status_hash(&status);
    ensure!(value(&told, "statushash") == Some(&hash), "{told:?}");
    ensure!(
        status
            .condition("Applied")
            .is_some_and(|applied| applied.is_true())
    );
    let sequence: SequenceId = value(&told, "sequenceid").context("it is there")?.parse()?;
    ensure!(sequence.node() == 1);
    let metadata: Value = serde_json::from_str(value(&told, "metadata").unwrap_or_default())?;
    ensure!(
        metadata["uid"] == ID && metadata["generation"] == 1,
        "{metadata}"
    );
    ensure!(metadata["labels"]["team"] == "a", "{metadata}");

    // A source that holds this status gets silence, one that holds none gets it again: the answer to the second
    // request is the first thing that comes.
    let held = json!({ "statusHashes": [{ "resourceID": ID, "statusHash": hash }] });
    send(&source, status_request(&held.to_string())).await?;
    send(&source, status_request(r#"{"statusHashes":[]}"#)).await?;
    let again = next(&mut source, "status.").await?;
    ensure!(
        kind(&again).ends_with("status.resync_response"),
        "{again:?}"
    );
    ensure!(again.payload == told.payload && value(&again, "statushash") == Some(&hash));

    // Maestro deletes with the old data, the Go library without any.
    let at = rfc3339_nanos(Clock::system().now());
    let deletion = [("deletiontimestamp", at.as_str())];
    send(
        &source,
        spec(ID, "delete_request", 1, &deletion, Some(&data)),
    )
    .await?;
    let gone = deleted(&mut source, ID).await?;
    ensure!(attributes(&gone) == names(DELETED_STATUS), "{gone:?}");
    ensure!(files(&target)?.is_empty());
    // What comes while it forgets the work counts as a repetition of the first.
    let process = region.agent("cluster1")?.service.process();
    process
        .line_with("its deletion acknowledged", PATIENCE)
        .await?;
    send(&source, spec(ID, "delete_request", 1, &deletion, None)).await?;
    deleted(&mut source, ID).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_serves_a_go_agent() -> Result<()> {
    let mut region = RegionBuilder::new("go-agent", BrokerKind::Sandbox)
        .start()
        .await?;
    region.agent("cluster1")?.service.kill()?;
    let api = region.api().await?;
    let mut agent = region.peer("go-agent", &[SOURCE_TOPIC])?;
    ensure!(agent.session.ready().await);

    let created = api
        .create_bundle(&Change::create("cluster1", vec![config_map("a", "one")]))
        .await?;
    let id = created.id.as_str();
    let order = next(&mut agent, "spec.create_request").await?;
    ensure!(attributes(&order) == names(SPEC), "{order:?}");
    for (name, expected) in [
        ("source", "maestro"),
        ("clustername", "cluster1"),
        ("originalsource", ""),
        ("resourceid", id),
        ("resourceversion", "1"),
    ] {
        ensure!(
            value(&order, name) == Some(expected),
            "`{name}` of {order:?}"
        );
    }
    let payload: Value = serde_json::from_slice(&order.payload)?;
    ensure!(
        payload == json!({ "manifests": [config_map("a", "one")] }),
        "{payload}"
    );

    // The same again for an agent that lost it: the whole list in one unmarked event.
    send(&agent, agent_list(r#"{"resourceVersions":[]}"#)).await?;
    let again = next(&mut agent, "spec.").await?;
    ensure!(value(&again, "resourceid") == Some(id) && again.payload == order.payload);

    let status = condition("Applied");
    send(&agent, agent_status(id, 1, 0, HASH, &status)).await?;
    wait_for("the Go agent's status", PATIENCE, async || {
        match api.bundle(id).await {
            Ok(Some(bundle)) if bundle.observed_version() == 1 && bundle.is("Applied") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;

    // What is not noted as sent would be sent once more by a bridge that starts again.
    wait_for("both creations to be noted", PATIENCE, async || {
        let page = region.bridge.metrics().await?;
        let acked = page.count("bridge_spec_events_total", &[("outcome", "acked")]);
        ensure!(acked >= 2, "{acked} are");
        anyhow::Ok(())
    })
    .await?;

    // A bridge that was away asks with the hash as it was given. Before that it asked without one: whoever says what it
    // holds is asked for its statuses.
    region.bridge.restart()?;
    let api = region.api().await?;
    let held = json!({ "statusHashes": [{ "resourceID": id, "statusHash": HASH }] });
    loop {
        let asked = next(&mut agent, "status.resync_request").await?;
        let asked: Value = serde_json::from_slice(&asked.payload)?;
        if asked == held {
            break;
        }
        let first = &asked["statusHashes"][0]["statusHash"];
        ensure!(*first != HASH, "{asked}");
    }

    // A work it holds in the newest version is not sent again, its deletion is, and once more when asked.
    api.delete_bundle(id).await?;
    let deletion = next(&mut agent, "spec.").await?;
    ensure!(
        kind(&deletion).ends_with("spec.delete_request"),
        "{deletion:?}"
    );
    ensure!(
        value(&deletion, "deletiontimestamp").is_some(),
        "{deletion:?}"
    );
    ensure!(deletion.payload.is_empty() && deletion.content_type.is_none());
    let holds = json!({ "resourceVersions": [{ "resourceID": id, "resourceVersion": 1 }] });
    send(&agent, agent_list(&holds.to_string())).await?;
    let again = next(&mut agent, "spec.").await?;
    ensure!(value(&again, "deletiontimestamp").is_some(), "{again:?}");
    send(&agent, agent_status(id, 1, 1, HASH, &condition("Deleted"))).await?;
    wait_for("the bundle to be gone", PATIENCE, async || {
        match api.bundle(id).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    region.passed();
    Ok(())
}

fn condition(kind: &str) -> String {
    format!(
        r#"{{"conditions":[{{"type":"{kind}","status":"True","lastTransitionTime":"2026-08-01T10:05:00Z","reason":"R","message":"m"}}]}}"#
    )
}

const ID: &str = "55c61e54-a3f6-563d-9fec-b1fe297bdfdb";
const HASH: &str = "19160e865d66707ae6e11c6a9f4212591683633cd12fbadf797ef90f78036641";
const PATIENCE: Duration = Duration::from_secs(30);
