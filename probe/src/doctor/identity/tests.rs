use std::path::PathBuf;

use link::identity::{Description, KeyKind, Role};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn each_problem_has_its_code_and_a_next_step() {
    let path = || PathBuf::from("/mnt/x");
    let content = |class| IdentityError::Content {
        role: Role::Certificate,
        path: path(),
        class,
    };
    let moment = at("2026-01-01T00:00:00Z");
    for (problem, number) in [
        (IdentityError::NoDirectory { directory: path() }, 101),
        (
            IdentityError::Missing {
                role: Role::Key,
                path: path(),
            },
            101,
        ),
        (content(Class::Empty), 102),
        (content(Class::Truncated("CERTIFICATE")), 102),
        (content(Class::Json), 103),
        (content(Class::Text), 103),
        (
            IdentityError::Denied {
                role: Role::Key,
                path: path(),
            },
            104,
        ),
        (IdentityError::Encrypted { path: path() }, 110),
        (
            IdentityError::KeyMismatch {
                certificate: path(),
                key: path(),
            },
            111,
        ),
        (
            IdentityError::Expired {
                path: path(),
                not_after: moment,
                now: moment,
            },
            112,
        ),
        (
            IdentityError::NotYetValid {
                path: path(),
                not_before: moment,
                now: moment,
            },
            112,
        ),
        (
            IdentityError::NotACa {
                path: path(),
                position: 1,
                subject: "CN=x".into(),
            },
            223,
        ),
    ] {
        let finding = of_problem(&problem, false);
        assert_eq!(finding.code, Code::new(number), "{finding:?}");
        assert!(
            !finding.why.is_empty() && !finding.next.is_empty(),
            "{finding:?}"
        );
    }
}

#[test]
fn an_empty_volume_of_a_pod_is_a_race_and_a_missing_one_has_four_causes() {
    let empty = IdentityError::NoFiles {
        directory: "/mnt".into(),
        present: Vec::new(),
    };
    assert_eq!(of_problem(&empty, true).code, Code::new(605));
    assert_eq!(of_problem(&empty, false).code, Code::new(101));
    let missing = IdentityError::NoDirectory {
        directory: "/mnt".into(),
    };
    let finding = of_problem(&missing, true);
    assert!(
        finding.why.contains("pods.eks.amazonaws.com"),
        "{finding:?}"
    );
    assert!(finding.next.contains("FailedMount"), "{finding:?}");
}

#[test]
fn a_certificate_warns_for_thirty_days_before_it_ends() {
    let mut inspection = Inspection {
        certificate: Some(Description {
            subject: "CN=a".into(),
            issuer: "CN=b".into(),
            serial: "01".into(),
            fingerprint: "ab".into(),
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2026-12-31T00:00:00Z"),
            key_kind: KeyKind::Rsa(2048),
        }),
        ..Inspection::default()
    };
    // Something else is wrong, and said.
    assert!(of_certificate(&inspection, at("2026-06-01T00:00:00Z")).is_none());
    inspection.identity = Some(crate::doctor::fixture::identity());
    let code = |now| {
        of_certificate(&inspection, at(now)).map(|it| (it.code.number(), it.severity.as_str()))
    };
    assert_eq!(code("2026-06-01T00:00:00Z"), Some((110, "ok")));
    assert_eq!(code("2026-12-01T00:00:00Z"), Some((110, "ok")));
    assert_eq!(code("2026-12-01T00:00:01Z"), Some((113, "warning")));
    assert_eq!(code("2026-12-31T00:00:00Z"), None);
    assert_eq!(code("2025-12-31T23:59:59Z"), None);
}
