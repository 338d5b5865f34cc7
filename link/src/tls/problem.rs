//! What a failed handshake means on IoT Core, and what to do (docs/IOT-CORE.md §6 rows 3 and 14).

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
use rustls_pki_types::UnixTime;

use super::ALPN_MQTT;
use crate::clock::rfc3339_seconds;
use crate::error::Hint;
use crate::fault::Code;

/// The server's chain leads to a root that the CA file does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("server certificate `{server}` leads to issuer `{seen}`, but CA file `{}` has {}", ca_file.display(), quoted(given))]
pub struct IssuerMismatch {
    /// Subject of the server's own certificate.
    pub server: String,
    /// Issuer of the last certificate the server sent.
    pub seen: String,
    /// Subjects of the CA file.
    pub given: Vec<String>,
    /// The CA file.
    pub ca_file: PathBuf,
}

/// What went wrong in a TLS handshake, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// The server's chain leads to none of our roots.
    #[error("server certificate is not signed by the given CA{}", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
    UnknownIssuer {
        /// Who it leads to and whom we trust, if the certificate could be read.
        detail: Option<IssuerMismatch>,
    },
    /// The server's certificate is for other names.
    #[error(
        "server certificate is not for `{expected}`, only for {}",
        quoted(presented)
    )]
    NameMismatch {
        /// The host that was dialled; empty when unknown.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// The server's certificate is over by our clock.
    #[error("server certificate expired{}", times(*not_after, *now))]
    ServerExpired {
        /// Its last second.
        not_after: Option<Timestamp>,
        /// What our clock showed.
        now: Option<Timestamp>,
    },
    /// The server's certificate has not begun by our clock.
    #[error("server certificate is not yet valid{}", times(*not_before, *now))]
    ServerNotYetValid {
        /// Its first second.
        not_before: Option<Timestamp>,
        /// What our clock showed.
        now: Option<Timestamp>,
    },
    /// The server's certificate is refused for another reason.
    #[error("server certificate is not acceptable: {reason}")]
    ServerCertificate {
        /// What the library said.
        reason: String,
    },
    /// The broker refused our certificate.
    #[error("broker refused the client certificate (alert {alert})")]
    ClientRefused {
        /// The alert it sent, by its name in RFC 8446.
        alert: &'static str,
    },
    /// The broker says our certificate has expired.
    #[error("broker says the client certificate expired (alert certificate_expired)")]
    ClientExpired,
    /// No TLS version in common.
    #[error("no TLS version in common with the broker")]
    Version,
    /// No cipher suite or signature scheme in common.
    #[error("no cipher suite or signature algorithm in common with the broker")]
    Parameters,
    /// The broker does not know the host name sent.
    #[error("broker does not know the host name sent in the handshake (alert unrecognized_name)")]
    Sni,
    /// The broker does not take the application protocol.
    #[error("broker accepts none of the application protocols offered (ALPN)")]
    Alpn,
    /// The connection was closed in the handshake, without an alert.
    #[error("connection closed during the TLS handshake")]
    Closed,
    /// Something else than TLS is spoken there.
    #[error("peer does not speak TLS")]
    NotTls,
    /// Anything else; the text is the library's.
    #[error("TLS failed: {reason}")]
    Other {
        /// What the library said.
        reason: String,
    },
}

/// Finds the TLS failure in an error, its sources or an `io::Error`'s inside and says what it means.
pub fn diagnose(error: &(dyn StdError + 'static)) -> TlsProblem {
    let mut next = Some(error);
    let mut closed = false;
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            closed |= matches!(
                io.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
            );
            // `source` of an `io::Error` skips the error it was made of and goes on with that one's source.
            if let Some(inner) = io.get_ref() {
                next = Some(inner);
            }
        }
    }
    if closed {
        return TlsProblem::Closed;
    }
    TlsProblem::Other {
        reason: crate::error::chain(error),
    }
}

// === impl TlsProblem ===

impl TlsProblem {
    /// Its fault, as far as the handshake alone tells.
    pub fn code(&self) -> Code {
        Code::new(match self {
            Self::ClientExpired => 112,
            Self::NotTls => 221,
            Self::Sni | Self::Alpn => 222,
            Self::UnknownIssuer { .. } => 223,
            Self::Version => 224,
            Self::NameMismatch { .. } => 225,
            Self::ServerExpired { .. } | Self::ServerNotYetValid { .. } => 226,
            Self::ClientRefused { .. } => 301,
            Self::ServerCertificate { .. }
            | Self::Parameters
            | Self::Closed
            | Self::Other { .. } => 220,
        })
    }

    /// Whether the broker refused *us*: an identity that has just been replaced should be taken back.
    pub fn is_client_refused(&self) -> bool {
        matches!(self, Self::ClientRefused { .. } | Self::ClientExpired)
    }
}

