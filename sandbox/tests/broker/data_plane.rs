//! The data plane (point 20 of docs/IOT-CORE.md §2): what GetConnection and ListSubscriptions tell of a client, and messages
//! that come over HTTP.

use std::time::Duration;

use rmqtt_codec::types::QoS;
use rmqtt_codec::v5;
use sandbox::broker::{Content, DirectError, DisconnectReason};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::V5;
use super::control::{call, call_with, control, ok};
use super::rig::{Rig, connect5, eventually, policy};
use super::tls::Dial;

#[tokio::test]
async fn point_20_get_connection_tells_of_a_client_while_it_is_there_and_after() {
    let rig = Rig::new().await;
    let control = control(&rig).await;
    let path = "/connections/a%2Fb?includeSocketInformation=true";
    let (status, _) = call(&control, "GET", path, &Value::Null).await;
    assert_eq!(status, 404);
    let stream = Dial::new(&rig.set).open(&rig).await.unwrap();
    let connect = v5::Connect {
        clean_start: true,
        keep_alive: 10,
        session_expiry_interval_secs: 60,
        ..connect5("a/b")
    };
    let (mut client, _) = V5::connect(stream, connect).await;
    let seen = ok(&control, "GET", path, &Value::Null).await;
    assert_eq!(seen["clientId"], "a/b");
    assert_eq!(seen["connected"], true);
    assert_eq!(seen["cleanSession"], false);
    assert_eq!(seen["sessionExpiry"], 60);
    assert_eq!(seen["keepAliveDuration"], 10, "as the client said");
    assert!(seen["connectedSince"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(seen["sourceIp"], "127.0.0.1");
    assert_eq!(seen["targetPort"], rig.broker.local_addr().port());
    assert!(seen.get("disconnectReason").is_none(), "{seen}");
    assert!(seen.get("thingName").is_none(), "{seen}");

    let thing = link::iot::Thing {
        name: "shed".into(),
        type_name: None,
        attributes: Default::default(),
        attached: true,
    };
    let registry = rig.broker.registry();
    registry.attach_thing(&rig.certificate, thing).unwrap();
    let plain = "/connections/a%2Fb";
    ok(&control, "DELETE", plain, &Value::Null).await;
    client.disconnected().await;
    eventually("the end to be known", || {
        rig.broker.connection("a/b").is_some_and(|it| !it.connected)
    })
    .await;
    let seen = ok(&control, "GET", plain, &Value::Null).await;
    assert_eq!(seen["connected"], false);
    assert_eq!(seen["disconnectReason"], "API_INITIATED_DISCONNECT");
    assert!(seen["disconnectedSince"].is_u64() && seen.get("connectedSince").is_none());
    assert!(seen.get("sourceIp").is_none(), "{seen}");

    let _again = rig.v5("a/b").await;
    let seen = ok(&control, "GET", plain, &Value::Null).await;
    assert_eq!(seen["thingName"], "shed");
    assert_eq!(seen["cleanSession"], true);
}

#[tokio::test(start_paused = true)]
async fn point_20_an_end_is_told_for_half_an_hour_and_the_client_as_long_as_its_session() {
    let rig = Rig::new().await;
    rig.v5("clean").await.disconnect().await;
    let (client, _) = rig.v5_persistent("kept").await;
    client.disconnect().await;
    let ends = |client_id: &str| rig.broker.connection(client_id).map(|it| it.disconnected);
    sleep(Duration::from_secs(29 * 60)).await;
    for client_id in ["clean", "kept"] {
        let (_, reason) = ends(client_id).unwrap().unwrap();
        assert_eq!(reason, DisconnectReason::ClientInitiatedDisconnect);
    }
    sleep(Duration::from_secs(2 * 60)).await;
    assert_eq!(ends("clean"), None);
    assert_eq!(ends("kept"), Some(None));
    assert_eq!(rig.broker.subscriptions("kept"), Some(Vec::new()));
    sleep(Duration::from_secs(30 * 60)).await;
    assert_eq!(ends("kept"), None);
    assert_eq!(rig.broker.subscriptions("kept"), None);
}

#[tokio::test]
async fn point_20_subscriptions_come_with_their_qos_in_pages() {
    let rig = Rig::new().await;
    let control = control(&rig).await;
    let mut client = rig.v5("a").await;
    for n in 0..3 {
        let filters: Vec<String> = (0..8).map(|m| format!("f/{n}/{m}")).collect();
        let filters: Vec<_> = filters
            .iter()
            .map(|it| {
                (
                    it.as_str(),
                    if n == 0 {
                        QoS::AtMostOnce
                    } else {
                        QoS::AtLeastOnce
                    },
                )
            })
            .collect();
        client.subscribe_with(&filters).await;
    }
    let path = "/connections/a/subscriptions";
    let first = ok(&control, "GET", path, &Value::Null).await;
    let page = first["subscriptions"].as_array().unwrap();
    assert_eq!(page.len(), 20);
    assert_eq!(page[0], json!({ "topicFilter": "f/0/0", "qos": 0 }));
    assert_eq!(page[19]["qos"], 1);
    let next = first["nextToken"].as_str().unwrap();
    let path = format!("{path}?maxResults=200&nextToken={next}");
    let second = ok(&control, "GET", &path, &Value::Null).await;
    assert_eq!(second["subscriptions"].as_array().unwrap().len(), 4);
    assert!(second.get("nextToken").is_none());
    for (path, expected) in [
        ("/connections/b/subscriptions", 404),
        ("/connections/a/subscriptions?maxResults=201", 400),
        ("/connections/%24a/subscriptions", 400),
    ] {
        let (status, _) = call(&control, "GET", path, &Value::Null).await;
        assert_eq!(status, expected, "{path}");
    }
}

#[tokio::test]
async fn point_20_a_direct_message_needs_no_subscription_and_is_confirmed_by_the_client() {
    let rig = Rig::new().await;
    let control = control(&rig).await;
    let mut client = rig.v5("a").await;
    let path = "/connections/a/messages?topic=t%2Fx&confirmation=true&contentType=text%2Fplain";
    let headers = "x-amz-mqtt5-user-properties: W3siYSI6ICIxIn0sIHsiYiI6ICIyIn1d\r\n\
                   x-amz-mqtt5-correlation-data: AAE=\r\n\
                   x-amz-mqtt5-payload-format-indicator: UTF8_DATA\r\n";
    let body = json!("hello");
    let sending = call_with(&control, "POST", path, headers, &body);
    let ((status, answer), message) = tokio::join!(sending, client.message());
    assert_eq!(status, 200, "{answer}");
    assert!(answer["traceId"].is_string());
    assert_eq!(message.topic, "t/x");
    assert_eq!(message.qos, QoS::AtLeastOnce);
    let properties = message.properties.unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"\0\x01"[..]));
    assert!(properties.is_utf8_payload);
    assert_eq!(properties.user_properties.len(), 2);

    let path = "/connections/a/messages?topic=t";
    ok(&control, "POST", path, &body).await;
    assert_eq!(client.message().await.qos, QoS::AtMostOnce);

    for (path, expected) in [
        ("/connections/nobody/messages?topic=t", 404),
        ("/connections/a/messages", 400),
        ("/connections/a/messages?topic=a%2F%23", 400),
        ("/connections/a/messages?topic=%24SYS", 400),
        (
            "/connections/a/messages?topic=t&confirmation=true&timeout=16",
            400,
        ),
    ] {
        let (status, answer) = call(&control, "POST", path, &body).await;
        assert_eq!(status, expected, "{path}: {answer}");
    }
    let large = Value::from("x".repeat(131_072));
    let (status, _) = call(&control, "POST", "/connections/a/messages?topic=t", &large).await;
    assert_eq!(status, 413);
}

