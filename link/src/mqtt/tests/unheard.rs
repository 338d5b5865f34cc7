//! What a broker said just before a connection ended, and nobody heard, or heard too late.

use super::order::kept;
use super::*;

#[tokio::test]
async fn a_connack_that_was_lost_leaves_no_session_without_its_subscriptions() {
    let (broker, client, peer) = start().await;
    drop(peer);
    // The broker had lost the session and began one, but its answer is lost.
    drop(broker.connection().await);
    let mut peer = broker.connection().await;
    peer.welcome(kept()).await;
    let Some(Packet::Subscribe(request)) = timeout(LONG, peer.next()).await.unwrap() else {
        panic!("no SUBSCRIBE");
    };
    peer.subscribe(&request).await;
    let mut state = client.session.state();
    let ready = state.wait_for(State::is_ready);
    let ready = timeout(LONG, ready).await.unwrap().unwrap().clone();
    // Whoever has to catch up does.
    assert!(matches!(ready, State::Ready { resumed: false, .. }));
    assert_eq!(client.session.subscriptions().borrow().session, 2);
    // Once: the one that is answered is kept with its subscriptions.
    drop(peer);
    let _peer = broker.ready(kept()).await;
    let again = |state: &State| matches!(state, State::Ready { epoch: 3, .. });
    let ready = timeout(LONG, state.wait_for(again))
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert!(matches!(ready, State::Ready { resumed: true, .. }));
}

#[tokio::test]
async fn a_broker_that_was_not_reached_or_refused_leaves_a_kept_session_as_it_was() {
    let (broker, client, peer) = start().await;
    drop(peer);
    let mut refusing = broker.connection().await;
    refusing.refuse().await;
    drop(refusing);
    let _peer = broker.ready(kept()).await;
    let mut state = client.session.state();
    let again = |state: &State| matches!(state, State::Ready { epoch: 2, .. });
    let ready = timeout(LONG, state.wait_for(again))
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert!(matches!(ready, State::Ready { resumed: true, .. }));
}

#[tokio::test]
async fn a_session_whose_connection_ended_with_its_suback_is_not_called_ready() {
    // Which of the two the client looks at first is left to chance.
    for _ in 0..20 {
        let broker = Broker::start().await;
        let mut config = broker.config();
        config.reconnect.first = Duration::from_secs(3600);
        config.reconnect.max = Duration::from_secs(3600);
        let client = broker.client(config);
        let mut peer = broker.connection().await;
        peer.welcome(Welcome::default()).await;
        peer.subscribed().await;
        drop(peer);
        let ended = client.metrics.disconnections.with_label_values(&["broken"]);
        while ended.get() == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let state = client.session.state().borrow().clone();
        assert!(matches!(state, State::Waiting { .. }), "{state:?}");
    }
}

const LONG: Duration = Duration::from_secs(10);
