//! Members of a shared subscription: how long the broker keeps them, and how they leave.

use rumqttc::Packet;

use super::broker::{Broker, Welcome};
use super::start;
use crate::message::Message;

#[tokio::test]
async fn the_session_of_a_shared_subscription_is_kept_for_a_minute_only() {
    let broker = Broker::start().await;
    for (filter, seconds) in [("in", 3600), ("$share/bridge/in", 60)] {
        let mut config = broker.config();
        config.subscriptions = vec![filter.into()];
        let _client = broker.client(config);
        let (_peer, connect) = broker.connect().await;
        let asked = connect.properties.unwrap().session_expiry_interval;
        assert_eq!(asked, Some(seconds), "{filter}");
    }
}

#[tokio::test]
async fn a_session_that_unsubscribed_acks_what_had_come_and_never_subscribes_again() {
    let (broker, mut client, mut peer) = start().await;
    peer.deliver(1, "before").await;
    let session = client.session.clone();
    let leaving = tokio::spawn(async move { session.unsubscribe().await });
    assert!(matches!(
        peer.next_but_pings().await,
        Some(Packet::Unsubscribe(_))
    ));
    drop(peer);
    // The confirmation is lost: asked for again, whatever the broker knows.
    for session_present in [true, false] {
        let mut peer = broker.connection().await;
        let welcome = Welcome {
            session_present,
            ..Welcome::default()
        };
        peer.welcome(welcome).await;
        let Some(Packet::Unsubscribe(request)) = peer.next_but_pings().await else {
            panic!("no UNSUBSCRIBE");
        };
        if session_present {
            continue;
        }
        peer.deliver(2, "on its way").await;
        peer.unsubscribed(&request).await;
        leaving.await.unwrap();
        loop {
            let delivery = client.inbound.recv().await.unwrap();
            let last = delivery.message.payload == "on its way";
            delivery.ack();
            if last {
                break;
            }
        }
        assert_eq!(peer.acked().await, 2);
        let receipt = client.session.publish(Message::new("out", "x")).await;
        let publish = peer.publish().await;
        peer.ack(&publish).await;
        receipt.unwrap().await.unwrap();
        return;
    }
}
