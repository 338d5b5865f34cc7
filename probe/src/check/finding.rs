//! From what was observed to what it means: a stable code, a sentence and the next step. No I/O.
//!
//! The causes and their signs are those of docs/IOT-CORE.md §6.

mod mqtt;
mod network;

use link::error::{ExitKind, Hint, chain};
use link::identity::{self, Class};
use link::iot::ArnPrefix;
use link::iot::limits::LimitError;

pub use self::network::{LookupFailure, Port443};

/// Why a stage failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable, `stage.cause`.
    pub code: &'static str,
    /// What was seen.
    pub what: String,
    /// What to do.
    pub hint: String,
    /// The exit code's kind.
    pub kind: ExitKind,
}

/// Whom and what the check is about, for the hints.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Client id in use.
    pub client_id: String,
    /// How resource names begin.
    pub arn: ArnPrefix,
}

// === impl Finding ===

impl Finding {
    fn new(
        code: &'static str,
        kind: ExitKind,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            kind,
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// With the way to the whole diagnosis, where this says what was seen and several things may be why.
    #[must_use]
    pub fn leading_on(mut self) -> Self {
        if OPEN.contains(&self.code) && !self.hint.contains("probe doctor") {
            self.hint.push_str(
                "; `probe doctor` with the same options of the connection says which it is and what to do",
            );
        }
        self
    }

    /// A file of the identity.
    pub fn of_identity(error: &identity::IdentityError) -> Self {
        let hint = error.hint().unwrap_or_else(|| "correct the file".into());
        Self::new(identity_code(error), ExitKind::Usage, chain(error), hint)
    }

    /// Our own parts failed.
    pub fn internal(what: &str) -> Self {
        Self::new(
            "probe.internal",
            ExitKind::Failed,
            what,
            "try again; if it stays, report it as a defect of probe",
        )
    }

    /// A limit of the broker that the request would break.
    pub fn of_limit(error: &LimitError) -> Self {
        let hint = error.hint().unwrap_or_else(|| "shorten it".into());
        Self::new(limit_code(error), ExitKind::Usage, chain(error), hint)
    }
}

fn identity_code(error: &identity::IdentityError) -> &'static str {
    use identity::IdentityError as E;
    match error {
        E::NoDirectory { .. } | E::NoFiles { .. } | E::Missing { .. } => "files.missing",
        E::DirectoryDenied { .. } | E::Denied { .. } => "files.permission",
        E::List { .. } | E::NotAFile { .. } | E::Read { .. } => "files.unreadable",
        E::TooLarge { .. } => "files.too-large",
        E::Content { class, .. } => match class {
            Class::Empty | Class::Blank => "files.empty",
            Class::Truncated(_) => "files.truncated",
            Class::Json | Class::JsonString => "files.json",
            _ => "files.not-pem",
        },
        E::Encrypted { .. } => "files.key-encrypted",
        E::KeyEncoding { .. } | E::CertificateEncoding { .. } => "files.damaged",
        E::KeyKind { .. } => "files.key-kind",
        E::KeyMismatch { .. } => "files.key-mismatch",
        E::CertificateVersion { .. } | E::CertificateUnusable { .. } => "files.certificate-version",
        E::Expired { .. } => "files.expired",
        E::NotYetValid { .. } => "files.not-yet-valid",
        E::ClientIsCa { .. } | E::NotForClients { .. } => "files.not-a-client-certificate",
        E::NotACa { .. } => "files.not-a-ca",
    }
}

fn limit_code(error: &LimitError) -> &'static str {
    match error {
        LimitError::Payload { .. } => "limits.payload",
        LimitError::Packet { .. } => "limits.packet",
        _ => "limits.topic",
    }
}

/// Codes of failures that leave more than one reason; of the others the hint is the whole answer. Dates are told by the clock
/// here, which `probe doctor` compares with others.
const OPEN: &[&str] = &[
    "files.expired",
    "files.not-yet-valid",
    "tls.server-expired",
    "tls.server-not-yet-valid",
    "tls.client-certificate-refused",
    "tls.closed",
    "tls.failed",
    "tls.timeout",
    "connect.closed",
    "connect.not-authorized",
    "connect.refused",
    "connect.network",
    "connect.timeout",
    "connect.broken",
    "connect.disconnected",
    "connect.stalled",
    "connect.protocol",
    "subscribe.refused",
    "subscribe.timeout",
    "publish.refused",
    "publish.timeout",
    "publish.disconnects",
    "publish.closed",
    "receive.denied",
    "receive.no-subscriber",
];

#[cfg(test)]
mod tests;
