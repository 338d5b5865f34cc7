//! Faults that a person rehearses (point 21 of docs/IOT-CORE.md §2), after CONNECT; those before it are in `fronts`.

use std::time::Duration;

use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishAckReason};
use sandbox::broker::{CertificateState, PretendedState, Swallowed, Takeover};
use tokio::time::{Instant, sleep};

use super::client::{V3, V5};
use super::rig::{Rig, connect3, connect5, policy, soon};

async fn ack(rig: &Rig, client_id: &str) -> v5::ConnectAckReason {
    let connect = v5::Connect {
        clean_start: true,
        ..connect5(client_id)
    };
    let (_, ack) = V5::connect(rig.pipe(), connect).await;
    ack.reason_code
}

#[tokio::test(start_paused = true)]
async fn point_21_each_action_may_be_denied_to_one_client_or_to_all() {
    let rig = Rig::new().await;
    for name in ["a", "*"] {
        let set = || std::collections::HashSet::from([name.to_owned()]);
        rig.broker.faults().set(|knobs| {
            knobs.refuse_subscribes = set();
            knobs.refuse_publishes = set();
        });
        let mut client = rig.v5("a").await;
        let answer = client.subscribe(&["t"]).await;
        assert_eq!(answer, [v5::SubscribeAckReason::NotAuthorized]);
        let answer = client.publish("t", "x").await;
        assert_eq!(answer, PublishAckReason::NotAuthorized);
        rig.broker.faults().set(|knobs| {
            knobs.refuse_subscribes.clear();
            knobs.refuse_publishes.clear();
            knobs.refuse_receives = set();
        });
        client.subscribe(&["t"]).await;
        assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);
        client.silent_for(Duration::from_secs(5)).await;
        rig.broker
            .faults()
            .set(|knobs| knobs.refuse_connects = set());
        assert_eq!(ack(&rig, "a").await, v5::ConnectAckReason::NotAuthorized);
        let pipe = rig.pipe();
        assert!(V3::connect(pipe, connect3("a", true)).await.is_none());
        rig.broker.faults().set(|knobs| *knobs = Default::default());
    }
}

#[tokio::test(start_paused = true)]
async fn point_21_certificates_seem_inactive_unknown_or_without_a_policy_and_nothing_is_kept() {
    let rig = Rig::new().await;
    let registry = rig.broker.registry();
    let mut live = rig.v5("live").await;
    let inactive = PretendedState::Registered(CertificateState::Inactive);
    for state in [inactive, PretendedState::Unknown] {
        registry.pretend(|it| {
            it.states.insert("tester".into(), state);
        });
        assert_eq!(ack(&rig, "a").await, v5::ConnectAckReason::NotAuthorized);
        let seen = registry.certificate(&rig.certificate);
        assert_eq!(seen.is_some(), state == inactive);
    }
    let told = live.disconnected().await;
    assert_eq!(told, DisconnectReasonCode::NotAuthorized);
    registry.pretend(|it| {
        it.states.clear();
        it.without_policy.insert("*".into());
    });
    assert_eq!(ack(&rig, "a").await, v5::ConnectAckReason::NotAuthorized);
    registry.pretend(|it| it.without_policy.clear());
    assert_eq!(ack(&rig, "a").await, v5::ConnectAckReason::Success);
}

#[tokio::test(start_paused = true)]
async fn point_21_an_edit_of_a_policy_spreads_and_answers_flap_until_all_know_it() {
    let rig = Rig::new().await;
    let (_, certificate) = rig.register(
        "narrow",
        policy(&[("iot:Connect", "*"), ("iot:Publish", "topic/old")]),
    );
    let mut client = rig.v5_as("a", &certificate).await;
    let registry = rig.broker.registry();
    registry.set_policy_delay(Duration::from_secs(60));
    registry.set_policy_spread(Duration::from_secs(240));
    let edited = policy(&[("iot:Connect", "*"), ("iot:Publish", "topic/new")]);
    registry.put_policy("narrow", edited).unwrap();
    let mut shares = Vec::new();
    for pause in [0, 59, 60, 61, 61, 61] {
        for _ in 0..(pause / 20) {
            sleep(Duration::from_secs(20)).await;
            client.send(v5::Packet::PingRequest).await;
            client.recv().await;
        }
        let mut allowed = 0;
        for _ in 0..100 {
            let answer = client.publish("new", "x").await;
            allowed += usize::from(answer == PublishAckReason::Success);
        }
        shares.push(allowed);
    }
    assert_eq!(shares[..2], [0, 0], "{shares:?}");
    // About 17, 42, 67 and 92 of a hundred; all or none of a hundred: once in 10^3 runs at the ends, so the middle is asked.
    assert!((1..100).contains(&shares[3]), "{shares:?}");
    assert!((1..100).contains(&shares[4]), "{shares:?}");
    for _ in 0..8 {
        sleep(Duration::from_secs(20)).await;
        client.send(v5::Packet::PingRequest).await;
        client.recv().await;
    }
    let answer = client.publish("new", "x").await;
    assert_eq!(answer, PublishAckReason::Success);
    let answer = client.publish("old", "x").await;
    assert_eq!(answer, PublishAckReason::NotAuthorized);
}

