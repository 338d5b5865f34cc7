//! The real program beside a real agent.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use link::message::Message;
use rmqtt_codec::v5::DisconnectReasonCode;
use serde_json::json;
use tests::api::config_map;
use tests::go::{deletion, kind, spec, value};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, Region, RegionBuilder, Service};
use tests::wait::wait_for;

use crate::fixture::{FILTER, agent, certificate, topic};
use crate::server::{PATIENCE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_go_server_keeps_a_real_agent_over_the_sidecar() -> Result<()> {
    keep(BrokerKind::Sandbox, "sidecar-process").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_server_keeps_a_real_agent_over_mosquitto() -> Result<()> {
    keep(BrokerKind::Mosquitto, "sidecar-process-mosquitto").await
}

async fn keep(kind: BrokerKind, test: &str) -> Result<()> {
    let mut region = RegionBuilder::new(test, kind).start().await?;
    region.bridge.kill()?;
    let (mut sidecar, address) = start(&region).await?;
    let mut server = Server::subscribed(address, "maestro-0", FILTER).await?;
    sidecar.ready().await?;

    let map = config_map("a", "<one> & \u{2028}");
    let data = json!({ "manifests": [map] }).to_string();
    let ack = server
        .published(&spec(ID, "create_request", 1, &[], Some(&data)))
        .await?;
    ensure!(u8::from(ack.reason_code) < 0x80, "{ack:?}");
    let told = status(&mut server, "\"Applied\"").await?;
    ensure!(value(&told, "resourceversion") == Some("1"), "{told:?}");
    ensure!(told.content_type.as_deref() == Some("application/json"));
    ensure!(region.agents["cluster1"].applied(&map)?.is_some());

    // Another certificate, while it runs.
    region.bridge_mount.replace(&certificate(&region, 1)?)?;
    wait_for("the new certificate", PATIENCE, async || {
        let page = sidecar
            .metrics()
            .await
            .map_err(|error| format!("{error:#}"))?;
        let connections = page.count("mqtt_connections_total", &[]);
        (connections >= 2)
            .then_some(())
            .ok_or(connections.to_string())
    })
    .await?;
    server.publish(&deletion(ID, 1)).await?;
    status(&mut server, "\"Deleted\"").await?;

    sidecar.process().signal("TERM")?;
    let said = server.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::ServerShuttingDown,
        "{said:?}"
    );
    let exit = sidecar.process().exited(PATIENCE).await?;
    ensure!(exit.success(), "{exit}: {}", sidecar.process().output());
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_memory_is_bounded_while_both_sides_are_ahead() -> Result<()> {
    let mut region = RegionBuilder::new("sidecar-memory", BrokerKind::Sandbox)
        .without_quotas()
        .start()
        .await?;
    region.bridge.kill()?;
    for agent in region.agents.values_mut() {
        agent.service.kill()?;
    }
    let (mut sidecar, address) = start(&region).await?;
    let mut server = Server::subscribed(address, "maestro-0", FILTER).await?;
    sidecar.ready().await?;
    let before = resident(sidecar.process().id())?;
    let agent = agent(&region, "cluster1")?;
    let faults = region.broker.sandbox()?.faults();
    faults.set(|knobs| _ = knobs.hold_acks.insert("maestro".into()));
    let large = |last| Message::new(topic("cluster1", last), vec![b'x'; 120_000]);
    for _ in 0..server.connack.receive_max.get() {
        server.publish(&large("sourceevents")).await?;
    }
    // The server takes nothing: what agents say waits at the broker, but for a window.
    for _ in 0..500 {
        agent.session.publish(large("agentevents")).await?.await?;
    }
    wait_for("a window to wait", PATIENCE, async || {
        let page = sidecar
            .metrics()
            .await
            .map_err(|error| format!("{error:#}"))?;
        let waiting =
            ["up", "down"].map(|way| page.count("sidecar_waiting_events", &[("way", way)]));
        (waiting == [100, 100])
            .then_some(())
            .ok_or(format!("{waiting:?}"))
    })
    .await?;
    let more = resident(sidecar.process().id())?.saturating_sub(before);
    ensure!(more < 160 << 20, "{} MiB more", more >> 20);
    agent.shutdown().await?;
    drop(sidecar);
    region.passed();
    Ok(())
}

#[tokio::test]
async fn it_listens_on_loopback_only_and_keeps_no_store() -> Result<()> {
    let test_dir = tests::test_dir::TestDir::new("sidecar-refusals")?;
    for (args, words) in [
        (&["--mqtt-listen", "0.0.0.0:0"][..], "loopback"),
        (&["--mqtt-listen", "[::]:0"], "loopback"),
        (&["--db", "file"], "no store: `--db` must"),
        (&["--db-schema", "other"], "no store: `--db-schema` must"),
        (&["--api-listen", "127.0.0.1:0"], "'--api-listen'"),
        (&["--slot", "64"], "64"),
    ] {
        let spec = ProcessSpec::binary("server-bridge")?
            .args(["sidecar", "--admin-listen", "127.0.0.1:0"])
            .args(args);
        let output = spec.run(test_dir.path(), PATIENCE).await?;
        ensure!(
            output.status.code() == Some(2),
            "{args:?}: {}",
            output.stderr
        );
        ensure!(output.stderr.contains(words), "{args:?}: {}", output.stderr);
    }
    test_dir.passed();
    Ok(())
}

async fn start(region: &Region) -> Result<(Service, SocketAddr)> {
    region.bridge_mount.replace(&certificate(region, 1)?)?;
    let topics = link::topic::Scheme::default().bridge_topics();
    let spec = ProcessSpec::binary("server-bridge")?
        .label("sidecar")
        .args([
            "sidecar",
            "--mqtt-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .arg("--mount")
        .arg(region.bridge_mount.directory())
        .args(["--broker-rates", "unlimited"])
        .args(["--topics-source-events", &topics.source_events])
        .args(["--topics-agent-events", &topics.agent_events]);
    let mut service = Service::start(spec, &region.test_dir.dir("sidecar")?)?;
    let mqtt = service.listening().await?.mqtt.context("it says where")?;
    let address = mqtt.strip_prefix("mqtt://").context("as a URL")?.parse()?;
    Ok((service, address))
}

/// The next status that holds a word; all that comes is taken.
async fn status(server: &mut Server, word: &str) -> Result<Message> {
    loop {
        let packet = server.next().await?;
        let rmqtt_codec::v5::Packet::Publish(event) = packet else {
            continue;
        };
        server.ack(event.packet_id).await?;
        let properties = event.properties.unwrap_or_default();
        let user = properties.user_properties.iter();
        let message = Message {
            content_type: properties.content_type.map(|text| text.to_string()),
            user_properties: user
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            ..Message::new(event.topic.to_string(), event.payload)
        };
        let is_status = kind(&message).contains(".status.");
        if is_status && String::from_utf8_lossy(&message.payload).contains(word) {
            return Ok(message);
        }
    }
}

/// Bytes that a process holds in memory.
fn resident(process: u32) -> Result<u64> {
    let status =
        std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes.context("VmRSS is there")?.trim().parse()?;
    Ok(kibibytes << 10)
}

const ID: &str = "55c61e54-a3f6-563d-9fec-b1fe297bdfdb";
