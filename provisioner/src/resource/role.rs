//! The IAM role of a pod: may read exactly its secrets, and sign in to the database as one user if that is configured.
//!
//! A pod gets the role through EKS Pod Identity; the role grants nothing in AWS IoT, for a connection by certificate
//! is decided by the IoT policy alone. Inline policies that are not ours (the first deployment had one with `iot:*`)
//! show as a difference and are removed. An attached managed policy is only reported.

use std::collections::BTreeMap;

use aws_sdk_iam::types::{AttachedPolicy, Role as Live, Tag};
use region_file::tags::Tags;
use serde_json::{Map, Value};

use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional, Outcome};
use crate::scope::Scope;

use super::{DesiredValue, Difference, Facts, Manage, Note, Observed, attributes};

mod document;

/// The IAM role of a pod: may read exactly its secrets, and sign in to the database if that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// What it is for.
    pub description: String,
    /// Names of the secrets it may read, in its own account.
    pub reads: Vec<String>,
    /// The database's user whom it may sign in as with tokens of IAM; none for nobody.
    pub connects_as: Option<String>,
    /// KMS key those are encrypted with; none for AWS's own.
    pub kms_key: Option<String>,
}

/// The ARN of the role `name` of an account.
pub(super) fn arn(account: &Account, name: &str) -> String {
    format!("arn:{}:iam::{}:role/{name}", account.partition, account.id)
}

