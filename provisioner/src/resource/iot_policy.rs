//! An IoT policy: what the certificates it is attached to may do.
//!
//! A change makes a new default version. IoT Core keeps five; the oldest goes before the sixth is made.

use std::collections::BTreeMap;

use aws_sdk_iot::types::{PolicyVersion, Tag};
use region_file::tags::Tags;
use serde_json::{Value, json};

use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional, Outcome};
use crate::scope::Scope;

use super::{Change, DesiredValue, Difference, Facts, Manage, Observed, attributes};

pub use self::undecided::Undecided;

mod narrowing;
mod undecided;

/// An IoT policy: what the certificates it is attached to may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IotPolicy {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// What it allows.
    pub document: link::iot::Document,
    /// Who may be behind it, where the file does not say.
    pub undecided: Option<Box<Undecided>>,
}

// === impl IotPolicy ===

impl IotPolicy {
    fn wanted_document(&self) -> Value {
        json!(self.document)
    }

    fn arn(&self, account: &Account) -> String {
        account.arn("iot", &format!("policy/{}", self.name))
    }

    fn check(&self) -> Result<(), AwsError> {
        self.document.check_size().map_err(|error| {
            let action = "iot:CreatePolicy";
            AwsError::new(AwsErrorKind::Limit, action, &self.name, error.to_string())
        })
    }

    async fn versions(&self, account: &Account) -> Result<Vec<PolicyVersion>, AwsError> {
        let listed = account
            .iot
            .list_policy_versions()
            .policy_name(&self.name)
            .send()
            .await
            .during("iot:ListPolicyVersions", &self.name)
            .optional()?;
        Ok(listed
            .and_then(|listed| listed.policy_versions)
            .unwrap_or_default())
    }

