//! What an agent or a bridge must not believe is refused, counted and explained, and everything else goes on.

// Long because both ends refuse the same kinds of event, read side by side.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use link::clock::Clock;
use link::event::{Action, Event, Kind as Type, SubResource, encode};
use link::id::ConsumerName;
use link::message::Message;
use link::order::{SequenceId, Version};
use reqwest::Method;
use serde_json::{Value, json};
use tests::api::{Change, config_map};
use tests::region::{Builder, Kind, Region, SOURCE};
use tests::session::Client;
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_refuses_what_an_agent_may_not_say_and_goes_on() -> Result<()> {
    let mut region = Builder::new("refusals-bridge", Kind::Sandbox)
        .agents(2)
        .start()
        .await?;
    let api = region.api().await?;
    let created = api
        .create_bundle(&Change::create("cluster1", vec![config_map("a", "one")]))
        .await?;
    let id = created.id.as_str();
    applied(&mut region, id, 1).await?;
    api.change_bundle(id, &Change::of(1, vec![config_map("a", "two")]))
        .await?;
    applied(&mut region, id, 2).await?;
    let peer = region.peer("intruder", &[])?;
    let now = Clock::system().now();
    let newest = SequenceId::from_parts(now, 1, 1);
    let status = |version, sequence: SequenceId| {
        let mut event = status("cluster1", id, version);
        event.sequence_id = Some(sequence);
        event
    };

    // Taken once, so that there is something to repeat.
    let first = to_bridge("cluster1", &status(2, newest));
    expect(&mut region, &peer, first.clone(), "stored", None).await?;
    let earlier = SequenceId::from_parts(now - SignedDuration::from_secs(60), 1, 0);
    // Of another node, and not later than what is stored.
    let foreign = SequenceId::from_parts(now - SignedDuration::from_secs(1), 2, 0);
    let later = SequenceId::from_parts(now + SignedDuration::from_millis(1), 1, 0);
    let mut deleted = status(2, later).with_data(condition("Deleted"));
    deleted.kind.action = Action::Update;
    let mut other_source = status(2, later);
    other_source.original_source = Some("another".into());
    let mut other_type = status(2, later);
    other_type.kind.data_type = "cluster.open-cluster-management.io.v1.managedclusters".into();
    let mut spec = status(2, later);
    spec.kind.sub_resource = SubResource::Spec;
    let mut nameless = status(2, later);
    nameless.resource_id = None;
    let mut resync = status(2, later).with_data("{\"resourceVersions\":7}");
    resync.kind = Type::spec(Action::ResyncRequest);
    let garbled = status(2, later).with_data("{\"conditions\":");
    for (message, outcome, explanation) in [
        (first, "stale_sequence", "is not newer than the stored"),
        (
            to_bridge("cluster1", &status(2, earlier)),
            "stale_sequence",
            "",
        ),
        (
            to_bridge("cluster1", &status(2, foreign)),
            "stale_sequence",
            "",
        ),
        (
            to_bridge("cluster1", &status(1, later)),
            "stale_version",
            "version 1",
        ),
        // On the topic of a cluster the sender may write to, about one that it is not.
        (
            to_bridge("cluster2", &status(2, later)),
            "foreign_consumer",
            "it speaks for `cluster1` on the topic of `cluster2`",
        ),
        (
            to_bridge("cluster2", &self::status("cluster2", id, 2)),
            "wrong_consumer",
            "belongs to `cluster1`",
        ),
        (
            to_bridge("cluster1", &other_source),
            "foreign_source",
            "it answers source `another`",
        ),
        (
            to_bridge("cluster1", &other_type),
            "data_type",
            "managedclusters",
        ),
        (
            to_bridge("cluster1", &spec),
            "not_for_a_bridge",
            "its type is",
        ),
        (
            to_bridge("cluster1", &nameless),
            "incomplete",
            "attribute `resourceid` is missing",
        ),
        (
            to_bridge("cluster1", &resync),
            "bad_resync",
            "its data is no resync request",
        ),
        (
            to_bridge("cluster1", &garbled),
            "undecodable",
            "its data is no status",
        ),
        (
            Message::new(agent_topic("cluster1"), "no event"),
            "undecodable",
            "",
        ),
        (
            to_bridge("cluster1", &self::status("cluster1", "unheard-of", 1)),
            "unknown_bundle",
            "`unheard-of`",
        ),
    ] {
        // One line a minute for each outcome: the first explains, the others are counted.
        let explanation = Some(explanation).filter(|text| !text.is_empty());
        expect(&mut region, &peer, message, outcome, explanation).await?;
    }
    let after = api.bundle(id).await?.context("it is still there")?;
    ensure!(
        after.status["SequenceID"] == newest.to_string(),
        "{after:?}"
    );
    // Last, because the bundle is sent again for it, and its agent reports once more.
    let asked = Some("which nobody asked for");
    let deleted = to_bridge("cluster1", &deleted);
    expect(&mut region, &peer, deleted, "not_deleting", asked).await?;
    api.bundle(id).await?.context("nothing was deleted")?;
    // A version that the bridge never had: it is older than the cluster, and sends what it holds under a newer one.
    let ahead = to_bridge("cluster1", &status(9, later));
    expect(
        &mut region,
        &peer,
        ahead,
        "ahead",
        Some("newer than version 2 of this database"),
    )
    .await?;
    applied(&mut region, id, 10).await?;
    // Everything else goes on: with the agent's own words about the next version.
    api.change_bundle(id, &Change::of(10, vec![config_map("a", "three")]))
        .await?;
    applied(&mut region, id, 11).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_refuses_what_a_source_may_not_say_and_goes_on() -> Result<()> {
    let mut region = Builder::new("refusals-agent", Kind::Sandbox)
        .agents(2)
        .agent_args(["--allow-source", SOURCE])
        .start()
        .await?;
    let api = region.api().await?;
    let created = api
        .create_bundle(&Change::create("cluster1", vec![config_map("a", "one")]))
        .await?;
    let id = created.id.as_str();
    applied(&mut region, id, 1).await?;
    api.change_bundle(id, &Change::of(1, vec![config_map("a", "two")]))
        .await?;
    applied(&mut region, id, 2).await?;
    let peer = region.peer("intruder", &[])?;
    let two = bundle(&[config_map("a", "two")]);

    let repeated = spec("cluster1", id, 2).with_data(two.clone());
    refused(
        &mut region,
        &peer,
        &repeated,
        "agent_events_duplicate_total",
        &[],
        None,
    )
    .await?;
    let mut other_source = spec("cluster1", id, 3);
    other_source.source = "another".into();
    let mut other_type = spec("cluster1", id, 3);
    other_type.kind.data_type = "cluster.open-cluster-management.io.v1.managedclusters".into();
    let mut status = spec("cluster1", id, 3);
    status.kind.sub_resource = SubResource::Status;
    let mut nameless = spec("cluster1", id, 3);
    nameless.resource_id = None;
    let mut unversioned = spec("cluster1", id, 3);
    unversioned.resource_version = None;
    let mut unread = spec("cluster1", id, 3).with_data("[]");
    unread.kind = Type::status(Action::ResyncRequest);
    for (event, reason, explanation) in [
        (
            spec("cluster1", id, 1),
            "old_version",
            "version 1 is older than version 2 held",
        ),
        (
            spec("cluster2", id, 3),
            "foreign_consumer",
            "attribute `clustername` is `cluster2`",
        ),
        (
            other_source,
            "foreign_source",
            "source `another` is not among the allowed sources",
        ),
        (other_type, "data_type", "managedclusters"),
        (status, "action", "is not for an agent"),
        (
            nameless,
            "missing_resource_id",
            "attribute `resourceid` is missing",
        ),
        (
            unversioned,
            "missing_version",
            "attribute `resourceversion` is missing",
        ),
        (
            unread,
            "payload",
            "the status resync request cannot be read",
        ),
    ] {
        let labels = [("reason", reason)];
        refused(
            &mut region,
            &peer,
            &event,
            "agent_events_refused_total",
            &labels,
            Some(explanation),
        )
        .await?;
    }
    let undecodable = Message::new(source_topic("cluster1"), "no event");
    let labels = [("reason", "not_an_event")];
    counted(
        &mut region,
        &peer,
        undecodable,
        "agent_events_refused_total",
        &labels,
        Some("no `ce-specversion`"),
    )
    .await?;
    let agent = region.agent("cluster1")?;
    ensure!(agent.applied(&config_map("a", ""))? == Some(config_map("a", "two")));
    // A deletion of what nobody holds is acknowledged all the same.
    let mut deletion = spec("cluster1", "unheard-of", 1);
    deletion.data = None;
    deletion.deletion_timestamp = Some(Clock::system().now());
    let labels = [("outcome", "unknown_bundle")];
    let before = region.bridge.metrics().await?.count(TAKEN, &labels);
    publish(&peer, encode(&deletion, source_topic("cluster1"))).await?;
    wait_for("the confirmation", PATIENCE, async || {
        let page = region.bridge.metrics().await;
        let now = page
            .map_err(|error| error.to_string())?
            .count(TAKEN, &labels);
        if now > before {
            Ok(())
        } else {
            Err(format!("counted {now}"))
        }
    })
    .await?;
    api.change_bundle(id, &Change::of(2, vec![config_map("a", "three")]))
        .await?;
    applied(&mut region, id, 3).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_without_or_with_too_many_manifests_is_refused_where_a_person_reads_it()
-> Result<()> {
    let mut region = Builder::new("refusals-manifests", Kind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    let large = config_map("a", &"x".repeat(140_000));
    for (manifests, explanation) in [
        (json!([]), "must hold at least one manifest"),
        (json!([large]), "131072"),
    ] {
        let body = json!({ "consumer_name": "cluster1", "manifests": manifests });
        let (status, text) = api
            .raw(Method::POST, "/resource-bundles", Some(&body))
            .await?;
        ensure!(
            status == 400 && text.contains(explanation),
            "{status} {text}"
        );
    }
    // From a source that checks less, the agent's status says it.
    let mut peer = region.peer("source", &[&agent_topic("cluster1")])?;
    ensure!(peer.session.ready().await);
    let empty = spec("cluster1", "empty", 1).with_data(bundle(&[]));
    publish(&peer, encode(&empty, source_topic("cluster1"))).await?;
    let event = next_status(&mut peer, "empty").await?;
    let status: Value = serde_json::from_slice(event.data_bytes())?;
    let applied = &status["conditions"][0];
    ensure!(
        applied["type"] == "Applied" && applied["status"] == "False",
        "{status}"
    );
    ensure!(status.to_string().contains("manifest"), "{status}");
    region.passed();
    Ok(())
}

/// Publishes to the bridge and waits until it counted the outcome and said why.
async fn expect(
    region: &mut Region,
    peer: &Client,
    message: Message,
    outcome: &str,
    explanation: Option<&str>,
) -> Result<()> {
    let labels = [("outcome", outcome)];
    let before = region.bridge.metrics().await?.count(TAKEN, &labels);
    publish(peer, message).await?;
    wait_for(outcome, PATIENCE, async || {
        let page = region.bridge.metrics().await;
        let now = page
            .map_err(|error| error.to_string())?
            .count(TAKEN, &labels);
        if now > before {
            Ok(())
        } else {
            Err(format!("counted {now}"))
        }
    })
    .await?;
    if let Some(explanation) = explanation {
        let process = region.bridge.process();
        process.line_with(explanation, PATIENCE).await?;
    }
    Ok(())
}

/// The same towards the agent of `cluster1`.
async fn refused(
    region: &mut Region,
    peer: &Client,
    event: &Event,
    metric: &str,
    labels: &[(&str, &str)],
    explanation: Option<&str>,
) -> Result<()> {
    let message = encode(event, source_topic("cluster1"));
    counted(region, peer, message, metric, labels, explanation).await
}

async fn counted(
    region: &mut Region,
    peer: &Client,
    message: Message,
    metric: &str,
    labels: &[(&str, &str)],
    explanation: Option<&str>,
) -> Result<()> {
    let service = &mut region.agent("cluster1")?.service;
    let before = service.metrics().await?.count(metric, labels);
    publish(peer, message).await?;
    wait_for(&format!("{metric} {labels:?}"), PATIENCE, async || {
        let page = service.metrics().await;
        let now = page
            .map_err(|error| error.to_string())?
            .count(metric, labels);
        if now > before {
            Ok(())
        } else {
            Err(format!("counted {now}"))
        }
    })
    .await?;
    if let Some(explanation) = explanation {
        service.process().line_with(explanation, PATIENCE).await?;
    }
    Ok(())
}

async fn applied(region: &mut Region, id: &str, version: i64) -> Result<()> {
    let api = region.api().await?;
    wait_for(
        "the status of the newest version",
        PATIENCE,
        async || match api.bundle(id).await {
            Ok(Some(bundle)) if bundle.observed_version() == version && bundle.is("Applied") => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    Ok(())
}

async fn next_status(peer: &mut Client, id: &str) -> Result<Event> {
    let next = async {
        loop {
            let delivery = peer.inbound.recv().await.context("the session is open")?;
            let event = link::event::decode(&delivery.message)?;
            delivery.ack();
            if event.resource_id.as_deref() == Some(id) {
                return Ok(event);
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await?
}

async fn publish(peer: &Client, message: Message) -> Result<()> {
    let ack = peer.session.publish(message).await?.await?;
    ensure!(ack.matched, "somebody listens");
    Ok(())
}

fn status(consumer: &str, id: &str, version: i64) -> Event {
    let mut event = event(consumer, Type::status(Action::Update), id, version);
    event.source = format!("{consumer}-work-agent");
    event.original_source = Some(SOURCE.into());
    event.sequence_id = Some(SequenceId::from_parts(Clock::system().now(), 1, 0));
    event.with_data(condition("Applied"))
}

fn spec(consumer: &str, id: &str, version: i64) -> Event {
    let event = event(consumer, Type::spec(Action::Update), id, version);
    event.with_data(bundle(&[config_map("a", "forged")]))
}

fn event(consumer: &str, kind: Type, id: &str, version: i64) -> Event {
    let consumer = ConsumerName::new(consumer).expect("the test's own name");
    let version = Version::new(version).expect("the test's own version");
    let now: Timestamp = Clock::system().now();
    Event::new(SOURCE, kind, &consumer, now).about(id, version)
}

fn condition(kind: &str) -> String {
    json!({ "conditions": [{
        "type": kind,
        "status": "True",
        "lastTransitionTime": "2026-08-01T10:05:00Z",
        "reason": "Forged",
        "message": "",
    }] })
    .to_string()
}

fn bundle(manifests: &[Value]) -> String {
    json!({ "manifests": manifests }).to_string()
}

fn to_bridge(topic_of: &str, event: &Event) -> Message {
    encode(event, agent_topic(topic_of))
}

fn agent_topic(consumer: &str) -> String {
    format!("maestro/consumers/{consumer}/agentevents")
}

fn source_topic(consumer: &str) -> String {
    format!("maestro/consumers/{consumer}/sourceevents")
}

const TAKEN: &str = "bridge_agent_events_total";
const PATIENCE: Duration = Duration::from_secs(30);
