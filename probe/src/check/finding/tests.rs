//! Each finding of the catalogue as a person reads it: files, limits and the way on to `probe doctor` here, the rest by
//! where the connection ended.

use std::io;

use jiff::Timestamp;
use link::identity::{IdentityError as FileError, Role};
use link::mqtt::ConnectError;

use super::*;
use crate::dial::TcpFailure;

mod connect;
mod messages;
mod network;
mod tls;

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
