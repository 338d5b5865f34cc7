//! The secret that holds an identity: its versions, in the account that keeps the key.
//!
//! A key that waits for its certificate is a version labelled `AWSPENDING` of `{"privateKey","csr"}`; an identity in
//! use is the version labelled `AWSCURRENT` of `{"certificate","privateKey","caCert"}`. Putting one in use moves both
//! labels to it, so that nothing is pending afterwards. The first version of a secret gets `AWSCURRENT` whatever is
//! asked for, so what a version is, its content says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use region_file::tags::Owner;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional, Outcome, secrets};
use crate::identity::IdentitySpec;

use super::key::{PrivateKey, hex};

pub(crate) use self::version::Version;

mod version;

/// Calls on the secret of one party.
#[derive(Clone, Copy)]
pub(crate) struct IdentitySecret<'a> {
    account: &'a Account,
    party: &'a IdentitySpec,
}

/// What the secret is like, without any value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) arn: Option<String>,
    pub(crate) owner: Owner,
    pub(crate) tags: Value,
    pub(crate) description: String,
    pub(crate) kms_key: Option<String>,
    /// Scheduled for deletion.
    pub(crate) deleting: bool,
    /// Version to labels.
    labels: BTreeMap<String, Vec<String>>,
}

// === impl IdentitySecret ===

impl<'a> IdentitySecret<'a> {
    pub(crate) fn of(cloud: &'a Cloud, party: &'a IdentitySpec) -> Result<Self, AwsError> {
        let account = cloud.of(&party.key_scope)?;
        Ok(Self { account, party })
    }

    pub(crate) fn account(&self) -> &'a Account {
        self.account
    }

    fn name(&self) -> &'a str {
        &self.party.secret
    }

    pub(crate) async fn describe(self) -> Result<Option<Described>, AwsError> {
        let found = secrets::describe(self.account, self.name()).await?;
        let Some(found) = found else { return Ok(None) };
        let (owner, tags) = secrets::owner(&found, &self.party.tags);
        let labels = found.version_ids_to_stages.unwrap_or_default();
        let labels = labels.into_iter().collect();
        Ok(Some(Described {
            arn: found.arn,
            owner,
            tags,
            description: found.description.unwrap_or_default(),
            kms_key: found.kms_key_id,
            deleting: found.deleted_date.is_some(),
            labels,
        }))
    }

    /// Makes the secret without any value, or takes back one that is scheduled for deletion.
    pub(crate) async fn create(self) -> Result<(), AwsError> {
        let action = "secretsmanager:CreateSecret";
        let name = self.name();
        if let Some(there) = self.describe().await? {
            if there.owner != Owner::Ours || !there.deleting {
                let message = match there.deleting {
                    true => {
                        "a secret of this name that is not this region's is scheduled for deletion"
                    }
                    false => "there is a secret of this name",
                };
                return Err(AwsError::new(AwsErrorKind::Exists, action, name, message));
            }
            return secrets::restore(self.account, name).await;
        }
        self.account
            .secrets
            .create_secret()
            .name(name)
            .description(&self.party.description)
            .set_kms_key_id(self.party.kms_key.clone())
            .set_tags(Some(secrets::sdk_tags(&self.party.tags)))
            .send()
            .await
            .during(action, name)?;
        Ok(())
    }

    pub(crate) async fn write_description(self) -> Result<(), AwsError> {
        let key = self
            .party
            .kms_key
            .as_deref()
            .unwrap_or(secrets::DEFAULT_KEY);
        self.account
            .secrets
            .update_secret()
            .secret_id(self.name())
            .description(&self.party.description)
            .kms_key_id(key)
            .send()
            .await
            .during("secretsmanager:UpdateSecret", self.name())?;
        Ok(())
    }

    pub(crate) async fn write_tags(self) -> Result<(), AwsError> {
        secrets::tag(self.account, self.name(), &self.party.tags).await
    }

    /// The version that is labelled so.
    pub(crate) async fn labelled(
        self,
        described: &Described,
        label: &str,
    ) -> Result<Option<Version>, AwsError> {
        match described.labelled(label) {
            Some(id) => self.version(id).await,
            None => Ok(None),
        }
    }

    /// Every version that can still be read, also those without a label. Secrets Manager keeps at most a hundred.
    pub(crate) async fn versions(self) -> Result<Vec<Version>, AwsError> {
        let pages = self
            .account
            .secrets
            .list_secret_version_ids()
            .secret_id(self.name())
            .include_deprecated(true)
            .into_paginator()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .during("secretsmanager:ListSecretVersionIds", self.name())
            .optional()?;
        let mut versions = Vec::new();
        for page in pages.unwrap_or_default() {
            for entry in page.versions.unwrap_or_default() {
                let Some(id) = entry.version_id else { continue };
                let unlabelled = entry.version_stages.unwrap_or_default().is_empty();
                match self.version(&id).await {
                    // Secrets Manager removes unlabelled versions when it likes.
                    Err(error) if unlabelled && error.kind() == AwsErrorKind::Invalid => {}
                    read => versions.extend(read?),
                }
            }
        }
        Ok(versions)
    }

    // By id and not by label: then it does not matter what happens to labels in between.
    async fn version(self, id: &str) -> Result<Option<Version>, AwsError> {
        let read = self
            .account
            .secrets
            .get_secret_value()
            .secret_id(self.name())
            .version_id(id)
            .send()
            .await
            .during_secret("secretsmanager:GetSecretValue", self.name())
            .optional()?;
        let Some(read) = read else { return Ok(None) };
        let created = read
            .created_date
            .and_then(|date| Timestamp::from_second(date.secs()).ok());
        let text = read.secret_string.unwrap_or_default();
        Ok(Some(Version::read(id, created, &text)))
    }

    /// Stores a key that waits for its certificate.
    pub(crate) async fn put_pending(self, key: &PrivateKey, csr: &str) -> Result<(), AwsError> {
        let value = json!({ "privateKey": key.expose(), "csr": csr });
        let token = token(&[csr]);
        self.put(&value, &token, &[PENDING]).await
    }

    /// Puts an identity in use. `base` is the version its key comes from; the same call twice makes one version.
    pub(crate) async fn put_current(
        self,
        base: &Version,
        certificate: &str,
        key: &PrivateKey,
        labels: &[&str],
    ) -> Result<(), AwsError> {
        let ca = &self.party.ca;
        let value = json!({ "certificate": certificate, "privateKey": key.expose(), "caCert": ca });
        let token = token(&[&base.id, certificate, ca]);
        self.put(&value, &token, labels).await
    }

    /// Replaces the value by an empty one, so that a secret that is restored later holds no identity.
    pub(crate) async fn put_nothing(self, described: &Described) -> Result<(), AwsError> {
        let Some(current) = described.labelled(CURRENT) else {
            return Ok(());
        };
        let token = token(&[current, "nothing"]);
        self.put(&json!({}), &token, &[CURRENT, PENDING]).await
    }

    async fn put(self, value: &Value, token: &str, labels: &[&str]) -> Result<(), AwsError> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.account
            .secrets
            .put_secret_value()
            .secret_id(self.name())
            .client_request_token(token)
            .secret_string(value.to_string())
            .set_version_stages(Some(labels))
            .send()
            .await
            .during_secret("secretsmanager:PutSecretValue", self.name())?;
        Ok(())
    }

    pub(crate) async fn delete(self) -> Result<(), AwsError> {
        secrets::delete(self.account, self.name(), self.party.recovery_days).await
    }
}

