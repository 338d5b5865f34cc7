//! One MQTT 5 connection, packet by packet: what a diagnosis needs to see, and a session that repairs itself hides.
//!
//! Every answer comes with the number the broker gave. Nothing is tried again, and what arrives is never acknowledged: a
//! message that the broker keeps for somebody stays his.

use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use link::identity::Identity;
use link::iot::limits::PACKET_BYTES;
use link::message::Message;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{
    Codec, Connect, Disconnect, DisconnectReasonCode, Packet, PublishProperties, Subscribe,
    SubscriptionOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;
use tokio_util::codec::{Decoder, Encoder};

use super::seen::Ended;
use crate::dial;
use crate::target::Target;

/// A connection that the broker took.
pub(crate) struct RawClient {
    wire: Wire,
    next: NonZeroU16,
    granted: Granted,
    keep: Option<u32>,
    arrived: VecDeque<Bytes>,
}

/// What CONNACK said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Whether the broker kept a session of this client id.
    pub(crate) session_present: bool,
    /// The longest packet that the broker takes, if it has such a limit.
    pub(crate) maximum_packet: Option<u32>,
    /// Messages that may wait for their acknowledgement.
    pub(crate) receive_maximum: u16,
}

/// How a connection is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) client_id: &'a str,
    /// Seconds for which the session is kept and gone on with, as its owner asks; none for a clean one.
    pub(crate) keep: Option<u32>,
}

struct Wire {
    stream: TlsStream<TcpStream>,
    codec: Codec,
    input: BytesMut,
    /// Whether a whole packet has come.
    is_mqtt: bool,
    within: Duration,
}

// === impl RawClient ===

impl RawClient {
    /// Dials, and sends CONNECT.
    ///
    /// # Errors
    /// How it ended: refused with a code, closed, or not answered.
    pub(crate) async fn connect(
        target: &Target,
        identity: &Identity,
        asked: Asked<'_>,
        within: Duration,
    ) -> Result<Self, Ended> {
        let deadline = Instant::now() + within;
        let mut wire = match timeout_at(deadline, Wire::open(target, identity, within)).await {
            Ok(wire) => wire?,
            Err(_) => return Err(Ended::Silent("the handshake")),
        };
        let connect = Connect {
            clean_start: asked.keep.is_none(),
            session_expiry_interval_secs: asked.keep.unwrap_or_default(),
            keep_alive: u16::try_from(target.keep_alive.as_secs()).unwrap_or(u16::MAX),
            client_id: asked.client_id.into(),
            max_packet_size: u32::try_from(PACKET_BYTES).ok().and_then(NonZeroU32::new),
            ..Connect::default()
        };
        wire.send(Packet::Connect(Box::new(connect))).await?;
        match wire.receive(deadline, "CONNECT").await? {
            Packet::ConnectAck(ack) => {
                let code = u8::from(ack.reason_code);
                if code >= REFUSED {
                    return Err(Ended::Refused { code });
                }
                let granted = Granted {
                    session_present: ack.session_present,
                    maximum_packet: ack.max_packet_size,
                    receive_maximum: ack.receive_max.get(),
                };
                Ok(Self {
                    wire,
                    next: NonZeroU16::MIN,
                    granted,
                    keep: asked.keep,
                    arrived: VecDeque::new(),
                })
            }
            Packet::Disconnect(end) => Err(Ended::Disconnected {
                code: end.reason_code.into(),
            }),
            _ => Err(Ended::Protocol("the first packet is no CONNACK".into())),
        }
    }

    /// What CONNACK said.
    pub(crate) fn granted(&self) -> &Granted {
        &self.granted
    }

    /// Sends one SUBSCRIBE; gives the code of each filter.
    ///
    /// # Errors
    /// The connection ended instead, or nothing came.
    pub(crate) async fn subscribe(&mut self, filters: &[&str], qos: QoS) -> Result<Vec<u8>, Ended> {
        let packet_id = self.packet_id();
        let options = SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
        let subscribe = Subscribe {
            packet_id,
            id: None,
            user_properties: Vec::new(),
            topic_filters: filters
                .iter()
                .map(|filter| ((*filter).into(), options))
                .collect(),
        };
        self.wire.send(Packet::Subscribe(subscribe)).await?;
        let deadline = self.deadline();
        loop {
            match self.packet(deadline, "SUBSCRIBE").await? {
                Packet::SubscribeAck(ack) if ack.packet_id == packet_id => {
                    return Ok(ack.status.into_iter().map(u8::from).collect());
                }
                _ => {}
            }
        }
    }

    /// Publishes at QoS 1; gives the code of PUBACK.
    ///
    /// # Errors
    /// The connection ended instead, or nothing came.
    pub(crate) async fn publish(&mut self, message: &Message) -> Result<u8, Ended> {
        let packet_id = self.packet_id();
        let user_properties = message
            .user_properties
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        let publish = Publish {
            dup: false,
            retain: false,
            qos: QoS::AtLeastOnce,
            topic: message.topic.as_str().into(),
            packet_id: Some(packet_id),
            payload: message.payload.clone(),
            properties: Some(PublishProperties {
                message_expiry_interval: message.expiry_seconds.and_then(NonZeroU32::new),
                user_properties,
                ..PublishProperties::default()
            }),
        };
        self.wire.send(Packet::Publish(Box::new(publish))).await?;
        let deadline = self.deadline();
        loop {
            match self.packet(deadline, "PUBLISH").await? {
                Packet::PublishAck(ack) if ack.packet_id == packet_id => {
                    return Ok(ack.reason_code.into());
                }
                _ => {}
            }
        }
    }

