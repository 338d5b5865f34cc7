//! Enrolls a party in three steps that can happen in two accounts: [`request`] where the key is kept, [`sign`] in the
//! region's account, [`complete`] where the key is kept; [`all`] with credentials for both.
//!
//! Every step may be repeated: a key that waits is used again, a certificate that was issued is found again, and a
//! signed document that was used already changes nothing.

use jiff::Timestamp;
use link::clock::Clock;
use region_file::tags::Owner;

use crate::aws::Cloud;
use crate::identity::document::Issued;
use crate::identity::observation::{IdentityObservation, SecretObservation, observe};
use crate::identity::registry::{Registered, Registry};
use crate::identity::secret::{CURRENT, IdentitySecret, PENDING, Version};
use crate::identity::state::{IdentityAction, Purpose, next_action};
use crate::identity::{
    EnrollmentRequest, IdentityError, IdentitySpec, ProgressFn, SignedEnrollment, key,
};
use crate::scope::Scope;

/// What an enrolment may replace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnrollOptions {
    /// Issue a new certificate although the present one is in use. It stays valid; `rotate` removes it.
    pub renew: bool,
    /// Give up a key that waits for its certificate and make another one.
    pub new_key: bool,
}

/// The outcome of [`request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// A key waits for its certificate.
    Request(EnrollmentRequest),
    /// The party has a certificate already, and nothing was done.
    Complete {
        /// Its id, if it is known.
        certificate: Option<String>,
    },
}

/// The outcome of [`complete`] and [`all`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The certificate in use.
    pub certificate: String,
    /// The broker's host name; `None` when nothing had to be asked.
    pub endpoint: Option<String>,
    /// Whether it was put in use now and not before.
    pub new: bool,
}

/// Makes the key, unless one waits already, and the request for its certificate. Needs only the account that keeps the key.
///
/// # Errors
/// [`IdentityError`] when the secret is somebody else's or an account refuses.
pub async fn request(
    cloud: &Cloud,
    party: &IdentitySpec,
    options: EnrollOptions,
    clock: &Clock,
) -> Result<Requested, IdentityError> {
    let secret = IdentitySecret::of(cloud, party)?;
    let observation = observe(cloud, party).await?;
    let purpose = match options.renew {
        true => Purpose::Renew,
        false => Purpose::Enroll,
    };
    let step = next_action(&observation.state(party), purpose);
    let wanted = matches!(
        step,
        IdentityAction::Request | IdentityAction::Issue | IdentityAction::AwaitRegion
    );
    let anew = options.new_key && observation.waiting().is_some();
    if !(wanted || anew) {
        let certificate = current_id(&observation);
        return Ok(Requested::Complete { certificate });
    }
    if observation.stored().is_none() {
        secret.create().await?;
    }
    check_owner(party, &observation)?;
    if let Some(waiting) = observation.waiting().filter(|_| !options.new_key) {
        return Ok(Requested::Request(document(party, secret, waiting, clock)));
    }
    let (key, csr) = key::make(&party.subject).map_err(|source| IdentityError::Key {
        subject: party.subject.clone(),
        source,
    })?;
    secret.put_pending(&key, &csr).await?;
    // Read back: if another request was made meanwhile, the one in the secret counts.
    let observation = observe(cloud, party).await?;
    let waiting = observation
        .waiting()
        .ok_or_else(|| nothing_pending(party))?;
    Ok(Requested::Request(document(party, secret, waiting, clock)))
}

/// Issues the certificate of a request and attaches policy and thing. Needs the region's account only.
///
/// `account` is the account that the region's file names for the party: a request from another one is refused.
///
/// # Errors
/// [`IdentityError::WrongDocument`] and [`IdentityError::Request`] for a request that is not the party's,
/// [`IdentityError::NotActive`] for one whose certificate was revoked.
pub async fn sign(
    cloud: &Cloud,
    party: &IdentitySpec,
    request: &EnrollmentRequest,
    account: &str,
) -> Result<SignedEnrollment, IdentityError> {
    let document = "enrolment request";
    check(document, "region", &request.region, party.tags.region())?;
    check(
        document,
        "party",
        &request.party,
        &party.key_scope.to_string(),
    )?;
    check(document, "account", &request.account, account)?;
    let registry = Registry::of(cloud)?;
    let issued = issue(registry, party, &request.csr, request.requested_at).await?;
    let account = cloud.of(&Scope::Region)?;
    let endpoint = account.broker().await?;
    let issued = Issued {
        id: issued.id,
        pem: issued.pem,
        endpoint,
        ca: party.ca.clone(),
    };
    Ok(SignedEnrollment::new(request, &account.id, issued))
}

