//! Why the registry refuses, and what to do then.

use link::error::Hint;
use link::iot::policy::PolicyError;

use super::{Fingerprint, POLICIES_PER_CERTIFICATE};

/// Why the registry refused a change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text holds no certificate.
    #[error("read certificate")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The certificate is not X.509.
    #[error("parse certificate `{0}`")]
    Certificate(Fingerprint),
    /// Nobody registered it.
    #[error("certificate `{0}` is not registered")]
    UnknownCertificate(Fingerprint),
    /// REVOKED is final (iot-core.md §1.6, from memory there).
    #[error("certificate `{0}` is revoked")]
    Revoked(Fingerprint),
    /// No policy has this name.
    #[error("policy `{0}` does not exist")]
    UnknownPolicy(String),
    /// More than 10 policies on one certificate (iot-core.md §1.2).
    #[error(
        "attach policy `{policy}` to certificate `{certificate}`: it has {POLICIES_PER_CERTIFICATE}"
    )]
    TooManyPolicies {
        /// The policy that was to be attached.
        policy: String,
        /// The certificate that is full.
        certificate: Fingerprint,
    },
    /// The policy is refused, most likely for its size.
    #[error("put policy `{name}`")]
    Policy {
        /// The policy's name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: PolicyError,
    },
    /// The registry's file could not be read or written.
    #[error("{operation} registry `{path}`")]
    File {
        /// `read`, `parse` or `write`.
        operation: &'static str,
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
}

// === impl Error ===

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Pem(_) | Self::Certificate(_) => Some(
                "give the client certificate in PEM, as in `certificate` of a mounted identity"
                    .into(),
            ),
            Self::Revoked(_) => Some("register a new certificate: REVOKED is final".into()),
            Self::UnknownPolicy(_) => Some("put the policy before attaching it".into()),
            _ => None,
        }
    }
}
