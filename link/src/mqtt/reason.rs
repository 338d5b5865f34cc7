//! What the broker's refusals mean, in IoT Core's terms, and what to do about them (docs/IOT-CORE.md §1.3, §6).

use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, PubAckReason, StateError, SubscribeReasonCode};

use self::codes::{connect_code, disconnect_name};
use super::credentials::AttemptFailure;
use crate::iot::limits::{LimitError, TOPIC_BYTES};
use crate::telemetry::clip;
use crate::tls::{TlsProblem, diagnose};

mod codes;
mod hint;

/// Why a connection could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer within the connect timeout.
    #[error("no CONNACK before the connect timeout")]
    Timeout,
    /// The name or the port does not answer.
    #[error("reach the broker")]
    Network(#[source] io::Error),
    /// The TLS handshake failed.
    #[error("TLS handshake")]
    Tls(#[source] TlsProblem),
    /// Closed without a reason code: what IoT Core does with an unknown or inactive certificate.
    #[error("the broker closed the connection before CONNACK")]
    ClosedBeforeConnAck,
    /// CONNACK with a refusal.
    #[error("CONNECT refused: {reason} (0x{code:02x})")]
    Refused {
        /// MQTT 5 reason code.
        code: u8,
        /// The code's name.
        reason: &'static str,
    },
    /// An established connection was closed with a DISCONNECT.
    #[error("the broker disconnected: {reason} (0x{code:02x})")]
    Disconnected {
        /// MQTT 5 reason code.
        code: u8,
        /// The code's name, with the broker's own text if it gave any.
        reason: String,
    },
    /// An established connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The broker stopped answering pings or acknowledging publishes.
    #[error("the broker stopped answering: {0}")]
    Stalled(&'static str),
    /// A protocol error.
    #[error("MQTT protocol: {0}")]
    Protocol(String),
    /// Left on purpose, to come back with another certificate or after a backlog.
    #[error("reconnecting: {0}")]
    Deliberate(&'static str),
    /// This process may not be connected now.
    #[error("not connected: {0}")]
    Withheld(&'static str),
}

/// The broker refused a topic filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subscribe to `{filter}` refused: {reason} (0x{code:02x})")]
pub struct SubscribeError {
    /// The filter.
    pub filter: String,
    /// MQTT 5 reason code.
    pub code: u8,
    /// The code's name.
    pub reason: &'static str,
}

/// Why a publish was not accepted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// Refused here because the broker would punish it.
    #[error("message to `{topic}` breaks a limit")]
    Limit {
        /// The topic.
        topic: String,
        /// Which limit.
        #[source]
        source: LimitError,
    },
    /// PUBACK with a refusal.
    #[error("publish to `{topic}` refused: {reason} (0x{code:02x})")]
    Refused {
        /// The topic.
        topic: String,
        /// MQTT 5 reason code.
        code: u8,
        /// The code's name.
        reason: &'static str,
    },
    /// The broker ends the connection whenever it gets this message.
    #[error("publish to `{topic}` ends the connection each time: {reason}")]
    Poison {
        /// The topic.
        topic: String,
        /// Why the broker disconnected.
        reason: String,
    },
    /// The session was shut down first.
    #[error("the session was shut down before the broker acknowledged")]
    Closed,
}

// === impl ConnectError ===

impl ConnectError {
    /// Whether the party itself was refused, so that trying again at once is pointless and counts against it.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { code, .. } => matches!(code, 0x85..=0x87 | 0x8a),
            Self::Disconnected { code, .. } => matches!(code, 0x87 | 0x8e | 0x98),
            Self::ClosedBeforeConnAck | Self::Tls(_) => true,
            _ => false,
        }
    }

    /// What the failure says about the certificate that was used.
    pub(super) fn of_certificate(&self) -> AttemptFailure {
        match self {
            // The last three depend on the set in use too: its CA, and the kind of its key.
            Self::Tls(
                TlsProblem::ClientRefused { .. }
                | TlsProblem::ClientExpired
                | TlsProblem::UnknownIssuer { .. }
                | TlsProblem::ServerCertificate { .. }
                | TlsProblem::Parameters,
            )
            | Self::Refused {
                code: 0x85..=0x87 | 0x8a,
                ..
            } => AttemptFailure::Refused,
            Self::ClosedBeforeConnAck | Self::Tls(TlsProblem::Closed) => AttemptFailure::Closed,
            _ => AttemptFailure::Elsewhere,
        }
    }

    /// One of a closed set of labels, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Network(_) => "network",
            Self::Tls(_) => "tls",
            Self::ClosedBeforeConnAck => "closed_before_connack",
            Self::Refused { .. } => "refused",
            Self::Disconnected { code: 0x8e, .. } => "takeover",
            Self::Disconnected { .. } => "disconnected",
            Self::Broken(_) => "broken",
            Self::Stalled(_) => "stalled",
            Self::Protocol(_) => "protocol",
            Self::Deliberate(_) => "deliberate",
            Self::Withheld(_) => "withheld",
        }
    }

    /// Reads the library's error; `established` tells whether CONNACK had come.
    pub(super) fn read(error: ConnectionError, established: bool) -> Self {
        match error {
            ConnectionError::Timeout(_) => Self::Timeout,
            ConnectionError::ConnectionRefused(code) => Self::refused(code),
            ConnectionError::MqttState(StateError::ConnFail { reason }) => Self::refused(reason),
            ConnectionError::MqttState(StateError::ServerDisconnect {
                reason_code,
                reason_string,
            }) => {
                let name = disconnect_name(reason_code);
                Self::Disconnected {
                    code: reason_code as u8,
                    // The broker's text goes into logs and statuses: one bounded line.
                    reason: reason_string.map_or_else(
                        || name.to_string(),
                        |text| format!("{name}: {}", clip(&text, BROKER_TEXT_BYTES)),
                    ),
                }
            }
            ConnectionError::MqttState(StateError::AwaitPingResp) => Self::Stalled("no PINGRESP"),
            ConnectionError::MqttState(StateError::Io(source)) | ConnectionError::Io(source) => {
                Self::read_io(source, established)
            }
            // A TLS 1.3 server looks at our certificate after our side of the handshake is done: its alert arrives in
            // place of CONNACK, as a packet that cannot be read.
            ConnectionError::MqttState(StateError::Deserialization(rumqttc::Error::Io(source))) => {
                Self::read_io(source, established)
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                Self::read_io(io::ErrorKind::ConnectionAborted.into(), established)
            }
            ConnectionError::Tls(rumqttc::TlsError::Io(source)) => {
                Self::read_io(source, established)
            }
            ConnectionError::Tls(rumqttc::TlsError::TLS(source)) => Self::Tls(diagnose(
                &io::Error::new(io::ErrorKind::InvalidData, source),
            )),
            other => Self::Protocol(clip(&other.to_string(), BROKER_TEXT_BYTES).into_owned()),
        }
    }

    fn read_io(source: io::Error, established: bool) -> Self {
        use io::ErrorKind as Kind;
        if source
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>())
        {
            return Self::Tls(diagnose(&source));
        }
        let closed = matches!(
            source.kind(),
            Kind::UnexpectedEof
                | Kind::ConnectionReset
                | Kind::ConnectionAborted
                | Kind::BrokenPipe
        );
        match (established, closed) {
            (true, _) => Self::Broken(source),
            (false, true) => Self::ClosedBeforeConnAck,
            (false, false) => Self::Network(source),
        }
    }

    fn refused(code: ConnectReturnCode) -> Self {
        let (code, reason) = connect_code(code);
        Self::Refused { code, reason }
    }
}