/// Puts a signed certificate in use. Needs only the account that keeps the key.
///
/// # Errors
/// [`IdentityError::OtherKey`] when it is not for the key that waits.
pub async fn complete(
    cloud: &Cloud,
    party: &IdentitySpec,
    signed: &SignedEnrollment,
) -> Result<Enrolled, IdentityError> {
    let document = "signed enrolment";
    check(document, "region", &signed.region, party.tags.region())?;
    check(
        document,
        "party",
        &signed.party,
        &party.key_scope.to_string(),
    )?;
    if signed.ca.trim() != party.ca.trim() {
        let (found, expected) = ("other roots", "those of the region file");
        check(document, "a broker with", found, expected)?;
    }
    let secret = IdentitySecret::of(cloud, party)?;
    let observation = observe(cloud, party).await?;
    check_owner(party, &observation)?;
    let new = put_in_use(
        secret,
        party,
        &observation,
        &signed.certificate,
        &signed.certificate_id,
    )
    .await?;
    Ok(Enrolled {
        certificate: signed.certificate_id.clone(),
        endpoint: Some(signed.endpoint.clone()),
        new,
    })
}

/// All three steps.
///
/// # Errors
/// As of the steps.
pub async fn all(
    cloud: &Cloud,
    party: &IdentitySpec,
    options: EnrollOptions,
    clock: &Clock,
    progress: ProgressFn<'_>,
) -> Result<Enrolled, IdentityError> {
    let whose = &party.key_scope;
    let account = IdentitySecret::of(cloud, party)?.account().id.clone();
    // Asked before a key is made: without the region's account nothing would come of it.
    Registry::of(cloud)?;
    let request = match request(cloud, party, options, clock).await? {
        Requested::Request(request) => request,
        Requested::Complete { certificate } => {
            progress(&format!("`{whose}` has its certificate"));
            return Ok(Enrolled {
                certificate: certificate.unwrap_or_default(),
                endpoint: None,
                new: false,
            });
        }
    };
    progress(&format!(
        "the key of `{whose}` waits for its certificate in secret `{}`",
        party.secret
    ));
    let signed = sign(cloud, party, &request, &account).await?;
    progress(&format!(
        "certificate `{}` is issued and attached to policy `{}`",
        signed.certificate_id, party.policy
    ));
    let enrolled = complete(cloud, party, &signed).await?;
    progress(&format!(
        "certificate and key are in secret `{}`",
        party.secret
    ));
    Ok(enrolled)
}

