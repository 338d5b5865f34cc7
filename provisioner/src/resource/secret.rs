//! A value in Secrets Manager: a JSON object of strings.
//!
//! `create` writes the whole object at once: keys whose values are not known yet (the endpoint, the database's host)
//! are there as empty strings, so that whoever reads the secret finds its shape complete. A password is made then, and
//! never again: every later write reads the object first, changes what differs and keeps the rest, also keys that are
//! not in the file.
//!
//! Deleting leaves the name taken for the recovery window. A secret of ours in that window counts as absent, and
//! `create` restores it with the value it had.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use region_file::tags::{Owner, Tags};
use serde_json::Value;

use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional, Outcome, secrets};
use crate::scope::Scope;

use super::{
    Change, DesiredValue, Difference, Facts, Manage, Note, Observed, State, attributes, kms,
};

pub(super) use self::value::SecretValue;

mod value;

/// A value in Secrets Manager: a JSON object of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// What it is for.
    pub description: String,
    /// KMS key; none for AWS's own.
    pub kms_key: Option<String>,
    /// Days it can be restored after deletion, 0 for not at all.
    pub recovery_days: u8,
    /// Keys of its JSON object.
    pub content: BTreeMap<String, Content>,
}

/// What one key of a secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text that is no secret.
    Text(String),
    /// A text in which `{endpoint}` stands for the broker's host name.
    WithEndpoint(String),
    /// The database's host name.
    DatabaseHost,
    /// The database's port, as a string.
    DatabasePort,
    /// Made once, of this many letters and digits, kept for ever and never printed.
    Password(usize),
}

/// The current value of the secret `name`.
///
/// # Errors
/// The failed call; an absent secret or one without a value is [`SecretValue::Nothing`].
pub(super) async fn stored(account: &Account, name: &str) -> Result<SecretValue, AwsError> {
    let request = account.secrets.get_secret_value().secret_id(name);
    let answer = request
        .send()
        .await
        .during("secretsmanager:GetSecretValue", name)
        .optional()?;
    Ok(answer.map_or(SecretValue::Nothing, |answer| {
        SecretValue::parse(answer.secret_string())
    }))
}

impl Manage for Secret {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let account = cloud.of(&self.scope)?;
        let Some(about) = secrets::describe(account, &self.name).await? else {
            return Ok(None);
        };
        if about.deleted_date().is_some() {
            return Ok(self.in_recovery(&about));
        }
        let stored = stored(account, &self.name).await?;
        Ok(Some(self.observed(&about, &stored)))
    }

    fn wanted(&self, _cloud: &Cloud, facts: &Facts) -> BTreeMap<String, DesiredValue> {
        let mut wanted = attributes([
            (
                "description",
                DesiredValue::Known(self.description.as_str().into()),
            ),
            (
                "kmsKey",
                DesiredValue::Known(self.kms_key.as_deref().into()),
            ),
            ("tags", DesiredValue::Known(self.tags.wanted())),
        ]);
        for (key, content) in &self.content {
            wanted.insert(format!("{CONTENT}{key}"), content.wanted(facts));
        }
        wanted
    }

    fn change(&self, difference: &Difference) -> Change {
        let key = difference.attribute.strip_prefix(CONTENT);
        match key.and_then(|key| self.content.get(key)) {
            // A secret that this program made has a password from the first call on, so this one was made or changed
            // by somebody else, and a database may exist already.
            Some(Content::Password(_)) => Change::Disrupts(
                "makes a new password, which an existing database does not know".into(),
            ),
            // User and name of a database are set when it is made and never after.
            Some(Content::Text(_)) if self.has_password() && is_set(&difference.have) => {
                Change::Impossible {
                    why: "a database keeps the user and the name it was made with".into(),
                    hint: "say under `database:` what it was made with, or put the secret right by hand".into(),
                }
            }
            _ => Change::Quiet,
        }
    }

    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        attributes([("recoveryDays", self.recovery_days.into())])
    }

    async fn create(&self, cloud: &Cloud, facts: &Facts) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        if let Some(about) = secrets::describe(account, &self.name).await?
            && about.deleted_date().is_some()
        {
            return self.restore(account, &about).await;
        }
        let value = SecretValue::Nothing.completed(&self.content, facts);
        let text = value.to_json(&self.name)?;
        let request = account
            .secrets
            .create_secret()
            .name(&self.name)
            .description(&self.description)
            .set_kms_key_id(self.kms_key.clone())
            .set_tags(Some(secrets::sdk_tags(&self.tags)))
            .secret_string(text);
        request
            .send()
            .await
            .during_secret("secretsmanager:CreateSecret", &self.name)?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let differs = |name: &str| differences.iter().any(|it| it.attribute == name);
        if differs("tags") {
            self.tag(account).await?;
        }
        if differs("description") || differs("kmsKey") {
            self.describe_anew(account, differs("kmsKey")).await?;
        }
        if differences
            .iter()
            .any(|it| it.attribute.starts_with(CONTENT))
        {
            self.put(account, facts).await?;
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let Some(about) = secrets::describe(account, &self.name).await? else {
            return Ok(());
        };
        if self.recovery_days > 0 && about.deleted_date().is_some() {
            return Ok(());
        }
        secrets::delete(account, &self.name, self.recovery_days).await
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        self.tag(cloud.of(&self.scope)?).await
    }
}