#[tokio::test(start_paused = true)]
async fn point_21_a_policy_may_flap_without_an_edit() {
    let rig = Rig::new().await;
    rig.broker.faults().set(|knobs| knobs.policy_flap = 0.5);
    let mut answers = std::collections::HashSet::new();
    // One answer only: once in 2^63 runs.
    for n in 0..64 {
        answers.insert(format!("{:?}", ack(&rig, &n.to_string()).await));
    }
    assert_eq!(answers.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn point_21_what_is_swallowed_gets_no_answer_and_closes_nothing() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t"]).await;
    let swallow = |all: &[Swallowed]| {
        let all = all.iter().copied().collect();
        rig.broker.faults().set(|knobs| knobs.swallow = all);
    };
    swallow(&[Swallowed::Ping, Swallowed::Publish, Swallowed::Subscribe]);
    client.send(v5::Packet::PingRequest).await;
    let packet_id = client.id();
    client
        .send(super::client::publish("t", "x", Some(packet_id)))
        .await;
    let packet_id = client.id();
    let filters = [("u", rmqtt_codec::types::QoS::AtLeastOnce)];
    client
        .send(super::client::subscribe5(packet_id, &filters))
        .await;
    client.silent_for(Duration::from_secs(20)).await;
    swallow(&[Swallowed::Delivery]);
    assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);
    client.silent_for(Duration::from_secs(20)).await;
    swallow(&[Swallowed::Connect]);
    let mut late = V5::new(rig.pipe());
    late.send(connect5("b")).await;
    late.silent_for(Duration::from_secs(20)).await;
    swallow(&[]);
    assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);
    client.message().await;
}

#[tokio::test(start_paused = true)]
async fn point_21_over_a_rate_publishes_and_bytes_are_dropped_in_silence() {
    let rig = Rig::strict().await;
    rig.broker.faults().set(|knobs| knobs.silent_quotas = true);
    let mut client = rig.v5("a").await;
    for _ in 0..150 {
        let packet_id = client.id();
        client
            .send(super::client::publish("t", "x", Some(packet_id)))
            .await;
    }
    let mut acks = 0;
    while let Ok(Some(v5::Packet::PublishAck(_))) =
        tokio::time::timeout(Duration::from_millis(1), client.recv()).await
    {
        acks += 1;
    }
    assert_eq!(acks, 100);
    sleep(Duration::from_secs(2)).await;
    let large = "x".repeat(100_000);
    for _ in 0..8 {
        let packet_id = client.id();
        client
            .send(super::client::publish("t", &large, Some(packet_id)))
            .await;
    }
    let mut acks = 0;
    while let Ok(Some(v5::Packet::PublishAck(_))) =
        tokio::time::timeout(Duration::from_millis(1), client.recv()).await
    {
        acks += 1;
    }
    assert_eq!(acks, 5, "512 KiB at once");
}

#[tokio::test(start_paused = true)]
async fn point_21_a_rival_takes_the_client_id_again_and_again() {
    let rig = Rig::new().await;
    let every = Duration::from_secs(2);
    let takeover = Takeover {
        client_id: "a".into(),
        every,
    };
    rig.broker
        .faults()
        .set(|knobs| knobs.takeover = Some(takeover));
    for _ in 0..3 {
        let mut client = rig.v5("a").await;
        let told = soon("the rival", client.disconnected()).await;
        assert_eq!(told, DisconnectReasonCode::SessionTakenOver);
        assert!(rig.broker.connection("a").unwrap().connected, "the rival");
    }
    let mut other = rig.v5("b").await;
    other.silent_for(every * 3).await;
}

#[tokio::test(start_paused = true)]
async fn point_21_limits_may_be_lower_and_connects_throttled() {
    let rig = Rig::new().await;
    rig.broker.faults().set(|knobs| {
        knobs.max_subscriptions = Some(1);
        knobs.max_topic = Some(4);
        knobs.max_payload = Some(4);
    });
    let mut client = rig.v5("a").await;
    let answer = client.subscribe(&["t", "u"]).await;
    assert_eq!(answer[1], v5::SubscribeAckReason::QuotaExceeded);
    let answer = client.publish("t/too/long", "x").await;
    assert_eq!(answer, PublishAckReason::TopicNameInvalid);
    assert_eq!(client.publish("v", "four").await, PublishAckReason::Success);
    let packet_id = client.id();
    client
        .send(super::client::publish("v", "fives", Some(packet_id)))
        .await;
    let told = client.disconnected().await;
    assert_eq!(told, DisconnectReasonCode::QuotaExceeded);

    let mut client = rig.v5("a").await;
    rig.broker.faults().set(|knobs| knobs.max_filters = Some(1));
    let filters = ["t", "u"].map(|filter| (filter, rmqtt_codec::types::QoS::AtLeastOnce));
    let packet_id = client.id();
    client
        .send(super::client::subscribe5(packet_id, &filters))
        .await;
    let told = client.disconnected().await;
    assert_eq!(told, DisconnectReasonCode::QuotaExceeded);

    rig.broker
        .faults()
        .set(|knobs| knobs.throttle_connects = 1.0);
    assert_eq!(ack(&rig, "a").await, v5::ConnectAckReason::QuotaExceeded);
}

#[tokio::test(start_paused = true)]
async fn point_19_lifecycle_events_may_come_late_twice_and_in_another_order() {
    let rig = Rig::new().await;
    let mut witness = rig.v5("witness").await;
    witness.subscribe(&["$aws/events/presence/#"]).await;
    rig.broker.faults().set(|knobs| {
        knobs.event_delay = Some((Duration::from_secs(1), Duration::from_secs(20)));
        knobs.event_duplicate = 1.0;
    });
    let start = Instant::now();
    let clients = 5;
    for n in 0..clients {
        rig.v5(&n.to_string()).await.disconnect().await;
    }
    let mut topics = Vec::new();
    for _ in 0..4 * clients {
        topics.push(witness.message().await.topic.to_string());
    }
    assert!((1..=20).contains(&start.elapsed().as_secs()));
    let mut sorted = topics.clone();
    sorted.sort();
    assert_ne!(topics, sorted);
    sorted.dedup();
    assert_eq!(sorted.len(), 2 * clients, "each came twice");
}
