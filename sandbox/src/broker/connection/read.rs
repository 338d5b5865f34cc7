//! The receiving half: one packet at a time, each answered before the next is looked at.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use link::iot::limits::SESSION_EXPIRY;
use rmqtt_codec::MqttCodec;
use rmqtt_codec::error::DecodeError;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::time::{Instant, timeout};
use tokio_util::codec::FramedRead;

use super::Connection;
use crate::broker::codec;
use crate::broker::environment::Environment;
use crate::broker::faults::{Swallowed, hits};
use crate::broker::live::End;
use crate::broker::packet::{Inbound, Outbound, Reason};
use crate::broker::presence::DisconnectReason;
use crate::broker::quota::Bucket;
use crate::broker::session::ANSWERS;

/// Owns the socket's receiving side and what only it needs.
pub(super) struct Reader<S> {
    frames: FramedRead<ReadHalf<S>, MqttCodec>,
    pub(super) aliases: HashMap<u16, Arc<str>>,
    pub(super) publishes: Bucket,
    pub(super) bytes: Bucket,
}

// === impl Reader ===

impl<S> Reader<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    pub(super) fn new(
        frames: FramedRead<ReadHalf<S>, MqttCodec>,
        environment: &Environment,
        now: Instant,
    ) -> Self {
        Self {
            frames,
            aliases: HashMap::new(),
            publishes: Bucket::new(environment.quotas.publishes_per_second, now),
            bytes: Bucket::new(environment.quotas.bytes_per_second, now),
        }
    }

    /// Reads until the connection ends.
    pub(super) async fn run(&mut self, connection: &Connection) -> End {
        let patience = connection.patience();
        loop {
            connection.unstalled().await;
            // A client that takes no answers for so long counts as silent.
            let read = async {
                connection.answers_have_room().await;
                self.frames.next().await
            };
            let frame = match timeout(patience, read).await {
                Ok(frame) => frame,
                Err(_) => {
                    let cause = DisconnectReason::MqttKeepAliveTimeout;
                    return End::with_reason(cause, Reason::KEEP_ALIVE_TIMEOUT);
                }
            };
            let packet = match frame {
                Some(Ok((packet, _))) => codec::inbound(packet),
                Some(Err(error)) => return decode_end(&error),
                None => return End::silent(DisconnectReason::ConnectionLost),
            };
            if let Err(end) = self.handle(packet, connection).await {
                return end;
            }
        }
    }

    async fn handle(&mut self, packet: Inbound, connection: &Connection) -> Result<(), End> {
        match packet {
            Inbound::Publish(publish) => self.publish(publish, connection).await,
            Inbound::PubAck(packet_id) => {
                connection.session.acknowledged(packet_id);
                Ok(())
            }
            Inbound::Subscribe {
                packet_id,
                identifier,
                filters,
            } => connection.subscribe(packet_id, identifier, filters),
            Inbound::Unsubscribe { packet_id, filters } => {
                connection.unsubscribe(packet_id, &filters);
                Ok(())
            }
            Inbound::Ping => {
                let faults = connection.shared.environment.faults.get();
                if !faults.swallow.contains(&Swallowed::Ping) {
                    connection.answer(Outbound::Pong);
                }
                Ok(())
            }
            Inbound::Disconnect {
                will,
                session_expiry,
            } => {
                if let Some(expiry) = session_expiry {
                    let expiry = expiry.min(SESSION_EXPIRY);
                    connection.session.set_expiry(expiry);
                }
                let cause = DisconnectReason::ClientInitiatedDisconnect;
                Err(End {
                    cause,
                    reason: None,
                    will,
                })
            }
            // PUBREC, PUBREL, PUBCOMP and AUTH are not supported (docs/IOT-CORE.md §1.1); the rest is a server's.
            Inbound::Unsupported => Err(connection.refusal(Reason::PROTOCOL_ERROR)),
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Queues an answer; returns how many wait.
    pub(super) fn answer(&self, packet: Outbound) -> usize {
        self.session.answer(self.link.id, packet)
    }

    /// Waits while the fault that stalls this client is on.
    async fn unstalled(&self) {
        let client_id = &*self.link.client_id;
        let mut faults = self.shared.environment.faults.watch();
        let _ = faults
            .wait_for(|faults| !hits(&faults.stalled, client_id))
            .await;
    }

    /// Stops reading from a client that does not take its answers.
    async fn answers_have_room(&self) {
        while self.session.answers_waiting() >= ANSWERS {
            self.session.drained.notified().await;
        }
    }
}

fn decode_end(error: &DecodeError) -> End {
    match error {
        // Larger than the announced 149 504 bytes. Which code is not known; 0x95 is not on IoT Core's list and
        // 0x97 is (docs/IOT-CORE.md §1.3).
        DecodeError::MaxSizeExceeded { .. } => {
            End::with_reason(DisconnectReason::ClientError, Reason::QUOTA_EXCEEDED)
        }
        DecodeError::Io(_) => End::silent(DisconnectReason::ConnectionLost),
        _ => End::with_reason(DisconnectReason::ClientError, Reason::MALFORMED_PACKET),
    }
}
