//! Messages leave in the order in which they were given, whatever happens to connections.

use super::*;

#[tokio::test]
async fn a_message_that_waits_for_the_pace_does_not_pass_older_ones_of_a_lost_session() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.limits.publishes_per_second = 2;
    let client = broker.client(config);
    let mut peer = broker.ready(Welcome::default()).await;
    let receipts = give(&client, 0..5).await;
    // Two leave, the third waits for the pace.
    peer.publish().await;
    peer.publish().await;
    while client.metrics.throttled_seconds.get() == 0.0 {
        tokio::task::yield_now().await;
    }
    drop(peer);
    let mut peer = broker.ready(Welcome::default()).await;
    for number in 0..5 {
        let sent = taken(&mut peer, [number]).await;
        peer.ack(&sent[0]).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_given_up_while_it_sends_again_puts_no_message_before_another() {
    const MESSAGES: usize = 100;
    let (broker, client, mut peer) = start().await;
    let receipts = give(&client, 0..MESSAGES).await;
    taken(&mut peer, 0..MESSAGES).await;
    drop(peer);
    // After more and more of the client's turns, until all is sent before it is given up.
    for turns in 0..=MESSAGES + 20 {
        let connections = client.metrics.connections.get();
        let mut peer = broker.ready(kept()).await;
        while client.metrics.connections.get() == connections {
            tokio::task::yield_now().await;
        }
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        // A certificate, which is used at once.
        client.identity.send_modify(|_| {});
        let mut next = 0;
        while let Some(Packet::Publish(publish)) = peer.next_but_pings().await {
            assert_eq!(publish.payload, next.to_string(), "given up after {turns}");
            next += 1;
        }
    }
    let mut peer = broker.ready(kept()).await;
    for number in 0..MESSAGES {
        let sent = taken(&mut peer, [number]).await;
        peer.ack(&sent[0]).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn acks_in_another_order_change_nothing_of_the_order_in_which_the_rest_is_sent_again() {
    let (broker, client, mut peer) = start_with_window(4).await;
    let mut receipts = give(&client, 0..4).await;
    let sent = taken(&mut peer, 0..4).await;
    peer.ack(&sent[1]).await;
    receipts.remove(1).await.unwrap();
    // It gets the packet id that is free, between those of the others.
    receipts.extend(give(&client, 4..5).await);
    taken(&mut peer, 4..5).await;
    drop(peer);
    let mut peer = broker.ready(kept()).await;
    for publish in taken(&mut peer, [0, 2, 3, 4]).await {
        peer.ack(&publish).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn a_subscription_while_messages_are_in_flight_changes_nothing_of_their_order() {
    let (broker, client, mut peer) = start_with_window(4).await;
    let receipts = give(&client, 0..4).await;
    let sent = taken(&mut peer, 0..4).await;
    client.session.listen(vec!["in".into(), "more".into()]);
    peer.subscribed().await;
    for publish in &sent {
        peer.ack(publish).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    let receipts = give(&client, 4..8).await;
    taken(&mut peer, 4..8).await;
    drop(peer);
    let mut peer = broker.ready(kept()).await;
    for publish in taken(&mut peer, 4..8).await {
        peer.ack(&publish).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn a_kept_session_with_a_smaller_window_gets_everything_again() {
    let (broker, client, mut peer) = start().await;
    let receipts = give(&client, 0..10).await;
    taken(&mut peer, 0..10).await;
    drop(peer);
    let welcome = Welcome {
        receive_max: Some(3),
        ..kept()
    };
    let mut peer = broker.ready(welcome).await;
    for number in 0..10 {
        let sent = timeout(LONG, taken(&mut peer, number..=number)).await;
        let sent = sent.unwrap_or_else(|_| panic!("{number} never came"));
        peer.ack(&sent[0]).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_was_given_up_sends_nothing_behind_what_was_given_later() {
    const MESSAGES: u32 = 100;
    let (broker, client, peer) = start().await;
    // More than the sockets take while nobody reads.
    let payload = bytes::Bytes::from(vec![0; 130_000]);
    let mut receipts = Vec::new();
    for number in 0..MESSAGES {
        let message = Message {
            content_type: Some(number.to_string()),
            ..Message::new("out", payload.clone())
        };
        let qos = match number % 2 {
            0 => Qos::AtMostOnce,
            _ => Qos::AtLeastOnce,
        };
        receipts.push(client.session.publish_with(message, qos).await.unwrap());
    }
    while client.metrics.in_flight.get() < i64::from(MESSAGES) {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    client.identity.send_modify(|_| {});
    let mut again = broker.ready(kept()).await;
    drop(peer);
    for number in 0..MESSAGES {
        let publish = again.publish().await;
        let given = publish.properties.as_ref().unwrap().content_type.clone();
        assert_eq!(given.unwrap(), number.to_string());
        if publish.qos == rumqttc::QoS::AtLeastOnce {
            again.ack(&publish).await;
        }
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

pub(super) async fn start_with_window(window: u16) -> (Broker, Client, Peer) {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.limits.in_flight = window;
    let client = broker.client(config);
    let peer = broker.ready(Welcome::default()).await;
    assert!(client.session.ready().await);
    (broker, client, peer)
}

pub(super) async fn give(client: &Client, numbers: std::ops::Range<usize>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for number in numbers {
        let message = Message::new("out", number.to_string());
        receipts.push(client.session.publish(message).await.unwrap());
    }
    receipts
}

/// Expects these messages, in this order.
async fn taken(peer: &mut Peer, numbers: impl IntoIterator<Item = usize>) -> Vec<rumqttc::Publish> {
    let mut taken = Vec::new();
    for number in numbers {
        let publish = peer.publish().await;
        assert_eq!(publish.payload, number.to_string());
        taken.push(publish);
    }
    taken
}

pub(super) fn kept() -> Welcome {
    Welcome {
        session_present: true,
        ..Welcome::default()
    }
}

const LONG: Duration = Duration::from_secs(10);
