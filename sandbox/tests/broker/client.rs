//! Scripted clients that send and see exact packets.

use std::num::NonZeroU16;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::PublishProperties;
use rmqtt_codec::{v3, v5};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::time::timeout;
use tokio_util::codec::Framed;

use super::rig::soon;

/// An MQTT 5 client.
pub(crate) struct V5<S = DuplexStream> {
    pub(crate) frames: Framed<S, v5::Codec>,
    next_id: u16,
}

/// A 3.1.1 client.
pub(crate) struct V3<S = DuplexStream> {
    pub(crate) frames: Framed<S, v3::Codec>,
    next_id: u16,
}

impl<S: AsyncRead + AsyncWrite + Unpin> V5<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            frames: Framed::new(stream, v5::Codec::default()),
            next_id: 0,
        }
    }

    pub(crate) async fn connect(stream: S, connect: v5::Connect) -> (Self, v5::ConnectAck) {
        let mut client = Self::new(stream);
        client.send(connect).await;
        match client.recv().await {
            Some(v5::Packet::ConnectAck(ack)) => (client, *ack),
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, packet: impl Into<v5::Packet>) {
        self.frames.send(packet.into()).await.unwrap();
    }

    /// The next packet; `None` when the connection ended.
    pub(crate) async fn recv(&mut self) -> Option<v5::Packet> {
        let frame = soon("a packet or the end of the connection", self.frames.next()).await;
        frame.and_then(Result::ok).map(|(packet, _)| packet)
    }

    /// Asserts that nothing arrives for so long.
    pub(crate) async fn silent_for(&mut self, time: Duration) {
        if let Ok(frame) = timeout(time, self.frames.next()).await {
            panic!("expected silence, got {frame:?}");
        }
    }

    pub(crate) fn id(&mut self) -> NonZeroU16 {
        self.next_id += 1;
        NonZeroU16::new(self.next_id).unwrap()
    }

    pub(crate) async fn subscribe(&mut self, filters: &[&str]) -> Vec<v5::SubscribeAckReason> {
        let filters: Vec<_> = filters.iter().map(|f| (*f, QoS::AtLeastOnce)).collect();
        self.subscribe_with(&filters).await
    }

    pub(crate) async fn subscribe_with(
        &mut self,
        filters: &[(&str, QoS)],
    ) -> Vec<v5::SubscribeAckReason> {
        let packet_id = self.id();
        self.send(subscribe5(packet_id, filters)).await;
        match self.recv().await {
            Some(v5::Packet::SubscribeAck(ack)) if ack.packet_id == packet_id => ack.status,
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    /// Publishes QoS 1 and returns the PUBACK's reason.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> v5::PublishAckReason {
        self.publish_packet(|publish| {
            publish.topic = topic.into();
            publish.payload = payload.to_owned().into();
        })
        .await
    }

    pub(crate) async fn publish_packet(
        &mut self,
        change: impl FnOnce(&mut Publish),
    ) -> v5::PublishAckReason {
        let packet_id = self.id();
        let mut packet = publish("", "", Some(packet_id));
        packet.properties = Some(PublishProperties::default());
        change(&mut packet);
        self.send(packet).await;
        match self.recv().await {
            Some(v5::Packet::PublishAck(ack)) if ack.packet_id == packet_id => ack.reason_code,
            other => panic!("expected PUBACK, got {other:?}"),
        }
    }

    /// The next packet, which must be a PUBLISH; QoS 1 is acknowledged.
    pub(crate) async fn message(&mut self) -> Publish {
        let publish = self.unacked().await;
        if let Some(packet_id) = publish.packet_id {
            self.ack(packet_id).await;
        }
        publish
    }

    pub(crate) async fn unacked(&mut self) -> Publish {
        match self.recv().await {
            Some(v5::Packet::Publish(publish)) => *publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self, packet_id: NonZeroU16) {
        let ack = v5::PublishAck {
            packet_id,
            ..v5::PublishAck::default()
        };
        self.send(ack).await;
    }

    /// The reason of the DISCONNECT that must come next, followed by the end.
    pub(crate) async fn disconnected(&mut self) -> v5::DisconnectReasonCode {
        match self.recv().await {
            Some(v5::Packet::Disconnect(disconnect)) => {
                assert!(
                    self.recv().await.is_none(),
                    "the connection goes on after DISCONNECT"
                );
                disconnect.reason_code
            }
            other => panic!("expected DISCONNECT, got {other:?}"),
        }
    }

    /// Says goodbye and waits until the broker has noticed.
    pub(crate) async fn disconnect(mut self) {
        self.send(v5::Disconnect::default()).await;
        assert!(self.recv().await.is_none());
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> V3<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            frames: Framed::new(stream, v3::Codec::default()),
            next_id: 0,
        }
    }

    /// `None` when the broker closes instead of answering.
    pub(crate) async fn connect(stream: S, connect: v3::Connect) -> Option<(Self, bool)> {
        let mut client = Self::new(stream);
        client.send(connect).await;
        match client.recv().await {
            Some(v3::Packet::ConnectAck(ack)) => {
                assert_eq!(ack.return_code, v3::ConnectAckReason::ConnectionAccepted);
                Some((client, ack.session_present))
            }
            None => None,
            other => panic!("expected CONNACK or the end, got {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, packet: impl Into<v3::Packet>) {
        self.frames.send(packet.into()).await.unwrap();
    }

    pub(crate) async fn recv(&mut self) -> Option<v3::Packet> {
        let frame = soon("a packet or the end of the connection", self.frames.next()).await;
        frame.and_then(Result::ok).map(|(packet, _)| packet)
    }

    pub(crate) async fn silent_for(&mut self, time: Duration) {
        if let Ok(frame) = timeout(time, self.frames.next()).await {
            panic!("expected silence, got {frame:?}");
        }
    }

    pub(crate) fn id(&mut self) -> NonZeroU16 {
        self.next_id += 1;
        NonZeroU16::new(self.next_id).unwrap()
    }

    pub(crate) async fn subscribe(
        &mut self,
        filters: &[&str],
    ) -> Option<Vec<v3::SubscribeReturnCode>> {
        let packet_id = self.id();
        let topic_filters = filters
            .iter()
            .map(|f| ((*f).into(), QoS::AtLeastOnce))
            .collect();
        self.send(v3::Packet::Subscribe {
            packet_id,
            topic_filters,
        })
        .await;
        match self.recv().await {
            Some(v3::Packet::SubscribeAck { status, .. }) => Some(status),
            None => None,
            other => panic!("expected SUBACK or the end, got {other:?}"),
        }
    }

    /// Whether a QoS 1 publish was acknowledged; false when the broker closes instead.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> bool {
        let packet_id = self.id();
        self.send(publish(topic, payload, Some(packet_id))).await;
        match self.recv().await {
            Some(v3::Packet::PublishAck { packet_id: acked }) => acked == packet_id,
            None => false,
            other => panic!("expected PUBACK or the end, got {other:?}"),
        }
    }

    pub(crate) async fn message(&mut self) -> Publish {
        match self.recv().await {
            Some(v3::Packet::Publish(publish)) => {
                if let Some(packet_id) = publish.packet_id {
                    self.send(v3::Packet::PublishAck { packet_id }).await;
                }
                *publish
            }
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }
}

/// QoS 1 with a packet id, QoS 0 without.
pub(crate) fn publish(topic: &str, payload: &str, packet_id: Option<NonZeroU16>) -> Publish {
    Publish {
        dup: false,
        retain: false,
        qos: if packet_id.is_some() {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        },
        topic: topic.into(),
        packet_id,
        payload: payload.to_owned().into(),
        properties: None,
    }
}

pub(crate) fn subscribe5(packet_id: NonZeroU16, filters: &[(&str, QoS)]) -> v5::Subscribe {
    v5::Subscribe {
        packet_id,
        id: None,
        user_properties: Vec::new(),
        topic_filters: filters
            .iter()
            .map(|(filter, qos)| {
                (
                    (*filter).into(),
                    v5::SubscriptionOptions {
                        qos: *qos,
                        ..Default::default()
                    },
                )
            })
            .collect(),
    }
}
