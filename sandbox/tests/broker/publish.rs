//! PUBLISH (points 8–12 of docs/IOT-CORE.md §2).

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use futures_util::SinkExt as _;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishAckReason, PublishProperties};
use tokio::time::{Instant, sleep};

use super::client::publish;
use super::rig::{Rig, policy};

#[tokio::test(start_paused = true)]
async fn point_8_131072_bytes_pass_and_one_more_disconnects_without_puback() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    assert_eq!(
        client.publish("t", &"x".repeat(131_072)).await,
        PublishAckReason::Success
    );
    client
        .send(publish("t", &"x".repeat(131_073), NonZeroU16::new(9)))
        .await;
    assert_eq!(
        client.disconnected().await,
        DisconnectReasonCode::QuotaExceeded
    );
    let (mut client, _) = rig.v3("a", true).await;
    assert!(client.publish("t", &"x".repeat(131_072)).await);
    assert!(!client.publish("t", &"x".repeat(131_073)).await);
}

#[tokio::test(start_paused = true)]
async fn point_8_a_packet_beyond_149504_bytes_disconnects() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    // Properties count towards the packet and not towards the payload.
    let value = "x".repeat(60_000);
    let mut packet = publish("t", &"x".repeat(40_000), NonZeroU16::new(1));
    let user_properties = vec![
        ("a".into(), value.as_str().into()),
        ("b".into(), value.as_str().into()),
    ];
    packet.properties = Some(PublishProperties {
        user_properties,
        ..Default::default()
    });
    // The broker hangs up at the length, before all of it is written.
    let _ = client.frames.send(packet.into()).await;
    assert_eq!(
        client.disconnected().await,
        DisconnectReasonCode::QuotaExceeded
    );
}

#[tokio::test(start_paused = true)]
async fn point_9_topics_are_checked_for_bytes_slashes_wildcards_and_reserved_names() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    for (topic, ok) in [
        ("a/b/c/d/e/f/g/h".to_owned(), true),
        ("a/b/c/d/e/f/g/h/i".to_owned(), false),
        ("x".repeat(256), true),
        ("x".repeat(257), false),
        ("a/+".to_owned(), false),
        ("$SYS/a".to_owned(), false),
        ("$aws/things/a/shadow/update".to_owned(), false),
        ("$aws/rules/r/a".to_owned(), true),
    ] {
        let expected = if ok {
            PublishAckReason::Success
        } else {
            PublishAckReason::TopicNameInvalid
        };
        assert_eq!(client.publish(&topic, "x").await, expected, "{topic}");
    }
    let (mut client, _) = rig.v3("b", true).await;
    assert!(!client.publish("$SYS/a", "x").await, "3.1.1 is closed");
}

#[tokio::test(start_paused = true)]
async fn point_10_the_101st_publish_of_a_second_is_discarded() {
    let rig = Rig::strict().await;
    let mut client = rig.v5("a").await;
    for _ in 0..100 {
        assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);
    }
    assert_eq!(
        client.publish("t", "x").await,
        PublishAckReason::QuotaExceeded
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);

    let (mut client, _) = rig.v3("b", true).await;
    for _ in 0..100 {
        assert!(client.publish("t", "x").await);
    }
    client.send(publish("t", "x", NonZeroU16::new(999))).await;
    client.silent_for(Duration::from_secs(5)).await;
    assert_eq!(rig.broker.counts().publish_throttled, 2);
}

