//! From an open socket to a CONNECT that can be answered: MQTT 5 only, within ten seconds.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures_util::StreamExt as _;
use rmqtt_codec::error::EncodeError;
use rmqtt_codec::v5::{Connect, ConnectAckReason, Packet};
use rmqtt_codec::version::{ProtocolVersion, VersionCodec};
use rmqtt_codec::{MqttCodec, MqttPacket, v5};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::codec::{Encoder as _, FramedRead};

use super::{PACKET_BYTES, packet};

/// Packets of the server.
pub(super) type Frames = FramedRead<OwnedReadHalf, MqttCodec>;

/// Packets to the server. What is encoded stays here until it is written, so that a dropped future cuts no packet.
pub(super) struct PacketWriter {
    half: OwnedWriteHalf,
    codec: v5::Codec,
    buffer: BytesMut,
}

/// A connection that asks to be taken.
pub(super) struct Asking {
    pub(super) connect: Box<Connect>,
    pub(super) frames: Frames,
    pub(super) writer: PacketWriter,
}

/// Why a connection did not come so far: a cause for metrics, and words for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) cause: &'static str,
    pub(super) words: String,
}

/// Reads CONNECT; whoever is turned away has been told why, where there is a way to say it.
///
/// # Errors
/// [`Rejection`].
pub(super) async fn greet(stream: TcpStream) -> Result<Asking, Rejection> {
    let (read, write) = stream.into_split();
    let mut writer = PacketWriter {
        half: write,
        codec: v5::Codec::new(0, 0),
        buffer: BytesMut::new(),
    };
    let mut frames = FramedRead::new(read, MqttCodec::Version(VersionCodec));
    let connect = match timeout(CONNECT_WITHIN, read_connect(&mut frames)).await {
        Ok(Ok(connect)) => connect,
        Ok(Err(turned)) => {
            if turned.cause == OLD_PROTOCOL {
                // MQTT 3.1.1's CONNACK "unacceptable protocol version": a 5 would not be understood.
                writer.buffer.extend_from_slice(&[0x20, 0x02, 0x00, 0x01]);
                writer.flush_soon().await;
            }
            return Err(turned);
        }
        Err(_) => {
            let words = format!("it sent no CONNECT within {} s", CONNECT_WITHIN.as_secs());
            return Err(turned("slow", words));
        }
    };
    if let Err((reason, words)) = acceptable(&connect) {
        writer.last_word(packet::refused(reason, words)).await;
        return Err(turned("refused", words.to_owned()));
    }
    if let Some(limit) = connect.max_packet_size {
        writer.codec.set_max_outbound_size(limit.get());
    }
    *frames.decoder_mut() = MqttCodec::V5(v5::Codec::new(PACKET_BYTES, 0));
    Ok(Asking {
        connect,
        frames,
        writer,
    })
}

async fn read_connect(frames: &mut Frames) -> Result<Box<Connect>, Rejection> {
    let malformed = |_| turned("malformed", "it does not speak MQTT".into());
    let gone = || turned("broken", "it left before CONNECT".into());
    let (version, _) = frames.next().await.ok_or_else(gone)?.map_err(malformed)?;
    match version {
        MqttPacket::Version(ProtocolVersion::MQTT5) => {}
        MqttPacket::Version(ProtocolVersion::MQTT3) => {
            let words = "it speaks MQTT 3, which cannot carry the attributes of events".into();
            return Err(turned(OLD_PROTOCOL, words));
        }
        _ => return Err(turned("malformed", "it does not speak MQTT".into())),
    }
    *frames.decoder_mut() = MqttCodec::V5(v5::Codec::new(CONNECT_BYTES, 0));
    match frames.next().await.ok_or_else(gone)?.map_err(malformed)? {
        (MqttPacket::V5(Packet::Connect(connect)), _) => Ok(connect),
        _ => Err(turned("malformed", "its first packet is no CONNECT".into())),
    }
}

/// What the Go server never asks for is refused rather than ignored (docs/MAESTRO.md §1.1). Name and password are not looked at:
/// only this machine reaches the port.
fn acceptable(connect: &Connect) -> Result<(), (ConnectAckReason, &'static str)> {
    if connect.client_id.is_empty() {
        let words = "give the server a client id";
        return Err((ConnectAckReason::ClientIdentifierNotValid, words));
    }
    if connect.auth_method.is_some() {
        let words = "there is no authentication here";
        return Err((ConnectAckReason::BadAuthenticationMethod, words));
    }
    if connect.last_will.is_some() {
        let words = "a last will is not carried";
        return Err((ConnectAckReason::ImplementationSpecificError, words));
    }
    Ok(())
}

fn turned(cause: &'static str, words: String) -> Rejection {
    Rejection { cause, words }
}

// === impl PacketWriter ===

impl PacketWriter {
    /// Encodes a packet behind those that wait.
    ///
    /// # Errors
    /// When it is larger than the server takes.
    pub(super) fn push(&mut self, packet: Packet) -> Result<(), EncodeError> {
        self.codec.encode(packet, &mut self.buffer)
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Writes some of them.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) async fn write(&mut self) -> io::Result<()> {
        if self.half.write_buf(&mut self.buffer).await? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    /// Sends one packet behind what waits and closes, giving up soon.
    pub(super) async fn last_word(&mut self, packet: Packet) {
        if self.push(packet).is_ok() {
            self.flush_soon().await;
        }
    }

    async fn flush_soon(&mut self) {
        let flushing = async {
            while self.buffer.has_remaining() {
                self.write().await?;
            }
            self.half.shutdown().await
        };
        // Whoever does not read does not get to hear it.
        drop(timeout(FAREWELL, flushing).await);
    }
}

const OLD_PROTOCOL: &str = "old_protocol";

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

// A client id, a name and a password.
const CONNECT_BYTES: u32 = 16 * 1024;

const FAREWELL: Duration = Duration::from_secs(1);
