//! What was last seen of an identity, in both accounts as far as there are credentials for them.

use jiff::{SignedDuration, Timestamp};

use crate::aws::{AwsError, Cloud};
use crate::identity::IdentitySpec;
use crate::scope::Scope;

use super::key::{self, Leaf};
use super::registry::{Registered, Registry};
use super::secret::{CURRENT, Described, IdentitySecret, PENDING, PREVIOUS, Version};
use super::state::{CurrentCertificate, IdentityState, Registration};

/// What was seen of an identity.
#[derive(Clone, Debug)]
pub(crate) struct IdentityObservation {
    /// The secret; outer `None` when its account cannot be asked, inner when there is none.
    pub(crate) secret: Option<Option<SecretObservation>>,
    /// IoT Core; `None` when its account cannot be asked.
    pub(crate) registry: Option<RegistryObservation>,
}

/// The secret and the versions in it.
#[derive(Clone, Debug)]
pub(crate) struct SecretObservation {
    pub(crate) described: Described,
    pub(crate) current: Option<Version>,
    pub(crate) pending: Option<Version>,
    pub(crate) previous: Option<Version>,
    /// The certificate of the current version; `None` also when it cannot be read.
    pub(crate) leaf: Option<Leaf>,
}

/// What IoT Core has registered.
#[derive(Clone, Debug)]
pub(crate) struct RegistryObservation {
    /// Ids of the certificates the policy is attached to.
    pub(crate) targets: Vec<String>,
    /// The certificate in use.
    pub(crate) current: Option<Registered>,
    /// Whether it carries the policy.
    pub(crate) policy: bool,
    /// Whether it belongs to the thing.
    pub(crate) thing: bool,
}

/// Reads both accounts. Nine calls at most, besides pages and certificates whose id is not what it should be.
pub(crate) async fn observe(
    cloud: &Cloud,
    party: &IdentitySpec,
) -> Result<IdentityObservation, AwsError> {
    let secret = match cloud.reaches(&party.key_scope) {
        true => Some(read_secret(IdentitySecret::of(cloud, party)?).await?),
        false => None,
    };
    let leaf = secret
        .as_ref()
        .and_then(Option::as_ref)
        .and_then(|stored| stored.leaf.as_ref());
    let registry = match cloud.reaches(&Scope::Region) {
        true => Some(read_registry(Registry::of(cloud)?, party, leaf).await?),
        false => None,
    };
    Ok(IdentityObservation { secret, registry })
}

async fn read_secret(secret: IdentitySecret<'_>) -> Result<Option<SecretObservation>, AwsError> {
    let Some(described) = secret.describe().await? else {
        return Ok(None);
    };
    if described.deleting {
        let (current, pending, previous, leaf) = (None, None, None, None);
        return Ok(Some(SecretObservation {
            described,
            current,
            pending,
            previous,
            leaf,
        }));
    }
    let current = secret.labelled(&described, CURRENT).await?;
    let pending = secret.labelled(&described, PENDING).await?;
    let previous = secret.labelled(&described, PREVIOUS).await?;
    let leaf = current
        .as_ref()
        .and_then(|version| version.certificate.as_deref())
        .and_then(|pem| key::leaf(pem).ok());
    Ok(Some(SecretObservation {
        described,
        current,
        pending,
        previous,
        leaf,
    }))
}

async fn read_registry(
    registry: Registry<'_>,
    party: &IdentitySpec,
    leaf: Option<&Leaf>,
) -> Result<RegistryObservation, AwsError> {
    let targets = registry.targets(&party.policy).await?;
    let current = match leaf {
        Some(leaf) => registry.find(leaf, &targets).await?,
        None => None,
    };
    let (mut policy, mut thing) = (false, party.thing.is_none());
    if let Some(current) = &current {
        policy = targets.contains(&current.id);
        if let Some(name) = &party.thing {
            thing = registry.is_principal(name, &current.arn).await?;
        }
    }
    Ok(RegistryObservation {
        targets,
        current,
        policy,
        thing,
    })
}

// === impl IdentityObservation ===

impl IdentityObservation {
    /// The secret, if it can be used.
    pub(crate) fn stored(&self) -> Option<&SecretObservation> {
        let stored = self.secret.as_ref()?.as_ref()?;
        (!stored.described.deleting).then_some(stored)
    }

    /// The key that waits for its certificate.
    pub(crate) fn waiting(&self) -> Option<&Version> {
        self.stored()?.waiting()
    }

    /// What the next action follows from.
    pub(crate) fn state(&self, party: &IdentitySpec) -> IdentityState {
        let stored = self.stored();
        let leaf = stored.and_then(|stored| stored.leaf.as_ref());
        IdentityState {
            current: leaf.map(|_| CurrentCertificate {
                registration: self.registration(),
                ca: stored.is_some_and(|stored| stored.has_roots(&party.ca)),
            }),
            pending: self.waiting().is_some(),
            region: self.registry.is_some(),
        }
    }

    fn registration(&self) -> Registration {
        let Some(listed) = &self.registry else {
            return Registration::NotAsked;
        };
        match &listed.current {
            None => Registration::Unknown,
            Some(current) if current.is_active() => Registration::Active {
                attached: listed.policy && listed.thing,
            },
            Some(current) => Registration::Inactive(current.status.clone()),
        }
    }
}

// === impl SecretObservation ===

impl SecretObservation {
    /// The key that waits for its certificate; never the one whose certificate is in use.
    pub(crate) fn waiting(&self) -> Option<&Version> {
        let in_use = self.leaf.as_ref().map(|leaf| &leaf.public);
        let labelled = [&self.pending, &self.current].into_iter().flatten();
        let mut waiting = labelled.filter(|version| version.waits());
        waiting.find(|version| in_use.is_none() || version.public().as_ref() != in_use)
    }

    pub(crate) fn has_roots(&self, ca: &str) -> bool {
        let stored = self.current.as_ref().and_then(|it| it.ca.as_deref());
        stored.is_some_and(|stored| stored.trim() == ca.trim())
    }

    /// Days until the certificate in use is no longer valid, if they are few.
    pub(crate) fn expires_within(&self, days: i64, now: Timestamp) -> Option<i64> {
        let end = Timestamp::from_second(self.leaf.as_ref()?.not_after).ok()?;
        let left = end.duration_since(now);
        (left < SignedDuration::from_hours(24 * days)).then(|| left.as_hours() / 24)
    }
}
