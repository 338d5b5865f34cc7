//! Errors of enrolment, rotation and revocation.

use link::error::{ExitKind, Hint};
use region_file::tags::Owner;

use crate::aws;
use crate::scope::Scope;

use super::key::KeyError;

/// A step of an enrolment, a rotation or a revocation failed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] aws::AwsError),
    /// A document is for another region, party or account.
    #[error("{document} is for {what} `{found}` instead of `{expected}`")]
    WrongDocument {
        /// Which document.
        document: &'static str,
        /// What of it.
        what: &'static str,
        /// What it says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A signing request is not what this command makes.
    #[error("check the signing request of `{party}`")]
    Request {
        /// Whose it is.
        party: Scope,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// No key could be made, or what was made cannot be read.
    #[error("make a key for `{subject}`")]
    Key {
        /// Common name.
        subject: String,
        /// Why not.
        #[source]
        source: KeyError,
    },
    /// Something in a secret cannot be used.
    #[error("read {what} in secret `{secret}`")]
    SecretContent {
        /// Name of the secret.
        secret: String,
        /// What of it.
        what: &'static str,
        /// Why not.
        #[source]
        source: KeyError,
    },
    /// The secret is somebody else's.
    #[error("secret `{secret}` {}", whose(owner))]
    NotOurs {
        /// Name of the secret.
        secret: String,
        /// Whose it is.
        owner: Owner,
    },
    /// There is no key that a certificate could be for.
    #[error("no key waits for a certificate in secret `{secret}`")]
    NothingPending {
        /// Name of the secret.
        secret: String,
    },
    /// A certificate belongs to another key.
    #[error(
        "certificate `{certificate}` is for another key than the one that waits in secret `{secret}`"
    )]
    OtherKey {
        /// Id of the certificate.
        certificate: String,
        /// Name of the secret.
        secret: String,
    },
    /// The waiting key has a certificate that does not connect.
    #[error("certificate `{certificate}` of the waiting key is {status}")]
    NotActive {
        /// Id of the certificate.
        certificate: String,
        /// Its state.
        status: String,
        /// Whose it is.
        party: Scope,
    },
    /// There is nothing to rotate.
    #[error("`{party}` has no certificate yet")]
    NoCertificate {
        /// Whose.
        party: Scope,
    },
    /// Not every client was seen with the new certificate in time.
    #[error("{} of {all} client ids of `{party}`, of which {in_use} are in use, not seen with certificate `{certificate}`: {}", unseen.len(), unseen.join(", "))]
    Unseen {
        /// Whose clients.
        party: Scope,
        /// Id of the new certificate.
        certificate: String,
        /// Client ids that were not seen.
        unseen: Vec<String>,
        /// How many client ids there are.
        all: usize,
        /// How many of them are in use at a time.
        in_use: usize,
    },
    /// The witness (the temporary client that listens for presence events) could not connect.
    #[error("listen for connections of `{party}` as `{client_id}`: {reason}")]
    Witness {
        /// Whose connections.
        party: Scope,
        /// Under which client id.
        client_id: String,
        /// What happened.
        reason: String,
    },
    /// A certificate is attached to none of this region's policies.
    #[error("certificate `{certificate}` is attached to none of this region's policies")]
    UnknownCertificate {
        /// Id of the certificate.
        certificate: String,
    },
    /// A party has no certificate that could be revoked.
    #[error("policy `{policy}` is attached to no certificate")]
    NothingAttached {
        /// Name of the policy.
        policy: String,
    },
    /// Certificates could not be taken out of service; what else there was to do was done.
    #[error("{} of {all} certificates may still be in service: {}", certificates.len(), certificates.join(", "))]
    InService {
        /// Ids of those that could not be revoked.
        certificates: Vec<String>,
        /// How many there are.
        all: usize,
        /// What happened to the first.
        #[source]
        source: Box<Self>,
    },
    /// IoT Core took the change and shows another state.
    #[error("certificate `{certificate}` is {found} instead of {expected}")]
    NotVerified {
        /// Id of the certificate.
        certificate: String,
        /// Its state.
        found: String,
        /// What it should be.
        expected: String,
    },
}

// === impl IdentityError ===

impl IdentityError {
    /// How a command ends with it.
    pub fn exit(&self) -> ExitKind {
        match self {
            Self::Unseen { .. } => ExitKind::Timeout,
            Self::WrongDocument { .. }
            | Self::Request { .. }
            | Self::NotOurs { .. }
            | Self::OtherKey { .. }
            | Self::NotActive { .. } => ExitKind::Refused,
            _ => ExitKind::Failed,
        }
    }

    /// The same as the outcome of a change to a resource.
    pub(crate) fn flatten(self, object: &str) -> aws::AwsError {
        match self {
            Self::Aws(error) => error,
            other => aws::AwsError::new(
                aws::AwsErrorKind::Invalid,
                "issue certificate",
                object,
                link::error::chain(&other),
            ),
        }
    }
}

impl Hint for IdentityError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Aws(error) => return error.hint(),
            Self::WrongDocument { .. } => {
                "use the same region file in both accounts, and the document that was made for it".into()
            }
            Self::Request { party, .. } => {
                format!("ask for a new request: it comes from `provisioner enroll request {}`", party.party())
            }
            Self::Key { .. } => return None,
            Self::SecretContent { .. } => {
                "run `provisioner enroll` with `--new-key`: it makes another key".into()
            }
            Self::NotOurs { owner: Owner::Nobody, .. } => {
                "run `provisioner adopt` to take it over, or give another name in the region file".into()
            }
            Self::NotOurs { .. } => "give another name in the region file".into(),
            Self::NothingPending { .. } => {
                "make a request first, with the first step of `provisioner enroll`".into()
            }
            Self::OtherKey { .. } => {
                "have the newest request signed: an earlier one was given up".into()
            }
            Self::NotActive { party, .. } => {
                format!("run `provisioner enroll {} --new-key`: it makes another key", party.party())
            }
            Self::NoCertificate { party } => format!("run `provisioner enroll {}`", party.party()),
            Self::Unseen { party, .. } => format!(
                "run `provisioner rotate {} --reconnect`: it goes on and makes clients show their certificate",
                party.party()
            ),
            Self::Witness { .. } => {
                "check that this computer reaches the broker's port; the same command goes on where it stopped".into()
            }
            Self::UnknownCertificate { .. } => {
                "look the id up in `provisioner status`; other certificates are not this region's to revoke".into()
            }
            Self::InService { source, .. } => return source.hint(),
            Self::NothingAttached { .. } => "look at `provisioner status`".into(),
            Self::NotVerified { .. } => {
                "run the same command again; it goes on where it stopped".into()
            }
        })
    }
}

fn whose(owner: &Owner) -> String {
    match owner {
        Owner::Ours | Owner::Shared => "is this region's".to_owned(),
        Owner::Other(region) => format!("belongs to region `{region}`"),
        Owner::Nobody => "was not made by `provisioner`".to_owned(),
    }
}
