// Long because each finding of the catalogue is read here as a person reads it.

use std::io;

use jiff::Timestamp;
use link::identity::{IdentityError as FileError, Role};

use link::mqtt::{ConnectError, PublishError, SubscribeError};
use link::tls::TlsProblem;

use super::*;
use crate::dial::TcpFailure;
use crate::peer::Peer;

fn subject() -> Subject {
    Subject {
        host: "abc-ats.iot.us-east-2.amazonaws.com".into(),
        port: 8883,
        client_id: "probe-1".into(),
        arn: crate::target::arn_of("abc-ats.iot.us-east-2.amazonaws.com"),
    }
}

#[track_caller]
fn check(finding: &Finding, code: &str, kind: ExitKind, hint: &str) {
    assert_eq!((finding.code, finding.kind), (code, kind), "{finding:?}");
    assert!(
        finding.hint.contains(hint),
        "`{}` lacks `{hint}`",
        finding.hint
    );
    assert!(
        !finding.what.is_empty() && !finding.what.ends_with('.'),
        "{finding:?}"
    );
}

#[test]
fn a_proxy_that_others_use_is_mentioned_where_a_port_does_not_answer() {
    let failure = TcpFailure::Timeout;
    let finding = Finding::of_tcp(&failure, &subject(), Port443::Closed);
    let with = finding.clone().with_proxy(Some("HTTPS_PROXY"));
    check(
        &with,
        "tcp.timeout",
        ExitKind::Timeout,
        "`HTTPS_PROXY` is set",
    );
    assert_eq!(finding.clone().with_proxy(None), finding);
}

#[test]
fn another_protocol_at_the_port_is_named_with_the_ports_that_work() {
    for (peer, code) in [
        (Peer::PlainMqtt, "tls.plain-mqtt"),
        (Peer::Http, "tls.http"),
        (Peer::Https, "connect.http"),
    ] {
        check(&Finding::of_peer(peer), code, ExitKind::Failed, "8883");
    }
}

#[test]
fn each_bad_file_has_its_code() {
    let path = || std::path::PathBuf::from("/mnt/x");
    let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let content = |class| FileError::Content {
        role: Role::Certificate,
        path: path(),
        class,
    };
    for (error, code) in [
        (
            FileError::NoDirectory { directory: path() },
            "files.missing",
        ),
        (
            FileError::Missing {
                role: Role::Key,
                path: path(),
            },
            "files.missing",
        ),
        (
            FileError::Denied {
                role: Role::Key,
                path: path(),
            },
            "files.permission",
        ),
        (content(Class::Empty), "files.empty"),
        (content(Class::Truncated("certificate")), "files.truncated"),
        (content(Class::Json), "files.json"),
        (content(Class::Text), "files.not-pem"),
        (FileError::Encrypted { path: path() }, "files.key-encrypted"),
        (
            FileError::KeyMismatch {
                certificate: path(),
                key: path(),
            },
            "files.key-mismatch",
        ),
        (
            FileError::Expired {
                path: path(),
                not_after: at,
                now: at,
            },
            "files.expired",
        ),
        (
            FileError::NotYetValid {
                path: path(),
                not_before: at,
                now: at,
            },
            "files.not-yet-valid",
        ),
        (
            FileError::NotACa {
                path: path(),
                position: 1,
                subject: "CN=x".into(),
            },
            "files.not-a-ca",
        ),
    ] {
        check(&Finding::of_identity(&error), code, ExitKind::Usage, "");
    }
}

#[test]
fn a_name_that_does_not_exist_is_told_from_a_resolver_that_does_not_answer() {
    let failed = |text: &str| LookupFailure::Failed(io::Error::other(text.to_string()));
    let host = subject().host;
    for (seen, code, kind, hint) in [
        (
            failed("failed to lookup address information: Name or service not known"),
            "dns.not-found",
            ExitKind::Failed,
            "describe-endpoint",
        ),
        (
            failed("failed to lookup address information: No address associated with hostname"),
            "dns.not-found",
            ExitKind::Failed,
            "private hosted zone",
        ),
        (
            failed("failed to lookup address information: Temporary failure in name resolution"),
            "dns.unavailable",
            ExitKind::Failed,
            "resolv.conf",
        ),
        (failed("something else"), "dns.failed", ExitKind::Failed, ""),
        (LookupFailure::Empty, "dns.not-found", ExitKind::Failed, ""),
        (
            LookupFailure::Timeout,
            "dns.timeout",
            ExitKind::Timeout,
            "port 53",
        ),
    ] {
        check(&Finding::of_lookup(&seen, &host), code, kind, hint);
    }
}