/// Makes the steps that `apply` may make, until none is left.
pub(crate) async fn keep(cloud: &Cloud, party: &IdentitySpec) -> Result<(), IdentityError> {
    let secret = IdentitySecret::of(cloud, party)?;
    // First key, issue, and one more look; every other step is the only one.
    for _ in 0..3 {
        let observation = observe(cloud, party).await?;
        match next_action(&observation.state(party), Purpose::Keep) {
            IdentityAction::Request => {
                request(cloud, party, EnrollOptions::default(), &Clock::system()).await?;
            }
            IdentityAction::Issue => {
                let waiting = observation
                    .waiting()
                    .ok_or_else(|| nothing_pending(party))?;
                let csr = waiting.csr.as_deref().unwrap_or_default();
                let since = waiting.created.unwrap_or(Timestamp::UNIX_EPOCH);
                let issued = issue(Registry::of(cloud)?, party, csr, since).await?;
                put_in_use(secret, party, &observation, &issued.pem, &issued.id).await?;
            }
            IdentityAction::Attach => {
                let listed = observation.registry.as_ref();
                let Some(current) = listed.and_then(|listed| listed.current.as_ref()) else {
                    return Ok(());
                };
                Registry::of(cloud)?.attach(party, &current.arn).await?;
            }
            IdentityAction::WriteRoots => refresh(secret, &observation).await?,
            IdentityAction::AwaitRegion | IdentityAction::Decide(_) | IdentityAction::Nothing => {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn issue(
    registry: Registry<'_>,
    party: &IdentitySpec,
    csr: &str,
    since: Timestamp,
) -> Result<Registered, IdentityError> {
    let checked = key::check_request(csr, &party.subject);
    let public = checked.map_err(|source| IdentityError::Request {
        party: party.key_scope.clone(),
        source,
    })?;
    let certificate = match registry.of_key(&public, &party.policy, since).await? {
        Some(found) => found,
        None => {
            let whose = party.key_scope.to_string();
            registry.issue(csr, true, &whose).await?
        }
    };
    if !certificate.is_active() {
        return Err(IdentityError::NotActive {
            certificate: certificate.id,
            status: certificate.status,
            party: party.key_scope.clone(),
        });
    }
    registry.attach(party, &certificate.arn).await?;
    Ok(certificate)
}

// Whether it was put in use now: not when it is already.
async fn put_in_use(
    secret: IdentitySecret<'_>,
    party: &IdentitySpec,
    observation: &IdentityObservation,
    certificate: &str,
    id: &str,
) -> Result<bool, IdentityError> {
    let unusable = |what, source| IdentityError::SecretContent {
        secret: party.secret.clone(),
        what,
        source,
    };
    let leaf =
        key::leaf(certificate).map_err(|source| unusable("the signed certificate", source))?;
    let in_use = observation.stored().and_then(|stored| stored.leaf.as_ref());
    if in_use.is_some_and(|in_use| in_use.der == leaf.der) {
        return Ok(false);
    }
    let waiting = observation
        .waiting()
        .ok_or_else(|| nothing_pending(party))?;
    let key = waiting.key.as_ref().ok_or_else(|| nothing_pending(party))?;
    let public = key
        .public()
        .map_err(|source| unusable("the key that waits", source))?;
    if public != leaf.public {
        return Err(IdentityError::OtherKey {
            certificate: id.to_owned(),
            secret: party.secret.clone(),
        });
    }
    // Both labels on one version: nothing waits any more.
    let labels = [CURRENT, PENDING];
    secret
        .put_current(waiting, certificate, key, &labels)
        .await?;
    Ok(true)
}

// The same certificate and key with the wanted roots; a key that waits keeps its label.
async fn refresh(
    secret: IdentitySecret<'_>,
    observation: &IdentityObservation,
) -> Result<(), IdentityError> {
    let current = observation
        .stored()
        .and_then(|stored| stored.current.as_ref());
    let Some(current) = current else {
        return Ok(());
    };
    if let (Some(certificate), Some(key)) = (&current.certificate, &current.key) {
        secret
            .put_current(current, certificate, key, &[CURRENT])
            .await?;
    }
    Ok(())
}

fn document(
    party: &IdentitySpec,
    secret: IdentitySecret<'_>,
    waiting: &Version,
    clock: &Clock,
) -> EnrollmentRequest {
    EnrollmentRequest::new(
        party.tags.region(),
        party.key_scope.to_string(),
        &secret.account().id,
        waiting.created.unwrap_or_else(|| clock.now()),
        waiting.csr.clone().unwrap_or_default(),
    )
}

fn current_id(observation: &IdentityObservation) -> Option<String> {
    let listed = observation.registry.as_ref();
    let known = listed.and_then(|listed| listed.current.as_ref());
    let known = known.map(|current| current.id.clone());
    let leaf = observation
        .stored()
        .and_then(|stored: &SecretObservation| stored.leaf.as_ref());
    known.or_else(|| leaf.map(|leaf| leaf.likely_id()))
}

pub(crate) fn check_owner(
    party: &IdentitySpec,
    observation: &IdentityObservation,
) -> Result<(), IdentityError> {
    match observation.stored() {
        Some(stored) if stored.described.owner != Owner::Ours => Err(IdentityError::NotOurs {
            secret: party.secret.clone(),
            owner: stored.described.owner.clone(),
        }),
        _ => Ok(()),
    }
}

fn check(
    document: &'static str,
    what: &'static str,
    found: &str,
    expected: &str,
) -> Result<(), IdentityError> {
    if found == expected {
        return Ok(());
    }
    Err(IdentityError::WrongDocument {
        document,
        what,
        found: found.to_owned(),
        expected: expected.to_owned(),
    })
}

fn nothing_pending(party: &IdentitySpec) -> IdentityError {
    IdentityError::NothingPending {
        secret: party.secret.clone(),
    }
}
