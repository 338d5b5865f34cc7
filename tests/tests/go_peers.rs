//! Scripted peers that speak as the Go implementation does, attribute by attribute (wire.md §2–§4): a source towards
//! our agent, an agent towards our bridge.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::bundle::{Status, status_hash};
use link::clock::{Clock, rfc3339_nanos};
use link::event::decode;
use link::message::Message;
use link::order::SequenceId;
use serde_json::{Value, json};
use tests::api::{Change, config_map};
use tests::fleet::files;
use tests::region::{Builder, Kind};
use tests::session::Client;
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_serves_a_go_source() -> Result<()> {
    let mut region = Builder::new("go-source", Kind::Sandbox).start().await?;
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
    send(&source, go_spec("create_request", 1, &[], Some(&data))).await?;
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
    send(&source, go_status_request(&held.to_string())).await?;
    send(&source, go_status_request(r#"{"statusHashes":[]}"#)).await?;
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
        go_spec("delete_request", 1, &deletion, Some(&data)),
    )
    .await?;
    let gone = deleted(&mut source).await?;
    ensure!(attributes(&gone) == names(DELETED_STATUS), "{gone:?}");
    ensure!(files(&target)?.is_empty());
    send(&source, go_spec("delete_request", 1, &deletion, None)).await?;
    deleted(&mut source).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_serves_a_go_agent() -> Result<()> {
    let mut region = Builder::new("go-agent", Kind::Sandbox).start().await?;
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
    let spec: Value = serde_json::from_slice(&order.payload)?;
    ensure!(
        spec == json!({ "manifests": [config_map("a", "one")] }),
        "{spec}"
    );

    // The same again for an agent that lost it: the whole list in one unmarked event.
    send(&agent, go_spec_request(r#"{"resourceVersions":[]}"#)).await?;
    let again = next(&mut agent, "spec.").await?;
    ensure!(value(&again, "resourceid") == Some(id) && again.payload == order.payload);

    let status = condition("Applied");
    send(&agent, go_status(id, 1, 0, &status)).await?;
    wait_for("the Go agent's status", PATIENCE, async || {
        match api.bundle(id).await {
            Ok(Some(bundle)) if bundle.observed_version() == 1 && bundle.is("Applied") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;

    // A bridge that was away asks with the hash as it was given.
    region.bridge.restart()?;
    let api = region.api().await?;
    let asked = next(&mut agent, "status.resync_request").await?;
    let held = json!({ "statusHashes": [{ "resourceID": id, "statusHash": HASH }] });
    ensure!(
        serde_json::from_slice::<Value>(&asked.payload)? == held,
        "{asked:?}"
    );

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
    send(&agent, go_spec_request(&holds.to_string())).await?;
    let again = next(&mut agent, "spec.").await?;
    ensure!(value(&again, "deletiontimestamp").is_some(), "{again:?}");
    send(&agent, go_status(id, 1, 1, &condition("Deleted"))).await?;
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

/// The next event whose type has these words after the data type; others are taken and forgotten.
async fn next(peer: &mut Client, words: &str) -> Result<Message> {
    let next = async {
        loop {
            let delivery = peer.inbound.recv().await.context("the session is open")?;
            let message = delivery.message.clone();
            delivery.ack();
            decode(&message)?;
            if kind(&message).contains(&format!("manifestbundles.{words}")) {
                return Ok(message);
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, next).await;
    waited.with_context(|| format!("wait for `{words}`"))?
}

/// The next status that says `Deleted`.
async fn deleted(source: &mut Client) -> Result<Message> {
    loop {
        let message = next(source, "status.update_request").await?;
        let status: Status = serde_json::from_slice(&message.payload)?;
        if status.is_deleted() {
            return Ok(message);
        }
    }
}

async fn send(peer: &Client, message: Message) -> Result<()> {
    let ack = peer.session.publish(message).await?.await?;
    ensure!(ack.matched, "somebody listens");
    Ok(())
}

/// A message as the Go library writes it: id, source, specversion, type, time, then extensions in any order.
fn go_event(
    topic: &str,
    source: &str,
    kind: &str,
    extensions: &[(&str, &str)],
    data: Option<&str>,
) -> Message {
    let now = Clock::system().now();
    let mut properties: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &str| {
        properties.push((format!("ce-{name}"), value.to_owned()));
    };
    add("id", &uuid::Uuid::new_v4().to_string());
    add("source", source);
    add("specversion", "1.0");
    add("type", &format!("{}.{kind}", link::event::MANIFEST_BUNDLES));
    add("time", &rfc3339_nanos(now));
    add("clustername", "cluster1");
    for (name, value) in extensions {
        add(name, value);
    }
    Message {
        topic: topic.to_owned(),
        payload: data.unwrap_or_default().to_owned().into(),
        content_type: data.map(|_| "application/json".to_owned()),
        user_properties: properties,
        retain: false,
        expiry_seconds: None,
    }
}

fn go_spec(action: &str, version: i32, more: &[(&str, &str)], data: Option<&str>) -> Message {
    let version = version.to_string();
    let metadata = format!(
        r#"{{"name":"{ID}","namespace":"cluster1","uid":"{ID}","creationTimestamp":null,"labels":{{"team":"a"}}}}"#
    );
    let mut extensions = vec![
        ("resourceversion", version.as_str()),
        ("logtracing", TRACING),
        ("resourceid", ID),
        ("metadata", &metadata),
        ("originalsource", ""),
    ];
    extensions.extend(more);
    go_event(
        SOURCE_TOPIC,
        "maestro",
        &format!("spec.{action}"),
        &extensions,
        data,
    )
}

fn go_status_request(data: &str) -> Message {
    let extensions = [("originalsource", "")];
    go_event(
        SOURCE_TOPIC,
        "maestro",
        "status.resync_request",
        &extensions,
        Some(data),
    )
}

fn go_spec_request(data: &str) -> Message {
    let extensions = [("originalsource", "")];
    go_event(
        AGENT_TOPIC,
        "cluster1-work-agent",
        "spec.resync_request",
        &extensions,
        Some(data),
    )
}

fn go_status(id: &str, version: i32, step: u16, data: &str) -> Message {
    let version = version.to_string();
    let sequence = SequenceId::from_parts(Clock::system().now(), 1, step).to_string();
    let metadata = format!(r#"{{"name":"{id}","uid":"{id}","creationTimestamp":null}}"#);
    let extensions = [
        ("statushash", HASH),
        ("somethingnew", "ignored"),
        ("sequenceid", &sequence),
        ("resourceversion", &version),
        ("resourceid", id),
        ("originalsource", "maestro"),
        ("metadata", &metadata),
        ("logtracing", "{}"),
    ];
    go_event(
        AGENT_TOPIC,
        "cluster1-work-agent",
        "status.update_request",
        &extensions,
        Some(data),
    )
}

fn condition(kind: &str) -> String {
    format!(
        r#"{{"conditions":[{{"type":"{kind}","status":"True","lastTransitionTime":"2026-08-01T10:05:00Z","reason":"R","message":"m"}}]}}"#
    )
}

fn kind(message: &Message) -> &str {
    value(message, "type").unwrap_or_default()
}

fn value<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let found = message.user_properties.iter();
    found
        .filter_map(|(key, value)| Some((key.strip_prefix("ce-")?, value)))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.as_str())
}

fn attributes(message: &Message) -> BTreeSet<&str> {
    let properties = message.user_properties.iter();
    properties
        .filter_map(|(key, _)| key.strip_prefix("ce-"))
        .collect()
}

fn names(names: &'static str) -> BTreeSet<&'static str> {
    names.split(' ').collect()
}

const ID: &str = "55c61e54-a3f6-563d-9fec-b1fe297bdfdb";
const HASH: &str = "19160e865d66707ae6e11c6a9f4212591683633cd12fbadf797ef90f78036641";
const TRACING: &str = r#"{"logging.open-cluster-management.io/op-id":"7"}"#;

// What each event carries (wire.md §2.3), no more and no less.
const REQUEST: &str = "id source specversion type time clustername originalsource";
const SPEC: &str = "id source specversion type time clustername originalsource resourceid resourceversion metadata logtracing";
// What ours adds for the ledger of our own bridge; a Go source stores and ignores it.
const APPLIED_STATUS: &str = "id source specversion type time clustername originalsource resourceid resourceversion sequenceid statushash metadata logtracing receivedat appliedat";
const DELETED_STATUS: &str = "id source specversion type time clustername originalsource resourceid resourceversion sequenceid statushash metadata logtracing receivedat";

const AGENT_TOPIC: &str = "maestro/consumers/cluster1/agentevents";
const SOURCE_TOPIC: &str = "maestro/consumers/cluster1/sourceevents";

const PATIENCE: Duration = Duration::from_secs(30);