impl Secret {
    fn observed(&self, about: &DescribeSecretOutput, stored: &SecretValue) -> Observed {
        let (owner, tags) = self.owner(about);
        let description = about.description().unwrap_or_default();
        let mut attributes = attributes([
            ("description", description.into()),
            (
                "kmsKey",
                kms::observed(about.kms_key_id(), self.kms_key.as_deref()),
            ),
            ("tags", tags),
        ]);
        for (key, content) in &self.content {
            attributes.insert(format!("{CONTENT}{key}"), stored.observed(key, content));
        }
        let id = about.arn().map(str::to_owned);
        let mut observed = Observed::ready(owner, attributes, id);
        if matches!(stored, SecretValue::Opaque) {
            observed.state = State::Broken {
                why: "its value is not a JSON object".into(),
                hint: "replace its value by a JSON object, or delete the secret".into(),
            };
        }
        let unknown = stored.unknown(&self.content);
        if !unknown.is_empty() {
            observed.notes.push(Note {
                text: format!(
                    "holds keys that are not in the file: {}",
                    unknown.join(", ")
                ),
                hint: "remove them by hand if nobody needs them".into(),
            });
        }
        observed
    }

    /// A secret that is scheduled for deletion: ours is as good as absent, for `create` brings it back; another's
    /// keeps the name.
    fn in_recovery(&self, about: &DescribeSecretOutput) -> Option<Observed> {
        let (owner, tags) = self.owner(about);
        if owner == Owner::Ours {
            return None;
        }
        let id = about.arn().map(str::to_owned);
        let mut observed = Observed::ready(owner, attributes([("tags", tags)]), id);
        observed.state = State::Broken {
            why: "somebody else's secret of this name is scheduled for deletion and keeps the name"
                .into(),
            hint: format!(
                "restore it with `aws secretsmanager restore-secret --secret-id {}` and adopt it, or wait until it is gone",
                self.name
            ),
        };
        Some(observed)
    }

    fn owner(&self, about: &DescribeSecretOutput) -> (Owner, Value) {
        secrets::owner(about, &self.tags)
    }

    async fn restore(
        &self,
        account: &Account,
        about: &DescribeSecretOutput,
    ) -> Result<(), AwsError> {
        let action = "secretsmanager:RestoreSecret";
        if self.owner(about).0 != Owner::Ours {
            let why = "somebody else's secret of this name is scheduled for deletion";
            return Err(AwsError::new(AwsErrorKind::Exists, action, &self.name, why));
        }
        secrets::restore(account, &self.name).await
    }

    /// Not together with the value: a change of key re-encrypts the current value, and must not make a new one.
    async fn describe_anew(&self, account: &Account, key_too: bool) -> Result<(), AwsError> {
        let key = self.kms_key.as_deref().unwrap_or(secrets::DEFAULT_KEY);
        let request = account
            .secrets
            .update_secret()
            .secret_id(&self.name)
            .description(&self.description)
            .set_kms_key_id(key_too.then(|| key.to_owned()));
        request
            .send()
            .await
            .during("secretsmanager:UpdateSecret", &self.name)?;
        Ok(())
    }

    async fn put(&self, account: &Account, facts: &Facts) -> Result<(), AwsError> {
        let stored = stored(account, &self.name).await?;
        if matches!(stored, SecretValue::Opaque) {
            let why = "its value is not a JSON object";
            let action = "secretsmanager:PutSecretValue";
            return Err(AwsError::new(
                AwsErrorKind::Invalid,
                action,
                &self.name,
                why,
            ));
        }
        let value = stored.completed(&self.content, facts);
        let text = value.to_json(&self.name)?;
        let request = account.secrets.put_secret_value().secret_id(&self.name);
        request
            .secret_string(text)
            .send()
            .await
            .during_secret("secretsmanager:PutSecretValue", &self.name)?;
        Ok(())
    }

    async fn tag(&self, account: &Account) -> Result<(), AwsError> {
        secrets::tag(account, &self.name, &self.tags).await
    }

    fn has_password(&self) -> bool {
        let mut content = self.content.values();
        content.any(|content| matches!(content, Content::Password(_)))
    }
}

fn is_set(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

// Before the names of keys in the names of attributes.
const CONTENT: &str = "content.";

#[cfg(test)]
mod tests;
