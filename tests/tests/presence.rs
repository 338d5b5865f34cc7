//! Whether agents are there, as the server tells it: by their own reports and the broker's lifecycle events, and not by a
//! silence that may be rest.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::event::encode;
use link::order::SequenceId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::api::{Api, Change, config_map};
use tests::peer_events::{agent_topic, now, publish, status};
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_nothing_to_do_is_idle_and_one_that_was_killed_is_away_with_the_reason()
-> Result<()> {
    let mut region = RegionBuilder::new("presence-lifecycle", BrokerKind::Sandbox)
        .bridge_args(["--lifecycle-events"])
        .start()
        .await?;
    let api = region.api().await?;
    let idle = until(&api, "cluster1", |it| {
        it["state"] == "idle" && it["agent"]["version"].is_string()
    });
    let idle = idle.await?;
    ensure!(idle["agent"]["target"] == "directory", "{idle}");
    ensure!(idle["works"]["count"] == 0, "{idle}");
    ensure!(idle["certificate"]["notAfter"].is_string(), "{idle}");
    ensure!(idle["connectedSince"].is_string(), "{idle}");

    let bundle = Change::create("cluster1", vec![config_map("a", "1")]);
    api.create_bundle(&bundle).await?;
    let applied = until(&api, "cluster1", |it| it["state"] == "idle");
    applied.await?;

    region.agent("cluster1")?.service.kill()?;
    let away = until(&api, "cluster1", |it| it["state"] == "away").await?;
    ensure!(away["reason"] == "CONNECTION_LOST", "{away}");
    ensure!(away["since"].is_string(), "{away}");
    ensure!(away.get("connectedSince").is_none(), "{away}");
    // The version that it had is still known.
    ensure!(away["agent"] == idle["agent"], "{away}");

    // Which are away is one request, as the page and `probe watch` make it.
    let (status, found) = api
        .raw(
            Method::GET,
            "/overview?presence=away&orderBy=presence_since",
            None,
        )
        .await?;
    let found: Value = serde_json::from_str(&found).context("the overview is JSON")?;
    ensure!(status == 200 && found["total"] == 1, "{status} {found}");
    let item = &found["items"][0];
    ensure!(item["name"] == "cluster1", "{found}");
    ensure!(item["presence"]["reason"] == "CONNECTION_LOST", "{found}");
    ensure!(item["presence"]["since"].is_string(), "{found}");
    ensure!(found["summary"]["presence"]["away"] == 1, "{found}");

    // A server that is started again knows all that from its store.
    region.bridge.restart()?;
    region.bridge.ready().await?;
    let api = region.api().await?;
    let known = presence(&api, "cluster1").await?;
    ensure!(known["state"] == "away", "{known}");
    ensure!(known["reason"] == "CONNECTION_LOST", "{known}");

    region.agent("cluster1")?.service.restart()?;
    until(&api, "cluster1", |it| it["state"] == "idle").await?;
    let bridge = &mut region.bridge;
    wait_for("the agent to be counted", PATIENCE, async || {
        let page = bridge.metrics().await?;
        let idle = page.count("bridge_agents", &[("state", "idle")]);
        ensure!(idle == 1, "{idle} agents are idle");
        Ok(())
    })
    .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_lifecycle_events_one_that_reports_is_idle_and_a_go_agent_is_unknown() -> Result<()>
{
    let mut region = RegionBuilder::new("presence-reports", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    until(&api, "cluster1", |it| it["state"] == "idle").await?;

    api.create_consumer("go").await?;
    let unheard = presence(&api, "go").await?;
    ensure!(
        unheard == json!({"state": "unknown", "reason": "NOT_LISTENED_LONG_ENOUGH"}),
        "{unheard}"
    );
    let peer = region.peer("go", &[])?;
    ensure!(peer.session.ready().await, "the peer connects");
    let sequence = SequenceId::from_parts(now(), 1, 0);
    let said = status("go", "b", 1, sequence, "Applied");
    publish(&peer, encode(&said, agent_topic("go"))).await?;
    let heard = until(&api, "go", |it| it["reason"] == "REPORTS_NOTHING").await?;
    ensure!(heard["state"] == "unknown", "{heard}");
    ensure!(heard["lastSeenAt"].is_string(), "{heard}");
    ensure!(heard.get("agent").is_none(), "{heard}");
    region.passed();
    Ok(())
}

async fn presence(api: &Api, consumer: &str) -> Result<Value> {
    let path = format!("/consumers/{consumer}/presence");
    let (status, body) = api.raw(Method::GET, &path, None).await?;
    ensure!(status == 200, "{status} {body}");
    serde_json::from_str(&body).context("the presence is JSON")
}

/// Waits until the agent of a consumer is so.
async fn until(api: &Api, consumer: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    let seen = wait_for("the agent's presence", PATIENCE, async || {
        let seen = presence(api, consumer).await?;
        ensure!(is(&seen), "{seen}");
        Ok(seen)
    });
    Ok(seen.await?)
}

const PATIENCE: Duration = Duration::from_secs(45);
