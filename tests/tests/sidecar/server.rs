//! A scripted Go Maestro server: MQTT 5 as paho speaks it (docs/MAESTRO.md §1.1), packet by packet over plain TCP.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use link::message::Message;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{
    Codec, Connect, ConnectAck, Disconnect, DisconnectReasonCode, Packet, PublishAck,
    PublishAckReason, PublishProperties, Subscribe, SubscribeAck, SubscriptionOptions,
};
use tests::wait::timeout;
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

/// A connected server.
pub(crate) struct Server {
    frames: Framed<TcpStream, Codec>,
    /// What CONNACK said.
    pub(crate) connack: ConnectAck,
    last: u16,
}

// === impl Server ===

impl Server {
    /// Connects as the Go client does: clean start, no properties, a ping at once.
    pub(crate) async fn connect(address: SocketAddr, client_id: &str) -> Result<Self> {
        let connect = Connect::default().client_id(client_id.to_owned());
        let connect = Connect {
            clean_start: true,
            keep_alive: 60,
            ..connect
        };
        let mut server = Self::connect_as(address, connect).await?;
        server.send(Packet::PingRequest).await?;
        ensure!(server.next().await? == Packet::PingResponse);
        Ok(server)
    }

    /// Connects with any CONNECT; refusals are in [`Self::connack`].
    pub(crate) async fn connect_as(address: SocketAddr, connect: Connect) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut frames = Framed::new(stream, Codec::new(0, 0));
        frames.send(connect.into()).await?;
        let answer = timeout(PATIENCE, frames.next()).await?;
        let (packet, _) = answer.context("closed before CONNACK")??;
        let Packet::ConnectAck(connack) = packet else {
            bail!("no CONNACK: {packet:?}");
        };
        Ok(Self {
            frames,
            connack: *connack,
            last: 0,
        })
    }

    /// Connects and subscribes to one filter, which must be granted.
    pub(crate) async fn subscribed(
        address: SocketAddr,
        client_id: &str,
        filter: &str,
    ) -> Result<Self> {
        let mut server = Self::connect(address, client_id).await?;
        let suback = server.subscribe(&[filter]).await?;
        let granted = suback.status.iter().all(|code| u8::from(*code) == 1);
        ensure!(granted, "{suback:?}");
        Ok(server)
    }

    /// Subscribes in one packet; nothing else may come before the answer.
    pub(crate) async fn subscribe(&mut self, filters: &[&str]) -> Result<SubscribeAck> {
        let asked = self.ask_for(filters).await?;
        match self.next().await? {
            Packet::SubscribeAck(suback) if suback.packet_id == asked => Ok(suback),
            other => bail!("no SUBACK: {other:?}"),
        }
    }

    /// Sends a SUBSCRIBE and waits for nothing.
    pub(crate) async fn ask_for(&mut self, filters: &[&str]) -> Result<NonZeroU16> {
        let packet_id = self.next_id();
        let options = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            ..SubscriptionOptions::default()
        };
        let filters = filters.iter().map(|filter| ((*filter).into(), options));
        let subscribe = Subscribe {
            packet_id,
            id: None,
            user_properties: Vec::new(),
            topic_filters: filters.collect(),
        };
        self.send(subscribe.into()).await?;
        Ok(packet_id)
    }

    /// Sends a PUBLISH and waits for nothing.
    pub(crate) async fn publish(&mut self, message: &Message) -> Result<NonZeroU16> {
        let packet_id = self.next_id();
        self.send(publish(packet_id, message)).await?;
        Ok(packet_id)
    }

    /// Sends a PUBLISH and waits for its PUBACK; nothing else may come before it.
    pub(crate) async fn published(&mut self, message: &Message) -> Result<PublishAck> {
        let packet_id = self.publish(message).await?;
        match self.next().await? {
            Packet::PublishAck(ack) if ack.packet_id == packet_id => Ok(ack),
            other => bail!("no PUBACK: {other:?}"),
        }
    }

    /// The next event, which is not acknowledged.
    pub(crate) async fn event(&mut self) -> Result<Publish> {
        match self.next().await? {
            Packet::Publish(publish) => Ok(*publish),
            other => bail!("no PUBLISH: {other:?}"),
        }
    }

    /// The next event, acknowledged.
    pub(crate) async fn taken(&mut self) -> Result<Publish> {
        let event = self.event().await?;
        self.ack(event.packet_id).await?;
        Ok(event)
    }

    /// Acknowledges an event.
    pub(crate) async fn ack(&mut self, packet_id: Option<NonZeroU16>) -> Result<()> {
        let ack = PublishAck {
            packet_id: packet_id.context("QoS 1")?,
            reason_code: PublishAckReason::Success,
            properties: Vec::new(),
            reason_string: None,
        };
        self.send(ack.into()).await
    }

    /// The next packet.
    pub(crate) async fn next(&mut self) -> Result<Packet> {
        let next = timeout(PATIENCE, self.frames.next()).await;
        let (packet, _) = next.context("nothing came")?.context("closed")??;
        Ok(packet)
    }

    /// The DISCONNECT that comes next, events aside.
    pub(crate) async fn disconnected(&mut self) -> Result<Disconnect> {
        loop {
            match self.next().await? {
                Packet::Disconnect(disconnect) => return Ok(disconnect),
                Packet::Publish(_) | Packet::PublishAck(_) => {}
                other => bail!("no DISCONNECT: {other:?}"),
            }
        }
    }

    /// Leaves in order, as `paho` does.
    pub(crate) async fn leave(mut self) -> Result<()> {
        let disconnect = Disconnect::new(DisconnectReasonCode::NormalDisconnection);
        self.send(disconnect.into()).await?;
        Ok(self.frames.close().await?)
    }

    /// Sends any packet.
    pub(crate) async fn send(&mut self, packet: Packet) -> Result<()> {
        Ok(timeout(PATIENCE, self.frames.send(packet)).await??)
    }

    fn next_id(&mut self) -> NonZeroU16 {
        self.last = self.last.checked_add(1).unwrap_or(1);
        NonZeroU16::new(self.last).unwrap_or(NonZeroU16::MIN)
    }
}

/// A message as PUBLISH at QoS 1.
pub(crate) fn publish(packet_id: NonZeroU16, message: &Message) -> Packet {
    let user = message.user_properties.iter();
    let publish = Publish {
        dup: false,
        retain: message.retain,
        qos: QoS::AtLeastOnce,
        topic: message.topic.as_str().into(),
        packet_id: Some(packet_id),
        payload: message.payload.clone(),
        properties: Some(PublishProperties {
            content_type: message.content_type.as_deref().map(Into::into),
            user_properties: user
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            ..PublishProperties::default()
        }),
    };
    publish.into()
}

// Past a certificate's change and a few reconnections on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
