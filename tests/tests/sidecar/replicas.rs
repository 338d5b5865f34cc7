//! Several servers, each with a sidecar, that share what agents say; and a server that is faster than IoT Core allows.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use link::message::Message;
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::Packet;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::{timeout, wait_for};
use tokio::time::{Duration, Instant};

use crate::acknowledgements::{SHORT_GRACE, end, heard, say, text};
use crate::fixture::{
    Options, REPLICAS, RunningSidecar, SHARED, agent, region, topic, without_bridge,
};
use crate::server::{PATIENCE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn of_servers_that_share_one_takes_each_event_and_those_that_are_left_take_all_that_follows()
-> Result<()> {
    let region = region("sidecar-replicas", BrokerKind::Sandbox, 1).await?;
    let broker = region.broker.sandbox()?.clone();
    let agent = agent(&region, "cluster1")?;
    ensure!(agent.session.ready().await);
    let start = |slot: u16| RunningSidecar::start(&region, region.broker.address(), of_slot(slot));
    let (first, second) = (start(0).await?, start(1).await?);
    let mut leaver = Server::subscribed(first.address, "maestro-a", SHARED).await?;
    let mut other = Server::subscribed(second.address, "maestro-b", SHARED).await?;
    let names: Vec<_> = broker
        .connections()
        .into_iter()
        .map(|it| it.client_id)
        .collect();
    for name in ["maestro-0", "maestro-1"] {
        ensure!(names.iter().any(|known| known == name), "{names:?}");
    }

    // A window of each at most: one server takes nothing, and nobody waits for it.
    say(&agent, 0..SAID).await?;
    let (mut kept, mut taken) = (Vec::new(), BTreeSet::new());
    while kept.len() + taken.len() < SAID {
        let came = async {
            tokio::select! {
                event = leaver.event() => kept.push(number(&event?)?),
                event = other.event() => {
                    let event = event?;
                    other.ack(event.packet_id).await?;
                    let number = number(&event)?;
                    ensure!(taken.insert(number), "{number} came twice");
                }
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, came).await??;
    }
    ensure!(
        !kept.is_empty() && !taken.is_empty(),
        "the broker gave all to one"
    );
    ensure!(
        kept.iter().all(|number| !taken.contains(number)),
        "two took one event"
    );
    ensure!(
        broker.backlog("maestro-0") == Some(kept.len()),
        "acknowledged by nobody"
    );

    // Killed like a pod of a node that is gone; what is said from now on is the other's.
    drop(first);
    wait_for("the broker to miss it", PATIENCE, async || {
        let connections = broker.connections();
        let there = connections.iter().any(|it| it.client_id == "maestro-0");
        (!there).then_some(()).ok_or(format!("{connections:?}"))
    })
    .await?;
    say(&agent, SAID..2 * SAID).await?;
    for _ in 0..SAID {
        taken.insert(number(&other.taken().await?)?);
    }
    ensure!(taken.range(SAID..).count() == SAID, "the other missed some");

    // What the killed one had is with the broker still, and not for the other: the server of the next sidecar of that slot
    // subscribes, and resyncs. Its session is a new one.
    ensure!(
        broker.backlog("maestro-0") == Some(kept.len()),
        "it is lost already"
    );
    drop(leaver);
    let first = start(0).await?;
    let mut back = Server::subscribed(first.address, "maestro-a", SHARED).await?;
    say(&agent, 2 * SAID..3 * SAID).await?;
    let (mut own, mut theirs) = (0, 0);
    while own + theirs < SAID {
        let (event, server, count) = tokio::select! {
            event = back.event() => (event?, &mut back, &mut own),
            event = other.event() => (event?, &mut other, &mut theirs),
        };
        server.ack(event.packet_id).await?;
        ensure!(number(&event)? >= 2 * SAID, "{event:?}");
        *count += 1;
    }
    ensure!(own > 0 && theirs > 0, "{own} and {theirs}");
    second.stop().await?;
    end(region, first, [agent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leaves_leaves_its_part_to_the_others_after_its_grace() -> Result<()> {
    let region = region("sidecar-part", BrokerKind::Sandbox, 1).await?;
    let broker = region.broker.sandbox()?.clone();
    let agent = agent(&region, "cluster1")?;
    let options = Options {
        grace: SHORT_GRACE,
        ..of_slot(0)
    };
    let address = region.broker.address();
    let first = RunningSidecar::start(&region, address, options).await?;
    let second = RunningSidecar::start(&region, address, of_slot(1)).await?;
    let leaver = Server::subscribed(first.address, "maestro-a", SHARED).await?;
    let mut other = Server::subscribed(second.address, "maestro-b", SHARED).await?;
    leaver.leave().await?;
    wait_for("its session to end", PATIENCE, async || {
        let backlog = broker.backlog("maestro-0");
        backlog
            .is_none()
            .then_some(())
            .ok_or(format!("{backlog:?}"))
    })
    .await?;
    say(&agent, 0..SAID).await?;
    for expected in 0..SAID {
        ensure!(number(&other.taken().await?)? == expected);
    }
    second.stop().await?;
    end(region, first, [agent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_the_policy_does_not_name_connects_to_nothing_and_says_so() -> Result<()> {
    let region = region("sidecar-slot", BrokerKind::Sandbox, 1).await?;
    let broker = region.broker.sandbox()?.clone();
    let address = region.broker.address();
    let last = RunningSidecar::start(&region, address, of_slot(REPLICAS - 1)).await?;
    let beyond = RunningSidecar::start(&region, address, of_slot(REPLICAS)).await?;
    drop(Server::subscribed(last.address, "maestro-a", SHARED).await?);
    // Nobody is there to answer its SUBSCRIBE.
    let server = Server::connect(beyond.address, "maestro-b").await?;
    beyond.says("broker failing").await?;
    wait_for("the broker to refuse it", PATIENCE, async || {
        let counts = broker.counts();
        (counts.connect_denied > 0)
            .then_some(())
            .ok_or(format!("{counts:?}"))
    })
    .await?;
    let connections = broker.connections();
    let there = connections.iter().any(|it| it.client_id == "maestro-2");
    ensure!(!there, "{connections:?}");
    drop(server);
    beyond.stop().await?;
    end(region, last, []).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_faster_than_iot_core_waits_and_nothing_is_discarded() -> Result<()> {
    // A broker counts when it reads: where this machine holds one of them up, evenly sent is not evenly come.
    for attempt in 1..=ATTEMPTS {
        if all_taken(&format!("sidecar-pace-{attempt}")).await? {
            return Ok(());
        }
    }
    anyhow::bail!("something was discarded in each of {ATTEMPTS} attempts")
}

/// Whether the broker took everything of a server that sends as fast as it may.
async fn all_taken(name: &str) -> Result<bool> {
    let region = without_bridge(RegionBuilder::new(name, BrokerKind::Sandbox)).await?;
    let broker = region.broker.sandbox()?.clone();
    let options = Options {
        rates: "iot-core",
        // A client id that has not connected within ten seconds.
        ..of_slot(1)
    };
    let sidecar = RunningSidecar::start(&region, region.broker.address(), options).await?;
    let mut agent = region.peer("listener", &[&topic("cluster1", "sourceevents")])?;
    ensure!(agent.session.ready().await);
    let mut server = Server::subscribed(sidecar.address, "maestro-0", SHARED).await?;
    let window = server.connack.receive_max.get();
    let began = Instant::now();
    let (mut sent, mut acknowledged, mut came) = (0, 0, 0);
    while acknowledged < PACED {
        while sent < PACED && sent - acknowledged < usize::from(window) {
            let message = Message::new(topic("cluster1", "sourceevents"), sent.to_string());
            server.publish(&message).await?;
            sent += 1;
        }
        let packet = server.next().await?;
        let Packet::PublishAck(ack) = packet else {
            anyhow::bail!("no PUBACK: {packet:?}");
        };
        if u8::from(ack.reason_code) >= 0x80 {
            end(region, sidecar, [agent]).await?;
            return Ok(false);
        }
        acknowledged += 1;
    }
    let took = began.elapsed();
    while came < PACED {
        let delivery = heard(&mut agent).await?;
        ensure!(
            text(&delivery.message.payload) == came.to_string(),
            "out of order"
        );
        delivery.ack();
        came += 1;
    }
    let throttled = broker.counts().publish_throttled;
    // 100 at once, and then as many a second.
    ensure!(took >= AT_LEAST, "{PACED} in {took:?}");
    end(region, sidecar, [agent]).await?;
    Ok(throttled == 0)
}

fn of_slot(slot: u16) -> Options {
    Options {
        slot: Some(slot),
        ..Options::default()
    }
}

fn number(event: &Publish) -> Result<usize> {
    text(&event.payload).parse().context("a number")
}

// One server's part of it stays below its window.
const SAID: usize = 60 * REPLICAS as usize;

const ATTEMPTS: usize = 3;
const PACED: usize = 350;
const AT_LEAST: Duration = Duration::from_secs(3);
