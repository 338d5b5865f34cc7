//! Why the registry refuses, and what to do then.

use link::error::Hint;
use link::iot::limits::{POLICIES_PER_PRINCIPAL, POLICY_VERSIONS, TAGS_PER_RESOURCE};
use link::iot::policy::PolicyError;

use super::Fingerprint;

/// Why the registry refused a change.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text holds no certificate.
    #[error("read certificate")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The certificate is not X.509.
    #[error("parse certificate `{0}`")]
    Certificate(Fingerprint),
    /// Nobody registered it.
    #[error("certificate `{0}` is not registered")]
    UnknownCertificate(Fingerprint),
    /// REVOKED is final (docs/IOT-CORE.md §1.6, from memory there).
    #[error("certificate `{0}` is revoked")]
    Revoked(Fingerprint),
    /// No policy has this name.
    #[error("policy `{0}` does not exist")]
    UnknownPolicy(String),
    /// More than 10 policies on one certificate (docs/IOT-CORE.md §1.2).
    #[error(
        "attach policy `{policy}` to certificate `{certificate}`: it has {POLICIES_PER_PRINCIPAL}"
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
    /// There is a policy of that name.
    #[error("policy `{0}` exists")]
    PolicyExists(String),
    /// Another version than the default one is left.
    #[error("delete policy `{0}`: it has versions besides the default one")]
    PolicyHasVersions(String),
    /// A certificate carries it.
    #[error("delete policy `{0}`: it is attached to a certificate")]
    PolicyAttached(String),
    /// No version has this number.
    #[error("policy `{policy}` has no version {version}")]
    UnknownVersion {
        /// The policy.
        policy: String,
        /// The number.
        version: u64,
    },
    /// The version in force stays.
    #[error("delete version {version} of policy `{policy}`: it is the default one")]
    DefaultVersion {
        /// The policy.
        policy: String,
        /// The version.
        version: u64,
    },
    /// More than 5 versions of one policy (docs/IOT-CORE.md §1.2).
    #[error("add a version to policy `{0}`: it has {POLICY_VERSIONS}")]
    TooManyVersions(String),
    /// More than 50 tags on one policy.
    #[error("tag policy `{0}`: that would be more than {TAGS_PER_RESOURCE} tags")]
    TooManyTags(String),
    /// It may still connect.
    #[error("delete certificate `{0}`: it is ACTIVE")]
    CertificateActive(Fingerprint),
    /// It carries a policy.
    #[error("delete certificate `{0}`: a policy is attached to it")]
    CertificateHasPolicies(Fingerprint),
    /// It is attached to a thing.
    #[error("delete certificate `{0}`: it is attached to a thing")]
    CertificateHasThings(Fingerprint),
    /// No thing has this name.
    #[error("thing `{0}` does not exist")]
    UnknownThing(String),
    /// There is a thing of that name with other attributes.
    #[error("thing `{name}` exists with other attributes")]
    ThingExists {
        /// The thing.
        name: String,
        /// Its id.
        id: String,
    },
    /// The thing changed meanwhile.
    #[error("thing `{name}` has version {version}")]
    ThingVersion {
        /// The thing.
        name: String,
        /// The version it has.
        version: i64,
    },
    /// A certificate is attached to it.
    #[error("delete thing `{0}`: a certificate is attached to it")]
    ThingAttached(String),
    /// More attributes than a thing may have.
    #[error("set attributes of thing `{name}`: {limit} is the most")]
    TooManyAttributes {
        /// The thing.
        name: String,
        /// The most.
        limit: usize,
    },
    /// The registry's file could not be read or written.
    #[error("{operation} registry `{path}`")]
    File {
        /// `read`, `make private`, `parse` or `write`.
        operation: &'static str,
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
}

// === impl RegistryError ===

impl Hint for RegistryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Pem(_) | Self::Certificate(_) => Some(
                "give the client certificate in PEM, as in `certificate` of a mounted identity"
                    .into(),
            ),
            Self::Revoked(_) => Some("register a new certificate: REVOKED is final".into()),
            Self::UnknownPolicy(_) => Some("put the policy before attaching it".into()),
            Self::File {
                operation: "parse", ..
            } => Some("remove the file to begin with an empty registry".into()),
            _ => None,
        }
    }
}