#[tokio::test(start_paused = true)]
async fn point_20_without_puback_it_fails_in_time_and_is_not_kept() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.v5_persistent("a").await;
    let content = Content {
        topic: "t".into(),
        ..Content::default()
    };
    let handle = rig.broker.handle();
    let send = |content: &Content| {
        let (handle, content) = (handle.clone(), content.clone());
        async move {
            let within = Some(Duration::from_secs(5));
            handle.send_direct("a", content, within).await
        }
    };
    let start = Instant::now();
    let (outcome, _) = tokio::join!(send(&content), client.unacked());
    assert_eq!(outcome, Err(DirectError::NotConfirmed));
    assert_eq!(start.elapsed().as_secs(), 5);
    client.silent_for(Duration::from_secs(80)).await;

    // The client goes while its acknowledgement is waited for.
    let start = Instant::now();
    let going = async {
        client.unacked().await;
        client.disconnect().await;
    };
    let (outcome, ()) = tokio::join!(send(&content), going);
    assert_eq!(outcome, Err(DirectError::NotConfirmed));
    assert!(start.elapsed().as_secs() < 5);
    let (mut client, present) = rig.v5_persistent("a").await;
    assert!(present);
    client.silent_for(Duration::from_secs(60)).await;
    client.disconnect().await;
    assert_eq!(send(&content).await, Err(DirectError::NotConnected));
}