    async fn delete_version(&self, account: &Account, version: &str) -> Result<(), AwsError> {
        account
            .iot
            .delete_policy_version()
            .policy_name(&self.name)
            .policy_version_id(version)
            .send()
            .await
            .during("iot:DeletePolicyVersion", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn replace_document(&self, account: &Account) -> Result<(), AwsError> {
        let versions = self.versions(account).await?;
        if versions.len() >= MAX_VERSIONS
            && let Some(oldest) = superfluous(versions).first()
        {
            self.delete_version(account, oldest).await?;
        }
        account
            .iot
            .create_policy_version()
            .policy_name(&self.name)
            .policy_document(self.document.to_json())
            .set_as_default(true)
            .send()
            .await
            .during("iot:CreatePolicyVersion", &self.name)?;
        Ok(())
    }

    async fn tag(&self, account: &Account) -> Result<(), AwsError> {
        account
            .iot
            .tag_resource()
            .resource_arn(self.arn(account))
            .set_tags(Some(sdk_tags(&self.tags, &self.name)?))
            .send()
            .await
            .during("iot:TagResource", &self.name)?;
        Ok(())
    }
}

impl Manage for IotPolicy {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let account = cloud.of(&self.scope)?;
        let found = account
            .iot
            .get_policy()
            .policy_name(&self.name)
            .send()
            .await
            .during("iot:GetPolicy", &self.name)
            .optional()?;
        let Some(found) = found else { return Ok(None) };
        let live: Vec<Tag> = account
            .iot
            .list_tags_for_resource()
            .resource_arn(self.arn(account))
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .during("iot:ListTagsForResource", &self.name)?;
        let (owner, tags) = self.tags.observed(
            live.iter()
                .map(|tag| (tag.key(), tag.value().unwrap_or_default())),
        );
        let document = canonical(found.policy_document().unwrap_or_default());
        let attributes = attributes([(DOCUMENT, document), (TAGS, tags)]);
        let mut observed = Observed::ready(owner, attributes, found.policy_arn);
        let live = found.policy_document.unwrap_or_default();
        if let Some(state) = self.undecided.as_ref().and_then(|it| it.refusal(&live)) {
            observed.state = state;
        }
        Ok(Some(observed))
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, DesiredValue> {
        attributes([
            (DOCUMENT, DesiredValue::Known(self.wanted_document())),
            (TAGS, DesiredValue::Known(self.tags.wanted())),
        ])
    }

    fn change(&self, difference: &Difference) -> Change {
        if difference.attribute != DOCUMENT {
            return Change::Quiet;
        }
        narrowing::change(&difference.have, &self.document)
    }

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), AwsError> {
        self.check()?;
        let account = cloud.of(&self.scope)?;
        account
            .iot
            .create_policy()
            .policy_name(&self.name)
            .policy_document(self.document.to_json())
            .set_tags(Some(sdk_tags(&self.tags, &self.name)?))
            .send()
            .await
            .during("iot:CreatePolicy", &self.name)?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        self.check()?;
        let account = cloud.of(&self.scope)?;
        let differs = |attribute: &str| differences.iter().any(|it| it.attribute == attribute);
        if differs(DOCUMENT) {
            self.replace_document(account).await?;
        }
        if differs(TAGS) {
            self.tag(account).await?;
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let targets = account
            .iot
            .list_targets_for_policy()
            .policy_name(&self.name)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<String>, _>>()
            .await
            .during("iot:ListTargetsForPolicy", &self.name)
            .optional()?;
        for target in targets.unwrap_or_default() {
            account
                .iot
                .detach_policy()
                .policy_name(&self.name)
                .target(target)
                .send()
                .await
                .during("iot:DetachPolicy", &self.name)
                .was_there()?;
        }
        for version in superfluous(self.versions(account).await?) {
            self.delete_version(account, &version).await?;
        }
        account
            .iot
            .delete_policy()
            .policy_name(&self.name)
            .send()
            .await
            .during("iot:DeletePolicy", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        self.tag(cloud.of(&self.scope)?).await
    }
}

/// Tags in the words of the IoT SDK.
pub(crate) fn sdk_tags(tags: &Tags, object: &str) -> Result<Vec<Tag>, AwsError> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect::<Result<_, _>>()
        .map_err(|error| {
            let action = "iot:TagResource";
            AwsError::new(AwsErrorKind::Invalid, action, object, error.to_string())
        })
}

// A document as this project would write it; one that it cannot read, as its text.
fn canonical(live: &str) -> Value {
    match link::iot::Document::parse(live) {
        Ok(document) => json!(document),
        Err(_) => live.into(),
    }
}

// Ids of the versions that are not in force, oldest first. Ids are numbers that only grow.
fn superfluous(versions: Vec<PolicyVersion>) -> Vec<String> {
    let mut ids: Vec<String> = versions
        .into_iter()
        .filter(|version| !version.is_default_version)
        .filter_map(|version| version.version_id)
        .collect();
    ids.sort_by_key(|id| id.parse().unwrap_or(u64::MAX));
    ids
}

const DOCUMENT: &str = "document";
const TAGS: &str = "tags";

// Versions IoT Core keeps of a policy (docs/IOT-CORE.md §1.2).
const MAX_VERSIONS: usize = link::iot::limits::POLICY_VERSIONS;

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, default: bool) -> PolicyVersion {
        PolicyVersion::builder()
            .version_id(id)
            .is_default_version(default)
            .build()
    }

    #[test]
    fn the_oldest_version_goes_first_and_the_default_never() {
        let versions = vec![
            version("10", false),
            version("9", true),
            version("2", false),
        ];
        assert_eq!(superfluous(versions), ["2", "10"]);
    }

    #[test]
    fn single_values_and_lists_of_one_are_the_same_document() {
        let one = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]}"#;
        let list = r#"{"Statement":[{"Resource":["*"],"Action":["iot:Connect"],"Effect":"Allow"}],"Version":"2012-10-17"}"#;
        assert_eq!(canonical(one), canonical(list));
    }

    #[test]
    fn a_document_that_cannot_be_read_is_shown_as_it_is() {
        assert_eq!(canonical("{oops"), json!("{oops"));
    }
}
