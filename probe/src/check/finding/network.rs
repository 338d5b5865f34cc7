//! Findings below MQTT: names, sockets, TLS, and what else may speak at a port.

use std::io;

use link::error::{ExitKind, Hint};
use link::tls::{ALPN_MQTT, TlsProblem};

use super::{Finding, Subject};
use crate::dial::TcpFailure;
use crate::peer::Peer;

/// Why a look-up of the host brought no address.
#[derive(Debug)]
pub enum LookupFailure {
    /// The resolver's error.
    Failed(io::Error),
    /// An answer without addresses.
    Empty,
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

// === impl Finding ===

impl Finding {
    /// The host's name.
    pub fn of_lookup(failure: &LookupFailure, host: &str) -> Self {
        match failure {
            LookupFailure::Timeout => Self::new(
                "dns.timeout",
                ExitKind::Timeout,
                format!("no answer to the look-up of `{host}`"),
                "check the resolver (`/etc/resolv.conf`) and the way to it, UDP and TCP port 53",
            ),
            LookupFailure::Empty => Self::not_found(host),
            LookupFailure::Failed(error) => {
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
    pub fn of_tcp(failure: &TcpFailure, subject: &Subject, other: Port443) -> Self {
        let Subject { host, port, .. } = subject;
        let elsewhere = match other {
            Port443::Works => {
                format!("; port 443 works: use `-p 443` (application protocol `{ALPN_MQTT}`)")
            }
            Port443::TcpOnly => format!("; port 443 accepts TCP but not TLS with `{ALPN_MQTT}`"),
            Port443::Closed => "; port 443 does not answer either".into(),
            Port443::NotTried => String::new(),
        };
        match failure {
            TcpFailure::Timeout => Self::new(
                "tcp.timeout",
                ExitKind::Timeout,
                format!("no answer from `{host}` on port {port}"),
                format!(
                    "a firewall, security group or network ACL drops it: allow outbound TCP {port}{elsewhere}"
                ),
            ),
            TcpFailure::Failed(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Self::new(
                    "tcp.refused",
                    ExitKind::Failed,
                    format!("`{host}` refuses port {port}"),
                    format!(
                        "nothing listens there, or a firewall rejects it: check host and port{elsewhere}"
                    ),
                )
            }
            TcpFailure::Failed(error)
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
            TcpFailure::Failed(error) => Self::new(
                "tcp.failed",
                ExitKind::Failed,
                format!("connect to `{host}` on port {port}: {error}"),
                format!("check host and port{elsewhere}"),
            ),
        }
    }

    /// With a word on the proxy that this environment variable names: other programs may get out by it.
    #[must_use]
    pub fn with_proxy(mut self, variable: Option<&str>) -> Self {
        if let Some(variable) = variable {
            self.hint.push_str(&format!(
                "; `{variable}` is set, but connections of probe, agent and server go through no proxy"
            ));
        }
        self
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

    /// Another protocol at the port.
    pub fn of_peer(peer: Peer) -> Self {
        let code = match peer {
            Peer::PlainMqtt => "tls.plain-mqtt",
            Peer::Http => "tls.http",
            Peer::Https => "connect.http",
            Peer::OlderMqtt => "connect.protocol-version",
            Peer::Other => "connect.protocol",
        };
        let hint = peer.hint().unwrap_or_default();
        Self::new(code, ExitKind::Failed, peer.to_string(), hint)
    }
}

// `<prefix>.iot.<region>.amazonaws.com` has a certificate of another CA than `<prefix>-ats.…`.
fn is_legacy_endpoint(host: &str) -> bool {
    let mut labels = host.split('.');
    let prefix = labels.next().unwrap_or_default();
    labels.next() == Some("iot") && host.contains(".amazonaws.com") && !prefix.ends_with("-ats")
}
