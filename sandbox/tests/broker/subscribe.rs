//! SUBSCRIBE, matching and the policy (points 13–15 of docs/IOT-CORE.md §2).

use std::num::NonZeroU32;
use std::time::Duration;

use link::iot::Document;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishAckReason, SubscribeAckReason};
use sandbox::broker::Quotas;
use tokio::time::{Instant, sleep};

use super::client::subscribe5;
use super::rig::{Rig, policy, policy_json};

fn filters(count: usize, prefix: &str) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}/{n}")).collect()
}

fn borrowed(filters: &[String]) -> Vec<&str> {
    filters.iter().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn point_13_eight_filters_pass_and_nine_disconnect() {
    let rig = Rig::new().await;
    let nine = filters(9, "t");
    let nine = borrowed(&nine);
    let mut client = rig.v5("a").await;
    assert_eq!(
        client.subscribe(&nine[..8]).await,
        vec![SubscribeAckReason::GrantedQos1; 8]
    );
    let packet_id = client.id();
    let with_qos: Vec<_> = nine.iter().map(|f| (*f, QoS::AtLeastOnce)).collect();
    client.send(subscribe5(packet_id, &with_qos)).await;
    assert_eq!(
        client.disconnected().await,
        DisconnectReasonCode::QuotaExceeded
    );
    let (mut client, _) = rig.v3("b", true).await;
    assert!(client.subscribe(&nine[..8]).await.is_some());
    assert!(client.subscribe(&nine).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn point_13_an_unsubscribe_of_nine_has_no_effect_and_no_answer() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t/0"]).await;
    let packet_id = client.id();
    let topic_filters = filters(9, "t").into_iter().map(Into::into).collect();
    client
        .send(v5::Unsubscribe {
            packet_id,
            user_properties: Vec::new(),
            topic_filters,
        })
        .await;
    client.silent_for(Duration::from_secs(5)).await;
    assert_eq!(client_subscriptions(&rig), ["t/0"]);
    let packet_id = client.id();
    let topic_filters = vec!["t/0".into(), "t/1".into()];
    client
        .send(v5::Unsubscribe {
            packet_id,
            user_properties: Vec::new(),
            topic_filters,
        })
        .await;
    let Some(v5::Packet::UnsubscribeAck(ack)) = client.recv().await else {
        panic!("no UNSUBACK")
    };
    let expected = [
        v5::UnsubscribeAckReason::Success,
        v5::UnsubscribeAckReason::NoSubscriptionExisted,
    ];
    assert_eq!(ack.status, expected);
}

fn client_subscriptions(rig: &Rig) -> Vec<String> {
    rig.broker.connections()[0].subscriptions.clone()
}

#[tokio::test(start_paused = true)]
async fn point_13_the_51st_subscription_is_rejected_in_suback() {
    let rig = Rig::new().await;
    let all = filters(51, "t");
    let all = borrowed(&all);
    let mut client = rig.v5("a").await;
    for chunk in all[..48].chunks(8) {
        client.subscribe(chunk).await;
    }
    let granted = SubscribeAckReason::GrantedQos1;
    let status = client.subscribe(&all[48..]).await;
    assert_eq!(
        status,
        [granted, granted, SubscribeAckReason::QuotaExceeded]
    );
    assert_eq!(
        client.subscribe(&all[..1]).await,
        [granted],
        "a known one may be renewed"
    );

    let (mut client, _) = rig.v3("b", true).await;
    for chunk in all[..48].chunks(8) {
        client.subscribe(chunk).await.unwrap();
    }
    let status = client.subscribe(&all[48..]).await.unwrap();
    assert_eq!(status[2], v3::SubscribeReturnCode::Failure);
}

#[tokio::test(start_paused = true)]
async fn point_13_the_51st_subscription_may_also_close_the_connection() {
    let rig = Rig::with(|config| {
        config.quotas = Quotas::none();
        config.limits.subscriptions = 1;
        config.limits.close_on_excess_subscription = true;
    })
    .await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t/0"]).await;
    let packet_id = client.id();
    client
        .send(subscribe5(packet_id, &[("t/1", QoS::AtMostOnce)]))
        .await;
    // Whether SUBACK still makes it out first is left open.
    loop {
        match client.recv().await {
            Some(v5::Packet::SubscribeAck(_)) => {}
            Some(v5::Packet::Disconnect(d)) => {
                assert_eq!(d.reason_code, DisconnectReasonCode::QuotaExceeded);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn point_13_a_qos_2_filter_gets_no_suback() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    let packet_id = client.id();
    client
        .send(subscribe5(packet_id, &[("t", QoS::ExactlyOnce)]))
        .await;
    client.silent_for(Duration::from_secs(5)).await;
    assert_eq!(
        client.subscribe(&["t"]).await,
        [SubscribeAckReason::GrantedQos1]
    );
}

#[tokio::test(start_paused = true)]
async fn point_13_a_subscription_identifier_disconnects_with_0xa1() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    let mut packet = subscribe5(client.id(), &[("t", QoS::AtLeastOnce)]);
    packet.id = NonZeroU32::new(1);
    client.send(packet).await;
    let expected = DisconnectReasonCode::SubscriptionIdentifiersNotSupported;
    assert_eq!(client.disconnected().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_denied_filter_is_0x87_per_filter_on_5_and_the_end_on_3() {
    let rig = Rig::new().await;
    let (_, certificate) = rig.register(
        "s",
        policy(&[
            ("iot:Connect", "client/*"),
            ("iot:Subscribe", "topicfilter/a/+"),
        ]),
    );
    let mut client = rig.v5_as("a", &certificate).await;
    assert_eq!(
        client
            .subscribe(&["a/+", "b", "$share/g/a/+", "$SYS/#"])
            .await,
        [
            SubscribeAckReason::GrantedQos1,
            SubscribeAckReason::NotAuthorized,
            // The whole string is matched, with `$share/…` (docs/IOT-CORE.md §1.5).
            SubscribeAckReason::NotAuthorized,
            SubscribeAckReason::TopicFilterInvalid,
        ]
    );
    let (mut client, _) = rig.v3_as("b", true, &certificate).await;
    assert!(client.subscribe(&["b"]).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn point_14_everything_is_denied_by_default_and_deny_wins() {
    let rig = Rig::new().await;
    let (_, nobody) = rig.register("none", policy(&[("iot:Connect", "client/*")]));
    let mut client = rig.v5_as("a", &nobody).await;
    assert_eq!(
        client.publish("t", "x").await,
        PublishAckReason::NotAuthorized
    );
    assert_eq!(
        client.subscribe(&["t"]).await,
        [SubscribeAckReason::NotAuthorized]
    );

    let deny = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"iot:*","Resource":"*"},
        {"Effect":"Deny","Action":"iot:Publish","Resource":"arn:aws:iot:us-east-1:000000000000:topic/secret/*"}]}"#;
    let (_, certificate) = rig.register("deny", Document::parse(deny).unwrap());
    let mut client = rig.v5_as("b", &certificate).await;
    assert_eq!(
        client.publish("secret/x", "x").await,
        PublishAckReason::NotAuthorized
    );
    assert_eq!(client.publish("open", "x").await, PublishAckReason::Success);
}

#[tokio::test(start_paused = true)]
async fn point_14_receive_is_checked_on_every_delivery() {
    let rig = Rig::new().await;
    let grants = [
        ("iot:Connect", "client/*"),
        ("iot:Subscribe", "topicfilter/*"),
        ("iot:Receive", "topic/a/ok"),
    ];
    let (_, certificate) = rig.register("r", policy(&grants));
    let mut client = rig.v5_as("r", &certificate).await;
    assert_eq!(
        client.subscribe(&["a/#"]).await,
        [SubscribeAckReason::GrantedQos1],
        "no sign yet"
    );
    let mut publisher = rig.v5("p").await;
    publisher.publish("a/secret", "x").await;
    publisher.publish("a/ok", "x").await;
    assert_eq!(&*client.message().await.topic, "a/ok");
    assert_eq!(rig.broker.counts().receive_denied, 1);
    rig.broker
        .registry()
        .put_policy("r", policy(&grants[..2]))
        .unwrap();
    publisher.publish("a/ok", "x").await;
    client.silent_for(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn point_14_a_persistent_session_may_be_denied_by_condition() {
    let rig = Rig::new().await;
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect",
        "Resource":"*","Condition":{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}}]}"#;
    let (_, certificate) = rig.register("c", Document::parse(text).unwrap());
    let _clean = rig.v5_as("a", &certificate).await;
    let pipe = rig.broker.connect_in_process(&certificate);
    let connect = super::rig::connect3("b", false);
    assert!(super::client::V3::connect(pipe, connect).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn point_14_a_policy_holds_2048_characters_without_white_space() {
    let rig = Rig::new().await;
    let frame = policy_json(&[("iot:Connect", "client/")]).len();
    for (size, ok) in [(2048, true), (2049, false)] {
        let resource = format!("client/{}", "x".repeat(size - frame));
        let spaced = policy_json(&[("iot:Connect", &resource)]).replace(',', " , ");
        let document = Document::parse(&spaced).unwrap();
        let outcome = rig.broker.registry().put_policy("p", document);
        assert_eq!(outcome.is_ok(), ok, "{size}: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn point_14_a_policy_change_may_take_minutes_to_be_seen() {
    let rig = Rig::new().await;
    let (_, certificate) = rig.register(
        "p",
        policy(&[("iot:Connect", "client/*"), ("iot:Publish", "topic/*")]),
    );
    let mut client = rig.v5_as("a", &certificate).await;
    rig.broker
        .registry()
        .set_policy_delay(Duration::from_secs(300));
    rig.broker
        .registry()
        .put_policy("p", policy(&[("iot:Connect", "client/*")]))
        .unwrap();
    assert_eq!(client.publish("t", "x").await, PublishAckReason::Success);
    for _ in 0..5 {
        sleep(Duration::from_secs(60)).await;
        client.send(v5::Packet::PingRequest).await;
        client.recv().await;
    }
    assert_eq!(
        client.publish("t", "x").await,
        PublishAckReason::NotAuthorized
    );
}

#[tokio::test(start_paused = true)]
async fn point_15_a_multi_level_filter_does_not_receive_its_parent() {
    let rig = Rig::new().await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["a/#"]).await;
    let mut publisher = rig.v5("p").await;
    for topic in ["a", "a/", "a/b/c"] {
        publisher.publish(topic, "x").await;
    }
    assert_eq!(&*client.message().await.topic, "a/");
    assert_eq!(&*client.message().await.topic, "a/b/c");
}

#[tokio::test(start_paused = true)]
async fn point_15_a_shared_message_goes_to_one_member_and_all_members_get_some() {
    let rig = Rig::new().await;
    let mut members = [rig.v5("one").await, rig.v5("two").await];
    for member in &mut members {
        member.subscribe(&["$share/g/t"]).await;
    }
    let mut plain = rig.v5("plain").await;
    plain.subscribe(&["t"]).await;
    let mut publisher = rig.v5("p").await;
    for _ in 0..64 {
        publisher.publish("t", "x").await;
        plain.message().await;
    }
    let waiting: Vec<_> = ["one", "two"]
        .iter()
        .map(|id| rig.broker.backlog(id).unwrap())
        .collect();
    assert_eq!(waiting.iter().sum::<usize>(), 64);
    // Both empty-handed after 64 coin tosses: once in 2^63 runs.
    assert!(waiting.iter().all(|count| *count > 0), "{waiting:?}");
}

#[tokio::test(start_paused = true)]
async fn point_15_a_group_queues_qos_1_only_for_a_persistent_member_and_drains_20_a_second() {
    let rig = Rig::strict().await;
    let mut clean = rig.v5("clean").await;
    clean.subscribe(&["$share/g/t"]).await;
    clean.disconnect().await;
    let mut publisher = rig.v5("p").await;
    publisher.publish("t", "lost").await;

    let (mut resumed, _) = rig.v5_persistent("resumed").await;
    resumed.subscribe(&["$share/g/t"]).await;
    resumed.silent_for(Duration::from_secs(2)).await;
    resumed.disconnect().await;
    for n in 0..60 {
        publisher.publish("t", &n.to_string()).await;
    }
    publisher
        .send(super::client::publish("t", "qos 0", None))
        .await;
    let (mut resumed, present) = rig.v5_persistent("resumed").await;
    assert!(present);
    let start = Instant::now();
    for n in 0..60 {
        assert_eq!(resumed.message().await.payload, n.to_string());
    }
    let took = start.elapsed().as_secs_f64();
    assert!(
        (1.9..2.1).contains(&took),
        "60 messages, 20 of them at once, took {took} s"
    );
    resumed.silent_for(Duration::from_secs(2)).await;
}
