//! What a failed handshake means. No I/O.

use link::error::Hint as _;
use link::fault::{Code, Finding};
use link::iot::ArnPrefix;
use link::tls::{MinVersion, TlsProblem};

use super::is_address;
use crate::doctor::endpoint::Endpoint;
use crate::peer::Peer;

/// How the handshake was made.
#[derive(Clone, Debug)]
pub(super) struct Dialled {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) alpn: Option<String>,
    pub(super) min_version: MinVersion,
    pub(super) arn: ArnPrefix,
}

/// What further attempts brought.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Another protocol at the port.
    pub(super) peer: Option<Peer>,
    /// The application protocol (or none) with which it works, if it does with another one.
    pub(super) works_with: Option<Option<String>>,
    /// Whether the handshake came as far as our certificate, for certain.
    pub(super) certificate_was_seen: bool,
    /// The version that is agreed on when all are offered.
    pub(super) version: Option<&'static str>,
}

/// The port accepts TCP and says nothing to TLS.
pub(super) fn silent(address: &str) -> Finding {
    Finding::error(GENERAL, format!("`{address}` accepts TCP and does not answer the TLS handshake"))
        .why("what listens there is no TLS server, or a proxy or firewall in between swallows what is sent")
        .next("check host and port, and what terminates TCP in between: load balancer, proxy, service mesh")
}

/// Another protocol at the port.
pub(super) fn of_peer(peer: Peer) -> Finding {
    Finding::error(Code::new(221), peer.to_string())
        .why("without TLS and MQTT at that port no session can begin")
        .next(peer.hint().unwrap_or_default())
}

/// A handshake that failed.
pub(super) fn of_problem(problem: &TlsProblem, dialled: &Dialled, seen: &Seen) -> Finding {
    if let Some(peer) = seen.peer {
        return of_peer(peer);
    }
    if let Some(alpn) = &seen.works_with {
        return wrong_alpn(dialled, alpn.as_deref());
    }
    let hint = problem
        .hint()
        .unwrap_or_else(|| "check host, port and the broker's TLS settings".into());
    let said = problem.to_string();
    match problem {
        TlsProblem::UnknownIssuer { .. } if Endpoint::of(&dialled.host) == Endpoint::LegacyData => {
            error(202, format!("`{}` is the legacy endpoint, without `-ats`: {said}", dialled.host))
                .why("the legacy endpoint's certificate is of another authority than the one that ca.crt names")
                .next(hint)
        }
        TlsProblem::UnknownIssuer { .. } => error(223, said)
            .why("either ca.crt is of another broker, or something in between answers in the broker's place")
            .next(hint),
        TlsProblem::NameMismatch { .. } => error(225, said)
            .why("a certificate for another name proves nothing about the one that was dialled")
            .next(hint),
        TlsProblem::ServerExpired { .. } | TlsProblem::ServerNotYetValid { .. } => error(226, said)
            .why("seen from the time here; a clock that is wrong makes every certificate invalid")
            .next(hint),
        TlsProblem::ClientExpired => error(112, said)
            .why("by the broker's clock the time of our certificate is over")
            .next(hint),
        TlsProblem::ClientRefused { alert: NO_ACCESS } if !seen.certificate_was_seen => {
            of_server_name(&said, dialled)
        }
        TlsProblem::ClientRefused { .. } => of_refusal(said, dialled),
        TlsProblem::Version => of_version(&said, dialled, seen).next(hint),
        TlsProblem::Sni => error(222, said)
            .why("AWS IoT Core finds the account by the server name")
            .next(hint),
        TlsProblem::Alpn => error(222, said)
            .why("the port expects another application protocol, or none")
            .next(hint),
        TlsProblem::Closed if is_address(&dialled.host) => error(
            222,
            format!("`{}` is an address, so that no server name is sent: {said}", dialled.host),
        )
        .why("AWS IoT Core finds the account by the server name, and closes without one")
        .next("dial the endpoint by its name"),
        TlsProblem::NotTls => error(221, said)
            .why("something answers there that is no TLS server")
            .next(hint),
        TlsProblem::Closed
        | TlsProblem::ServerCertificate { .. }
        | TlsProblem::Parameters
        | TlsProblem::Other { .. } => error(220, said)
            .why("likely first: the name or port is another broker's; the certificate is not registered or not ACTIVE there; a proxy or firewall cuts TLS")
            .next(hint),
    }
}

// What a server says that has no certificate for a name, before it has looked at ours.
fn of_server_name(said: &str, dialled: &Dialled) -> Finding {
    let host = &dialled.host;
    let (sent, next) = match is_address(host) {
        true => (
            format!("`{host}` is an address, so that no server name is sent"),
            "dial the endpoint by its name",
        ),
        false => (
            format!("the server name `{host}` is not taken"),
            "dial the name that `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints, or a name that the broker's certificate has",
        ),
    };
    error(222, format!("{sent}: {said}"))
        .why("it ended before our certificate was looked at: a broker finds its certificate, and AWS IoT Core the account, by the server name")
        .next(next)
}

fn of_refusal(said: String, dialled: &Dialled) -> Finding {
    let arn = &dialled.arn;
    error(301, said)
        .why("likely first: the certificate is not registered in the account and region of the endpoint; it is INACTIVE or REVOKED; its authority is not the broker's")
        .next(format!(
            "`aws iot list-certificates --region {}` and `aws iot describe-certificate --certificate-id SHA-256` (the SHA-256 stands above at MQ110); then `aws iot update-certificate --certificate-id SHA-256 --new-status ACTIVE`",
            arn.region
        ))
}

