//! Names, ports, and what answers there.

use std::io;

use super::*;
use crate::dial::TcpFailure;
use crate::peer::Peer;

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