impl Manage for Role {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let account = cloud.of(&self.scope)?;
        let request = account.iam.get_role().role_name(&self.name);
        let answer = request
            .send()
            .await
            .during("iam:GetRole", &self.name)
            .optional()?;
        let Some(live) = answer.and_then(|answer| answer.role) else {
            return Ok(None);
        };
        let mut policies = Map::new();
        for name in self.inline(account).await? {
            if let Some(document) = self.document(account, &name).await? {
                policies.insert(name, document);
            }
        }
        let attached = self.attached(account).await?;
        Ok(Some(self.observed(&live, policies, &attached)))
    }

    fn wanted(&self, cloud: &Cloud, facts: &Facts) -> BTreeMap<String, DesiredValue> {
        let policies = match cloud.of(&self.scope) {
            Ok(account) => match self.policies(account, facts) {
                Some(policies) => DesiredValue::Known(Value::Object(policies)),
                None => DesiredValue::After("the database"),
            },
            Err(_) => DesiredValue::After("credentials for the account"),
        };
        attributes([
            (
                "description",
                DesiredValue::Known(self.description.as_str().into()),
            ),
            ("policies", policies),
            ("tags", DesiredValue::Known(self.tags.wanted())),
            ("trust", DesiredValue::Known(document::trust())),
        ])
    }

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let request = account
            .iam
            .create_role()
            .role_name(&self.name)
            .description(&self.description)
            .assume_role_policy_document(document::trust().to_string())
            .set_tags(Some(self.sdk_tags()?));
        request.send().await.during("iam:CreateRole", &self.name)?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        for difference in differences {
            match difference.attribute.as_str() {
                "tags" => self.tag(account).await?,
                "trust" => self.trust(account).await?,
                "description" => self.describe(account).await?,
                "policies" => {
                    let wanted = self.policies(account, facts);
                    self.put_policies(account, wanted, &difference.have).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        for policy in self.attached(account).await? {
            let request = account.iam.detach_role_policy().role_name(&self.name);
            let request = request.set_policy_arn(policy.policy_arn);
            let done = request.send().await;
            done.during("iam:DetachRolePolicy", &self.name)
                .was_there()?;
        }
        for name in self.inline(account).await? {
            self.delete_policy(account, &name).await?;
        }
        let request = account.iam.delete_role().role_name(&self.name);
        let done = request.send().await;
        done.during("iam:DeleteRole", &self.name).was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        self.tag(cloud.of(&self.scope)?).await
    }
}

impl Role {
    fn observed(
        &self,
        live: &Live,
        policies: Map<String, Value>,
        attached: &[AttachedPolicy],
    ) -> Observed {
        let tags = live.tags().iter().map(|tag| (tag.key(), tag.value()));
        let (owner, tags) = self.tags.observed(tags);
        let trust = live
            .assume_role_policy_document()
            .map_or(Value::Null, document::from_iam);
        let attributes = attributes([
            ("description", live.description().unwrap_or_default().into()),
            ("policies", Value::Object(policies)),
            ("tags", tags),
            ("trust", trust),
        ]);
        let mut observed = Observed::ready(owner, attributes, Some(live.arn().to_owned()));
        let names: Vec<_> = attached
            .iter()
            .filter_map(AttachedPolicy::policy_name)
            .collect();
        if !names.is_empty() {
            observed.notes.push(Note {
                text: format!("has managed policies attached: {}", names.join(", ")),
                hint: "detach them; what the pod needs is in inline policies, also `rds-db:connect` with `database.iamAuth: true`".into(),
            });
        }
        observed
    }

    /// The inline policies it should have, as documents; none while the database that one names is not there.
    fn policies(&self, account: &Account, facts: &Facts) -> Option<Map<String, Value>> {
        let mut policies = Map::new();
        if !self.reads.is_empty() {
            let document = document::secrets_read(account, &self.reads, self.kms_key.as_deref());
            policies.insert(SECRETS_READ.to_owned(), document);
        }
        if let Some(user) = &self.connects_as {
            let database = facts.database_resource.as_deref()?;
            let document = document::database_connect(account, database, user);
            policies.insert(DATABASE_CONNECT.to_owned(), document);
        }
        Some(policies)
    }

    async fn inline(&self, account: &Account) -> Result<Vec<String>, AwsError> {
        let request = account.iam.list_role_policies().role_name(&self.name);
        let mut pages = request.into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            match page.during("iam:ListRolePolicies", &self.name).optional()? {
                Some(page) => names.extend(page.policy_names),
                None => break,
            }
        }
        Ok(names)
    }

    async fn attached(&self, account: &Account) -> Result<Vec<AttachedPolicy>, AwsError> {
        let request = account
            .iam
            .list_attached_role_policies()
            .role_name(&self.name);
        let mut pages = request.into_paginator().send();
        let mut policies = Vec::new();
        while let Some(page) = pages.next().await {
            match page
                .during("iam:ListAttachedRolePolicies", &self.name)
                .optional()?
            {
                Some(page) => policies.extend(page.attached_policies.unwrap_or_default()),
                None => break,
            }
        }
        Ok(policies)
    }

    async fn document(&self, account: &Account, policy: &str) -> Result<Option<Value>, AwsError> {
        let request = account
            .iam
            .get_role_policy()
            .role_name(&self.name)
            .policy_name(policy);
        let answer = request.send().await;
        let answer = answer.during("iam:GetRolePolicy", &self.name).optional()?;
        Ok(answer.map(|answer| document::from_iam(answer.policy_document())))
    }

    /// Puts what should be there first and then removes the rest: the pod can read its secrets all the while.
    async fn put_policies(
        &self,
        account: &Account,
        wanted: Option<Map<String, Value>>,
        have: &Value,
    ) -> Result<(), AwsError> {
        // Without the database nothing is known to be different, so this is not asked for.
        let Some(wanted) = wanted else { return Ok(()) };
        for (name, document) in &wanted {
            if have.get(name) == Some(document) {
                continue;
            }
            let request = account
                .iam
                .put_role_policy()
                .role_name(&self.name)
                .policy_name(name)
                .policy_document(document.to_string());
            let done = request.send().await;
            done.during("iam:PutRolePolicy", &self.name)?;
        }
        let surplus = self.inline(account).await?;
        for name in surplus.iter().filter(|name| !wanted.contains_key(*name)) {
            self.delete_policy(account, name).await?;
        }
        Ok(())
    }

    async fn delete_policy(&self, account: &Account, policy: &str) -> Result<(), AwsError> {
        let request = account
            .iam
            .delete_role_policy()
            .role_name(&self.name)
            .policy_name(policy);
        let done = request.send().await;
        done.during("iam:DeleteRolePolicy", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn trust(&self, account: &Account) -> Result<(), AwsError> {
        let request = account
            .iam
            .update_assume_role_policy()
            .role_name(&self.name)
            .policy_document(document::trust().to_string());
        let done = request.send().await;
        done.during("iam:UpdateAssumeRolePolicy", &self.name)?;
        Ok(())
    }

    /// Not by `UpdateRole`, which would reset the longest session to an hour.
    async fn describe(&self, account: &Account) -> Result<(), AwsError> {
        let request = account
            .iam
            .update_role_description()
            .role_name(&self.name)
            .description(&self.description);
        let done = request.send().await;
        done.during("iam:UpdateRoleDescription", &self.name)?;
        Ok(())
    }

    async fn tag(&self, account: &Account) -> Result<(), AwsError> {
        let request = account.iam.tag_role().role_name(&self.name);
        let request = request.set_tags(Some(self.sdk_tags()?));
        request.send().await.during("iam:TagRole", &self.name)?;
        Ok(())
    }

    fn sdk_tags(&self) -> Result<Vec<Tag>, AwsError> {
        let tags = self.tags.iter();
        tags.map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect::<Result<_, _>>()
            .map_err(|error| {
                let why = link::error::chain(&error);
                AwsError::new(AwsErrorKind::Invalid, "iam:TagRole", &self.name, why)
            })
    }
}

// Names of the inline policies.
const SECRETS_READ: &str = "secrets-read";
const DATABASE_CONNECT: &str = "database-connect";

#[cfg(test)]
mod tests;
