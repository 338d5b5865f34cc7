//! How a session ends that is connected and not subscribed.

use std::time::Duration;

use rumqttc::{Packet, SubAck, SubscribeReasonCode};
use tokio::time::timeout;

use super::broker::{Broker, Welcome};
use super::order::give;
use crate::mqtt::State;

#[tokio::test]
async fn a_session_without_its_subscription_disconnects_at_once() {
    for keep_session in [false, true] {
        for refused in [false, true] {
            disconnects_at_once(keep_session, refused).await;
        }
    }
}

async fn disconnects_at_once(keep_session: bool, refused: bool) {
    let case = format!("kept: {keep_session}, refused: {refused}");
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.keep_session = keep_session;
    let client = broker.client(config);
    let mut peer = broker.connection().await;
    peer.welcome(Welcome::default()).await;
    let Some(Packet::Subscribe(request)) = peer.next().await else {
        panic!("no SUBSCRIBE; {case}");
    };
    if refused {
        let answer = SubAck {
            pkid: request.pkid,
            return_codes: vec![SubscribeReasonCode::NotAuthorized],
            properties: None,
        };
        peer.send(Packet::SubAck(answer)).await;
        let mut state = client.session.state();
        let unsubscribed = state.wait_for(|state| matches!(state, State::Unsubscribed(_)));
        unsubscribed.await.unwrap();
    }

    client.stop.cancel();
    let ending = async {
        let Some(Packet::Disconnect(disconnect)) = peer.next_but_pings().await else {
            panic!("no DISCONNECT; {case}");
        };
        client.driver.await.unwrap();
        disconnect
    };
    // Less than what the driver gives a connection that is drained.
    let disconnect = timeout(Duration::from_secs(4), ending).await.expect(&case);
    let properties = disconnect.properties;
    let expiry = properties.and_then(|properties| properties.session_expiry_interval);
    assert_eq!(expiry, (!keep_session).then_some(0), "{case}");
}

#[tokio::test]
async fn a_kept_session_disconnects_whatever_the_library_thinks_is_under_way() {
    let config_of = |broker: &Broker| {
        let mut config = broker.config();
        config.keep_session = true;
        config.limits.in_flight = 4;
        config
    };
    let broker = Broker::start().await;
    let client = broker.client(config_of(&broker));
    let mut peer = broker.ready(Welcome::default()).await;
    // A SUBSCRIBE while the window is full makes the library begin anew with its packet ids.
    let receipts = give(&client, 0..4).await;
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(peer.publish().await);
    }
    client.session.listen(vec!["in".into(), "more".into()]);
    peer.subscribed().await;
    for publish in &sent {
        peer.ack(publish).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    for receipt in give(&client, 4..5).await {
        let publish = peer.publish().await;
        peer.ack(&publish).await;
        receipt.await.unwrap();
    }
    client.stop.cancel();
    let ending = timeout(Duration::from_secs(20), peer.next_but_pings());
    assert!(matches!(ending.await, Ok(Some(Packet::Disconnect(_)))));

    // The same where an answer never comes.
    let broker = Broker::start().await;
    let client = broker.client(config_of(&broker));
    let mut peer = broker.ready(Welcome::default()).await;
    let _receipts = give(&client, 0..1).await;
    peer.publish().await;
    client.stop.cancel();
    let ending = timeout(Duration::from_secs(20), peer.next_but_pings());
    assert!(matches!(ending.await, Ok(Some(Packet::Disconnect(_)))));
}
