//! The half of an identity in the account that keeps the key: versions of one secret.
//!
//! A key that waits for its certificate is a version labelled `AWSPENDING` of `{"privateKey","csr"}`; an identity in
//! use is the version labelled `AWSCURRENT` of `{"certificate","privateKey","caCert"}`. Putting one in use moves both
//! labels to it, so that nothing is pending afterwards. The first version of a secret gets `AWSCURRENT` whatever is
//! asked for, so what a version is, its content says.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_secretsmanager::types::Tag;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::aws::{Account, Cloud, Error, ErrorKind, Optional, Outcome};
use crate::resource::{Certificate, Owner};

use super::key::{PrivateKey, hex};

/// One secret.
#[derive(Clone, Copy)]
pub(crate) struct Keeper<'a> {
    account: &'a Account,
    party: &'a Certificate,
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
    /// Label to version.
    labels: BTreeMap<String, String>,
}

/// One version. `Debug` hides the key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) created: Option<Timestamp>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<PrivateKey>,
    pub(crate) ca: Option<String>,
    pub(crate) csr: Option<String>,
}

// === impl Keeper ===

impl<'a> Keeper<'a> {
    pub(crate) fn of(cloud: &'a Cloud, party: &'a Certificate) -> Result<Self, Error> {
        let account = cloud.of(&party.keeper)?;
        Ok(Self { account, party })
    }

