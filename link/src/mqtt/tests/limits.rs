//! Every limit of a session, at it and one past it.

use super::*;

#[tokio::test]
async fn limits_at_and_one_past() {
    const CONNACK_LIMIT: usize = 150_000;

    let broker = Broker::start().await;
    let client = broker.client(broker.config());
    let welcome = Welcome {
        max_packet_size: Some(u32::try_from(CONNACK_LIMIT).unwrap()),
        ..Welcome::default()
    };
    let mut peer = broker.ready(welcome).await;
    assert!(client.session.ready().await);

    for (name, within, past) in cases() {
        let receipt = client.session.publish(within).await.expect(name);
        let publish = peer.publish().await;
        peer.ack(&publish).await;
        receipt.await.expect(name);
        let error = client.session.publish(past).await.expect_err(name);
        assert!(
            matches!(error, PublishError::Limit { .. }),
            "{name}: {error}"
        );
        assert!(!error.is_retryable(), "{name}");
        // Neither the text for a log nor the one for a person grows with what is wrong.
        assert!(error.to_string().len() < 400, "{name}: {error}");
    }
    assert_eq!(
        client.metrics.connections.get(),
        1,
        "no limit costs a connection"
    );
}

#[tokio::test]
async fn what_connack_allows_is_kept_to_the_byte() {
    let broker = Broker::start().await;
    let client = broker.client(broker.config());
    let welcome = Welcome {
        max_packet_size: Some(500),
        ..Welcome::default()
    };
    let mut peer = broker.ready(welcome).await;
    assert!(client.session.ready().await);
    let receipt = client.session.publish(packet(500)).await.unwrap();
    let publish = peer.publish().await;
    assert_eq!(publish.size(), 500, "measured as it is sent");
    peer.ack(&publish).await;
    receipt.await.unwrap();
    let error = client.session.publish(packet(501)).await.unwrap_err();
    assert!(
        matches!(
            &error,
            PublishError::Limit {
                source: LimitError::Packet {
                    bytes: 501,
                    limit: 500
                },
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_hundred_are_in_flight_and_the_next_waits_for_an_ack() {
    let (_broker, client, mut peer) = start().await;
    let mut receipts = Vec::new();
    for number in 0..101 {
        let message = Message::new("out", number.to_string());
        receipts.push(client.session.publish(message).await.unwrap());
    }
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.push(peer.publish().await);
    }
    let early = timeout(Duration::from_millis(200), peer.next()).await;
    assert!(early.is_err(), "one more than the window: {early:?}");
    peer.ack(&sent[0]).await;
    assert_eq!(&peer.publish().await.payload[..], b"100");
    assert_eq!(client.metrics.in_flight.get(), 100);
}

#[test]
fn packets_are_measured_as_the_library_sends_them() {
    let messages = cases().into_iter().map(|(_, within, _)| within);
    for message in messages.chain([Message::default(), packet(200)]) {
        let mut publish = rumqttc::Publish::new(
            message.topic.clone(),
            rumqttc::QoS::AtLeastOnce,
            message.payload.clone(),
            Some(options::publish_properties(&message)),
        );
        publish.pkid = 1;
        assert_eq!(message.packet_bytes(), publish.size());
    }
}

type Case = (&'static str, Message, Message);

fn cases() -> Vec<Case> {
    let text = |bytes: usize| "x".repeat(bytes);
    let property = |name: String, value: String| Message {
        user_properties: vec![(name, value)],
        ..Message::new("t", "")
    };
    let content_type = |bytes| Message {
        content_type: Some(text(bytes)),
        ..Message::new("t", "")
    };
    let levels = |slashes: usize| Message::new(vec!["a"; slashes + 1].join("/"), "");
    let payload = |bytes: usize| Message::new("t", vec![0; bytes]);
    let topic = |bytes: usize| Message::new(text(bytes), "");
    let properties = |count: usize| Message {
        user_properties: vec![("k".into(), text(60_000)); count],
        ..Message::new("t", "")
    };
    vec![
        (
            "property name",
            property(text(65_535), String::new()),
            property(text(65_536), String::new()),
        ),
        (
            "property value",
            property("k".into(), text(65_535)),
            property("k".into(), text(65_536)),
        ),
        ("content type", content_type(65_535), content_type(65_536)),
        ("payload", payload(131_072), payload(131_073)),
        ("packet", packet(149_504), packet(149_505)),
        (
            "properties that fill the packet together",
            properties(2),
            properties(3),
        ),
        ("topic length", topic(256), topic(257)),
        ("topic depth", levels(7), levels(8)),
        (
            "characters",
            property("k".into(), "é \u{fffd}".into()),
            property("k".into(), "\u{7f}".into()),
        ),
    ]
}

/// A message whose packet has exactly so many bytes.
fn packet(bytes: usize) -> Message {
    let mut message = Message {
        user_properties: vec![("k".into(), "v".repeat(bytes / 4))],
        ..Message::new("t", "")
    };
    while message.packet_bytes() < bytes {
        let missing = bytes - message.packet_bytes();
        message.payload = vec![0; message.payload.len() + missing.div_ceil(2)].into();
    }
    assert_eq!(message.packet_bytes(), bytes);
    message
}