impl Hint for TlsProblem {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownIssuer { .. } => {
                "for IoT Core use the Data-ATS endpoint (`aws iot describe-endpoint --endpoint-type iot:Data-ATS`) and Amazon Root CA 1 and 3 as CA file".into()
            }
            Self::NameMismatch { .. } => {
                "dial the endpoint by exactly the name it has, never by address; through PrivateLink make a private hosted zone for that name".into()
            }
            Self::ServerExpired { .. } | Self::ServerNotYetValid { .. } => {
                "check the clock of this machine first, then the broker's certificate".into()
            }
            Self::ServerCertificate { .. } => "check the broker's certificate and that nothing in between answers for it".into(),
            Self::ClientRefused { .. } => {
                "check, in the endpoint's account and region, that the certificate is registered and ACTIVE: `aws iot describe-certificate`; it may be INACTIVE, REVOKED, or belong to another account or region".into()
            }
            Self::ClientExpired => "issue a new certificate, register it and store it with its key".into(),
            Self::Version => "compare the broker's TLS policy with the oldest version allowed here: IoT Core's default policy takes TLS 1.2 and 1.3".into(),
            Self::Parameters => "compare the broker's TLS policy and the kind of our key: use RSA of 2048 bits or more, EC P-256 or EC P-384".into(),
            Self::Sni => "dial the endpoint of the account by exactly its name".into(),
            Self::Alpn => format!("use the application protocol `{ALPN_MQTT}` on port 443 and none on port 8883"),
            Self::Closed => format!(
                "check in this order: the endpoint's name and port (443 needs the application protocol `{ALPN_MQTT}`), that the certificate is registered and ACTIVE there, and whether a proxy or firewall cuts TLS"
            ),
            Self::NotTls => "check host and port: this looks like a plain MQTT or HTTP port, or a proxy that answers itself".into(),
            Self::Other { .. } => return None,
        })
    }
}

fn of_tls(error: &rustls::Error) -> TlsProblem {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(error) => of_certificate(error),
        E::AlertReceived(alert) => of_alert(*alert),
        E::NoApplicationProtocol => TlsProblem::Alpn,
        E::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => TlsProblem::NotTls,
        E::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => TlsProblem::Version,
        E::PeerIncompatible(_) => TlsProblem::Parameters,
        other => TlsProblem::Other {
            reason: other.to_string(),
        },
    }
}

fn of_certificate(error: &CertificateError) -> TlsProblem {
    use CertificateError as C;
    match error {
        C::UnknownIssuer => TlsProblem::UnknownIssuer { detail: None },
        C::Other(other) => match other.0.downcast_ref::<IssuerMismatch>() {
            Some(mismatch) => TlsProblem::UnknownIssuer {
                detail: Some(mismatch.clone()),
            },
            None => TlsProblem::ServerCertificate {
                reason: other.to_string(),
            },
        },
        C::NotValidForName => TlsProblem::NameMismatch {
            expected: String::new(),
            presented: Vec::new(),
        },
        C::NotValidForNameContext {
            expected,
            presented,
        } => TlsProblem::NameMismatch {
            expected: expected.to_str().into_owned(),
            presented: presented.iter().map(|name| plain_name(name)).collect(),
        },
        C::Expired => TlsProblem::ServerExpired {
            not_after: None,
            now: None,
        },
        C::ExpiredContext { time, not_after } => TlsProblem::ServerExpired {
            not_after: timestamp(*not_after),
            now: timestamp(*time),
        },
        C::NotValidYet => TlsProblem::ServerNotYetValid {
            not_before: None,
            now: None,
        },
        C::NotValidYetContext { time, not_before } => TlsProblem::ServerNotYetValid {
            not_before: timestamp(*not_before),
            now: timestamp(*time),
        },
        other => TlsProblem::ServerCertificate {
            reason: other.to_string(),
        },
    }
}

fn of_alert(alert: AlertDescription) -> TlsProblem {
    use AlertDescription as A;
    let refused = |alert| TlsProblem::ClientRefused { alert };
    match alert {
        A::BadCertificate => refused("bad_certificate"),
        A::UnsupportedCertificate => refused("unsupported_certificate"),
        A::CertificateRevoked => refused("certificate_revoked"),
        A::CertificateUnknown => refused("certificate_unknown"),
        A::UnknownCA => refused("unknown_ca"),
        A::AccessDenied => refused("access_denied"),
        A::CertificateRequired => refused("certificate_required"),
        A::NoCertificate => refused("no_certificate"),
        A::CertificateExpired => TlsProblem::ClientExpired,
        A::ProtocolVersion | A::InappropriateFallback => TlsProblem::Version,
        A::HandshakeFailure | A::InsufficientSecurity => TlsProblem::Parameters,
        A::UnrecognisedName => TlsProblem::Sni,
        A::NoApplicationProtocol => TlsProblem::Alpn,
        A::CloseNotify => TlsProblem::Closed,
        other => TlsProblem::Other {
            reason: format!("broker sent alert {other:?}"),
        },
    }
}

fn timestamp(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.as_secs()).ok()?).ok()
}

fn times(of_certificate: Option<Timestamp>, now: Option<Timestamp>) -> String {
    match (of_certificate, now) {
        (Some(at), Some(now)) => format!(
            ": its limit is {}, the clock here shows {}",
            rfc3339_seconds(at),
            rfc3339_seconds(now)
        ),
        _ => String::new(),
    }
}

/// The library writes names as `DnsName("localhost")` and `IpAddress(127.0.0.1)`.
fn plain_name(name: &str) -> String {
    let address = name.strip_prefix("IpAddress(");
    if let Some(address) = address.and_then(|rest| rest.strip_suffix(')')) {
        return address.to_owned();
    }
    match (name.find('"'), name.rfind('"')) {
        (Some(first), Some(last)) if first < last => name[first + 1..last].to_owned(),
        _ => name.to_owned(),
    }
}

fn quoted(names: &[String]) -> String {
    match names {
        [] => "no name".into(),
        names => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_people_write_them() {
        for (library, people) in [
            ("DnsName(\"localhost\")", "localhost"),
            ("IpAddress(127.0.0.1)", "127.0.0.1"),
            ("other", "other"),
        ] {
            assert_eq!(plain_name(library), people);
        }
    }
}