#[test]
fn a_blocked_port_says_whether_443_works() {
    let failed = |kind: io::ErrorKind| TcpFailure::Failed(kind.into());
    for (seen, other, code, kind, hint) in [
        (
            TcpFailure::Timeout,
            Port443::Works,
            "tcp.timeout",
            ExitKind::Timeout,
            "port 443 works: use `-p 443`",
        ),
        (
            TcpFailure::Timeout,
            Port443::TcpOnly,
            "tcp.timeout",
            ExitKind::Timeout,
            "accepts TCP but not TLS",
        ),
        (
            TcpFailure::Timeout,
            Port443::Closed,
            "tcp.timeout",
            ExitKind::Timeout,
            "port 443 does not answer either",
        ),
        (
            TcpFailure::Timeout,
            Port443::NotTried,
            "tcp.timeout",
            ExitKind::Timeout,
            "allow outbound TCP 8883",
        ),
        (
            failed(io::ErrorKind::ConnectionRefused),
            Port443::Closed,
            "tcp.refused",
            ExitKind::Failed,
            "nothing listens there",
        ),
        (
            failed(io::ErrorKind::NetworkUnreachable),
            Port443::Closed,
            "tcp.unreachable",
            ExitKind::Failed,
            "routes",
        ),
        (
            failed(io::ErrorKind::AddrNotAvailable),
            Port443::Closed,
            "tcp.failed",
            ExitKind::Failed,
            "host and port",
        ),
    ] {
        check(&Finding::of_tcp(&seen, &subject(), other), code, kind, hint);
    }
}

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

#[test]
fn each_refused_connect_names_its_cause_and_the_statement_that_is_missing() {
    let refused = |code| ConnectError::Refused { code, reason: "x" };
    let disconnected = |code| ConnectError::Disconnected {
        code,
        reason: "x".into(),
    };
    let arn = "arn:aws:iot:us-east-2:ACCOUNT:client/probe-1";
    for (error, code, kind, hint) in [
        (
            ConnectError::Timeout,
            "connect.timeout",
            ExitKind::Timeout,
            "MQTT port",
        ),
        (
            ConnectError::ClosedBeforeConnAck,
            "connect.closed",
            ExitKind::Refused,
            arn,
        ),
        (
            refused(0x87),
            "connect.not-authorized",
            ExitKind::Refused,
            arn,
        ),
        (
            refused(0x84),
            "connect.protocol-version",
            ExitKind::Refused,
            "MQTT 5",
        ),
        (
            refused(0x85),
            "connect.client-id",
            ExitKind::Refused,
            "client id",
        ),
        (
            refused(0x97),
            "connect.throttled",
            ExitKind::Refused,
            "wait",
        ),
        (refused(0x80), "connect.refused", ExitKind::Refused, ""),
        (
            disconnected(0x8e),
            "connect.client-id-in-use",
            ExitKind::Refused,
            "one id per process",
        ),
        (
            disconnected(0x87),
            "connect.not-authorized",
            ExitKind::Refused,
            arn,
        ),
        (disconnected(0x95), "limits.packet", ExitKind::Refused, ""),
        (disconnected(0x96), "limits.rate", ExitKind::Refused, ""),
        (
            disconnected(0x8b),
            "connect.disconnected",
            ExitKind::Refused,
            "",
        ),
        (
            ConnectError::Broken(io::ErrorKind::ConnectionReset.into()),
            "connect.broken",
            ExitKind::Failed,
            "",
        ),
        (
            ConnectError::Stalled("no PINGRESP"),
            "connect.stalled",
            ExitKind::Timeout,
            "",
        ),
        (
            ConnectError::Protocol("x".into()),
            "connect.protocol",
            ExitKind::Failed,
            "",
        ),
        (
            ConnectError::Tls(TlsProblem::ClientRefused { alert: "x" }),
            "tls.client-certificate-refused",
            ExitKind::Refused,
            "ACTIVE",
        ),
    ] {
        check(&Finding::of_connect(&error, &subject()), code, kind, hint);
    }
}

