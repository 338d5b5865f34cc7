//! Delivery to slow, silent and absent clients (points 16 and 17 of docs/IOT-CORE.md §2).

use std::time::Duration;

use rmqtt_codec::v5;
use sandbox::broker::Quotas;
use tokio::time::{Instant, sleep};

use super::client::{V5, publish};
use super::rig::{Rig, connect5};

#[tokio::test(start_paused = true)]
async fn point_16_no_more_than_100_messages_are_unacknowledged() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t"]).await;
    let mut publisher = rig.v5("p").await;
    for n in 0..101 {
        publisher.publish("t", &n.to_string()).await;
    }
    let mut last = None;
    for _ in 0..100 {
        last = client.unacked().await.packet_id;
    }
    client.silent_for(Duration::from_secs(5)).await;
    client.ack(last.unwrap()).await;
    assert_eq!(client.message().await.payload, "100");
}

#[tokio::test(start_paused = true)]
async fn point_16_a_client_s_own_receive_maximum_is_kept() {
    let rig = Rig::new().await;
    let connect = v5::Connect {
        clean_start: true,
        ..connect5("a")
    }
    .receive_max(2);
    let (mut client, _) = V5::connect(rig.pipe(), connect).await;
    client.subscribe(&["t"]).await;
    let mut publisher = rig.v5("p").await;
    for _ in 0..3 {
        publisher.publish("t", "x").await;
    }
    client.unacked().await;
    client.unacked().await;
    client.silent_for(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn point_16_unacknowledged_messages_come_again_without_dup_for_an_hour() {
    let rig = Rig::new().await;
    let connect = v5::Connect {
        clean_start: true,
        keep_alive: 1200,
        ..connect5("a")
    };
    let (mut client, _) = V5::connect(rig.pipe(), connect).await;
    client.subscribe(&["t"]).await;
    rig.v5("p").await.publish("t", "x").await;
    let start = Instant::now();
    let first = client.unacked().await;
    let mut times = 0;
    while start.elapsed() < Duration::from_secs(3590) {
        let again = tokio::time::timeout(Duration::from_secs(70), async {
            futures_util::StreamExt::next(&mut client.frames).await
        });
        if let Ok(Some(Ok((v5::Packet::Publish(again), _)))) = again.await {
            assert_eq!((again.packet_id, again.dup), (first.packet_id, false));
            times += 1;
        }
        client.send(v5::Packet::PingRequest).await;
        assert!(matches!(
            client.recv().await,
            Some(v5::Packet::PingResponse)
        ));
    }
    assert_eq!(times, 59, "once a minute");
    client.silent_for(Duration::from_secs(600)).await;
    assert_eq!(rig.broker.counts().expired, 1);
}

#[tokio::test(start_paused = true)]
async fn point_17_qos_1_waits_for_an_absent_client_and_qos_0_does_not() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.v5_persistent("a").await;
    client.subscribe(&["t"]).await;
    client.disconnect().await;
    let mut publisher = rig.v5("p").await;
    publisher.send(publish("t", "qos 0", None)).await;
    for n in 0..500 {
        publisher.publish("t", &n.to_string()).await;
    }
    let (mut client, present) = rig.v5_persistent("a").await;
    assert!(present);
    for n in 0..500 {
        assert_eq!(client.message().await.payload, n.to_string(), "in order");
    }
}

#[tokio::test(start_paused = true)]
async fn point_17_stored_messages_drain_at_10_a_second_beside_live_ones() {
    let rig = Rig::strict().await;
    let (mut client, _) = rig.v5_persistent("a").await;
    client.subscribe(&["t"]).await;
    client.disconnect().await;
    let mut publisher = rig.v5("p").await;
    for _ in 0..30 {
        publisher.publish("t", "stored").await;
    }
    sleep(Duration::from_secs(1)).await;
    let (mut client, _) = rig.v5_persistent("a").await;
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(client.message().await.payload, "stored");
    }
    publisher.publish("t", "live").await;
    assert_eq!(
        client.message().await.payload,
        "live",
        "it does not wait for the stored ones"
    );
    for _ in 0..20 {
        assert_eq!(client.message().await.payload, "stored");
    }
    let took = start.elapsed().as_secs_f64();
    assert!(
        (1.9..2.1).contains(&took),
        "30 messages, 10 of them at once, took {took} s"
    );
}

