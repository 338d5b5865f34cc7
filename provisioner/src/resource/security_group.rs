//! The security group of the database: PostgreSQL's port from the named groups, and nothing else.
//!
//! Nothing may go out, either: a database answers on connections that others opened, and a security group lets answers
//! through. AWS gives every new group a rule that lets everything out, so the first update of a new group removes it.
//! The description cannot be changed after creation and is not compared.

use std::collections::BTreeMap;

use region_file::tags::{Tags, pairs};
use serde_json::{Value, json};

use crate::aws::ec2::{self, Ec2SecurityGroup as Live, IpPermission};
use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional, Outcome};
use crate::scope::Scope;

use super::{Change, DesiredValue, Difference, Facts, Manage, Observed, attributes};

mod rules;

/// The security group of the database: PostgreSQL's port from the named groups, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// The VPC it is in.
    pub vpc: String,
    /// Security groups that may reach port 5432, and why each.
    pub sources: BTreeMap<String, String>,
}

impl Manage for SecurityGroup {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let live = self.find(cloud.of(&self.scope)?).await?;
        Ok(live.map(|live| self.observed(&live)))
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, DesiredValue> {
        attributes([
            ("egress", DesiredValue::Known(json!({}))),
            ("ingress", DesiredValue::Known(rules::wanted(&self.sources))),
            ("tags", DesiredValue::Known(self.tags.wanted())),
        ])
    }

    fn change(&self, difference: &Difference) -> Change {
        let open = difference.have.as_object();
        let mut open = open.into_iter().flatten();
        match difference.attribute.as_str() {
            "ingress" if open.any(|(peer, _)| !self.sources.contains_key(peer)) => {
                Change::Disrupts("cuts off who reaches the database from elsewhere".into())
            }
            _ => Change::Quiet,
        }
    }

    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        attributes([
            ("description", self.description().into()),
            ("vpc", self.vpc.as_str().into()),
        ])
    }

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let description = self.description();
        let tags = self.tags.iter();
        let call = ec2::create_security_group(&self.name, &description, &self.vpc, tags);
        let done = account.ec2.call(call).await;
        done.during("ec2:CreateSecurityGroup", &self.name)?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let live = self.present(account).await?;
        let id = live.group_id.as_deref().unwrap_or_default();
        for difference in differences {
            match difference.attribute.as_str() {
                "tags" => self.tag(account, id).await?,
                "ingress" => self.let_in(account, id, &live.ip_permissions).await?,
                "egress" => {
                    self.let_nothing_out(account, id, &live.ip_permissions_egress)
                        .await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let Some(live) = self.find(account).await? else {
            return Ok(());
        };
        let call = ec2::delete_security_group(live.group_id.as_deref().unwrap_or_default());
        let done = account.ec2.call(call).await;
        done.during("ec2:DeleteSecurityGroup", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let live = self.present(account).await?;
        let id = live.group_id.as_deref().unwrap_or_default();
        self.tag(account, id).await
    }
}

impl SecurityGroup {
    fn description(&self) -> String {
        format!("Who may reach the database {}", self.name)
    }

    /// A name is unique in its VPC.
    async fn find(&self, account: &Account) -> Result<Option<Live>, AwsError> {
        let filters = [("group-name", self.name.as_str()), ("vpc-id", &self.vpc)];
        let call = ec2::describe_security_groups(&filters);
        let groups = account.ec2.call_paged(call).await;
        let groups = groups.during("ec2:DescribeSecurityGroups", &self.name)?;
        // A filter takes `*` and `?` for wildcards.
        Ok(groups
            .into_iter()
            .find(|group| group.group_name.as_ref() == Some(&self.name)))
    }

    async fn present(&self, account: &Account) -> Result<Live, AwsError> {
        self.find(account).await?.ok_or_else(|| {
            let action = "ec2:DescribeSecurityGroups";
            AwsError::new(AwsErrorKind::NotFound, action, &self.name, "it is gone")
        })
    }

    fn observed(&self, live: &Live) -> Observed {
        let (owner, tags) = self.tags.observed(pairs(&live.tags));
        let attributes = attributes([
            ("egress", rules::observed(&live.ip_permissions_egress)),
            ("ingress", rules::observed(&live.ip_permissions)),
            ("tags", tags),
        ]);
        let id = live.group_id.clone();
        let mut observed = Observed::ready(owner, attributes, id.clone());
        observed.facts.security_group = id;
        observed
    }

    /// Opens before it closes, so that nobody who may is cut off for a moment.
    async fn let_in(
        &self,
        account: &Account,
        id: &str,
        live: &[IpPermission],
    ) -> Result<(), AwsError> {
        let missing = rules::missing(&self.sources, live);
        if !missing.is_empty() {
            let done = account.ec2.call(ec2::authorize_ingress(id, &missing)).await;
            there_already(done.during("ec2:AuthorizeSecurityGroupIngress", &self.name))?;
        }
        let surplus = rules::surplus(&self.sources, live);
        if !surplus.is_empty() {
            let done = account.ec2.call(ec2::revoke_ingress(id, &surplus)).await;
            done.during("ec2:RevokeSecurityGroupIngress", &self.name)
                .was_there()?;
        }
        Ok(())
    }

    async fn let_nothing_out(
        &self,
        account: &Account,
        id: &str,
        live: &[IpPermission],
    ) -> Result<(), AwsError> {
        let surplus = rules::surplus(&BTreeMap::new(), live);
        if surplus.is_empty() {
            return Ok(());
        }
        let done = account.ec2.call(ec2::revoke_egress(id, &surplus)).await;
        done.during("ec2:RevokeSecurityGroupEgress", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn tag(&self, account: &Account, id: &str) -> Result<(), AwsError> {
        let call = ec2::create_tags(id, self.tags.iter());
        let done = account.ec2.call(call).await;
        done.during("ec2:CreateTags", &self.name)?;
        Ok(())
    }
}

/// A rule that is there already is as good as one that was made.
fn there_already<T>(outcome: Result<T, AwsError>) -> Result<(), AwsError> {
    match outcome {
        Err(error) if error.kind() != AwsErrorKind::Exists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
