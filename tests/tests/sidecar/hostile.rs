//! Whoever else speaks to the loopback port harms nobody: the server goes on.

use std::num::NonZeroU16;

use anyhow::{Context as _, Result, ensure};
use link::message::Message;
use rmqtt_codec::v5::{Connect, ConnectAckReason, DisconnectReasonCode, LastWill, Packet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::acknowledgements::{end, scene};
use crate::fixture::{FILTER, Options, topic};
use crate::server::{PATIENCE, Server, publish};
use tests::wait::{timeout, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn garbage_old_protocols_and_unknown_clients_are_turned_away_and_counted() -> Result<()> {
    let (region, sidecar) = scene("sidecar-hostile", Options::default()).await?;
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let old = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    let answer = exchange(sidecar.address, old).await?;
    ensure!(answer == [0x20, 0x02, 0x00, 0x01], "{answer:?}");
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x10\xff\xff\xff\xff\xff",
        b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05\x02\x00\x3c\x00",
        b"\x10\x0f\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x02id",
        b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x7f\x00\x03xyz",
        b"\x30\x03\x00\x01a",
    ] {
        let answer = exchange(sidecar.address, garbage).await?;
        ensure!(answer.is_empty(), "{answer:?}");
    }
    let refused = |connect: Connect| async move {
        let server = Server::connect_as(sidecar.address, connect).await?;
        anyhow::Ok(server.connack.reason_code)
    };
    let empty = refused(Connect::default().client_id("")).await;
    ensure!(!matches!(empty, Ok(ConnectAckReason::Success)), "{empty:?}");
    let will = LastWill {
        qos: rmqtt_codec::types::QoS::AtLeastOnce,
        retain: false,
        topic: "maestro/consumers/cluster1/sourceevents".into(),
        message: Vec::new().into(),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    };
    let with_will = Connect {
        last_will: Some(will),
        ..Connect::default().client_id("maestro-0")
    };
    ensure!(refused(with_will).await? == ConnectAckReason::ImplementationSpecificError);
    let other = refused(Connect::default().client_id("maestro-1")).await?;
    ensure!(other == ConnectAckReason::ServerBusy, "{other:?}");
    let cause = |cause| {
        let labels = [("cause", cause)];
        sidecar
            .metrics()
            .count("sidecar_server_disconnections_total", &labels)
    };
    wait_for("all of them to be counted", PATIENCE, async || {
        let counted = [
            cause("malformed"),
            cause("old_protocol"),
            cause("refused"),
            cause("second"),
        ];
        (counted[0] >= 6 && counted[1..] == [1, 1, 1])
            .then_some(())
            .ok_or(format!("{counted:?}"))
    })
    .await?;
    works(&mut server).await?;
    end(region, sidecar, []).await
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_unknown_clients_take_no_place_from_the_server() -> Result<()> {
    let (region, sidecar) = scene("sidecar-slow", Options::default()).await?;
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(sidecar.address).await?;
        // Those that are too many are closed at once.
        drop(stream.write_all(b"\x10\xff\x7f\x00\x04MQ").await);
        slow.push(stream);
    }
    wait_for("the rest to be turned away", PATIENCE, async || {
        let labels = [("cause", "too_many")];
        let turned = sidecar
            .metrics()
            .count("sidecar_server_disconnections_total", &labels);
        (turned >= 20).then_some(()).ok_or(turned.to_string())
    })
    .await?;
    works(&mut server).await?;
    drop(slow);
    // The server that lost its connection finds a place, once they have left or ten seconds are over.
    drop(server);
    let mut server = wait_for("a place", PATIENCE, async || {
        let connected = Server::subscribed(sidecar.address, "maestro-0", FILTER).await;
        connected.map_err(|error| format!("{error:#}"))
    })
    .await?;
    works(&mut server).await?;
    end(region, sidecar, []).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_the_protocol_is_told_how_and_may_come_again() -> Result<()> {
    let (region, sidecar) = scene("sidecar-faults", Options::default()).await?;
    let faults = region.broker.sandbox()?.faults();
    faults.set(|knobs| _ = knobs.hold_acks.insert("maestro".into()));
    let id = |id| NonZeroU16::new(id).context("an id");
    let down = Message::new(topic("cluster1", "sourceevents"), "{}");

    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let window = server.connack.receive_max.get();
    for number in 1..=window + 1 {
        // The connection may have ended by the last of them.
        drop(server.send(publish(id(number)?, &down)).await);
    }
    let said = server.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::ReceiveMaximumExceeded,
        "{said:?}"
    );

    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    server.send(publish(id(1)?, &down)).await?;
    server.send(publish(id(1)?, &down)).await?;
    let said = server.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::ProtocolError,
        "{said:?}"
    );

    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    server
        .send(Connect::default().client_id("maestro-0").into())
        .await?;
    let said = server.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::ProtocolError,
        "{said:?}"
    );

    // As many filters as the broker takes at once; what it has already is no further one.
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let shared: Vec<String> = (0..8).map(|n| format!("$share/{n}/{FILTER}")).collect();
    let filters: Vec<&str> = shared.iter().map(String::as_str).collect();
    server.ask_for(&filters).await?;
    let said = server.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::QuotaExceeded,
        "{said:?}"
    );

    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    let Packet::Publish(mut at_most_once) = publish(id(1)?, &down) else {
        anyhow::bail!("no PUBLISH");
    };
    at_most_once.qos = rmqtt_codec::types::QoS::AtMostOnce;
    at_most_once.packet_id = None;
    server.send(Packet::Publish(at_most_once)).await?;
    let said = server.disconnected().await?;
    ensure!(
        said.reason_code == DisconnectReasonCode::QosNotSupported,
        "{said:?}"
    );

    faults.set(|knobs| knobs.hold_acks.clear());
    let mut server = Server::subscribed(sidecar.address, "maestro-0", FILTER).await?;
    works(&mut server).await?;
    end(region, sidecar, []).await
}

async fn works(server: &mut Server) -> Result<()> {
    let down = Message::new(topic("cluster1", "sourceevents"), "{}");
    let ack = server.published(&down).await?;
    ensure!(u8::from(ack.reason_code) < 0x80, "{ack:?}");
    Ok(())
}

/// Sends bytes and reads until the other side closes.
async fn exchange(address: std::net::SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    // A reset is a close too.
    drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await?);
    Ok(answer)
}
