//! From what was observed to what it means: a stable code, a sentence and the next step. No I/O.
//!
//! The causes and their signs are those of docs/IOT-CORE.md §6.

// Long because the catalogue of findings is one table.

use std::io;

use link::error::{ExitKind, Hint, chain};
use link::identity::{self, Class};
use link::iot::ArnPrefix;
use link::iot::limits::LimitError;
use link::mqtt::{ConnectError, PublishError, SubscribeError};
use link::tls::{ALPN_MQTT, TlsProblem};

use crate::connection::{connect_denied_hint, publish_hint, subscribe_denied_hint};

/// Why a stage failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable, `stage.cause`.
    pub code: &'static str,
    /// What was seen.
    pub what: String,
    /// What to do.
    pub hint: String,
    /// The exit code's kind.
    pub kind: ExitKind,
}

/// What a look-up of the host brought.
#[derive(Debug)]
pub enum LookupSeen {
    /// The resolver's error.
    Failed(io::Error),
    /// An answer without addresses.
    Empty,
    /// No answer in time.
    Timeout,
}

/// What a TCP connection brought.
#[derive(Debug)]
pub enum TcpSeen {
    /// Refused, unreachable or another error.
    Failed(io::Error),
    /// No answer in time.
    Timeout,
}

/// What port 443 with the application protocol said when the chosen port did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port443 {
    /// TLS with `x-amzn-mqtt-ca` came up: MQTT will work there.
    Works,
    /// TCP came up, TLS did not.
    TcpOnly,
    /// Nothing either.
    Closed,
    /// Not tried, because it is the chosen port.
    NotTried,
}

/// Whom and what the check is about, for the hints.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Client id in use.
    pub client_id: String,
    /// How resource names begin.
    pub arn: ArnPrefix,
}

// === impl Finding ===