    /// Waits for a payload; whether it came in time.
    ///
    /// # Errors
    /// The connection ended.
    pub(crate) async fn returned(
        &mut self,
        payload: &Bytes,
        within: Duration,
    ) -> Result<bool, Ended> {
        let deadline = Instant::now() + within;
        loop {
            while let Some(arrived) = self.arrived.pop_front() {
                if arrived == *payload {
                    return Ok(true);
                }
            }
            match self.packet(deadline, "the message").await {
                Ok(_) => {}
                Err(Ended::Silent(_)) => return Ok(false),
                Err(ended) => return Err(ended),
            }
        }
    }

    /// Looks on for a while; how it ended, if it did.
    pub(crate) async fn watch(&mut self, within: Duration) -> Option<Ended> {
        let deadline = Instant::now() + within;
        loop {
            match self.packet(deadline, "anything").await {
                Ok(_) => {}
                Err(Ended::Silent(_)) => return None,
                Err(ended) => return Some(ended),
            }
        }
    }

    /// Leaves with a DISCONNECT. A session that was not there before does not stay.
    pub(crate) async fn leave(mut self) {
        let mut end = Disconnect::new(DisconnectReasonCode::NormalDisconnection);
        if self.keep.is_some() && !self.granted.session_present {
            end.session_expiry_interval_secs = Some(0);
        }
        // Whatever becomes of it: what had to be known is known.
        let _ = self.wire.send(Packet::Disconnect(end)).await;
        let _ = timeout_at(self.deadline(), self.wire.stream.shutdown()).await;
    }

    fn packet_id(&mut self) -> NonZeroU16 {
        let id = self.next;
        self.next = id.checked_add(1).unwrap_or(NonZeroU16::MIN);
        id
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.wire.within
    }

    async fn packet(&mut self, deadline: Instant, waits: &'static str) -> Result<Packet, Ended> {
        match self.wire.receive(deadline, waits).await? {
            Packet::Disconnect(end) => Err(Ended::Disconnected {
                code: end.reason_code.into(),
            }),
            Packet::Publish(publish) => {
                if self.arrived.len() == ARRIVED {
                    self.arrived.pop_front();
                }
                self.arrived.push_back(publish.payload.clone());
                Ok(Packet::Publish(publish))
            }
            other => Ok(other),
        }
    }
}

// === impl Wire ===

impl Wire {
    async fn open(target: &Target, identity: &Identity, within: Duration) -> Result<Self, Ended> {
        let addresses: Vec<_> = lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|error| Ended::Network(error.to_string()))?
            .collect();
        let (socket, _) =
            dial::connect(&addresses, within)
                .await
                .map_err(|failure| match failure {
                    dial::TcpFailure::Failed(error) => Ended::Network(error.to_string()),
                    dial::TcpFailure::Timeout => Ended::Silent("the connection"),
                })?;
        let stream = dial::start_tls(socket, &target.host, identity, &target.tls)
            .await
            .map_err(Ended::of_tls)?;
        let limit = u32::try_from(PACKET_BYTES).unwrap_or(u32::MAX);
        Ok(Self {
            stream,
            codec: Codec::new(limit, 0),
            input: BytesMut::new(),
            is_mqtt: false,
            within,
        })
    }

    async fn send(&mut self, packet: Packet) -> Result<(), Ended> {
        let mut output = BytesMut::new();
        self.codec
            .encode(packet, &mut output)
            .map_err(|error| Ended::Protocol(error.to_string()))?;
        // A broker that has closed is heard when it is listened to, with its reason.
        let sent = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        let _ = timeout_at(Instant::now() + self.within, sent).await;
        Ok(())
    }

    async fn receive(&mut self, deadline: Instant, waits: &'static str) -> Result<Packet, Ended> {
        let mut has_come = !self.input.is_empty();
        loop {
            // The codec takes the beginning away before it has the rest.
            if !self.is_mqtt
                && let Some(ended) = Ended::of_first_bytes(&self.input)
            {
                return Err(ended);
            }
            match self.codec.decode(&mut self.input) {
                Ok(Some((packet, _))) => {
                    self.is_mqtt = true;
                    return Ok(packet);
                }
                Ok(None) => {}
                Err(error) => return Err(Ended::Protocol(error.to_string())),
            }
            let ended = match timeout_at(deadline, self.stream.read_buf(&mut self.input)).await {
                Err(_) => Ended::Silent(waits),
                Ok(Ok(0)) => Ended::Closed,
                Ok(Ok(_)) => {
                    has_come = true;
                    continue;
                }
                Ok(Err(error)) => Ended::of_io(&error),
            };
            // Whoever has said something was neither silent nor closed without a word.
            return Err(match has_come && !self.is_mqtt {
                true => Ended::Protocol("what came is no packet".into()),
                false => ended,
            });
        }
    }
}

const REFUSED: u8 = 0x80;

// Messages kept while an answer is waited for. The one that is looked for is among the last.
const ARRIVED: usize = 64;
