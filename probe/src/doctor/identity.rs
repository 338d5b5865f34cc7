//! What a certificate, key or CA that cannot be used means, and how long a good one lasts. No I/O but the size of a file.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use link::clock::rfc3339_seconds;
use link::error::{Hint as _, chain};
use link::fault::{Code, Finding};
use link::identity::{Class, IdentityError, Inspection};

/// The finding of one problem. In a pod what is missing has causes of its own.
pub(super) fn of_problem(problem: &IdentityError, is_pod: bool) -> Finding {
    use IdentityError as E;
    if let E::NoFiles { directory, present } = problem
        && present.is_empty()
        && is_pod
    {
        return Finding::error(NOT_SYNCED, format!("`{}` is mounted and empty", directory.display()))
            .why("a volume of an optional Secret, or of one that the CSI driver or External Secrets has not written yet, is empty until it is there: mostly a race, not a wrong name")
            .next("wait a minute and repeat; then `kubectl get secretproviderclasspodstatus,externalsecret,secret -n NAMESPACE` and `kubectl describe pod POD`");
    }
    let seen = format!(
        "{}{}",
        chain(problem),
        path(problem).map(size).unwrap_or_default()
    );
    let mut next = problem.hint().unwrap_or_else(|| "correct the file".into());
    let mut why = why(problem).to_owned();
    if is_pod && matches!(problem, E::NoDirectory { .. } | E::NoFiles { .. }) {
        why = "no volume of this pod is mounted there, or the provider's aliases have other names; with EKS Pod Identity the mount itself fails when (1) the association is missing or for another namespace or service account, (2) the role does not trust `pods.eks.amazonaws.com`, (3) the role may not read the secret, (4) the secret does not exist".into();
        next.push_str("; `kubectl describe pod POD` shows FailedMount and which of the four");
    }
    let code = match problem {
        E::NoDirectory { .. } if is_pod => NOT_MOUNTED,
        _ => code(problem),
    };
    Finding::error(code, seen).why(why).next(next)
}

/// What is to be said of a certificate that can be read.
pub(super) fn of_certificate(inspection: &Inspection, now: Timestamp) -> Option<Finding> {
    let certificate = inspection.certificate.as_ref()?;
    let left = certificate.time_left(now);
    let days = left.as_hours() / 24;
    let until = rfc3339_seconds(certificate.not_after);
    let names = format!(
        "`{}` from `{}`, {}, serial {}, SHA-256 {}",
        certificate.subject,
        certificate.issuer,
        certificate.key_kind,
        certificate.serial,
        certificate.fingerprint
    );
    if inspection.identity.is_none() || certificate.is_expired(now) || now < certificate.not_before
    {
        return None;
    }
    Some(if left < SOON {
        Finding::warning(EXPIRES_SOON, format!("{names} expires at {until}, in {days} days"))
            .why("after that the broker refuses every connection")
            .next("renew it: docs/CERTIFICATES.md; a running agent takes a new mounted certificate by itself")
    } else {
        let from = rfc3339_seconds(certificate.not_before);
        Finding::ok(
            CERTIFICATE,
            format!("{names}, valid from {from} to {until} ({days} days)"),
        )
    })
}

fn code(problem: &IdentityError) -> Code {
    use IdentityError as E;
    Code::new(match problem {
        E::NoDirectory { .. } | E::NoFiles { .. } | E::Missing { .. } => 101,
        E::DirectoryDenied { .. } | E::Denied { .. } => 104,
        E::List { .. } | E::Read { .. } => 100,
        E::NotAFile { .. } | E::TooLarge { .. } => 103,
        E::Content { class, .. } => match class {
            Class::Empty | Class::Blank | Class::Truncated(_) | Class::Damaged(_) => 102,
            _ => 103,
        },
        E::KeyEncoding { .. } | E::CertificateEncoding { .. } => 102,
        E::Encrypted { .. }
        | E::CertificateVersion { .. }
        | E::CertificateUnusable { .. }
        | E::ClientIsCa { .. }
        | E::NotForClients { .. } => 110,
        E::KeyKind { .. } => 114,
        E::KeyMismatch { .. } => 111,
        E::Expired { .. } | E::NotYetValid { .. } => 112,
        E::NotACa { .. } => 223,
    })
}

fn why(problem: &IdentityError) -> &'static str {
    use IdentityError as E;
    match problem {
        E::KeyMismatch { .. } => {
            "the broker would refuse the handshake: the proof made with this key does not fit the certificate"
        }
        E::Expired { .. } | E::NotYetValid { .. } => {
            "the broker refuses it if its own clock agrees; what that shows is said below"
        }
        E::KeyKind { .. } => "AWS IoT Core does not take it",
        E::NotACa { .. } => "only an authority's certificate can vouch for the broker",
        E::Content {
            class: Class::Json | Class::JsonString,
            ..
        } => "the whole secret was mounted in place of one of its values",
        _ => "every connection uses mutual TLS, which needs all three files",
    }
}

fn path(problem: &IdentityError) -> Option<&Path> {
    use IdentityError as E;
    match problem {
        E::NotAFile { path, .. }
        | E::TooLarge { path, .. }
        | E::Content { path, .. }
        | E::Denied { path, .. }
        | E::Encrypted { path }
        | E::KeyEncoding { path }
        | E::CertificateEncoding { path, .. } => Some(path),
        _ => None,
    }
}

fn size(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    match std::fs::metadata(path) {
        Ok(file) => format!(
            " ({} bytes, mode {:04o}, owner {})",
            file.len(),
            file.mode() & 0o7777,
            file.uid()
        ),
        Err(_) => String::new(),
    }
}

/// A month: long enough to renew by hand before a holiday ends.
pub(super) const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

const CERTIFICATE: Code = Code::new(110);
const EXPIRES_SOON: Code = Code::new(113);
const NOT_SYNCED: Code = Code::new(605);
const NOT_MOUNTED: Code = Code::new(610);

#[cfg(test)]
mod tests;