impl Finding {
    fn new(
        code: &'static str,
        kind: ExitKind,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            kind,
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// A file of the identity.
    pub fn of_identity(error: &identity::IdentityError) -> Self {
        let hint = error.hint().unwrap_or_else(|| "correct the file".into());
        Self::new(identity_code(error), ExitKind::Usage, chain(error), hint)
    }

    /// Our own parts failed.
    pub fn internal(what: &str) -> Self {
        Self::new(
            "probe.internal",
            ExitKind::Failed,
            what,
            "try again; if it stays, report it as a defect of probe",
        )
    }

    /// The host's name.
    pub fn of_lookup(seen: &LookupSeen, host: &str) -> Self {
        match seen {
            LookupSeen::Timeout => Self::new(
                "dns.timeout",
                ExitKind::Timeout,
                format!("no answer to the look-up of `{host}`"),
                "check the resolver (`/etc/resolv.conf`) and the way to it, UDP and TCP port 53",
            ),
            LookupSeen::Empty => Self::not_found(host),
            LookupSeen::Failed(error) => {
                let text = error.to_string();
                // The resolver's errors have no kind of their own, only `gai_strerror`'s words.
                if text.contains("Temporary failure") || text.contains("Try again") {
                    return Self::new(
                        "dns.unavailable",
                        ExitKind::Failed,
                        format!("look-up of `{host}`: the resolver failed for now"),
                        "check the resolver (`/etc/resolv.conf`) and the way to it; then try again",
                    );
                }
                if ["not known", "No address", "nodename"]
                    .iter()
                    .any(|words| text.contains(words))
                {
                    return Self::not_found(host);
                }
                Self::new(
                    "dns.failed",
                    ExitKind::Failed,
                    format!("look-up of `{host}`: {text}"),
                    "check the host name and the resolver",
                )
            }
        }
    }

    fn not_found(host: &str) -> Self {
        let hint = if host.ends_with(".amazonaws.com") {
            "compare it with `aws iot describe-endpoint --endpoint-type iot:Data-ATS` in the right region; in a VPC without internet add a private hosted zone for it"
        } else {
            "check the spelling, and that this machine's resolver knows the zone"
        };
        Self::new(
            "dns.not-found",
            ExitKind::Failed,
            format!("no address for `{host}`"),
            hint,
        )
    }

    /// The TCP connection.
    pub fn of_tcp(seen: &TcpSeen, subject: &Subject, other: Port443) -> Self {
        let Subject { host, port, .. } = subject;
        let elsewhere = match other {
            Port443::Works => {
                format!("; port 443 works: use `-p 443` (application protocol `{ALPN_MQTT}`)")
            }
            Port443::TcpOnly => format!("; port 443 accepts TCP but not TLS with `{ALPN_MQTT}`"),
            Port443::Closed => "; port 443 does not answer either".into(),
            Port443::NotTried => String::new(),
        };
        match seen {
            TcpSeen::Timeout => Self::new(
                "tcp.timeout",
                ExitKind::Timeout,
                format!("no answer from `{host}` on port {port}"),
                format!(
                    "a firewall, security group or network ACL drops it: allow outbound TCP {port}{elsewhere}"
                ),
            ),
            TcpSeen::Failed(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Self::new(
                    "tcp.refused",
                    ExitKind::Failed,
                    format!("`{host}` refuses port {port}"),
                    format!(
                        "nothing listens there, or a firewall rejects it: check host and port{elsewhere}"
                    ),
                )
            }
            TcpSeen::Failed(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
                ) =>
            {
                Self::new(
                    "tcp.unreachable",
                    ExitKind::Failed,
                    format!("no route to `{host}`"),
                    format!(
                        "check the routes out of this network (NAT gateway, VPC endpoint){elsewhere}"
                    ),
                )
            }
            TcpSeen::Failed(error) => Self::new(
                "tcp.failed",
                ExitKind::Failed,
                format!("connect to `{host}` on port {port}: {error}"),
                format!("check host and port{elsewhere}"),
            ),
        }
    }

    /// The TLS handshake, or an alert right after it.
    pub fn of_tls(problem: &TlsProblem, subject: &Subject) -> Self {
        let mut hint = problem
            .hint()
            .unwrap_or_else(|| "check host, port and the broker's TLS settings".into());
        let (code, kind) = match problem {
            TlsProblem::UnknownIssuer { .. } => {
                if is_legacy_endpoint(&subject.host) {
                    hint = format!(
                        "`{}` is the legacy endpoint, without `-ats`; {hint}",
                        subject.host
                    );
                }
                ("tls.unknown-issuer", ExitKind::Failed)
            }
            TlsProblem::NameMismatch { .. } => ("tls.name-mismatch", ExitKind::Failed),
            TlsProblem::ServerExpired { .. } => ("tls.server-expired", ExitKind::Failed),
            TlsProblem::ServerNotYetValid { .. } => ("tls.server-not-yet-valid", ExitKind::Failed),
            TlsProblem::ServerCertificate { .. } => ("tls.server-certificate", ExitKind::Failed),
            TlsProblem::ClientRefused { .. } => {
                ("tls.client-certificate-refused", ExitKind::Refused)
            }
            TlsProblem::ClientExpired => ("tls.client-certificate-expired", ExitKind::Refused),
            TlsProblem::Version => ("tls.version", ExitKind::Failed),
            TlsProblem::Parameters => ("tls.parameters", ExitKind::Failed),
            TlsProblem::Sni => ("tls.server-name", ExitKind::Failed),
            TlsProblem::Alpn => ("tls.alpn", ExitKind::Failed),
            TlsProblem::Closed => ("tls.closed", ExitKind::Refused),
            TlsProblem::NotTls => ("tls.not-tls", ExitKind::Failed),
            TlsProblem::Other { .. } => ("tls.failed", ExitKind::Failed),
        };
        Self::new(code, kind, problem.to_string(), hint)
    }

    /// No end of the handshake in time.
    pub fn tls_timeout() -> Self {
        Self::new(
            "tls.timeout",
            ExitKind::Timeout,
            "the TLS handshake did not end in time",
            "the port accepts TCP and then says nothing: check the port, and for a proxy in between",
        )
    }

    /// CONNECT, or a connection that ended later.
    pub fn of_connect(error: &ConnectError, subject: &Subject) -> Self {
        let what = chain(error);
        let hint = error
            .hint()
            .unwrap_or_else(|| "try again; the broker's log may say more".into());
        let Subject { client_id, arn, .. } = subject;
        let (code, kind, hint) = match error {
            ConnectError::Tls(problem) => return Self::of_tls(problem, subject),
            ConnectError::Timeout => ("connect.timeout", ExitKind::Timeout, "TLS came up but CONNECT is not answered: check that this is an MQTT port".into()),
            ConnectError::Network(_) => ("connect.network", ExitKind::Failed, hint),
            ConnectError::ClosedBeforeConnAck => (
                "connect.closed",
                ExitKind::Refused,
                format!(
                    "in this order: certificate not ACTIVE or not registered in this account and region; no policy attached; no `iot:Connect` on `{arn}:client/{client_id}`"
                ),
            ),
            ConnectError::Refused { code: 0x84, .. } => ("connect.protocol-version", ExitKind::Refused, "the broker does not speak MQTT 5".into()),
            ConnectError::Refused { code: 0x85, .. } => ("connect.client-id", ExitKind::Refused, hint),
            ConnectError::Refused { code: 0x86 | 0x87 | 0x8a, .. } => ("connect.not-authorized", ExitKind::Refused, connect_denied_hint(arn, client_id)),
            ConnectError::Refused { code: 0x88 | 0x89 | 0x97 | 0x9f, .. } => (
                "connect.throttled",
                ExitKind::Refused,
                "the broker is busy or a connect quota is used up: wait a minute, then try again".into(),
            ),
            ConnectError::Refused { .. } => ("connect.refused", ExitKind::Refused, hint),
            ConnectError::Disconnected { code: 0x8e, .. } => (
                "connect.client-id-in-use",
                ExitKind::Refused,
                format!("another process connects as `{client_id}`: one id per process; leave out `-i` to use one of probe's own"),
            ),
            ConnectError::Disconnected { code: 0x87, .. } => ("connect.not-authorized", ExitKind::Refused, connect_denied_hint(arn, client_id)),
            ConnectError::Disconnected { code: 0x95, .. } => ("limits.packet", ExitKind::Refused, hint),
            ConnectError::Disconnected { code: 0x96 | 0x97, .. } => ("limits.rate", ExitKind::Refused, hint),
            ConnectError::Disconnected { .. } => ("connect.disconnected", ExitKind::Refused, hint),
            ConnectError::Broken(_) => ("connect.broken", ExitKind::Failed, "something closed the connection without a word: a policy that denies an operation on MQTT 3.1.1 brokers, or the network".into()),
            ConnectError::Stalled(_) => ("connect.stalled", ExitKind::Timeout, hint),
            _ => ("connect.protocol", ExitKind::Failed, hint),
        };
        Self::new(code, kind, what, hint)
    }

    /// SUBACK.
    pub fn of_subscribe(error: &SubscribeError, subject: &Subject) -> Self {
        let hint = || error.hint().unwrap_or_else(|| "check the filter".into());
        let (code, hint) = match error.code {
            0x87 => (
                "subscribe.denied",
                subscribe_denied_hint(&subject.arn, &error.filter),
            ),
            0x8f => ("subscribe.filter-invalid", hint()),
            0x97 => (
                "limits.subscriptions",
                "50 subscriptions per connection are the limit".into(),
            ),
            0x9e => ("subscribe.no-shared", hint()),
            _ => ("subscribe.refused", hint()),
        };
        Self::new(code, ExitKind::Refused, chain(error), hint)
    }

    /// No SUBACK in time.
    pub fn subscribe_timeout() -> Self {
        Self::new(
            "subscribe.timeout",
            ExitKind::Timeout,
            "connected, but SUBSCRIBE is not answered",
            "the broker may hang up on this filter instead of answering: compare it with the policy's `topicfilter/` and the limits",
        )
    }

    /// PUBACK.
    pub fn of_publish(error: &PublishError, subject: &Subject) -> Self {
        let hint = publish_hint(error, &subject.arn, false).unwrap_or_else(|| "try again".into());
        let (code, kind) = match error {
            PublishError::Limit { source, .. } => return Self::of_limit(source),
            PublishError::Refused { code: 0x87, .. } => ("publish.denied", ExitKind::Refused),
            PublishError::Refused { code: 0x90, .. } => {
                ("publish.topic-invalid", ExitKind::Refused)
            }
            PublishError::Refused { code: 0x97, .. } => ("limits.rate", ExitKind::Refused),
            PublishError::Refused { .. } => ("publish.refused", ExitKind::Refused),
            PublishError::Poison { .. } => ("publish.disconnects", ExitKind::Refused),
            PublishError::Closed => ("publish.closed", ExitKind::Failed),
        };
        Self::new(code, kind, chain(error), hint)
    }

    /// No PUBACK in time.
    pub fn publish_timeout(topic: &str) -> Self {
        Self::new(
            "publish.timeout",
            ExitKind::Timeout,
            format!("publish to `{topic}` is not acknowledged"),
            "over 100 publishes a second AWS IoT Core discards them in silence; else the network drops what we send",
        )
    }

    /// Subscribed, published, acknowledged, and nothing came back.
    pub fn silent(topic: &str, matched: bool, subject: &Subject) -> Self {
        let arn = &subject.arn;
        if !matched {
            return Self::new(
                "receive.no-subscriber",
                ExitKind::Failed,
                format!(
                    "the broker took the message to `{topic}` but knows no subscriber, although it acknowledged ours"
                ),
                "a policy edit may be on its way: try again in some minutes",
            );
        }
        Self::new(
            "receive.denied",
            ExitKind::Timeout,
            format!(
                "the message to `{topic}` was acknowledged and matched a subscription, but did not come back"
            ),
            format!(
                "allow `iot:Receive` on `{arn}:topic/{topic}`: without it messages are dropped in silence (CloudWatch `PublishOut.AuthError`)"
            ),
        )
    }

    /// A limit of the broker that the request would break.
    pub fn of_limit(error: &LimitError) -> Self {
        let hint = error.hint().unwrap_or_else(|| "shorten it".into());
        Self::new(limit_code(error), ExitKind::Usage, chain(error), hint)
    }
}

fn identity_code(error: &identity::IdentityError) -> &'static str {
    use identity::IdentityError as E;
    match error {
        E::NoDirectory { .. } | E::NoFiles { .. } | E::Missing { .. } => "files.missing",
        E::DirectoryDenied { .. } | E::Denied { .. } => "files.permission",
        E::List { .. } | E::NotAFile { .. } | E::Read { .. } => "files.unreadable",
        E::TooLarge { .. } => "files.too-large",
        E::Content { class, .. } => match class {
            Class::Empty | Class::Blank => "files.empty",
            Class::Truncated(_) => "files.truncated",
            Class::Json | Class::JsonString => "files.json",
            _ => "files.not-pem",
        },
        E::Encrypted { .. } => "files.key-encrypted",
        E::KeyEncoding { .. } | E::CertificateEncoding { .. } => "files.damaged",
        E::KeyKind { .. } => "files.key-kind",
        E::KeyMismatch { .. } => "files.key-mismatch",
        E::CertificateVersion { .. } | E::CertificateUnusable { .. } => "files.certificate-version",
        E::Expired { .. } => "files.expired",
        E::NotYetValid { .. } => "files.not-yet-valid",
        E::ClientIsCa { .. } | E::NotForClients { .. } => "files.not-a-client-certificate",
        E::NotACa { .. } => "files.not-a-ca",
    }
}

fn limit_code(error: &LimitError) -> &'static str {
    match error {
        LimitError::Payload { .. } => "limits.payload",
        LimitError::Packet { .. } => "limits.packet",
        _ => "limits.topic",
    }
}

// `<prefix>.iot.<region>.amazonaws.com` has a certificate of another CA than `<prefix>-ats.…`.
fn is_legacy_endpoint(host: &str) -> bool {
    let mut labels = host.split('.');
    let prefix = labels.next().unwrap_or_default();
    labels.next() == Some("iot") && host.contains(".amazonaws.com") && !prefix.ends_with("-ats")
}

#[cfg(test)]
mod tests;
