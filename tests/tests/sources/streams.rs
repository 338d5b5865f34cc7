//! Streams that last: through restarts of the bridge and silence on the way, beside readers that do not read, and many at
//! once.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::api::config_map;
use tests::go::{AGENT_TOPIC, HASH, agent_status, send};
use tests::proxy::RetargetableProxy;
use tests::region::Region;
use tests::session::Client;
use tests::source::{Source, work};

use crate::{builder, bundle, of, source, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_ends_with_what_the_store_holds_when_the_bridge_is_killed_in_a_burst()
-> Result<()> {
    let mut region = builder("sources-burst").start().await?;
    region.agent("cluster1")?.service.kill()?;
    let peer = region.peer("scripted", &[])?;
    let way = Proxied::through(&mut region).await?;
    let logs = region.test_dir.path().to_owned();
    let go = way.source("burst", &logs).with(["-wait", "100ms"]);
    let mut watch = go.follow(&["watch", "cluster1"]).await?;
    watch
        .line("the stream", |line| line["stream"] == "open")
        .await?;
    let mut ids = Vec::new();
    for number in 0..WORKS {
        let name = format!("w{number}");
        let made = work(&name, &json!({}), &[config_map(&name, "")]);
        ids.push(text(&go.done(&["create", "cluster1", &made]).await?, "uid"));
    }

    tell(&peer, &ids, 0..TURNS).await?;
    region.bridge.kill()?;
    region.bridge.restart()?;
    region.bridge.ready().await?;
    way.follow(&mut region).await?;
    // Half of them say more afterwards; what the others said last was before, and may have been too late.
    tell(&peer, &ids[..WORKS / 2], TURNS..2 * TURNS).await?;
    let api = region.api().await?;
    let last = (2 * TURNS - 1).to_string();
    for id in &ids[..WORKS / 2] {
        bundle(&api, id, "the last status", |found| {
            found.is_some_and(|it| said(&it.status).as_deref() == Some(&last))
        })
        .await?;
    }
    let mut stored = BTreeMap::new();
    for id in &ids {
        let found = api.bundle(id).await?.context("it is there")?;
        stored.insert(id.clone(), said(&found.status).unwrap_or_default());
    }
    watch
        .until("what the store holds", |lines| {
            // Nothing compares versions in the Go library: what came last is what its user sees.
            let mut seen = BTreeMap::new();
            for line in lines.iter().filter(|line| line.get("event").is_some()) {
                seen.insert(text(line, "uid"), text(&line["messages"], "Applied"));
            }
            seen == stored
        })
        .await
        .with_context(|| format!("{stored:?}"))?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_a_stream_and_silence_has_it_opened_again_and_repaired() -> Result<()> {
    let quick = ["--heartbeat-check-interval", "500ms"];
    let mut region = builder("sources-silence")
        .bridge_args(quick)
        .start()
        .await?;
    let api = region.api().await?;
    let way = Proxied::through(&mut region).await?;
    let logs = region.test_dir.path().to_owned();
    let direct = source(&mut region, "silence").await?;
    let go = way
        .source("silence", &logs)
        .with(["-healthiness", "6s", "-wait", "100ms"]);
    let mut watch = go.follow(&["watch", "cluster1"]).await?;
    // Longer than it may be silent, and nothing but heartbeats.
    let lines = watch
        .until("heartbeats", |lines| count(lines, "heartbeat") >= 14)
        .await?;
    ensure!(
        !lines.iter().any(|line| line["stream"] == "lost"),
        "{lines:?}"
    );

    way.grpc.stall();
    watch
        .line("the silence", |line| {
            text(line, "why").contains("neither event nor heartbeat")
        })
        .await?;
    let made = work("w1", &json!({}), &[config_map("a", "one")]);
    let id = text(&direct.done(&["create", "cluster1", &made]).await?, "uid");
    bundle(&api, &id, "it to be applied", |found| {
        found.is_some_and(|it| it.is("Applied"))
    })
    .await?;
    way.grpc.pass();
    way.grpc.break_all();
    watch
        .line("the list after it", |line| line["repair"] == "listed")
        .await?;
    watch
        .line("what was missed", |line| {
            of(line, "w1") && line["conditions"]["Applied"] == "True"
        })
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_begins_with_what_was_reported_lately() -> Result<()> {
    let mut region = builder("sources-replay").start().await?;
    let api = region.api().await?;
    let go = source(&mut region, "replay").await?.with(["-v2"]);
    let made = work("w1", &json!({}), &[config_map("a", "one")]);
    let id = text(&go.done(&["create", "cluster1", &made]).await?, "uid");
    bundle(&api, &id, "it to be applied", |found| {
        found.is_some_and(|it| it.is("Applied"))
    })
    .await?;
    // Nobody listened when the agent said so. As the message carries it, each attribute in its own type.
    let mut raw = go.follow(&["subscribe"]).await?;
    let event = raw
        .line("the status", |line| line["data"].is_object())
        .await?;
    let attributes = &event["attributes"];
    ensure!(attributes["ce-resourceid"]["String"] == id, "{event}");
    ensure!(attributes["ce-resourceversion"]["Integer"] == 1, "{event}");
    ensure!(attributes["ce-time"]["Timestamp"].is_string(), "{event}");
    ensure!(
        attributes["ce-clustername"]["String"] == "cluster1",
        "{event}"
    );
    ensure!(
        attributes["contenttype"]["String"] == "application/json",
        "{event}"
    );
    ensure!(
        text(&attributes["ce-metadata"], "String").contains(r#""name":"w1""#),
        "{event}"
    );
    ensure!(
        event["data"]["manifestBundle"]["manifests"][0]["kind"] == "ConfigMap",
        "{event}"
    );
    // A source that holds nothing asks for all of its statuses.
    let resync = [
        "publish",
        "status.resync_request",
        "cluster1",
        "-",
        "-",
        r#"{"statusHashes":[]}"#,
    ];
    let before = raw.lines()?.len();
    go.done(&resync).await?;
    raw.until("the answer", |lines| {
        lines
            .iter()
            .skip(before)
            .any(|line| line["data"].is_object())
    })
    .await?;
    for service in ["", "io.cloudevents.v1.CloudEventService"] {
        let healthy = go.done(&["health", service]).await?;
        ensure!(healthy["health"] == "SERVING", "{healthy}");
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_delays_no_other_source() -> Result<()> {
    let mut region = builder("sources-stalled").start().await?;
    region.agent("cluster1")?.service.kill()?;
    let peer = region.peer("scripted", &[])?;
    let slow = source(&mut region, "slow").await?;
    let quick = source(&mut region, "quick").await?;
    let mut stalled = slow.follow(&["stall"]).await?;
    stalled
        .line("the stalled stream", |line| line.get("stalled").is_some())
        .await?;
    let mut watch = quick.follow(&["watch", "cluster1"]).await?;
    watch
        .line("the stream", |line| line["stream"] == "open")
        .await?;
    // More than windows and buffers hold on the way to the one that does not read.
    let mut ids = Vec::new();
    for number in 0..WORKS {
        let name = format!("w{number}");
        let made = work(&name, &json!({}), &[config_map(&name, &"x".repeat(BIG))]);
        ids.push(text(
            &slow.done(&["create", "cluster1", &made]).await?,
            "uid",
        ));
    }
    let made = work("mine", &json!({}), &[config_map("mine", "")]);
    let mine = text(&quick.done(&["create", "cluster1", &made]).await?, "uid");
    tell(&peer, &ids, 0..2).await?;
    tell(&peer, std::slice::from_ref(&mine), 0..1).await?;
    watch
        .line("the status beside it", |line| of(line, "mine"))
        .await?;
    // It was there all the while, or was cut: waiting for it is not among the possibilities.
    let others = watch.lines()?;
    ensure!(
        others
            .iter()
            .all(|line| line.get("event").is_none() || of(line, "mine")),
        "{others:?}"
    );
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_hundred_sources_hears_of_its_own_work_alone() -> Result<()> {
    let mut region = builder("sources-many").start().await?;
    let go = source(&mut region, "many").await?;
    let mut many = go.follow(&["sources", &SOURCES.to_string()]).await?;
    let lines = many
        .until("a status at every source", |lines| {
            let applied = |line: &&Value| {
                line["conditions"]["Applied"] == "True" && line["conditions"]["Available"] == "True"
            };
            let at: std::collections::BTreeSet<String> = lines
                .iter()
                .filter(applied)
                .map(|line| text(line, "at"))
                .collect();
            at.len() == SOURCES
        })
        .await?;
    for line in lines.iter().filter(|line| line.get("event").is_some()) {
        ensure!(
            text(line, "name") == format!("work-of-{}", text(line, "at")),
            "{line}"
        );
    }
    region.passed();
    Ok(())
}

/// A way to the bridge that stays the same when it is another process.
struct Proxied {
    rest: RetargetableProxy,
    grpc: RetargetableProxy,
}

// === impl Proxied ===

impl Proxied {
    async fn through(region: &mut Region) -> Result<Self> {
        let (rest, grpc) = addresses(region).await?;
        Ok(Self {
            rest: RetargetableProxy::start(rest).await?,
            grpc: RetargetableProxy::start(grpc).await?,
        })
    }

    fn source(&self, name: &str, logs: &std::path::Path) -> Source {
        Source::at("", "", name, logs).by_way_of(self.rest.address(), self.grpc.address())
    }

    /// To where the bridge listens now.
    async fn follow(&self, region: &mut Region) -> Result<()> {
        let (rest, grpc) = addresses(region).await?;
        self.rest.retarget(rest);
        self.grpc.retarget(grpc);
        Ok(())
    }
}

async fn addresses(region: &mut Region) -> Result<(SocketAddr, SocketAddr)> {
    let listening = region.bridge.listening().await?;
    let address = |url: Option<String>| -> Result<SocketAddr> {
        let url = url.context("the bridge says where it listens")?;
        let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
        Ok(host.parse()?)
    };
    Ok((address(listening.api)?, address(listening.grpc)?))
}

/// Statuses of the works, each turn of all of them, as their agent would; the message says the turn.
async fn tell(peer: &Client, ids: &[String], turns: std::ops::Range<u16>) -> Result<()> {
    for turn in turns {
        for id in ids {
            let status = format!(
                r#"{{"conditions":[{{"type":"Applied","status":"True","lastTransitionTime":"2026-08-01T10:05:00Z","reason":"R","message":"{turn}"}}]}}"#
            );
            let message = agent_status(id, 1, turn, HASH, &status);
            send(peer, message)
                .await
                .with_context(|| format!("on {AGENT_TOPIC}"))?;
        }
    }
    Ok(())
}

/// The message of the condition `Applied`.
fn said(status: &Value) -> Option<String> {
    let conditions = status["conditions"].as_array()?;
    let applied = conditions.iter().find(|it| it["type"] == "Applied")?;
    Some(applied["message"].as_str()?.to_owned())
}

fn count(lines: &[Value], key: &str) -> usize {
    lines.iter().filter(|line| line.get(key).is_some()).count()
}

const WORKS: usize = 20;
const TURNS: u16 = 5;
const SOURCES: usize = 100;
// As much as the smallest limit on the way lets through; 20 of them are more than the windows of a connection.
const BIG: usize = 60_000;
