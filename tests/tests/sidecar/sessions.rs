//! The sessions behind the sidecar: when they are connected, and what the server is told of their loss.

use anyhow::{Result, ensure};
use link::message::Message;
use rmqtt_codec::v5::DisconnectReasonCode;
use tests::proxy::RetargetableProxy;
use tests::region::{BRIDGE_CLIENT, BrokerKind};
use tests::wait::wait_for;

use crate::acknowledgements::{SHORT_GRACE, end, heard, say, scene, text};
use crate::fixture::{FILTER, Options, RunningSidecar, agent, region, topic};
use crate::server::{PATIENCE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_of_the_broker_sends_the_server_to_resync_and_a_kept_one_does_not()
-> Result<()> {
    let (region, sidecar) = scene("sidecar-lost", Options::default()).await?;
    let broker = region.broker.sandbox()?.clone();
    let agent = agent(&region, "cluster1")?;
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    ensure!(broker.disconnect(BRIDGE_CLIENT, false));
    say(&agent, 0..1).await?;
    ensure!(
        text(&server.taken().await?.payload) == "0",
        "a kept session lost an event"
    );

    ensure!(broker.disconnect(BRIDGE_CLIENT, true));
    let said = server.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::AdministrativeAction,
        "{said:?}"
    );
    ensure!(said.reason_string.unwrap_or_default().contains("resync"));
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    say(&agent, 1..2).await?;
    ensure!(text(&server.taken().await?.payload) == "1");
    end(region, sidecar, [agent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_last_as_long_as_a_server_and_its_grace() -> Result<()> {
    let options = Options {
        grace: SHORT_GRACE,
        ..Options::default()
    };
    let (region, sidecar) = scene("sidecar-presence", options).await?;
    let broker = region.broker.sandbox()?.clone();
    sidecar.says("no Maestro server is connected").await?;
    // Those of the region were killed a moment ago.
    wait_for("no connection for nobody", PATIENCE, async || {
        let open = broker.connections().len();
        (open == 0).then_some(()).ok_or(open)
    })
    .await?;
    let server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    sidecar.ready().await?;
    let filters = broker.connections().remove(0).subscriptions;
    ensure!(filters == [FILTER], "{filters:?}");
    server.leave().await?;
    wait_for("the session to end", PATIENCE, async || {
        let backlog = broker.backlog(BRIDGE_CLIENT);
        backlog
            .is_none()
            .then_some(())
            .ok_or(format!("{backlog:?}"))
    })
    .await?;
    // The next one is heard all the same, also under another filter.
    let agent = agent(&region, "cluster1")?;
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    say(&agent, 0..1).await?;
    ensure!(text(&server.taken().await?.payload) == "0");
    end(region, sidecar, [agent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_makes_the_server_wait_and_loses_nothing() -> Result<()> {
    let region = region("sidecar-away", BrokerKind::Sandbox, 1).await?;
    let way = RetargetableProxy::start(region.broker.address()).await?;
    let sidecar = RunningSidecar::start(&region, way.address(), Options::default()).await?;
    let mut agent = agent(&region, "cluster1")?;
    ensure!(agent.session.ready().await);
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    way.refuse();
    way.break_all();
    sidecar.says("broker failing").await?;
    let window = server.connack.receive_max.get();
    for number in 0..window {
        let message = Message::new(topic("cluster1", "sourceevents"), number.to_string());
        server.publish(&message).await?;
    }
    wait_for("all of them to wait", PATIENCE, async || {
        let waiting = sidecar
            .metrics()
            .sum("sidecar_waiting_events", &[("way", "down")]);
        (waiting == Some(f64::from(window)))
            .then_some(())
            .ok_or(format!("{waiting:?}"))
    })
    .await?;
    wait_for("the age of the oldest", PATIENCE, async || {
        let age = sidecar
            .metrics()
            .sum("sidecar_oldest_waiting_seconds", &[("way", "down")]);
        age.is_some_and(|age| age > 0.0)
            .then_some(())
            .ok_or(format!("{age:?}"))
    })
    .await?;
    ensure!(
        sidecar.events("down", "acknowledged") == 0,
        "acknowledged by nobody"
    );
    say(&agent, 0..10).await?;
    way.pass();
    let (mut acknowledged, mut taken) = (0, 0);
    while acknowledged < window || taken < 10 {
        match server.next().await? {
            rmqtt_codec::v5::Packet::PublishAck(_) => acknowledged += 1,
            rmqtt_codec::v5::Packet::Publish(event) => {
                ensure!(text(&event.payload) == taken.to_string(), "{event:?}");
                server.ack(event.packet_id).await?;
                taken += 1;
            }
            other => anyhow::bail!("{other:?}"),
        }
    }
    for number in 0..window {
        let delivery = heard(&mut agent).await?;
        ensure!(text(&delivery.message.payload) == number.to_string());
        delivery.ack();
    }
    end(region, sidecar, [agent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_stops_lets_the_server_s_events_through_and_says_so() -> Result<()> {
    let (region, sidecar) = scene("sidecar-stops", Options::default()).await?;
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let down = Message::new(topic("cluster1", "sourceevents"), "{}");
    for _ in 0..50 {
        server.publish(&down).await?;
    }
    sidecar.request_stop();
    let said = server.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::ServerShuttingDown,
        "{said:?}"
    );
    ensure!(Server::connect(sidecar.address, "maestro-0").await.is_err());
    // A second request would be the second signal.
    let waiting = sidecar
        .metrics()
        .sum("sidecar_waiting_events", &[("way", "down")]);
    ensure!(waiting == Some(0.0), "{waiting:?}");
    drop(server);
    drop(sidecar);
    region.passed();
    Ok(())
}
