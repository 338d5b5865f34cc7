//! Bundles with no manifest, or with more than fit into a message.

use anyhow::{Context as _, Result, ensure};
use link::event::{Event, encode};
use reqwest::Method;
use serde_json::{Value, json};
use tests::api::config_map;
use tests::peer_events::{self as events, agent_topic, source_topic};
use tests::region::{BrokerKind, RegionBuilder};
use tests::session::Client;
use tests::wait::timeout;

use crate::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_without_or_with_too_many_manifests_is_refused_where_a_person_reads_it()
-> Result<()> {
    let mut region = RegionBuilder::new("refusals-manifests", BrokerKind::Sandbox)
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
    let empty = events::spec("cluster1", "empty", 1, &[]);
    events::publish(&peer, encode(&empty, source_topic("cluster1"))).await?;
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
    timeout(PATIENCE, next).await?
}