fn of_version(said: &str, dialled: &Dialled, seen: &Seen) -> Finding {
    let offered = match dialled.min_version {
        MinVersion::Tls12 => "TLS 1.2 and 1.3",
        MinVersion::Tls13 => "TLS 1.3 only",
    };
    let accepted = match seen.version {
        Some(version) => format!("it takes {version}"),
        None => "it takes none of TLS 1.2 and 1.3".into(),
    };
    error(224, format!("{said}: {offered} was offered, {accepted}"))
        .why("the broker's security policy excludes the versions that this side offers")
}

fn wrong_alpn(dialled: &Dialled, works_with: Option<&str>) -> Finding {
    let port = dialled.port;
    let (expected, next) = match works_with {
        Some(alpn) => (
            format!("with `{alpn}`"),
            format!("give `--tls-alpn {alpn}`, or dial port 443, where it is the default"),
        ),
        None => (
            "without an application protocol".into(),
            "leave `--tls-alpn` out, and choose the port".into(),
        ),
    };
    let used = match &dialled.alpn {
        Some(alpn) => format!("application protocol `{alpn}` is not taken at port {port}"),
        None => format!("port {port} needs an application protocol"),
    };
    error(222, format!("{used}; {expected} the handshake works"))
        .why("one port serves several protocols, and the application protocol chooses")
        .next(next)
}

fn error(number: u16, seen: impl Into<String>) -> Finding {
    Finding::error(Code::new(number), seen)
}

const GENERAL: Code = Code::new(220);

// As `link::tls` names the alert.
const NO_ACCESS: &str = "access_denied";

#[cfg(test)]
mod tests {
    use link::tls::ALPN_MQTT;

    use super::*;

    fn dialled(host: &str, port: u16) -> Dialled {
        Dialled {
            host: host.into(),
            port,
            alpn: None,
            min_version: MinVersion::Tls12,
            arn: crate::target::arn_of(host),
        }
    }

    #[test]
    fn each_failure_of_tls_has_its_code_a_reason_and_a_next_step() {
        let aws = dialled("abc-ats.iot.us-east-2.amazonaws.com", 8883);
        let issuer = || TlsProblem::UnknownIssuer { detail: None };
        let closed = || TlsProblem::Closed;
        for (problem, dialled, code) in [
            (issuer(), aws.clone(), 223),
            (
                issuer(),
                dialled("abc.iot.us-east-2.amazonaws.com", 8883),
                202,
            ),
            (
                TlsProblem::NameMismatch {
                    expected: "a".into(),
                    presented: Vec::new(),
                },
                aws.clone(),
                225,
            ),
            (
                TlsProblem::ServerExpired {
                    not_after: None,
                    now: None,
                },
                aws.clone(),
                226,
            ),
            (
                TlsProblem::ServerNotYetValid {
                    not_before: None,
                    now: None,
                },
                aws.clone(),
                226,
            ),
            (TlsProblem::ClientExpired, aws.clone(), 112),
            (
                TlsProblem::ClientRefused {
                    alert: "unknown_ca",
                },
                aws.clone(),
                301,
            ),
            (TlsProblem::Version, aws.clone(), 224),
            (TlsProblem::Sni, aws.clone(), 222),
            (TlsProblem::Alpn, aws.clone(), 222),
            (closed(), aws.clone(), 220),
            (closed(), dialled("192.0.2.1", 8883), 222),
            (TlsProblem::NotTls, aws.clone(), 221),
            (TlsProblem::Parameters, aws.clone(), 220),
            (TlsProblem::Other { reason: "x".into() }, aws, 220),
        ] {
            let finding = of_problem(&problem, &dialled, &Seen::default());
            assert_eq!(finding.code, Code::new(code), "{problem:?}");
            assert!(
                !finding.why.is_empty() && !finding.next.is_empty(),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn what_further_attempts_show_says_more_than_the_failure() {
        let aws = dialled("abc-ats.iot.us-east-2.amazonaws.com", 443);
        let alpn = Seen {
            works_with: Some(Some(ALPN_MQTT.into())),
            ..Seen::default()
        };
        let finding = of_problem(&TlsProblem::Closed, &aws, &alpn);
        assert_eq!(finding.code, Code::new(222));
        assert!(finding.seen.contains(ALPN_MQTT), "{finding:?}");
        assert!(finding.next.contains(ALPN_MQTT), "{finding:?}");
        let denied = TlsProblem::ClientRefused {
            alert: "access_denied",
        };
        let early = of_problem(&denied, &aws, &Seen::default());
        assert_eq!(early.code, Code::new(222));
        assert!(!early.seen.contains("is an address"), "{early:?}");
        let late = Seen {
            certificate_was_seen: true,
            ..Seen::default()
        };
        assert_eq!(of_problem(&denied, &aws, &late).code, Code::new(301));
        let peer = Seen {
            peer: Some(Peer::Http),
            ..Seen::default()
        };
        assert_eq!(
            of_problem(&TlsProblem::Closed, &aws, &peer).code,
            Code::new(221)
        );
        let version = Seen {
            version: Some("TLS 1.2"),
            ..Seen::default()
        };
        let finding = of_problem(&TlsProblem::Version, &aws, &version);
        assert!(finding.seen.ends_with("it takes TLS 1.2"), "{finding:?}");
    }
}