#[tokio::test(start_paused = true)]
async fn point_17_unacknowledged_messages_come_first_after_a_reconnect() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.v5_persistent("a").await;
    client.subscribe(&["t"]).await;
    let mut publisher = rig.v5("p").await;
    for payload in ["1", "2"] {
        publisher.publish("t", payload).await;
        client.unacked().await;
    }
    client.disconnect().await;
    publisher.publish("t", "3").await;
    let (mut client, _) = rig.v5_persistent("a").await;
    for payload in ["1", "2", "3"] {
        let message = client.message().await;
        assert_eq!(
            (message.payload.as_ref(), message.dup),
            (payload.as_bytes(), false)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn point_17_a_full_queue_drops_the_newest_and_a_slow_client_slows_nobody() {
    let rig = Rig::with(|config| {
        config.quotas = Quotas {
            queue_messages: 10,
            ..Quotas::none()
        };
    })
    .await;
    let (mut slow, _) = rig.v5_persistent("slow").await;
    slow.subscribe(&["t"]).await;
    rig.broker.faults().set(|knobs| {
        knobs.stalled.insert("slow".into());
    });
    let mut fast = rig.v5("fast").await;
    fast.subscribe(&["t"]).await;
    let mut publisher = rig.v5("p").await;
    for n in 0..12 {
        publisher.publish("t", &n.to_string()).await;
        assert_eq!(fast.message().await.payload, n.to_string());
    }
    assert_eq!(rig.broker.counts().queue_full, 2);
    rig.broker.faults().set(|knobs| knobs.stalled.clear());
    for n in 0..10 {
        assert_eq!(
            slow.message().await.payload,
            n.to_string(),
            "the old ones are kept"
        );
    }
    slow.silent_for(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn point_17_a_session_and_its_messages_end_after_its_hour() {
    let rig = Rig::new().await;
    for (away, expected) in [(3599, true), (3600, false)] {
        let (mut client, _) = rig.v5_persistent("a").await;
        client.subscribe(&["t"]).await;
        client.disconnect().await;
        rig.v5("p").await.publish("t", "x").await;
        sleep(Duration::from_secs(away)).await;
        let (mut client, present) = rig.v5_persistent("a").await;
        assert_eq!(present, expected, "{away}");
        if expected {
            client.message().await;
        } else {
            client.silent_for(Duration::from_secs(5)).await;
            assert!(rig.broker.connections()[0].subscriptions.is_empty());
        }
        client.disconnect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn point_17_a_clean_start_discards_the_session() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.v5_persistent("a").await;
    client.subscribe(&["t"]).await;
    client.disconnect().await;
    rig.v5("p").await.publish("t", "x").await;
    let mut client = rig.v5("a").await;
    client.silent_for(Duration::from_secs(1)).await;
    client.disconnect().await;
    assert!(!rig.v5_persistent("a").await.1);
}

#[tokio::test(start_paused = true)]
async fn a_3_1_1_session_without_the_clean_flag_keeps_messages() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.v3("a", false).await;
    client.subscribe(&["t"]).await.unwrap();
    client.send(rmqtt_codec::v3::Packet::Disconnect).await;
    assert!(client.recv().await.is_none());
    rig.v5("p").await.publish("t", "across versions").await;
    let (mut client, present) = rig.v3("a", false).await;
    assert!(present);
    assert_eq!(client.message().await.payload, "across versions");
}

#[tokio::test(start_paused = true)]
async fn over_100_deliveries_a_second_qos_1_waits_and_qos_0_is_discarded() {
    let rig = Rig::with(|config| {
        config.quotas = Quotas {
            connect_every: None,
            ..Quotas::IOT_CORE
        };
    })
    .await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t"]).await;
    let start = Instant::now();
    for batch in 0..2 {
        let mut publisher = rig.v5(&format!("p{batch}")).await;
        for _ in 0..100 {
            publisher.publish("t", "x").await;
        }
    }
    for _ in 0..200 {
        client.message().await;
    }
    let took = start.elapsed().as_secs_f64();
    assert!((0.9..1.1).contains(&took), "{took}");
}
