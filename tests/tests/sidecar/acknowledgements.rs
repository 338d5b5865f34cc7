//! What is acknowledged when, what waits for whom, and what is refused with which words.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::iot::limits::PAYLOAD_BYTES;
use link::message::Message;
use link::mqtt::Delivery;
use rmqtt_codec::v5::{DisconnectReasonCode, Packet, PublishAckReason, SubscribeAckReason};
use tests::region::{BRIDGE_CLIENT, BrokerKind, Region};
use tests::session::Client;
use tests::wait::{timeout, wait_for};

use crate::fixture::{FILTER, Options, RunningSidecar, agent, region, topic};
use crate::server::{PATIENCE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_server_s_event_is_acknowledged_when_the_broker_has_acknowledged_it() -> Result<()> {
    let (region, sidecar) = scene("sidecar-acks-down", Options::default()).await?;
    let mut agent = agent(&region, "cluster1")?;
    ensure!(agent.session.ready().await);
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let faults = region.broker.sandbox()?.faults().clone();
    let hold = |held: bool| {
        faults.set(|knobs| {
            let acks = &mut knobs.hold_acks;
            _ = if held {
                acks.insert(BRIDGE_CLIENT.into())
            } else {
                acks.remove(BRIDGE_CLIENT)
            };
        });
    };
    hold(true);
    let message = Message {
        content_type: Some("application/json".into()),
        user_properties: vec![
            ("ce-id".into(), "1".into()),
            ("ce-originalsource".into(), String::new()),
        ],
        ..Message::new(topic("cluster1", "sourceevents"), "{}")
    };
    let packet_id = server.publish(&message).await?;
    // The agent has it, as it was said, and the server still waits.
    let came = heard(&mut agent).await?;
    ensure!(came.message == message, "{:?}", came.message);
    came.ack();
    server.send(Packet::PingRequest).await?;
    ensure!(server.next().await? == Packet::PingResponse);
    let waiting = [("way", "down")];
    wait_for("the event to be counted as waiting", PATIENCE, async || {
        let waiting = sidecar.metrics().sum("sidecar_waiting_events", &waiting);
        (waiting == Some(1.0))
            .then_some(())
            .ok_or(format!("{waiting:?}"))
    })
    .await?;
    hold(false);
    let Packet::PublishAck(ack) = server.next().await? else {
        anyhow::bail!("no PUBACK");
    };
    ensure!(ack.packet_id == packet_id && ack.reason_code == PublishAckReason::Success);
    ensure!(sidecar.events("down", "acknowledged") == 1);
    end(region, sidecar, [agent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_s_event_stays_with_the_broker_until_a_server_has_taken_it() -> Result<()> {
    let (region, sidecar) = scene("sidecar-acks-up", Options::default()).await?;
    let agent = agent(&region, "cluster1")?;
    let broker = region.broker.sandbox()?.clone();
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    sidecar.ready().await?;
    say(&agent, 0..3).await?;
    for number in 0..3 {
        ensure!(text(&server.event().await?.payload) == number.to_string());
    }
    ensure!(
        broker.backlog(BRIDGE_CLIENT) == Some(3),
        "acknowledged too early"
    );

    // Whoever comes next gets the same again, in order, and what came meanwhile behind it.
    drop(server);
    sidecar.says("3 events of agents wait for it").await?;
    say(&agent, 3..300).await?;
    wait_for("the broker to hold the rest", PATIENCE, async || {
        let backlog = broker.backlog(BRIDGE_CLIENT);
        (backlog == Some(300))
            .then_some(())
            .ok_or(format!("{backlog:?}"))
    })
    .await?;
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    for number in 0..300 {
        let event = server.taken().await?;
        ensure!(
            text(&event.payload) == number.to_string(),
            "{event:?}, not {number}"
        );
    }
    wait_for("the broker to be acknowledged", PATIENCE, async || {
        let backlog = broker.backlog(BRIDGE_CLIENT);
        (backlog == Some(0))
            .then_some(())
            .ok_or(format!("{backlog:?}"))
    })
    .await?;
    wait_for("all to be counted", PATIENCE, async || {
        let count = sidecar.events("up", "acknowledged");
        (count == 300).then_some(()).ok_or(count)
    })
    .await?;
    end(region, sidecar, [agent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_with_its_size_and_delays_nobody() -> Result<()> {
    let (region, sidecar) = scene("sidecar-sizes", Options::default()).await?;
    let mut agent = agent(&region, "cluster1")?;
    ensure!(agent.session.ready().await);
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let down = topic("cluster1", "sourceevents");
    let limit = Message::new(&down, vec![b'x'; PAYLOAD_BYTES]);
    let ack = server.published(&limit).await?;
    ensure!(ack.reason_code == PublishAckReason::Success, "{ack:?}");
    ensure!(heard(&mut agent).await?.message.payload.len() == PAYLOAD_BYTES);

    let over = Message::new(&down, vec![b'x'; PAYLOAD_BYTES + 1]);
    let long = Message {
        user_properties: vec![("ce-metadata".into(), "m".repeat(40_000)); 4],
        ..Message::new(&down, "{}")
    };
    for (message, words) in [(over, "131073"), (long, "packet")] {
        let ack = server.published(&message).await?;
        let said = ack.reason_string.clone().unwrap_or_default();
        ensure!(
            ack.reason_code == PublishAckReason::QuotaExceeded && said.contains(words),
            "{ack:?}"
        );
    }
    let small = server.published(&Message::new(&down, "small")).await?;
    ensure!(small.reason_code == PublishAckReason::Success);
    ensure!(text(&heard(&mut agent).await?.message.payload) == "small");
    ensure!(sidecar.events("down", "too_large") == 2);

    // What no event can be ends the connection.
    let giant = Message::new(&down, vec![b'x'; 6 << 20]);
    let sent = server.publish(&giant).await;
    if sent.is_ok() {
        let said = server.disconnected().await?;
        ensure!(
            said.reason_code == DisconnectReasonCode::PacketTooLarge,
            "{said:?}"
        );
    }
    end(region, sidecar, [agent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_filters_of_others_are_refused_with_words() -> Result<()> {
    let (region, sidecar) = scene("sidecar-foreign", Options::default()).await?;
    let mut server = Server::connect(sidecar.address, "maestro-0").await?;
    let foreign = [
        "#",
        "sources/other/consumers/+/agentevents",
        "maestro/consumers/+/sourceevents",
    ];
    let suback = server.subscribe(&foreign).await?;
    let refused = SubscribeAckReason::NotAuthorized;
    ensure!(suback.status == vec![refused; 3], "{suback:?}");
    let said = suback.reason_string.unwrap_or_default();
    ensure!(said.contains("maestro/consumers/+/agentevents"), "{said}");

    // Its own topics under a name that the policy does not know: the broker refuses that one, and grants the other.
    let shared = format!("$share/others/{FILTER}");
    let suback = server.subscribe(&[&shared, FILTER]).await?;
    ensure!(
        suback.status == [refused, SubscribeAckReason::GrantedQos1],
        "{suback:?}"
    );
    let said = suback.reason_string.unwrap_or_default();
    ensure!(said.contains("not authorized"), "{said}");

    for foreign in [
        "maestro/consumers/cluster1/agentevents",
        "test/x",
        "maestro/consumers/Cluster1/sourceevents",
    ] {
        let ack = server.published(&Message::new(foreign, "{}")).await?;
        let said = ack.reason_string.clone().unwrap_or_default();
        ensure!(
            ack.reason_code == PublishAckReason::NotAuthorized && said.contains(foreign),
            "{ack:?}"
        );
    }
    let retained = Message {
        retain: true,
        ..Message::new(topic("cluster1", "sourceevents"), "{}")
    };
    let ack = server.published(&retained).await?;
    let said = ack.reason_string.clone().unwrap_or_default();
    ensure!(said.contains("not retained"), "{ack:?}");
    ensure!(
        region.broker.sandbox()?.counts().publish_denied == 0,
        "the broker was asked"
    );

    // A refusal of the broker comes through.
    let faults = region.broker.sandbox()?.faults();
    faults.set(|knobs| _ = knobs.refuse_publishes.insert(BRIDGE_CLIENT.into()));
    let ack = server
        .published(&Message::new(topic("cluster1", "sourceevents"), "{}"))
        .await?;
    ensure!(
        ack.reason_code == PublishAckReason::NotAuthorized,
        "{ack:?}"
    );
    ensure!(sidecar.events("down", "foreign") == 3 && sidecar.events("down", "refused") == 1);
    end(region, sidecar, []).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_at_a_time_and_the_newest_of_one_name() -> Result<()> {
    let (region, sidecar) = scene("sidecar-second", Options::default()).await?;
    let mut first = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let mut second = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let said = first.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::SessionTakenOver,
        "{said:?}"
    );
    let other = Server::connect(sidecar.address, "maestro-1").await;
    ensure!(other.is_err(), "two servers");
    let down = Message::new(topic("cluster1", "sourceevents"), "{}");
    ensure!(u8::from(second.published(&down).await?.reason_code) < 0x80);
    second.leave().await?;
    sidecar.says("no Maestro server is connected").await?;
    Server::subscribed(sidecar.address, "maestro-1", FILTER).await?;
    end(region, sidecar, []).await
}

/// A region for one consumer on the sandbox's broker, with a sidecar.
pub(crate) async fn scene(test: &str, options: Options) -> Result<(Region, RunningSidecar)> {
    let region = region(test, BrokerKind::Sandbox, 1).await?;
    let sidecar = RunningSidecar::start(&region, region.broker.address(), options).await?;
    Ok((region, sidecar))
}

/// The test passed.
pub(crate) async fn end(
    region: Region,
    sidecar: RunningSidecar,
    agents: impl IntoIterator<Item = Client>,
) -> Result<()> {
    sidecar.stop().await?;
    for agent in agents {
        agent.shutdown().await?;
    }
    region.passed();
    Ok(())
}

/// The agent of `cluster1` says numbers, and the broker has them.
pub(crate) async fn say(agent: &Client, numbers: std::ops::Range<usize>) -> Result<()> {
    let mut receipts = Vec::new();
    for number in numbers {
        let message = Message::new(topic("cluster1", "agentevents"), number.to_string());
        receipts.push(agent.session.publish(message).await?);
    }
    for receipt in receipts {
        receipt.await?;
    }
    Ok(())
}

/// What the agent hears next.
pub(crate) async fn heard(agent: &mut Client) -> Result<Delivery> {
    let delivery = timeout(PATIENCE, agent.inbound.recv()).await?;
    delivery.context("the agent's session is open")
}

pub(crate) fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

// Long enough for the sessions to end before the server comes back.
pub(crate) const SHORT_GRACE: Duration = Duration::from_millis(50);
