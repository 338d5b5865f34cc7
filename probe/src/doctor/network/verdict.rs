//! What a look-up or a connection that failed means. No I/O.

use std::io;
use std::time::Duration;

use link::fault::{Code, Finding};
use link::tls::ALPN_MQTT;

use crate::dial::TcpFailure;

/// What the port beside the broker's said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// TLS with `x-amzn-mqtt-ca` came up: MQTT will work there.
    Works,
    /// TCP came up, TLS with it did not or could not be tried.
    TcpOnly,
    /// Nothing.
    Closed,
    /// It is the broker's port itself.
    NotTried,
}

/// The resolver says nothing.
pub(super) fn no_answer(host: &str) -> Finding {
    Finding::error(DNS, format!("no answer to the look-up of `{host}`"))
        .why("the resolver, or the way to it, drops what is asked")
        .next("check the name servers in `/etc/resolv.conf` and port 53 to them, UDP and TCP; in a pod: network policies towards `kube-dns`")
}

/// The resolver's error, which has no kind of its own, only `gai_strerror`'s words.
pub(super) fn of_look_up(host: &str, error: &str) -> Finding {
    if ["not known", "No address", "nodename"]
        .iter()
        .any(|words| error.contains(words))
    {
        return no_such_name(host);
    }
    let seen = if error.contains("Temporary failure") || error.contains("Try again") {
        format!("look-up of `{host}`: the resolver failed for now")
    } else {
        format!("look-up of `{host}`: {error}")
    };
    Finding::error(DNS, seen)
        .why("without an address there is nothing to connect to")
        .next("check the name servers in `/etc/resolv.conf` and port 53 to them, UDP and TCP; then repeat")
}

/// There is no address.
pub(super) fn no_such_name(host: &str) -> Finding {
    let next = if host.ends_with(".amazonaws.com") {
        "compare it with `aws iot describe-endpoint --endpoint-type iot:Data-ATS` in the account and region of the certificate; in a VPC without internet add a private hosted zone for it"
    } else {
        "check the spelling, and that this machine's resolver knows the zone"
    };
    Finding::error(NO_NAME, format!("there is no address for `{host}`"))
        .why("without an address there is nothing to connect to")
        .next(next)
}

/// What is known of the other way when the first one works.
pub(super) fn second_way(beside: Beside, port: u16) -> Finding {
    let seen = match beside {
        Beside::Works => format!("port {port} with application protocol `{ALPN_MQTT}` works too"),
        Beside::TcpOnly => {
            format!("port {port} is open, and does not take `{ALPN_MQTT}` from here")
        }
        Beside::Closed => {
            format!("port {port} does not answer from here; the broker's own port does")
        }
        Beside::NotTried => format!("port {port} is the one in use"),
    };
    Finding::info(BLOCKED, seen)
}

/// The TCP connection.
pub(super) fn of_tcp(
    failure: &TcpFailure,
    address: &str,
    port: u16,
    beside: Beside,
    within: Duration,
    proxy: Option<&str>,
) -> Finding {
    let (code, seen, why, next) = words(failure, address, within);
    let other = match beside {
        Beside::Works => format!("; port {port} with application protocol `{ALPN_MQTT}` works"),
        Beside::TcpOnly => {
            format!("; port {port} accepts TCP, and TLS with `{ALPN_MQTT}` did not come up")
        }
        Beside::Closed => format!("; port {port} does not answer either"),
        Beside::NotTried => String::new(),
    };
    let proxied = proxy.map_or(String::new(), |name| {
        format!("; `{name}` is set, but connections of probe, agent and bridge go through no proxy")
    });
    let seen = format!("{seen}{other}");
    if beside == Beside::Works {
        return Finding::error(BLOCKED, seen)
            .why("a firewall, security group or network ACL lets only port 443 out")
            .next(format!("use port {port} (`brokerHost: HOST:{port}`, here `-p {port}`), or allow the other one outbound{proxied}"));
    }
    Finding::error(code, seen)
        .why(why)
        .next(format!("{next}{proxied}"))
}

fn words(
    failure: &TcpFailure,
    address: &str,
    within: Duration,
) -> (Code, String, &'static str, &'static str) {
    match failure {
        TcpFailure::Timeout => (
            SWALLOWED,
            format!(
                "no answer from `{address}` within {:.1} s",
                within.as_secs_f32()
            ),
            "something on the way drops the packets: firewall, security group, network ACL or a missing route",
            "allow the port outbound from this network, or make a VPC endpoint for AWS IoT data",
        ),
        TcpFailure::Failed(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                REFUSED,
                format!("`{address}` refuses the connection"),
                "the machine is there and nothing listens at that port, or a firewall rejects it",
                "check host and port: MQTT over TLS is 8883, on AWS IoT Core also 443",
            ),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (
                SWALLOWED,
                format!("there is no route to `{address}`"),
                "this network has no way out to it",
                "check the routes: NAT gateway, VPC endpoint, IPv6 without a gateway",
            ),
            _ => (
                UNREACHED,
                format!("connect to `{address}`: {error}"),
                "without a connection nothing is sent or received",
                "check host and port",
            ),
        },
    }
}

const DNS: Code = Code::new(200);
const NO_NAME: Code = Code::new(201);
const UNREACHED: Code = Code::new(210);
const BLOCKED: Code = Code::new(211);
const SWALLOWED: Code = Code::new(212);
const REFUSED: Code = Code::new(213);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_told_from_a_resolver_that_does_not_answer() {
        let aws = "abc-ats.iot.us-east-2.amazonaws.com";
        for (error, code, next) in [
            (
                "failed to lookup address information: Name or service not known",
                201,
                "describe-endpoint",
            ),
            (
                "failed to lookup address information: No address associated with hostname",
                201,
                "private hosted zone",
            ),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                200,
                "resolv.conf",
            ),
            ("something else", 200, "resolv.conf"),
        ] {
            let finding = of_look_up(aws, error);
            assert_eq!(finding.code, Code::new(code), "{error}");
            assert!(finding.next.contains(next), "{finding:?}");
        }
        assert_eq!(no_answer(aws).code, DNS);
    }

    #[test]
    fn a_port_that_is_blocked_is_told_from_a_network_that_is() {
        let refused = || TcpFailure::Failed(io::ErrorKind::ConnectionRefused.into());
        let routeless = || TcpFailure::Failed(io::ErrorKind::NetworkUnreachable.into());
        let other = || TcpFailure::Failed(io::ErrorKind::AddrNotAvailable.into());
        for (failure, beside, code) in [
            (TcpFailure::Timeout, Beside::Works, 211),
            (refused(), Beside::Works, 211),
            (TcpFailure::Timeout, Beside::Closed, 212),
            (TcpFailure::Timeout, Beside::TcpOnly, 212),
            (routeless(), Beside::Closed, 212),
            (refused(), Beside::Closed, 213),
            (refused(), Beside::NotTried, 213),
            (other(), Beside::Closed, 210),
        ] {
            let finding = of_tcp(
                &failure,
                "h:8883",
                443,
                beside,
                Duration::from_secs(2),
                Some("HTTPS_PROXY"),
            );
            assert_eq!(finding.code, Code::new(code), "{failure:?} {beside:?}");
            assert!(finding.next.contains("`HTTPS_PROXY` is set"), "{finding:?}");
        }
    }
}