    pub(crate) fn account(&self) -> &'a Account {
        self.account
    }

    fn name(&self) -> &'a str {
        &self.party.secret
    }

    pub(crate) async fn describe(self) -> Result<Option<Described>, Error> {
        let found = self
            .account
            .secrets
            .describe_secret()
            .secret_id(self.name())
            .send()
            .await
            .during("secretsmanager:DescribeSecret", self.name())
            .optional()?;
        let Some(found) = found else { return Ok(None) };
        let live = found.tags();
        let pair = |tag: &'_ Tag| -> (String, String) {
            let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
            (text(tag.key()), text(tag.value()))
        };
        let live: Vec<(String, String)> = live.iter().map(pair).collect();
        let pairs = live
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let (owner, tags) = self.party.tags.observed(pairs);
        let versions = found.version_ids_to_stages.unwrap_or_default();
        let labels = versions
            .into_iter()
            .flat_map(|(id, labels)| labels.into_iter().map(move |label| (label, id.clone())))
            .collect();
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
    pub(crate) async fn create(self) -> Result<(), Error> {
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
                return Err(Error::new(ErrorKind::Exists, action, name, message));
            }
            self.account
                .secrets
                .restore_secret()
                .secret_id(name)
                .send()
                .await
                .during("secretsmanager:RestoreSecret", name)?;
            return Ok(());
        }
        self.account
            .secrets
            .create_secret()
            .name(name)
            .description(&self.party.description)
            .set_kms_key_id(self.party.kms_key.clone())
            .set_tags(Some(self.tags()))
            .send()
            .await
            .during(action, name)?;
        Ok(())
    }

    pub(crate) async fn write_description(self) -> Result<(), Error> {
        let key = self.party.kms_key.as_deref().unwrap_or(DEFAULT_KMS_KEY);
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

    pub(crate) async fn write_tags(self) -> Result<(), Error> {
        self.account
            .secrets
            .tag_resource()
            .secret_id(self.name())
            .set_tags(Some(self.tags()))
            .send()
            .await
            .during("secretsmanager:TagResource", self.name())?;
        Ok(())
    }

    /// The version that is labelled so.
    pub(crate) async fn labelled(
        self,
        described: &Described,
        label: &str,
    ) -> Result<Option<Version>, Error> {
        match described.labels.get(label) {
            Some(id) => self.version(id).await,
            None => Ok(None),
        }
    }

    /// Every version that can still be read, also those without a label. Secrets Manager keeps at most a hundred.
    pub(crate) async fn versions(self) -> Result<Vec<Version>, Error> {
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
                versions.extend(self.version(&id).await?);
            }
        }
        Ok(versions)
    }

    // By id and not by label: then it does not matter what happens to labels in between.
    async fn version(self, id: &str) -> Result<Option<Version>, Error> {
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
    pub(crate) async fn put_pending(self, key: &PrivateKey, csr: &str) -> Result<(), Error> {
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
    ) -> Result<(), Error> {
        let ca = &self.party.ca;
        let value = json!({ "certificate": certificate, "privateKey": key.expose(), "caCert": ca });
        let token = token(&[&base.id, certificate, ca]);
        self.put(&value, &token, labels).await
    }

    /// Replaces the value by an empty one, so that a secret that is restored later holds no identity.
    pub(crate) async fn put_nothing(self, described: &Described) -> Result<(), Error> {
        let Some(current) = described.labels.get(CURRENT) else {
            return Ok(());
        };
        let token = token(&[current, "nothing"]);
        self.put(&json!({}), &token, &[CURRENT, PENDING]).await
    }

    async fn put(self, value: &Value, token: &str, labels: &[&str]) -> Result<(), Error> {
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

    pub(crate) async fn delete(self) -> Result<(), Error> {
        let deleting = self.account.secrets.delete_secret().secret_id(self.name());
        let deleting = match self.party.recovery_days {
            0 => deleting.force_delete_without_recovery(true),
            days => deleting.recovery_window_in_days(days.into()),
        };
        let deleted = deleting.send().await;
        deleted
            .during("secretsmanager:DeleteSecret", self.name())
            .was_there()?;
        Ok(())
    }

    fn tags(self) -> Vec<Tag> {
        let tags = self.party.tags.iter();
        tags.map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect()
    }
}

// === impl Version ===

impl Version {
    // A value that is no object of texts holds nothing of an identity.
    fn read(id: &str, created: Option<Timestamp>, text: &str) -> Self {
        let mut parts: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let mut part = |name: &str| match parts.remove(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
            _ => None,
        };
        Self {
            id: id.to_owned(),
            created,
            certificate: part("certificate"),
            key: part("privateKey").map(PrivateKey::new),
            ca: part("caCert"),
            csr: part("csr"),
        }
    }

    /// Whether it is a key that waits for its certificate.
    pub(crate) fn waits(&self) -> bool {
        self.certificate.is_none() && self.key.is_some() && self.csr.is_some()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("id", &self.id)
            .field("certificate", &self.certificate.is_some())
            .field("key", &self.key)
            .field("csr", &self.csr.is_some())
            .finish_non_exhaustive()
    }
}

/// The label of what is in use.
pub(crate) const CURRENT: &str = "AWSCURRENT";
/// The label of what was in use before.
pub(crate) const PREVIOUS: &str = "AWSPREVIOUS";
/// The label of a key that waits.
pub(crate) const PENDING: &str = "AWSPENDING";

// What UpdateSecret takes for "AWS's own key".
const DEFAULT_KMS_KEY: &str = "alias/aws/secretsmanager";

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
    fn what_a_version_is_its_content_says() {
        let waiting = Version::read("1", None, r#"{"privateKey":"k","csr":"c"}"#);
        assert!(waiting.waits());
        let in_use = r#"{"certificate":"x","privateKey":"k","caCert":"y"}"#;
        assert!(!Version::read("2", None, in_use).waits());
        for nothing in ["", "{}", "[]", "{oops", r#"{"privateKey":1,"csr":""}"#] {
            let version = Version::read("3", None, nothing);
            assert!(!version.waits() && version.certificate.is_none());
        }
    }

    #[test]
    fn the_same_parts_give_the_same_token_and_others_another() {
        assert_eq!(token(&["a", "b"]), token(&["a", "b"]));
        assert_ne!(token(&["a", "b"]), token(&["ab", ""]));
        // Secrets Manager takes 32 to 64 characters.
        assert_eq!(token(&["a"]).len(), 36);
    }

    #[test]
    fn debug_output_of_a_version_has_no_value() {
        let version = Version::read("1", None, r#"{"privateKey":"canary","csr":"canary"}"#);
        assert!(!format!("{version:?}").contains("canary"));
    }
}