#[tokio::test(start_paused = true)]
async fn point_10_throughput_beyond_512_kib_a_second_is_delayed() {
    let rig = Rig::strict().await;
    let mut client = rig.v5("a").await;
    let start = Instant::now();
    let payload = "x".repeat(131_072 - 1);
    for _ in 0..12 {
        assert_eq!(
            client.publish("t", &payload).await,
            PublishAckReason::Success
        );
    }
    // 1.5 MiB: the first half is in the bucket, the rest takes two seconds.
    let took = start.elapsed();
    assert!((1.95..2.05).contains(&took.as_secs_f64()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn point_10_more_than_100_unacknowledged_disconnects_5_and_pauses_3() {
    let rig = Rig::new().await;
    for client_id in ["five", "three"] {
        rig.broker.faults().set(|knobs| {
            knobs.hold_acks.insert(client_id.into());
        });
    }
    let mut five = rig.v5("five").await;
    for id in 1..=101 {
        five.frames
            .feed(v5::Packet::from(publish("t", "x", NonZeroU16::new(id))))
            .await
            .unwrap();
    }
    five.frames.flush().await.unwrap();
    assert_eq!(
        five.disconnected().await,
        DisconnectReasonCode::ReceiveMaximumExceeded
    );

    let (mut three, _) = rig.v3("three", true).await;
    let before = rig.broker.counts().published;
    for id in 1..=150 {
        three
            .frames
            .feed(v3::Packet::from(publish("t", "x", NonZeroU16::new(id))))
            .await
            .unwrap();
    }
    three.frames.flush().await.unwrap();
    three.silent_for(Duration::from_secs(5)).await;
    assert_eq!(
        rig.broker.counts().published - before,
        100,
        "the rest is not read"
    );
    rig.broker.faults().set(|knobs| knobs.hold_acks.clear());
    for _ in 1..=150 {
        assert!(matches!(
            three.recv().await,
            Some(v3::Packet::PublishAck { .. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn point_11_a_denied_publish_is_0x87_on_5_and_the_end_on_3() {
    let rig = Rig::new().await;
    let (_, certificate) = rig.register(
        "p",
        policy(&[("iot:Connect", "client/*"), ("iot:Publish", "topic/yes")]),
    );
    let mut client = rig.v5_as("a", &certificate).await;
    assert_eq!(
        client.publish("no", "x").await,
        PublishAckReason::NotAuthorized
    );
    assert_eq!(
        client.publish("yes", "x").await,
        PublishAckReason::Success,
        "it goes on"
    );
    client.send(publish("no", "x", None)).await;
    assert_eq!(
        client.disconnected().await,
        DisconnectReasonCode::NotAuthorized,
        "QoS 0: assumed"
    );
    for packet_id in [None, NonZeroU16::new(1)] {
        let (mut client, _) = rig.v3_as("b", true, &certificate).await;
        client.send(publish("no", "x", packet_id)).await;
        assert!(client.recv().await.is_none());
    }
    assert_eq!(rig.broker.counts().publish_denied, 4);
}

#[tokio::test(start_paused = true)]
async fn point_11_qos_2_is_silence_on_3_and_0x9b_on_5() {
    let rig = Rig::new().await;
    let mut packet = publish("t", "x", NonZeroU16::new(1));
    packet.qos = QoS::ExactlyOnce;
    let mut client = rig.v5("a").await;
    client.send(packet.clone()).await;
    assert_eq!(
        client.disconnected().await,
        DisconnectReasonCode::QosNotSupported
    );
    let (mut client, _) = rig.v3("b", true).await;
    client.send(packet).await;
    client.silent_for(Duration::from_secs(5)).await;
    assert!(client.publish("t", "x").await, "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn point_11_a_retained_message_is_kept_once_replaced_and_deleted() {
    let rig = Rig::new().await;
    let mut publisher = rig.v5("p").await;
    for payload in ["1", "2"] {
        let kept = |p: &mut rmqtt_codec::types::Publish| {
            p.topic = "kept".into();
            p.payload = payload.into();
            p.retain = true;
        };
        assert_eq!(
            publisher.publish_packet(kept).await,
            PublishAckReason::Success
        );
    }
    let mut first = rig.v5("first").await;
    first.subscribe(&["kept"]).await;
    let message = first.message().await;
    assert_eq!(
        (message.payload.as_ref(), message.retain),
        (&b"2"[..], true)
    );
    for filter in ["#", "+", "$share/g/kept"] {
        let mut other = rig.v5("other").await;
        other.subscribe(&[filter]).await;
        other.silent_for(Duration::from_secs(1)).await;
    }
    let empty = |p: &mut rmqtt_codec::types::Publish| {
        p.topic = "kept".into();
        p.retain = true;
    };
    publisher.publish_packet(empty).await;
    let mut late = rig.v5("late").await;
    late.subscribe(&["kept"]).await;
    late.silent_for(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn point_11_retaining_needs_retain_publish() {
    let rig = Rig::new().await;
    let (_, certificate) = rig.register(
        "p",
        policy(&[("iot:Connect", "client/*"), ("iot:Publish", "topic/*")]),
    );
    let mut client = rig.v5_as("a", &certificate).await;
    for (retain, expected) in [
        (false, PublishAckReason::Success),
        (true, PublishAckReason::NotAuthorized),
    ] {
        let reason = client.publish_packet(|p| {
            p.topic = "t".into();
            p.retain = retain;
        });
        assert_eq!(reason.await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn point_12_message_expiry_is_clamped_counts_down_and_drops() {
    let rig = Rig::new().await;
    let (client, _) = rig.v5_persistent("away").await;
    let mut client = client;
    client.subscribe(&["t"]).await;
    client.disconnect().await;
    let mut publisher = rig.v5("p").await;
    for seconds in [5, 100, 700_000] {
        publisher
            .publish_packet(|p| {
                p.topic = "t".into();
                p.properties = Some(PublishProperties {
                    message_expiry_interval: NonZeroU32::new(seconds),
                    ..Default::default()
                });
            })
            .await;
    }
    sleep(Duration::from_secs(10)).await;
    let (mut client, present) = rig.v5_persistent("away").await;
    assert!(present);
    let mut left = Vec::new();
    for _ in 0..2 {
        let properties = client.message().await.properties.unwrap();
        left.push(properties.message_expiry_interval.unwrap().get());
    }
    assert_eq!(left, [90, 604_790]);
    assert_eq!(rig.broker.counts().expired, 1);
}

#[tokio::test(start_paused = true)]
async fn properties_travel_unchanged() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t"]).await;
    let properties = PublishProperties {
        content_type: Some("application/json".into()),
        user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
        response_topic: Some("r".into()),
        correlation_data: Some("c".into()),
        is_utf8_payload: true,
        ..Default::default()
    };
    let mut publisher = rig.v5("p").await;
    publisher
        .publish_packet(|p| {
            p.topic = "t".into();
            p.properties = Some(properties.clone());
        })
        .await;
    assert_eq!(client.message().await.properties, Some(properties));
}

#[tokio::test(start_paused = true)]
async fn eight_topic_aliases_are_remembered_and_a_ninth_ends_the_connection() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t/#"]).await;
    let mut publisher = rig.v5("p").await;
    let aliased = |topic: &str, alias| {
        let topic = topic.to_owned();
        move |p: &mut rmqtt_codec::types::Publish| {
            p.topic = topic.into();
            let topic_alias = NonZeroU16::new(alias);
            p.properties = Some(PublishProperties {
                topic_alias,
                ..Default::default()
            });
        }
    };
    publisher.publish_packet(aliased("t/8", 8)).await;
    publisher.publish_packet(aliased("", 8)).await;
    for _ in 0..2 {
        assert_eq!(&*client.message().await.topic, "t/8");
    }
    let mut packet = publish("t/9", "", NonZeroU16::new(9));
    aliased("t/9", 9)(&mut packet);
    publisher.send(packet).await;
    assert_eq!(
        publisher.disconnected().await,
        DisconnectReasonCode::TopicAliasInvalid
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_cut_off_and_delays_nobody() {
    let rig = Rig::new().await;
    let mut deaf = rig.v5("deaf").await;
    deaf.subscribe(&["a"]).await;
    let mut other = rig.v5("other").await;
    other.subscribe(&["a"]).await;
    let mut publisher = rig.v5("publisher").await;
    let begun = Instant::now();
    // Far more than the pipe holds.
    for _ in 0..64 {
        publisher.publish("a", &"x".repeat(64 * 1024)).await;
        other.message().await;
    }
    assert!(begun.elapsed().as_secs() < 1, "the others waited");
    // It goes on sending, so that it is not silent; its keep-alive is 60 s.
    let connected = || {
        rig.broker
            .connections()
            .iter()
            .any(|it| it.client_id == "deaf")
    };
    for _ in 0..3 {
        assert!(connected(), "cut off after {:?}", begun.elapsed());
        deaf.send(publish("b", "", None)).await;
        sleep(Duration::from_secs(29)).await;
    }
    sleep(Duration::from_secs(5)).await;
    assert!(!connected(), "still there after {:?}", begun.elapsed());
}