#[test]
fn denied_operations_name_the_statement_that_is_missing() {
    let subscribe = |code| SubscribeError {
        filter: "a/+".into(),
        code,
        reason: "x",
    };
    for (error, code, hint) in [
        (
            subscribe(0x87),
            "subscribe.denied",
            "`iot:Subscribe` on `arn:aws:iot:us-east-2:ACCOUNT:topicfilter/a/+`",
        ),
        (subscribe(0x8f), "subscribe.filter-invalid", ""),
        (subscribe(0x97), "limits.subscriptions", "50"),
        (subscribe(0x9e), "subscribe.no-shared", ""),
        (subscribe(0x80), "subscribe.refused", ""),
    ] {
        check(
            &Finding::of_subscribe(&error, &subject()),
            code,
            ExitKind::Refused,
            hint,
        );
    }
    let publish = |code| PublishError::Refused {
        topic: "a/b".into(),
        code,
        reason: "x",
    };
    let poison = PublishError::Poison {
        topic: "a/b".into(),
        reason: "x".into(),
    };
    for (error, code, kind, hint) in [
        (
            publish(0x87),
            "publish.denied",
            ExitKind::Refused,
            "`iot:Publish` on `arn:aws:iot:us-east-2:ACCOUNT:topic/a/b`",
        ),
        (
            publish(0x90),
            "publish.topic-invalid",
            ExitKind::Refused,
            "",
        ),
        (publish(0x97), "limits.rate", ExitKind::Refused, "quota"),
        (publish(0x80), "publish.refused", ExitKind::Refused, ""),
        (poison, "publish.disconnects", ExitKind::Refused, ""),
        (PublishError::Closed, "publish.closed", ExitKind::Failed, ""),
    ] {
        check(&Finding::of_publish(&error, &subject()), code, kind, hint);
    }
}

#[test]
fn silence_after_an_acknowledged_publish_points_at_receive() {
    let silent = Finding::silent("a/b", true, &subject());
    check(
        &silent,
        "receive.denied",
        ExitKind::Timeout,
        "`iot:Receive` on `arn:aws:iot:us-east-2:ACCOUNT:topic/a/b`",
    );
    check(
        &Finding::silent("a/b", false, &subject()),
        "receive.no-subscriber",
        ExitKind::Failed,
        "policy edit",
    );
    check(
        &Finding::subscribe_timeout(),
        "subscribe.timeout",
        ExitKind::Timeout,
        "topicfilter/",
    );
    check(
        &Finding::publish_timeout("a"),
        "publish.timeout",
        ExitKind::Timeout,
        "100 publishes",
    );
    check(
        &Finding::tls_timeout(),
        "tls.timeout",
        ExitKind::Timeout,
        "proxy",
    );
}

#[test]
fn limits_are_told_apart() {
    use link::iot::limits::{check_payload, check_topic};
    let long = check_topic(&"x".repeat(300)).unwrap_err();
    check(
        &Finding::of_limit(&long),
        "limits.topic",
        ExitKind::Usage,
        "",
    );
    let deep = check_topic("a/b/c/d/e/f/g/h/i").unwrap_err();
    check(
        &Finding::of_limit(&deep),
        "limits.topic",
        ExitKind::Usage,
        "",
    );
    let large = check_payload(200_000).unwrap_err();
    check(
        &Finding::of_limit(&large),
        "limits.payload",
        ExitKind::Usage,
        "",
    );
}

#[test]
fn what_may_have_several_reasons_leads_to_the_whole_diagnosis_once() {
    let open = Finding::of_connect(&ConnectError::ClosedBeforeConnAck, &subject()).leading_on();
    check(&open, "connect.closed", ExitKind::Refused, "`probe doctor`");
    assert_eq!(open.clone().leading_on(), open);
    let whole = Finding::of_tcp(
        &TcpFailure::Failed(io::ErrorKind::ConnectionRefused.into()),
        &subject(),
        Port443::NotTried,
    );
    assert_eq!(whole.clone().leading_on(), whole);
}
