//! CONNECT.

use std::io;

use link::mqtt::ConnectError;
use link::tls::TlsProblem;

use super::*;

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
