//! How a connection ended, in the words of the wire; pure.

use std::fmt;

use link::tls::{self, TlsProblem};

use crate::peer::{CONNACK, OLDER_CONNACK_BYTES};

/// How a connection ended, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// CONNACK with a refusal.
    Refused {
        /// Reason code of MQTT 5.
        code: u8,
    },
    /// DISCONNECT by the broker.
    Disconnected {
        /// Reason code of MQTT 5.
        code: u8,
    },
    /// Closed without a word, or with an alert of TLS about our certificate.
    Closed,
    /// No answer in time to what is named.
    Silent(&'static str),
    /// No connection could be made, or it broke.
    Network(String),
    /// What came is no MQTT.
    Protocol(String),
    /// CONNACK of MQTT 3.1.1.
    Older,
}

// === impl Ended ===

impl Ended {
    /// What a failed handshake or read of TLS means here.
    pub(crate) fn of_tls(problem: TlsProblem) -> Self {
        match problem {
            TlsProblem::Closed => Self::Closed,
            problem if problem.is_client_refused() => Self::Closed,
            problem => Self::Network(problem.to_string()),
        }
    }

    /// What a failed read means: with TLS 1.3 a refused certificate shows only there.
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::UnexpectedEof => Self::Closed,
            _ => Self::of_tls(tls::diagnose(error)),
        }
    }

    /// What the first bytes that come mean where they are no packet of MQTT 5.
    pub(crate) fn of_first_bytes(input: &[u8]) -> Option<Self> {
        match input {
            [CONNACK, OLDER_CONNACK_BYTES, ..] => Some(Self::Older),
            input if input.starts_with(b"HTTP") => {
                Some(Self::Protocol("HTTP is spoken there".into()))
            }
            _ => None,
        }
    }

    /// Whether the broker refused whoever connected, or closed without saying so.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { code } => matches!(code, 0x86 | 0x87 | 0x8a),
            Self::Disconnected { code } => *code == 0x87,
            Self::Closed => true,
            _ => false,
        }
    }

    /// Whether CONNACK says that it is not allowed, which a policy that is on its way may change.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { code: 0x87 })
    }

    /// Whether a rate of the account or of the client id is used up.
    pub(crate) fn is_throttled(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 0x88 | 0x89 | 0x97 | 0x9f
            } | Self::Disconnected { code: 0x97 | 0x9f }
        )
    }

    /// Whether what answers speaks something else than MQTT 5.
    pub(crate) fn is_of_another_protocol(&self) -> bool {
        matches!(
            self,
            Self::Protocol(_) | Self::Older | Self::Refused { code: 0x84 }
        )
    }

    /// Whether another connection took the client id.
    pub(crate) fn is_takeover(&self) -> bool {
        matches!(self, Self::Disconnected { code: 0x8e })
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code } => write!(f, "CONNACK 0x{code:02x}"),
            Self::Disconnected { code } => write!(f, "DISCONNECT 0x{code:02x}"),
            Self::Closed => f.write_str("closed without a word"),
            Self::Silent(what) => write!(f, "no answer to {what}"),
            Self::Network(error) => write!(f, "no connection ({error})"),
            Self::Protocol(error) => write!(f, "no MQTT ({error})"),
            Self::Older => f.write_str("CONNACK of MQTT 3.1.1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_into_refusal_throttling_and_takeover() {
        let refused = |code| Ended::Refused { code };
        let disconnected = |code| Ended::Disconnected { code };
        assert!(refused(0x87).is_refusal() && Ended::Closed.is_refusal());
        assert!(!refused(0x97).is_refusal() && refused(0x97).is_throttled());
        assert!(refused(0x9f).is_throttled() && !refused(0x85).is_throttled());
        assert!(disconnected(0x8e).is_takeover() && !disconnected(0x98).is_takeover());
        assert!(!Ended::Silent("CONNECT").is_refusal());
    }

    #[test]
    fn another_protocol_is_known_by_its_first_bytes() {
        let seen = |input: &[u8]| Ended::of_first_bytes(input).map(|ended| ended.to_string());
        assert_eq!(seen(b"\x20\x02\x00\x01").unwrap(), "CONNACK of MQTT 3.1.1");
        assert_eq!(
            seen(b"HTTP/1.1 400").unwrap(),
            "no MQTT (HTTP is spoken there)"
        );
        // The shortest of MQTT 5, and beginnings.
        for input in [b"\x20\x03\x00\x87\x00".as_slice(), b"\x20", b"HTT", b""] {
            assert_eq!(seen(input), None, "{input:?}");
        }
    }
}
