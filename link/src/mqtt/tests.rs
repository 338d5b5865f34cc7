//! The session against a broker that keeps to no rule, and at each of its limits.

use std::time::Duration;

use rumqttc::Packet;
use tokio::time::{Instant, timeout};

use self::broker::{Broker, Client, Peer, Welcome};
use super::inbound::BUFFER_BYTES;
use super::*;
use crate::iot::limits::LimitError;
use crate::message::Message;

mod broker;
mod leaving;
mod limits;
mod order;
mod order_random;
mod shared;
mod unheard;

async fn start() -> (Broker, Client, Peer) {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.subscriptions = vec!["in".into()];
    let client = broker.client(config);
    let peer = broker.ready(Welcome::default()).await;
    assert!(client.session.ready().await);
    (broker, client, peer)
}

async fn reading_stopped(client: &Client, times: u64) {
    while client.metrics.reading_stopped.get() < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_queued_before_connack_fails_when_the_broker_takes_less_and_the_rest_goes_on() {
    let broker = Broker::start().await;
    let client = broker.client(broker.config());
    let large = client
        .session
        .publish(Message::new("a", vec![0; 2_000]))
        .await
        .unwrap();
    let small = client
        .session
        .publish(Message::new("b", "x"))
        .await
        .unwrap();
    let welcome = Welcome {
        max_packet_size: Some(1_000),
        ..Welcome::default()
    };
    let mut peer = broker.ready(welcome).await;
    let publish = peer.publish().await;
    assert_eq!(&publish.topic[..], b"b");
    peer.ack(&publish).await;
    small.await.unwrap();
    let error = large.await.unwrap_err();
    assert!(
        matches!(
            &error,
            PublishError::Limit {
                source: LimitError::Packet { limit: 1_000, .. },
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.is_retryable());
    assert_eq!(client.metrics.connections.get(), 1);
}

#[tokio::test]
async fn a_message_in_flight_that_the_next_connection_does_not_take_is_not_replayed_for_ever() {
    let (broker, client, mut peer) = start().await;
    let large = client
        .session
        .publish(Message::new("a", vec![0; 2_000]))
        .await
        .unwrap();
    let small = client
        .session
        .publish(Message::new("b", "x"))
        .await
        .unwrap();
    peer.publish().await;
    drop(peer);
    let welcome = Welcome {
        session_present: true,
        max_packet_size: Some(1_000),
        ..Welcome::default()
    };
    let mut peer = broker.ready(welcome).await;
    let publish = peer.publish().await;
    assert_eq!(&publish.topic[..], b"b");
    peer.ack(&publish).await;
    small.await.unwrap();
    assert!(matches!(
        large.await.unwrap_err(),
        PublishError::Limit { .. }
    ));
    assert_eq!(client.metrics.connections.get(), 2);
}

#[tokio::test]
async fn a_retained_message_is_refused_where_the_broker_retains_nothing() {
    let broker = Broker::start().await;
    let client = broker.client(broker.config());
    let welcome = Welcome {
        retain_available: Some(0),
        ..Welcome::default()
    };
    let mut peer = broker.ready(welcome).await;
    let retained = Message {
        retain: true,
        ..Message::new("a", "x")
    };
    let retained = client.session.publish(retained).await.unwrap();
    let plain = client
        .session
        .publish(Message::new("b", "x"))
        .await
        .unwrap();
    let publish = peer.publish().await;
    assert_eq!(&publish.topic[..], b"b");
    peer.ack(&publish).await;
    plain.await.unwrap();
    let error = retained.await.unwrap_err();
    assert!(
        matches!(error, PublishError::Refused { code: 0x9a, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_consumer_that_is_behind_stops_reading_and_loses_nothing() {
    let (_broker, mut client, mut peer) = start().await;
    let payload = bytes::Bytes::from(vec![0; 100_000]);
    let count = u16::try_from(BUFFER_BYTES / payload.len() * 2).unwrap();
    let sending = async {
        for packet_id in 1..=count {
            peer.deliver(packet_id, payload.clone()).await;
        }
    };
    tokio::select! {
        () = sending => panic!("everything was read although nobody takes anything"),
        () = reading_stopped(&client, 1) => {}
    }
    // What is in the packet that was cut short is not missed: the bytes are with the client or with us.
    drop(client.inbound.recv().await);
    drop(peer);
    assert_eq!(client.metrics.connections.get(), 1);
}

#[tokio::test]
async fn acks_and_pings_leave_while_nothing_is_read_and_every_message_arrives() {
    let (_broker, mut client, peer) = start().await;
    let payload = bytes::Bytes::from(vec![0; 100_000]);
    let count = u16::try_from(BUFFER_BYTES / payload.len() * 2).unwrap();
    let (mut from, mut to) = peer.split();
    let sending = tokio::spawn(async move {
        for packet_id in 1..=count {
            to.deliver(packet_id, payload.clone()).await;
        }
        to
    });
    reading_stopped(&client, 1).await;
    // A message to us cannot be read, but what we send leaves, for longer than any keep-alive.
    tokio::time::pause();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(600) {
        assert!(matches!(from.next().await, Some(Packet::PingReq)));
    }
    tokio::time::resume();
    let receipt = client
        .session
        .publish(Message::new("out", "x"))
        .await
        .unwrap();
    let Some(Packet::Publish(sent)) = from.next_but_pingreq().await else {
        panic!("no PUBLISH left");
    };
    let mut seen = 0;
    let taking = async {
        while seen < count {
            client.inbound.recv().await.unwrap().ack();
            seen += 1;
        }
    };
    let acked = async {
        for expected in 1..=count {
            match from.next_but_pingreq().await {
                Some(Packet::PubAck(ack)) => assert_eq!(ack.pkid, expected),
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(taking, acked);
    let mut to = sending.await.unwrap();
    to.send(Packet::PubAck(rumqttc::PubAck::new(sent.pkid, None)))
        .await;
    receipt.await.unwrap();
    assert_eq!(client.metrics.connections.get(), 1);
    assert!(client.inbound.try_recv().is_none());
}

#[tokio::test]
async fn more_unacked_messages_than_any_window_are_each_acked_once() {
    let (_broker, mut client, mut peer) = start().await;
    for packet_id in 1..=2_000 {
        peer.deliver(packet_id, "x").await;
    }
    let mut taken = Vec::new();
    while taken.len() < 2_000 {
        taken.push(client.inbound.recv().await.unwrap());
    }
    for delivery in taken {
        delivery.ack();
    }
    for packet_id in 1..=2_000 {
        assert_eq!(peer.acked().await, packet_id);
    }
    assert_eq!(client.metrics.connections.get(), 1);
}

#[tokio::test]
async fn one_packet_id_delivered_twice_is_acked_once_and_ends_nothing() {
    let (_broker, mut client, mut peer) = start().await;
    peer.deliver(7, "x").await;
    peer.deliver(7, "x").await;
    let first = client.inbound.recv().await.unwrap();
    let second = client.inbound.recv().await.unwrap();
    first.ack();
    second.ack();
    peer.deliver(8, "y").await;
    client.inbound.recv().await.unwrap().ack();
    assert_eq!((peer.acked().await, peer.acked().await), (7, 8));
    assert_eq!(client.metrics.connections.get(), 1);
}

#[tokio::test]
async fn what_a_kept_session_delivers_again_waits_once_and_can_be_acked() {
    let (broker, mut client, mut peer) = start().await;
    for packet_id in 1..=5 {
        peer.deliver(packet_id, "x").await;
    }
    let stale = client.inbound.recv().await.unwrap();
    while client.metrics.received.get() < 5 {
        tokio::task::yield_now().await;
    }
    drop(peer);
    let welcome = Welcome {
        session_present: true,
        ..Welcome::default()
    };
    let mut peer = broker.ready(welcome).await;
    while client.metrics.connections.get() < 2 {
        tokio::task::yield_now().await;
    }
    for packet_id in 1..=5 {
        peer.deliver(packet_id, "x").await;
    }
    stale.ack();
    for packet_id in 1..=5 {
        client.inbound.recv().await.unwrap().ack();
        assert_eq!(peer.acked().await, packet_id);
    }
    assert!(client.inbound.try_recv().is_none());
}

#[tokio::test]
async fn what_a_lost_session_left_is_still_taken_because_nobody_delivers_it_again() {
    let (broker, mut client, mut peer) = start().await;
    peer.deliver(1, "x").await;
    while client.metrics.received.get() < 1 {
        tokio::task::yield_now().await;
    }
    drop(peer);
    // Another session, which is subscribed, and a connection that resumes that one.
    let other = broker.ready(Welcome::default()).await;
    let state = client.session.state();
    while !matches!(*state.borrow(), State::Ready { epoch: 2, .. }) {
        tokio::task::yield_now().await;
    }
    drop(other);
    let welcome = Welcome {
        session_present: true,
        ..Welcome::default()
    };
    let mut peer = broker.ready(welcome).await;
    while client.metrics.connections.get() < 3 {
        tokio::task::yield_now().await;
    }
    let left = client.inbound.try_recv().unwrap();
    assert_eq!(left.message.payload, "x");
    left.ack();
    peer.deliver(1, "y").await;
    client.inbound.recv().await.unwrap().ack();
    assert_eq!(peer.acked().await, 1);
}

#[tokio::test]
async fn a_broker_that_goes_silent_is_noticed_within_thirty_seconds() {
    let (_broker, client, mut peer) = start().await;
    tokio::time::pause();
    let begun = Instant::now();
    let mut state = client.session.state();
    let noticed = state.wait_for(|state| matches!(state, State::Waiting { .. }));
    let seen = timeout(Duration::from_secs(30), noticed)
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(&*seen, State::Waiting { error, .. } if matches!(**error, ConnectError::Stalled(_)))
    );
    drop(seen);
    assert!(begun.elapsed() > Duration::from_secs(10));
    assert!(matches!(peer.next().await, Some(Packet::PingReq)));
}

#[tokio::test]
async fn a_broker_that_answers_pings_is_left_alone_for_an_hour() {
    let (_broker, client, mut peer) = start().await;
    tokio::time::pause();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3600) {
        assert!(matches!(peer.next().await, Some(Packet::PingReq)));
        peer.send(Packet::PingResp).await;
    }
    assert_eq!(client.metrics.connections.get(), 1);
}

#[tokio::test]
async fn a_driver_that_is_gone_closes_its_session() {
    let (_broker, mut client, _peer) = start().await;
    client.driver.abort();
    assert!(client.inbound.recv().await.is_none());
    let mut state = client.session.state();
    let closed = state.wait_for(|state| matches!(state, State::Closed));
    timeout(Duration::from_secs(10), closed)
        .await
        .unwrap()
        .unwrap();
    let refused = async {
        loop {
            if let Err(error) = client.session.publish(Message::new("a", "b")).await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(refused.await, PublishError::Closed);
    drop(client.stop);
}