#[tokio::test]
async fn point_20_a_direct_message_obeys_the_receivers_policy() {
    let rig = Rig::new().await;
    let control = control(&rig).await;
    let (_, certificate) = rig.register(
        "narrow",
        policy(&[("iot:Connect", "*"), ("iot:Receive", "topic/yes")]),
    );
    let mut client = rig.v5_as("a", &certificate).await;
    let path = "/connections/a/messages?topic=";
    ok(&control, "POST", &format!("{path}yes"), &Value::Null).await;
    assert_eq!(client.message().await.topic, "yes");
    let (status, answer) = call(&control, "POST", &format!("{path}no"), &Value::Null).await;
    assert_eq!(status, 403, "{answer}");
}

#[tokio::test]
async fn point_20_publish_over_http_reaches_subscribers_and_may_be_retained() {
    let rig = Rig::new().await;
    let control = control(&rig).await;
    let mut client = rig.v5("a").await;
    client.subscribe(&["t/#"]).await;
    let body = json!("x");
    for path in ["/topics/t%2Fa?qos=1&retain=true", "/topics/t/b"] {
        ok(&control, "POST", path, &body).await;
    }
    let (first, second) = (client.message().await, client.message().await);
    assert_eq!((&*first.topic, first.qos), ("t/a", QoS::AtLeastOnce));
    assert_eq!((&*second.topic, second.qos), ("t/b", QoS::AtMostOnce));
    let mut late = rig.v5("b").await;
    late.subscribe(&["t/a"]).await;
    assert_eq!(late.message().await.payload, "\"x\"");
    let (status, _) = call(&control, "POST", "/topics/t?qos=2", &body).await;
    assert_eq!(status, 400);
}

#[tokio::test(start_paused = true)]
async fn point_19_version_numbers_grow_per_client_and_begin_anew_after_an_hour() {
    let rig = Rig::new().await;
    let mut session = None;
    for (pause, version) in [(0, 0), (60, 1), (59 * 60, 2), (61 * 60, 0)] {
        sleep(Duration::from_secs(pause)).await;
        let mut watcher = rig.v5("watcher").await;
        watcher.subscribe(&["$aws/events/presence/+/a"]).await;
        rig.v5("a").await.disconnect().await;
        let mut sessions = Vec::new();
        for event in ["connected", "disconnected"] {
            let message = watcher.message().await;
            assert_eq!(*message.topic, format!("$aws/events/presence/{event}/a"));
            let body: Value = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!(body["versionNumber"], version, "{event} after {pause} s");
            sessions.push(body["sessionIdentifier"].clone());
        }
        assert_eq!(sessions[0], sessions[1]);
        assert_ne!(
            session.replace(sessions[0].clone()),
            Some(sessions[0].clone())
        );
    }
}
