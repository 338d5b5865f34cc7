//! A party's identity as a resource: the secret with its key, the certificate in IoT Core, and its attachments.
//!
//! `apply` issues the first certificate and repairs attachments and roots. A certificate that was revoked or made
//! inactive is never replaced here: that was deliberate, and `enroll` undoes it (see [`crate::identity`]). What is in an
//! account without credentials is neither observed nor compared.

use std::collections::BTreeMap;

use jiff::Timestamp;
use link::clock::Clock;
use link::error::Hint as _;
use region_file::tags::Owner;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::aws::{AwsError, Cloud};
use crate::enroll;
use crate::identity::key::hex;
use crate::identity::observation::{IdentityObservation, SecretObservation, observe};
use crate::identity::registry::Registry;
use crate::identity::secret::IdentitySecret;
use crate::identity::state::ACTIVE;
use crate::identity::{IdentitySpec, own};
use crate::scope::Scope;

use super::{
    Change, DesiredValue, Difference, Facts, Manage, Note, Observed, State, attributes, kms,
};

mod notes;

// === impl IdentitySpec ===

impl IdentitySpec {
    // The observed state, from one observation.
    fn tell(&self, observation: &IdentityObservation, now: Timestamp) -> Option<Observed> {
        let Some(secret) = &observation.secret else {
            return self.tell_region(observation);
        };
        // One that is scheduled for deletion holds no identity; `create` takes it back.
        let stored = secret
            .as_ref()
            .filter(|stored| !stored.described.deleting || stored.described.owner != Owner::Ours)?;
        let described = &stored.described;
        let mut attributes = attributes([
            (TAGS, described.tags.clone()),
            (DESCRIPTION, json!(described.description)),
            (
                KMS_KEY,
                kms::observed(described.kms_key.as_deref(), self.kms_key.as_deref()),
            ),
            (KEY, self.key_of(stored)),
            (CA, self.ca_of(stored)),
        ]);
        self.attach_attributes(observation, stored, &mut attributes);
        let mut observed =
            Observed::ready(described.owner.clone(), attributes, described.arn.clone());
        observed.notes = notes::of(self, observation, stored, now);
        observed.state = self.state_of(observation, stored);
        Some(observed)
    }

    // Only the region's account is in reach: what the party's policy is attached to.
    fn tell_region(&self, observation: &IdentityObservation) -> Option<Observed> {
        let listed = observation.registry.as_ref()?;
        let one = listed.targets.first()?;
        let mut observed = Observed::ready(Owner::Ours, BTreeMap::new(), Some(one.clone()));
        observed.notes.push(Note {
            text: format!(
                "whether secret `{}` holds certificate `{one}` cannot be seen from here",
                self.secret
            ),
            hint: AwsError::no_credentials(&self.key_scope)
                .hint()
                .unwrap_or_default(),
        });
        Some(observed)
    }

    fn attach_attributes(
        &self,
        observation: &IdentityObservation,
        stored: &SecretObservation,
        attributes: &mut BTreeMap<String, Value>,
    ) {
        let Some(listed) = &observation.registry else {
            return;
        };
        let current = listed.current.as_ref();
        let status = match (current, &stored.leaf) {
            (Some(current), _) => json!(current.status),
            (None, Some(_)) => json!(UNKNOWN),
            (None, None) => Value::Null,
        };
        attributes.insert(CERTIFICATE.to_owned(), status);
        let policy = (current.is_some() && listed.policy).then_some(&self.policy);
        attributes.insert(POLICY.to_owned(), json!(policy));
        if let Some(thing) = &self.thing {
            let thing = (current.is_some() && listed.thing).then_some(thing);
            attributes.insert(THING.to_owned(), json!(thing));
        }
    }

    fn key_of(&self, stored: &SecretObservation) -> Value {
        let version = stored.current.as_ref();
        match (
            &stored.leaf,
            version.and_then(|version| version.key.as_ref()),
        ) {
            (Some(leaf), Some(key)) => match key.public() {
                Ok(public) if public != leaf.public => json!(OTHER_KEY),
                // One of a kind that cannot be read here, such as an old encoding, is the reader's business.
                _ => json!(WITH_CERTIFICATE),
            },
            (Some(_), None) => json!("missing"),
            (None, _) if stored.waiting().is_some() => json!("waits for its certificate"),
            (None, _) => Value::Null,
        }
    }

    fn ca_of(&self, stored: &SecretObservation) -> Value {
        let current = stored.current.as_ref();
        match current.and_then(|version| version.ca.as_deref()) {
            Some(_) if stored.has_roots(&self.ca) => json!(fingerprint(&self.ca)),
            Some(ca) => json!(fingerprint(ca)),
            None => Value::Null,
        }
    }