// === impl Described ===

impl Described {
    // A label is on one version at a time. Should it be on two, the version in use counts: then nothing is pending.
    fn labelled(&self, label: &str) -> Option<&str> {
        let with = self
            .labels
            .iter()
            .filter(|(_, labels)| labels.iter().any(|it| it == label));
        let in_use = |(_, labels): &(&String, &Vec<String>)| labels.iter().any(|it| it == CURRENT);
        let (id, _) = with.clone().find(in_use).or_else(|| with.clone().next())?;
        Some(id)
    }
}

/// The label of what is in use.
pub(crate) const CURRENT: &str = "AWSCURRENT";
/// The label of what was in use before.
pub(crate) const PREVIOUS: &str = "AWSPREVIOUS";
/// The label of a key that waits.
pub(crate) const PENDING: &str = "AWSPENDING";

// A request token becomes the version's id; the same parts give the same, so that a repeated call changes nothing.
fn token(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let text = hex(&hash.finalize());
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &text[range]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_on_two_versions_belongs_to_the_one_in_use() {
        let labels = |ids: &[(&str, &[&str])]| Described {
            arn: None,
            owner: Owner::Ours,
            tags: Value::Null,
            description: String::new(),
            kms_key: None,
            deleting: false,
            labels: ids
                .iter()
                .map(|(id, labels)| {
                    let labels = labels.iter().map(|label| (*label).to_owned());
                    ((*id).to_owned(), labels.collect())
                })
                .collect(),
        };
        let both = labels(&[("1", &[PENDING]), ("2", &[CURRENT, PENDING])]);
        assert_eq!(both.labelled(PENDING), Some("2"));
        let apart = labels(&[("1", &[PENDING]), ("2", &[CURRENT])]);
        assert_eq!(apart.labelled(PENDING), Some("1"));
        assert_eq!(apart.labelled(PREVIOUS), None);
    }

    #[test]
    fn the_same_parts_give_the_same_token_and_others_another() {
        assert_eq!(token(&["a", "b"]), token(&["a", "b"]));
        assert_ne!(token(&["a", "b"]), token(&["ab", ""]));
        // Secrets Manager takes 32 to 64 characters.
        assert_eq!(token(&["a"]).len(), 36);
    }
}
