//! Takes a party's certificates out of service at once: revoked for good, or made inactive.
//!
//! Needs the region's account only, so it works when a management cluster is lost. IoT Core ends connections of such a
//! certificate within minutes; they are ended here, so that it is seconds.

use serde::Serialize;

use crate::aws::{self, Cloud, Optional as _};
use crate::identity::registry::Registry;
use crate::identity::state::{INACTIVE, REVOKED};
use crate::identity::{IdentityError, IdentitySpec, ProgressFn};
use crate::resource::Note;

use self::rounds::{CertificateRegistry, Rounds};

mod rounds;

/// How certificates go out of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevokeOptions {
    /// Make them INACTIVE, from which they can come back, instead of REVOKED.
    pub deactivate: bool,
}

/// What was done, and what is left to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// Certificates that are out of service now, by id; one that was removed meanwhile is among them.
    pub certificates: Vec<String>,
    /// Clients whose connection was ended.
    pub disconnected: Vec<String>,
    /// What remains.
    pub notes: Vec<Note>,
}

/// Revokes every certificate that carries the party's policy, also one that is attached meanwhile: whoever has one can
/// act as the party.
///
/// # Errors
/// [`IdentityError::NothingAttached`] when there is none. [`IdentityError::InService`] with those that could not be revoked, after all others went
/// out of service and the connections were ended.
pub async fn party(
    cloud: &Cloud,
    party: &IdentitySpec,
    options: RevokeOptions,
    progress: ProgressFn<'_>,
) -> Result<Revoked, IdentityError> {
    let registry = Registry::of(cloud)?;
    let targets = registry.targets(&party.policy).await?;
    if targets.is_empty() {
        return Err(IdentityError::NothingAttached {
            policy: party.policy.clone(),
        });
    }
    let policy = Some(party.policy.as_str());
    revoke(registry, party, targets, policy, options, progress).await
}

/// Revokes one certificate, which must carry the policy of one of `parties`.
///
/// # Errors
/// [`IdentityError::UnknownCertificate`] when it does not; else as [`party`].
pub async fn certificate(
    cloud: &Cloud,
    parties: &[&IdentitySpec],
    id: &str,
    options: RevokeOptions,
    progress: ProgressFn<'_>,
) -> Result<Revoked, IdentityError> {
    let registry = Registry::of(cloud)?;
    for party in parties {
        let targets = registry.targets(&party.policy).await?;
        if targets.iter().any(|target| target == id) {
            let only = vec![id.to_owned()];
            return revoke(registry, party, only, None, options, progress).await;
        }
    }
    Err(IdentityError::UnknownCertificate {
        certificate: id.to_owned(),
    })
}

async fn revoke(
    registry: Registry<'_>,
    party: &IdentitySpec,
    ids: Vec<String>,
    policy: Option<&str>,
    options: RevokeOptions,
    progress: ProgressFn<'_>,
) -> Result<Revoked, IdentityError> {
    let rounds = Rounds::new(registry, options, &party.client_ids, progress);
    let mut revoked = rounds.run(ids, policy).await?;
    revoked.notes.push(remaining(party, options));
    Ok(revoked)
}

fn remaining(party: &IdentitySpec, options: RevokeOptions) -> Note {
    let state = if options.deactivate {
        INACTIVE
    } else {
        REVOKED
    };
    Note {
        text: format!(
            "what is {state} stays attached to policy `{}`, and secret `{}` still holds the key of what it held",
            party.policy, party.secret
        ),
        hint: format!(
            "run `provisioner enroll {}` to give the party a new certificate",
            party.key_scope.party()
        ),
    }
}

// === impl CertificateRegistry ===

impl CertificateRegistry for Registry<'_> {
    async fn targets(&self, policy: &str) -> Result<Vec<String>, aws::AwsError> {
        Registry::targets(*self, policy).await
    }

    async fn status(&self, id: &str) -> Result<Option<String>, aws::AwsError> {
        Ok(self.describe(id).await?.map(|found| found.status))
    }

    async fn set_status(&self, id: &str, status: &str) -> Result<bool, aws::AwsError> {
        Registry::set_status(*self, id, status).await.was_there()
    }

    async fn disconnect(&self, client: &str) -> Result<bool, aws::AwsError> {
        Registry::disconnect(*self, client, true).await
    }
}