    fn state_of(&self, observation: &IdentityObservation, stored: &SecretObservation) -> State {
        let alone = observation.registry.is_none();
        match stored.waiting() {
            Some(_) if alone && stored.leaf.is_none() => State::Broken {
                why: "its key waits for a certificate from the region's account, which this command does not reach"
                    .into(),
                hint: format!(
                    "run the three steps of `provisioner enroll {}`: request here, sign there, complete here",
                    self.key_scope
                ),
            },
            _ => State::Ready,
        }
    }

    fn wants_issue(difference: &Difference) -> bool {
        [KEY, CERTIFICATE, POLICY, THING, CA].contains(&difference.attribute.as_str())
    }
}

impl Manage for IdentitySpec {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let observation = observe(cloud, self).await?;
        if observation.secret.is_none() && observation.registry.is_none() {
            return Err(AwsError::no_credentials(&self.key_scope));
        }
        Ok(self.tell(&observation, Clock::system().now()))
    }

    fn wanted(&self, cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, DesiredValue> {
        let mut wanted = BTreeMap::new();
        let mut want = |attribute: &str, value: Value| {
            wanted.insert(attribute.to_owned(), DesiredValue::Known(value));
        };
        if !cloud.reaches(&self.key_scope) {
            return wanted;
        }
        want(TAGS, self.tags.wanted());
        want(DESCRIPTION, json!(self.description));
        want(KMS_KEY, json!(self.kms_key));
        if !cloud.reaches(&Scope::Region) {
            return wanted;
        }
        want(KEY, json!(WITH_CERTIFICATE));
        want(CA, json!(fingerprint(&self.ca)));
        want(CERTIFICATE, json!(ACTIVE));
        want(POLICY, json!(self.policy));
        if let Some(thing) = &self.thing {
            want(THING, json!(thing));
        }
        wanted
    }

    fn change(&self, difference: &Difference) -> Change {
        let party = self.key_scope.party();
        let have = difference.have.as_str();
        let (why, renew) = match (difference.attribute.as_str(), have) {
            (CERTIFICATE, Some(UNKNOWN)) => (
                "IoT Core does not know the certificate in the secret".to_owned(),
                "",
            ),
            (CERTIFICATE, Some(status)) => (
                format!("the certificate in use is {status}; somebody meant it"),
                "",
            ),
            (KEY, Some(OTHER_KEY | "missing")) => (
                "the secret does not hold the key of its certificate".to_owned(),
                " --renew",
            ),
            (CA, Some(_)) => {
                return Change::Disrupts(
                    "replaces the roots that the broker is checked against".into(),
                );
            }
            _ => return Change::Quiet,
        };
        Change::Impossible {
            why,
            hint: format!("run `provisioner enroll {party}{renew}`: it issues a new certificate"),
        }
    }

    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        attributes([
            ("recoveryDays", self.recovery_days.into()),
            ("subject", self.subject.as_str().into()),
        ])
    }

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), AwsError> {
        IdentitySecret::of(cloud, self)?.create().await?;
        if cloud.reaches(&Scope::Region) {
            return Ok(());
        }
        // Nobody here can issue: the key is made, so that its request can be carried to who can.
        enroll::request(
            cloud,
            self,
            enroll::EnrollOptions::default(),
            &Clock::system(),
        )
        .await
        .map_err(|error| error.flatten(&self.secret))?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        let differs = |attribute: &str| differences.iter().any(|it| it.attribute == attribute);
        let secret = IdentitySecret::of(cloud, self)?;
        if differs(DESCRIPTION) || differs(KMS_KEY) {
            secret.write_description().await?;
        }
        if differs(TAGS) {
            secret.write_tags().await?;
        }
        if differences.iter().any(Self::wants_issue) {
            let kept = enroll::keep(cloud, self).await;
            kept.map_err(|error| error.flatten(&self.secret))?;
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let secret = IdentitySecret::of(cloud, self)?;
        let Some(described) = secret.describe().await? else {
            return Ok(());
        };
        if described.deleting {
            return Ok(());
        }
        let registry = Registry::of(cloud)?;
        // Only what this secret held: another certificate on the policy may be somebody's work.
        for certificate in own::certificates(secret, registry, self).await? {
            registry.retire(&certificate.id).await?;
        }
        if self.recovery_days > 0 {
            secret.put_nothing(&described).await?;
        }
        secret.delete().await
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        IdentitySecret::of(cloud, self)?.write_tags().await
    }
}

// Enough of a hash to tell two sets of roots apart in a plan.
fn fingerprint(ca: &str) -> String {
    let text = hex(&Sha256::digest(ca.trim().as_bytes()));
    format!("sha256 {}", &text[..16])
}

const TAGS: &str = "tags";
const DESCRIPTION: &str = "description";
const KMS_KEY: &str = "kmsKey";
const KEY: &str = "key";
const CERTIFICATE: &str = "certificate";
const POLICY: &str = "policy";
const THING: &str = "thing";
const CA: &str = "ca";

const WITH_CERTIFICATE: &str = "with its certificate";
const OTHER_KEY: &str = "of another certificate";
const UNKNOWN: &str = "unknown to IoT Core";

#[cfg(test)]
mod tests;
