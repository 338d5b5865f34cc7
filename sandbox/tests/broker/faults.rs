//! The fault knobs (points 16 and 18 of docs/IOT-CORE.md §2).

use std::collections::BTreeSet;
use std::time::Duration;

use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishAckReason};
use tokio::time::{Instant, sleep};

use super::client::V5;
use super::rig::{Rig, connect5};

#[tokio::test(start_paused = true)]
async fn duplicates_come_with_another_packet_id() {
    let rig = Rig::new().await;
    rig.broker.faults().set(|knobs| knobs.duplicate = 1.0);
    let mut client = rig.v5("a").await;
    client.subscribe(&["t"]).await;
    rig.v5("p").await.publish("t", "x").await;
    let (first, second) = (client.message().await, client.message().await);
    assert_eq!(first.payload, second.payload);
    assert_ne!(first.packet_id, second.packet_id);
    client.silent_for(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn reordering_loses_nothing() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t"]).await;
    rig.broker.faults().set(|knobs| {
        knobs.reorder = 1.0;
        knobs.stalled.insert("a".into());
    });
    let mut publisher = rig.v5("p").await;
    for n in 0..10 {
        publisher.publish("t", &n.to_string()).await;
    }
    rig.broker.faults().set(|knobs| knobs.stalled.clear());
    let mut order = Vec::new();
    for _ in 0..10 {
        order.push(String::from_utf8(client.message().await.payload.to_vec()).unwrap());
    }
    let sorted: BTreeSet<_> = order.iter().cloned().collect();
    assert_eq!(sorted.len(), 10);
    assert!(!order.is_sorted(), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gap_may_open_between_suback_and_the_first_message() {
    let rig = Rig::new().await;
    rig.broker
        .faults()
        .set(|knobs| knobs.first_delivery_gap = Duration::from_secs(3));
    let mut client = rig.v5("a").await;
    client.subscribe(&["t"]).await;
    let start = Instant::now();
    rig.v5("p").await.publish("t", "x").await;
    client.message().await;
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_may_take_a_new_packet_id() {
    let rig = Rig::new().await;
    rig.broker.faults().set(|knobs| knobs.new_packet_id = 1.0);
    let connect = v5::Connect {
        clean_start: true,
        keep_alive: 120,
        ..connect5("a")
    };
    let (mut client, _) = V5::connect(rig.pipe(), connect).await;
    client.subscribe(&["t"]).await;
    rig.v5("p").await.publish("t", "x").await;
    let first = client.unacked().await;
    sleep(Duration::from_secs(50)).await;
    let again = client.message().await;
    assert_eq!(again.payload, first.payload);
    assert_ne!(again.packet_id, first.packet_id);
}

#[tokio::test(start_paused = true)]
async fn the_publishes_of_one_client_may_be_refused() {
    let rig = Rig::new().await;
    rig.broker.faults().set(|knobs| {
        knobs.refuse_publishes.insert("bad".into());
    });
    assert_eq!(
        rig.v5("bad").await.publish("t", "x").await,
        PublishAckReason::NotAuthorized
    );
    assert_eq!(
        rig.v5("good").await.publish("t", "x").await,
        PublishAckReason::Success
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttle_storm_refuses_publishes_for_their_rate() {
    let rig = Rig::new().await;
    rig.broker.faults().set(|knobs| knobs.throttle = 1.0);
    let mut client = rig.v5("a").await;
    assert_eq!(
        client.publish("t", "x").await,
        PublishAckReason::QuotaExceeded
    );
}

#[tokio::test(start_paused = true)]
async fn point_18_connections_end_at_a_random_moment_of_their_lifetime() {
    let rig = Rig::new().await;
    let range = (Duration::from_secs(5), Duration::from_secs(10));
    rig.broker
        .faults()
        .set(|knobs| knobs.lifetime = Some(range));
    let (mut told, mut silent) = (0, 0);
    for n in 0..40 {
        let start = Instant::now();
        let mut client = rig.v5(&n.to_string()).await;
        match client.recv().await {
            Some(v5::Packet::Disconnect(d)) => {
                assert_eq!(d.reason_code, DisconnectReasonCode::ServerShuttingDown);
                told += 1;
            }
            None => silent += 1,
            other => panic!("{other:?}"),
        }
        assert!((5..=10).contains(&start.elapsed().as_secs()));
    }
    // All of one kind: once in 2^39 runs.
    assert!(told > 0 && silent > 0, "{told} {silent}");
}

#[tokio::test(start_paused = true)]
async fn point_18_delete_connection_is_0x98_and_may_take_the_session_along() {
    let rig = Rig::new().await;
    for clean_session in [false, true] {
        let (mut client, _) = rig.v5_persistent("a").await;
        assert!(rig.broker.disconnect("a", clean_session));
        assert_eq!(
            client.disconnected().await,
            DisconnectReasonCode::AdministrativeAction
        );
        let (client, present) = rig.v5_persistent("a").await;
        assert_eq!(present, !clean_session);
        client.disconnect().await;
    }
    assert!(!rig.broker.disconnect("nobody", false));
}
