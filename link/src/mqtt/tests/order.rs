//! Messages leave in the order in which they were given, whatever happens to connections.

use super::*;

#[tokio::test]
async fn a_message_that_waits_for_the_pace_does_not_pass_older_ones_of_a_lost_session() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.limits.publishes_per_second = 2;
    let client = broker.client(config);
    let mut peer = broker.ready(Welcome::default()).await;
    let mut receipts = Vec::new();
    for number in 0..5 {
        let message = Message::new("out", number.to_string());
        receipts.push(client.session.publish(message).await.unwrap());
    }
    // Two leave, the third waits for the pace.
    peer.publish().await;
    peer.publish().await;
    while client.metrics.throttled_seconds.get() == 0.0 {
        tokio::task::yield_now().await;
    }
    drop(peer);
    let mut peer = broker.ready(Welcome::default()).await;
    for number in 0..5 {
        let publish = peer.publish().await;
        assert_eq!(publish.payload, number.to_string());
        peer.ack(&publish).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_given_up_while_it_sends_again_puts_no_message_before_another() {
    const MESSAGES: usize = 100;
    let (broker, client, mut peer) = start().await;
    let mut receipts = Vec::new();
    for number in 0..MESSAGES {
        let message = Message::new("out", number.to_string());
        receipts.push(client.session.publish(message).await.unwrap());
    }
    for _ in 0..MESSAGES {
        peer.publish().await;
    }
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
        let publish = peer.publish().await;
        assert_eq!(publish.payload, number.to_string());
        peer.ack(&publish).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

fn kept() -> Welcome {
    Welcome {
        session_present: true,
        ..Welcome::default()
    }
}
