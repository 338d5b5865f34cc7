//! CONNECT (points 2–7 of docs/IOT-CORE.md §2).

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::SinkExt as _;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, ConnectAckReason, DisconnectReasonCode};
use sandbox::broker::Quotas;
use tokio::time::{Instant, sleep};

use super::client::{V3, V5};
use super::rig::{Rig, connect3, connect5, policy};

fn clean(client_id: &str) -> v5::Connect {
    v5::Connect {
        clean_start: true,
        ..connect5(client_id)
    }
}

fn will(topic: &str, qos: QoS, retain: bool) -> v5::LastWill {
    v5::LastWill {
        qos,
        retain,
        topic: topic.into(),
        message: "gone".into(),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    }
}

#[tokio::test(start_paused = true)]
async fn point_2_client_ids_are_1_to_128_bytes_without_a_dollar() {
    let rig = Rig::new().await;
    for (id, ok) in [
        ("a".repeat(128), true),
        ("a".repeat(129), false),
        ("$a".to_owned(), false),
        ("$GEN/0f".to_owned(), false),
    ] {
        let (_, ack) = V5::connect(rig.pipe(), clean(&id)).await;
        let expected = if ok {
            ConnectAckReason::Success
        } else {
            ConnectAckReason::ClientIdentifierNotValid
        };
        assert_eq!(ack.reason_code, expected, "{id}");
        assert_eq!(
            V3::connect(rig.pipe(), connect3(&id, true)).await.is_some(),
            ok,
            "{id}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn point_2_an_empty_id_becomes_a_generated_one_that_cannot_be_reused() {
    let rig = Rig::new().await;
    let (client, ack) = V5::connect(rig.pipe(), clean("")).await;
    let id = ack.assigned_client_id.unwrap().to_string();
    assert!(id.starts_with("$GEN/"), "{id}");
    client.disconnect().await;
    let (_, ack) = V5::connect(rig.pipe(), clean(&id)).await;
    assert_eq!(ack.reason_code, ConnectAckReason::ClientIdentifierNotValid);
}

#[tokio::test(start_paused = true)]
async fn point_3_the_new_connection_wins_and_the_old_one_is_told_on_5_and_closed_on_3() {
    let rig = Rig::new().await;
    let mut old = rig.v5("same").await;
    let mut new = rig.v5("same").await;
    assert_eq!(
        old.disconnected().await,
        DisconnectReasonCode::SessionTakenOver
    );
    new.subscribe(&["a"]).await;
    let (mut newest, _) = rig.v3("same", true).await;
    assert_eq!(
        new.disconnected().await,
        DisconnectReasonCode::SessionTakenOver
    );
    let _newer_still = rig.v5("same").await;
    assert!(newest.recv().await.is_none(), "3.1.1 sees a bare close");
    assert_eq!(rig.broker.connections().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn point_3_a_client_id_connects_once_a_second_and_in_strict_mode_every_ten() {
    for (quotas, pause) in [(Quotas::IOT_CORE, 1), (Quotas::STRICT, 10)] {
        let rig = Rig::with(|config| config.quotas = quotas).await;
        let _first = rig.v5("a").await;
        let (_, ack) = V5::connect(rig.pipe(), clean("a")).await;
        assert_eq!(ack.reason_code, ConnectAckReason::QuotaExceeded);
        assert!(V3::connect(rig.pipe(), connect3("a", true)).await.is_none());
        let _another_id = rig.v5("b").await;
        sleep(Duration::from_secs(pause)).await;
        let _again = rig.v5("a").await;
        assert_eq!(rig.broker.counts().connect_throttled, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn point_4_keep_alive_is_clamped_to_30_to_1200_and_said() {
    let rig = Rig::new().await;
    for (asked, granted) in [
        (0, 1200),
        (1, 30),
        (29, 30),
        (30, 30),
        (120, 120),
        (1201, 1200),
    ] {
        let connect = v5::Connect {
            keep_alive: asked,
            ..clean("a")
        };
        let (_client, ack) = V5::connect(rig.pipe(), connect).await;
        assert_eq!(ack.server_keepalive_sec, Some(granted), "{asked}");
    }
    let capped = Rig::with(|config| {
        config.quotas = Quotas::none();
        config.limits.keep_alive_max = Duration::from_secs(230);
    })
    .await;
    let connect = v5::Connect {
        keep_alive: 600,
        ..clean("a")
    };
    let (_client, ack) = V5::connect(capped.pipe(), connect).await;
    assert_eq!(ack.server_keepalive_sec, Some(230), "behind a VPC endpoint");
}

#[tokio::test(start_paused = true)]
async fn point_4_silence_for_one_and_a_half_intervals_ends_the_connection() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    sleep(Duration::from_secs(80)).await;
    client.send(v5::Packet::PingRequest).await;
    assert!(matches!(
        client.recv().await,
        Some(v5::Packet::PingResponse)
    ));
    let start = Instant::now();
    let frame = futures_util::StreamExt::next(&mut client.frames).await;
    let Some(Ok((v5::Packet::Disconnect(disconnect), _))) = frame else {
        panic!("{frame:?}")
    };
    assert_eq!(
        disconnect.reason_code,
        DisconnectReasonCode::KeepAliveTimeout
    );
    assert_eq!(start.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn point_5_a_will_of_qos_2_is_refused() {
    let rig = Rig::new().await;
    let connect = v5::Connect {
        last_will: Some(will("w", QoS::ExactlyOnce, false)),
        ..clean("a")
    };
    let (_, ack) = V5::connect(rig.pipe(), connect).await;
    assert_eq!(ack.reason_code, ConnectAckReason::QosNotSupported);
    let last_will = v3::LastWill {
        qos: QoS::ExactlyOnce,
        retain: false,
        topic: "w".into(),
        message: "gone".into(),
    };
    let connect = v3::Connect {
        last_will: Some(last_will),
        ..connect3("a", true)
    };
    assert!(
        V3::connect(rig.pipe(), connect).await.is_none(),
        "3.1.1 sees a bare close"
    );
}

#[tokio::test(start_paused = true)]
async fn point_5_a_will_needs_publish_and_a_retained_one_retain_publish() {
    let rig = Rig::new().await;
    let (_, certificate) = rig.register(
        "w",
        policy(&[
            ("iot:Connect", "client/*"),
            ("iot:Publish", "topic/ok"),
            ("iot:Publish", "topic/kept"),
            ("iot:RetainPublish", "topic/kept"),
        ]),
    );
    for (topic, retain, allowed) in [
        ("ok", false, true),
        ("no", false, false),
        ("ok", true, false),
        ("kept", true, true),
    ] {
        let connect = v5::Connect {
            last_will: Some(will(topic, QoS::AtLeastOnce, retain)),
            ..clean("a")
        };
        let (_, ack) = V5::connect(rig.broker.connect_in_process(&certificate), connect).await;
        let expected = if allowed {
            ConnectAckReason::Success
        } else {
            ConnectAckReason::NotAuthorized
        };
        assert_eq!(ack.reason_code, expected, "{topic} {retain}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_unless_the_client_says_goodbye() {
    let rig = Rig::new().await;
    let mut witness = rig.v5("witness").await;
    witness.subscribe(&["w/#"]).await;
    for (topic, goodbye) in [("w/1", true), ("w/2", false)] {
        let connect = v5::Connect {
            last_will: Some(will(topic, QoS::AtLeastOnce, false)),
            ..clean("a")
        };
        let (client, _) = V5::connect(rig.pipe(), connect).await;
        if goodbye {
            client.disconnect().await;
        } else {
            drop(client);
        }
    }
    assert_eq!(&*witness.message().await.topic, "w/2");
}

#[tokio::test(start_paused = true)]
async fn point_6_connack_carries_iot_core_s_properties() {
    let rig = Rig::new().await;
    let connect = v5::Connect {
        session_expiry_interval_secs: 7200,
        keep_alive: 120,
        ..clean("a")
    };
    let (_client, ack) = V5::connect(rig.pipe(), connect).await;
    assert_eq!(ack.receive_max.get(), 100);
    assert_eq!(ack.max_qos, QoS::AtLeastOnce);
    assert_eq!(ack.max_packet_size, Some(149_504));
    assert_eq!(ack.topic_alias_max, 8);
    assert!(ack.retain_available);
    assert!(ack.wildcard_subscription_available);
    assert!(ack.shared_subscription_available);
    assert!(!ack.subscription_identifiers_available);
    assert_eq!(
        ack.session_expiry_interval_secs,
        Some(3600),
        "reduced to the account's"
    );
    assert!(!ack.session_present);
}

#[tokio::test(start_paused = true)]
async fn point_6_a_session_of_one_version_is_not_resumed_by_the_other() {
    let rig = Rig::new().await;
    let (client, present) = rig.v5_persistent("a").await;
    assert!(!present);
    client.disconnect().await;
    let (client, present) = rig.v5_persistent("a").await;
    assert!(present);
    client.disconnect().await;
    let (client, present) = rig.v3("a", false).await;
    assert!(!present);
    drop(client);
    let (_client, present) = rig.v3("a", false).await;
    assert!(present);
}

#[tokio::test(start_paused = true)]
async fn point_7_a_packet_before_connack_costs_the_connection() {
    let rig = Rig::new().await;
    let mut client = V5::new(rig.pipe());
    client.frames.feed(clean("a").into()).await.unwrap();
    client.frames.feed(v5::Packet::PingRequest).await.unwrap();
    client.frames.flush().await.unwrap();
    assert!(client.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn point_7_anything_but_connect_first_costs_the_connection() {
    let rig = Rig::new().await;
    let mut client = V5::new(rig.pipe());
    client.send(v5::Packet::PingRequest).await;
    assert!(client.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_message_beyond_the_client_s_maximum_packet_is_not_sent_and_blocks_nothing() {
    let rig = Rig::new().await;
    let connect = v5::Connect {
        max_packet_size: NonZeroU32::new(1000),
        ..clean("small")
    };
    let (mut small, _) = V5::connect(rig.pipe(), connect).await;
    small.subscribe(&["a"]).await;
    let mut publisher = rig.v5("p").await;
    publisher.publish("a", &"x".repeat(2000)).await;
    publisher.publish("a", "fits").await;
    assert_eq!(small.message().await.payload, "fits");
    assert_eq!(rig.broker.counts().too_large_for_client, 1);
}

#[tokio::test(start_paused = true)]
async fn a_denied_connect_is_0x87_on_5_and_a_bare_close_on_3() {
    let rig = Rig::new().await;
    let (_, certificate) = rig.register("pinned", policy(&[("iot:Connect", "client/pinned")]));
    let pipe = || rig.broker.connect_in_process(&certificate);
    let (_, ack) = V5::connect(pipe(), clean("other")).await;
    assert_eq!(ack.reason_code, ConnectAckReason::NotAuthorized);
    assert!(V3::connect(pipe(), connect3("other", true)).await.is_none());
    let (_client, ack) = V5::connect(pipe(), clean("pinned")).await;
    assert_eq!(ack.reason_code, ConnectAckReason::Success);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_whole_connect_is_closed_at_the_deadline() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let rig = Rig::new().await;
    // Nothing, and the beginning of a CONNECT of MQTT 5.
    for begun in [&b""[..], &b"\x10\x20\x00\x04MQTT\x05"[..]] {
        let mut pipe = rig.pipe();
        pipe.write_all(begun).await.unwrap();
        let start = Instant::now();
        let read = pipe.read(&mut [0; 64]).await.unwrap();
        assert_eq!((read, start.elapsed().as_secs()), (0, 30), "{begun:?}");
    }
}
