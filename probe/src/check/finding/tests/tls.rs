//! TLS handshakes.

use link::tls::TlsProblem;

use super::*;

#[test]
fn each_handshake_failure_has_its_code() {
    for (problem, code, kind, hint) in [
        (
            TlsProblem::UnknownIssuer { detail: None },
            "tls.unknown-issuer",
            ExitKind::Failed,
            "Amazon Root CA 1",
        ),
        (
            TlsProblem::NameMismatch {
                expected: "a".into(),
                presented: vec![],
            },
            "tls.name-mismatch",
            ExitKind::Failed,
            "exactly the name",
        ),
        (
            TlsProblem::ServerExpired {
                not_after: None,
                now: None,
            },
            "tls.server-expired",
            ExitKind::Failed,
            "clock",
        ),
        (
            TlsProblem::ServerNotYetValid {
                not_before: None,
                now: None,
            },
            "tls.server-not-yet-valid",
            ExitKind::Failed,
            "clock",
        ),
        (
            TlsProblem::ServerCertificate { reason: "x".into() },
            "tls.server-certificate",
            ExitKind::Failed,
            "",
        ),
        (
            TlsProblem::ClientRefused {
                alert: "unknown_ca",
            },
            "tls.client-certificate-refused",
            ExitKind::Refused,
            "ACTIVE",
        ),
        (
            TlsProblem::ClientExpired,
            "tls.client-certificate-expired",
            ExitKind::Refused,
            "new certificate",
        ),
        (
            TlsProblem::Version,
            "tls.version",
            ExitKind::Failed,
            "TLS 1.2 and 1.3",
        ),
        (
            TlsProblem::Parameters,
            "tls.parameters",
            ExitKind::Failed,
            "",
        ),
        (TlsProblem::Sni, "tls.server-name", ExitKind::Failed, ""),
        (
            TlsProblem::Alpn,
            "tls.alpn",
            ExitKind::Failed,
            "x-amzn-mqtt-ca",
        ),
        (
            TlsProblem::Closed,
            "tls.closed",
            ExitKind::Refused,
            "ACTIVE",
        ),
        (
            TlsProblem::NotTls,
            "tls.not-tls",
            ExitKind::Failed,
            "plain MQTT",
        ),
        (
            TlsProblem::Other { reason: "x".into() },
            "tls.failed",
            ExitKind::Failed,
            "",
        ),
    ] {
        check(&Finding::of_tls(&problem, &subject()), code, kind, hint);
    }
    let legacy = Subject {
        host: "abc.iot.us-east-2.amazonaws.com".into(),
        ..subject()
    };
    let finding = Finding::of_tls(&TlsProblem::UnknownIssuer { detail: None }, &legacy);
    assert!(finding.hint.contains("legacy endpoint"), "{}", finding.hint);
}
