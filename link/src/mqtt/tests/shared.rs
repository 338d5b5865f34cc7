//! Members of a shared subscription: how long the broker keeps them, and how they leave.

use std::time::Duration;

use rumqttc::Packet;
use tokio::sync::watch;
use tokio::time::timeout;

use super::broker::{Broker, Welcome};
use super::start;
use crate::message::Message;
use crate::mqtt::State;

#[tokio::test]
async fn the_session_of_a_shared_subscription_is_kept_for_a_minute_only() {
    for (filter, seconds) in [("in", 3600), ("$share/bridge/in", 60)] {
        // One each: a client that goes may have connected again before.
        let broker = Broker::start().await;
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

#[tokio::test]
async fn a_session_that_is_withheld_ends_for_good_and_begins_anew_when_it_may() {
    let broker = Broker::start().await;
    let (tell, withheld) = watch::channel(None);
    let mut client = broker.client_while(broker.config(), withheld);
    let mut peer = broker.ready(Welcome::default()).await;
    assert!(client.session.ready().await);
    peer.deliver(1, "unacked").await;
    let unacked = client.inbound.recv().await.unwrap();
    let receipt = client.session.publish(Message::new("out", "x")).await;
    peer.publish().await;

    tell.send_replace(Some("a test"));
    let Some(Packet::Disconnect(disconnect)) = peer.next_but_pings().await else {
        panic!("no DISCONNECT");
    };
    let expiry = disconnect.properties.unwrap().session_expiry_interval;
    assert_eq!(expiry, Some(0));
    assert!(peer.next().await.is_none());
    let mut state = client.session.state();
    let waiting = state.wait_for(|state| matches!(state, State::Waiting { .. }));
    let State::Waiting { error, .. } = waiting.await.unwrap().clone() else {
        panic!("not waiting");
    };
    assert_eq!(error.to_string(), "not connected: a test");
    let dialled = timeout(Duration::from_millis(300), broker.connection()).await;
    assert!(dialled.is_err(), "it dialled");
    unacked.ack();

    tell.send_replace(None);
    let (mut peer, connect) = broker.connect().await;
    assert!(connect.clean_start);
    peer.welcome(Welcome::default()).await;
    peer.subscribed().await;
    let again = peer.publish().await;
    peer.ack(&again).await;
    receipt.unwrap().await.unwrap();
    drop(peer);

    // While it is away on its own account, and while it dials.
    tell.send_replace(Some("again"));
    let again = |state: &State| matches!(state, State::Waiting { error, .. } if error.to_string() == "not connected: again");
    state.wait_for(again).await.unwrap();
    // Nobody waits for the end of what is over.
    client.session.unsubscribe().await;
    client.stop.cancel();
    client.driver.await.unwrap();
}
