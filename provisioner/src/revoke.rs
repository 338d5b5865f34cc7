//! Takes a party's certificates out of service at once: revoked for good, or made inactive.
//!
//! Needs the region's account only, so it works when a management cluster is lost. IoT Core ends connections of such a
//! certificate within minutes; they are ended here, so that it is seconds.

use serde::Serialize;

use crate::aws::Cloud;
use crate::identity::registry::Registry;
use crate::identity::state::{INACTIVE, REVOKED};
use crate::identity::{Error, Progress};
use crate::resource::{Certificate, Note};

/// How certificates go out of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Make them INACTIVE, from which they can come back, instead of REVOKED.
    pub deactivate: bool,
}

/// What was done, and what is left to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// Certificates that are out of service now, by id.
    pub certificates: Vec<String>,
    /// Clients whose connection was ended.
    pub disconnected: Vec<String>,
    /// What remains.
    pub notes: Vec<Note>,
}

/// Revokes every certificate that carries the party's policy: whoever has one can act as the party.
///
/// # Errors
/// [`Error::NothingAttached`] when there is none, [`Error::NotVerified`] when IoT Core shows another state afterwards.
pub async fn party(
    cloud: &Cloud,
    party: &Certificate,
    options: Options,
    progress: Progress<'_>,
) -> Result<Revoked, Error> {
    let registry = Registry::of(cloud)?;
    let targets = registry.targets(&party.policy).await?;
    if targets.is_empty() {
        return Err(Error::NothingAttached {
            policy: party.policy.clone(),
        });
    }
    revoke(registry, party, &targets, options, progress).await
}

/// Revokes one certificate, which must carry the policy of one of `parties`.
///
/// # Errors
/// [`Error::UnknownCertificate`] when it does not; else as [`party`].
pub async fn certificate(
    cloud: &Cloud,
    parties: &[&Certificate],
    id: &str,
    options: Options,
    progress: Progress<'_>,
) -> Result<Revoked, Error> {
    let registry = Registry::of(cloud)?;
    for party in parties {
        let targets = registry.targets(&party.policy).await?;
        if targets.iter().any(|target| target == id) {
            return revoke(registry, party, &[id.to_owned()], options, progress).await;
        }
    }
    Err(Error::UnknownCertificate {
        certificate: id.to_owned(),
    })
}

async fn revoke(
    registry: Registry<'_>,
    party: &Certificate,
    ids: &[String],
    options: Options,
    progress: Progress<'_>,
) -> Result<Revoked, Error> {
    let mut done = Revoked::default();
    for id in ids {
        let status = put_out_of_service(registry, id, options).await?;
        progress(&format!("certificate `{id}` is {status}"));
        done.certificates.push(id.clone());
    }
    for client in &party.client_ids {
        match registry.disconnect(client, true).await {
            Ok(true) => {
                progress(&format!("the connection of client `{client}` is ended"));
                done.disconnected.push(client.clone());
            }
            Ok(false) => {}
            // The certificate is out of service; that its connection lives a little longer must not look like failure.
            Err(error) => done.notes.push(Note {
                text: format!(
                    "the connection of client `{client}` could not be ended here: {error}"
                ),
                hint: "wait: IoT Core ends it within minutes".into(),
            }),
        }
    }
    done.notes.push(remaining(party, options));
    Ok(done)
}

async fn put_out_of_service(
    registry: Registry<'_>,
    id: &str,
    options: Options,
) -> Result<&'static str, Error> {
    let unverified = |found: &str, expected: &str| Error::NotVerified {
        certificate: id.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    };
    let found = registry.describe(id).await?;
    let found = found.ok_or_else(|| Error::UnknownCertificate {
        certificate: id.to_owned(),
    })?;
    // REVOKED is final: nothing makes it INACTIVE again.
    let wanted = match options.deactivate {
        true if found.status != REVOKED => INACTIVE,
        _ => REVOKED,
    };
    if found.status == wanted {
        return Ok(wanted);
    }
    registry.set_status(id, wanted).await?;
    match registry.describe(id).await? {
        Some(after) if after.status == wanted => Ok(wanted),
        Some(after) => Err(unverified(&after.status, wanted)),
        None => Err(unverified("gone", wanted)),
    }
}

fn remaining(party: &Certificate, options: Options) -> Note {
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
            party.keeper.party()
        ),
    }
}
