//! The sending half: answers first, then deliveries in batches, each batch one write.

use std::io::ErrorKind;

use bytes::{Buf as _, BytesMut};
use link::telemetry::clip;
use rmqtt_codec::MqttCodec;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_util::codec::Encoder as _;

use super::{CLIENT_ID, Connection};
use crate::broker::codec;
use crate::broker::faults::{Swallowed, hits};
use crate::broker::live::End;
use crate::broker::packet::{Outbound, Reason, Version};
use crate::broker::presence::DisconnectReason;
use crate::broker::session::{BATCH, Next, Terms};

/// Owns the socket's sending side. What is encoded stays in the buffer until written, so that dropping a future
/// half-way never cuts a packet.
pub(super) struct Writer<S> {
    half: WriteHalf<S>,
    codec: MqttCodec,
    buffer: BytesMut,
}

// === impl Writer ===

impl<S> Writer<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    pub(super) fn new(half: WriteHalf<S>, codec: MqttCodec) -> Self {
        Self {
            half,
            codec,
            buffer: BytesMut::with_capacity(BUFFER),
        }
    }

    /// Sends until the connection is lost or another connection has the session.
    pub(super) async fn run(&mut self, connection: &Connection) -> End {
        let mut faults = connection.shared.environment.faults.watch();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let current = faults.borrow_and_update().clone();
            let stalled = hits(&current.stalled, &connection.link.client_id);
            let next = if stalled {
                Next::Wait(None)
            } else {
                let terms = Terms {
                    environment: &connection.shared.environment,
                    faults: &current,
                    receives: &|message| {
                        !current.swallow.contains(&Swallowed::Delivery)
                            && !hits(&current.refuse_receives, &connection.link.client_id)
                            && connection.link.permissions.receives(&message.topic)
                    },
                };
                connection
                    .session
                    .take(connection.link.id, Instant::now(), &terms, &mut batch)
            };
            match next {
                Next::Send => {
                    for packet in batch.drain(..) {
                        self.encode(packet, connection);
                    }
                    match self.flush(connection.patience()).await {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::TimedOut => {
                            return End::silent(DisconnectReason::MqttKeepAliveTimeout);
                        }
                        Err(_) => return End::silent(DisconnectReason::ConnectionLost),
                    }
                }
                Next::Wait(until) => {
                    tokio::select! {
                        () = connection.session.wake.notified() => {}
                        _ = faults.changed() => {}
                        () = wait_until(until) => {}
                    }
                }
                // Whoever took the session over also ends the link, with the reason.
                Next::Gone => std::future::pending().await,
            }
        }
    }

    /// Sends one packet outside a session, giving up soon.
    pub(super) async fn send_last(&mut self, packet: Outbound) {
        let version = match self.codec {
            MqttCodec::V5(_) => Version::V5,
            MqttCodec::V3(_) | MqttCodec::Version(_) => Version::V3,
        };
        if let Ok(Some(packet)) = codec::outbound(version, packet)
            && self.codec.encode(packet, &mut self.buffer).is_ok()
        {
            let _ = timeout(CLOSE_WITHIN, self.flush(CLOSE_WITHIN)).await;
        }
    }

    /// Says why, if there is something to say and a way to say it, and closes.
    pub(super) async fn close(&mut self, reason: Option<Reason>) {
        if let Some(reason) = reason {
            self.send_last(Outbound::Disconnect(reason)).await;
        }
        let _ = timeout(CLOSE_WITHIN, self.half.shutdown()).await;
    }

    fn encode(&mut self, packet: Outbound, connection: &Connection) {
        let packet_id = match &packet {
            Outbound::Publish { packet_id, .. } => *packet_id,
            _ => None,
        };
        let encoded = codec::outbound(connection.version, packet)
            .and_then(|packet| packet.map_or(Ok(()), |p| self.codec.encode(p, &mut self.buffer)));
        if let Err(error) = encoded {
            // The client's Maximum Packet Size: the message is treated as delivered (MQTT 5 §3.1.2.11.4).
            tracing::debug!(
                client.id = %clip(&connection.link.client_id, CLIENT_ID),
                "Dropped a packet: {error}",
            );
            connection
                .shared
                .environment
                .counters
                .too_large_for_client
                .add(1);
            if let Some(packet_id) = packet_id {
                connection.session.given_up(packet_id.get());
            }
        }
    }

    // A client that takes not one byte for so long does not read: what it sends meanwhile does not keep it.
    async fn flush(&mut self, patience: Duration) -> std::io::Result<()> {
        while self.buffer.has_remaining() {
            if timeout(patience, self.half.write_buf(&mut self.buffer)).await?? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        timeout(patience, self.half.flush()).await?
    }
}

async fn wait_until(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

// A batch of the link's usual bundles; larger ones grow the buffer once.
const BUFFER: usize = 64 * 1024;

// A client that does not read is closed without its reason code.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