// === impl SubscribeError ===

impl SubscribeError {
    pub(super) fn read(filter: &str, code: SubscribeReasonCode) -> Option<Self> {
        let (code, reason) = match code {
            SubscribeReasonCode::Success(_) => return None,
            SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => {
                (0x80, "unspecified error")
            }
            SubscribeReasonCode::ImplementationSpecific => (0x83, "implementation specific error"),
            SubscribeReasonCode::NotAuthorized => (0x87, "not authorized"),
            SubscribeReasonCode::TopicFilterInvalid => (0x8f, "topic filter invalid"),
            SubscribeReasonCode::PkidInUse => (0x91, "packet identifier in use"),
            SubscribeReasonCode::QuotaExceeded => (0x97, "quota exceeded"),
            SubscribeReasonCode::SharedSubscriptionsNotSupported => {
                (0x9e, "shared subscriptions not supported")
            }
            SubscribeReasonCode::SubscriptionIdNotSupported => {
                (0xa1, "subscription identifiers not supported")
            }
            SubscribeReasonCode::WildcardSubscriptionsNotSupported => {
                (0xa2, "wildcard subscriptions not supported")
            }
        };
        Some(Self {
            filter: filter.to_string(),
            code,
            reason,
        })
    }
}

// === impl PublishError ===

impl PublishError {
    /// Whether the same message may succeed later without a change by a person.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { code, .. } => matches!(code, 0x80 | 0x83 | 0x91 | 0x97),
            Self::Closed => true,
            Self::Limit { .. } | Self::Poison { .. } => false,
        }
    }

    /// Whether a policy refused it.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { code: 0x87, .. })
    }

    pub(super) fn limit(topic: &str, source: LimitError) -> Self {
        Self::Limit {
            // It may be the topic that is too long.
            topic: clip(topic, TOPIC_BYTES).into_owned(),
            source,
        }
    }

    pub(super) fn retain_not_supported(topic: &str) -> Self {
        Self::Refused {
            topic: topic.to_owned(),
            code: 0x9a,
            reason: "retain not supported",
        }
    }

    pub(super) fn read(topic: &str, reason: PubAckReason) -> Result<bool, Self> {
        let name = match reason {
            PubAckReason::Success => return Ok(true),
            PubAckReason::NoMatchingSubscribers => return Ok(false),
            PubAckReason::UnspecifiedError => "unspecified error",
            PubAckReason::ImplementationSpecificError => "implementation specific error",
            PubAckReason::NotAuthorized => "not authorized",
            PubAckReason::TopicNameInvalid => "topic name invalid",
            PubAckReason::PacketIdentifierInUse => "packet identifier in use",
            PubAckReason::QuotaExceeded => "quota exceeded",
            PubAckReason::PayloadFormatInvalid => "payload format invalid",
        };
        Err(Self::Refused {
            topic: topic.to_string(),
            code: reason as u8,
            reason: name,
        })
    }
}

/// The library's error when a message cannot be encoded, which is the message's fault and no broken connection.
pub(super) fn unencodable(error: &ConnectionError) -> Option<String> {
    use rumqttc::Error as Codec;
    let ConnectionError::MqttState(error) = error else {
        return None;
    };
    match error {
        StateError::OutgoingPacketTooLarge { .. }
        | StateError::Deserialization(Codec::OutgoingPacketTooLarge { .. })
        | StateError::Deserialization(Codec::PayloadTooLong)
        | StateError::InvalidAlias { .. }
        | StateError::RetainNotSupported
        | StateError::Coversion(_) => {
            Some(clip(&error.to_string(), BROKER_TEXT_BYTES).into_owned())
        }
        _ => None,
    }
}

const BROKER_TEXT_BYTES: usize = 200;

#[cfg(test)]
mod tests;
