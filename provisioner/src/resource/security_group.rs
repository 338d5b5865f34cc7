//! The security group of the database: PostgreSQL's port from the named groups, and nothing else.
//!
//! Nothing may go out, either: a database answers on connections that others opened, and a security group lets answers
//! through. AWS gives every new group a rule that lets everything out, so the first update of a new group removes it.
//! The description cannot be changed after creation and is not compared.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    Filter, IpPermission, ResourceType, SecurityGroup as Live, Tag, TagSpecification,
};
use serde_json::json;

use crate::aws::{Account, Cloud, Error, ErrorKind, Optional, Outcome};

use super::{Change, Difference, Facts, Manage, Observed, Scope, Tags, Want};

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
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, Error> {
        let live = self.find(cloud.of(&self.scope)?).await?;
        Ok(live.map(|live| self.observed(&live)))
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, Want> {
        BTreeMap::from([
            ("egress".to_owned(), Want::Is(json!({}))),
            ("ingress".to_owned(), Want::Is(rules::wanted(&self.sources))),
            ("tags".to_owned(), Want::Is(self.tags.wanted())),
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

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::SecurityGroup)
            .set_tags(Some(self.sdk_tags()))
            .build();
        let request = account
            .ec2
            .create_security_group()
            .group_name(&self.name)
            .description(format!("Who may reach the database {}", self.name))
            .vpc_id(&self.vpc)
            .tag_specifications(tags);
        let done = request.send().await;
        done.during("ec2:CreateSecurityGroup", &self.name)?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        let live = self.present(account).await?;
        let id = live.group_id().unwrap_or_default();
        for difference in differences {
            match difference.attribute.as_str() {
                "tags" => self.tag(account, id).await?,
                "ingress" => self.let_in(account, id, live.ip_permissions()).await?,
                "egress" => {
                    self.let_nothing_out(account, id, live.ip_permissions_egress())
                        .await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        let Some(live) = self.find(account).await? else {
            return Ok(());
        };
        let request = account.ec2.delete_security_group();
        let done = request.set_group_id(live.group_id).send().await;
        done.during("ec2:DeleteSecurityGroup", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        let live = self.present(account).await?;
        self.tag(account, live.group_id().unwrap_or_default()).await
    }
}

impl SecurityGroup {
    /// A name is unique in its VPC.
    async fn find(&self, account: &Account) -> Result<Option<Live>, Error> {
        let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let request = account
            .ec2
            .describe_security_groups()
            .filters(filter("group-name", &self.name))
            .filters(filter("vpc-id", &self.vpc));
        let answer = request.send().await;
        let answer = answer.during("ec2:DescribeSecurityGroups", &self.name)?;
        let groups = answer.security_groups.unwrap_or_default();
        // A filter takes `*` and `?` for wildcards.
        Ok(groups
            .into_iter()
            .find(|group| group.group_name() == Some(&self.name)))
    }

    async fn present(&self, account: &Account) -> Result<Live, Error> {
        self.find(account).await?.ok_or_else(|| {
            let action = "ec2:DescribeSecurityGroups";
            Error::new(ErrorKind::NotFound, action, &self.name, "it is gone")
        })
    }

    fn observed(&self, live: &Live) -> Observed {
        let tags = live.tags().iter();
        let (owner, tags) = self
            .tags
            .observed(tags.filter_map(|tag| Some((tag.key()?, tag.value()?))));
        let attributes = BTreeMap::from([
            (
                "egress".to_owned(),
                rules::observed(live.ip_permissions_egress()),
            ),
            ("ingress".to_owned(), rules::observed(live.ip_permissions())),
            ("tags".to_owned(), tags),
        ]);
        let id = live.group_id().map(str::to_owned);
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
    ) -> Result<(), Error> {
        let missing = rules::missing(&self.sources, live);
        if !missing.is_empty() {
            let request = account.ec2.authorize_security_group_ingress().group_id(id);
            let done = request.set_ip_permissions(Some(missing)).send().await;
            there_already(done.during("ec2:AuthorizeSecurityGroupIngress", &self.name))?;
        }
        let surplus = rules::surplus(&self.sources, live);
        if !surplus.is_empty() {
            let request = account.ec2.revoke_security_group_ingress().group_id(id);
            let done = request.set_ip_permissions(Some(surplus)).send().await;
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
    ) -> Result<(), Error> {
        let surplus = rules::surplus(&BTreeMap::new(), live);
        if surplus.is_empty() {
            return Ok(());
        }
        let request = account.ec2.revoke_security_group_egress().group_id(id);
        let done = request.set_ip_permissions(Some(surplus)).send().await;
        done.during("ec2:RevokeSecurityGroupEgress", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn tag(&self, account: &Account, id: &str) -> Result<(), Error> {
        let request = account.ec2.create_tags().resources(id);
        let done = request.set_tags(Some(self.sdk_tags())).send().await;
        done.during("ec2:CreateTags", &self.name)?;
        Ok(())
    }

    fn sdk_tags(&self) -> Vec<Tag> {
        let tags = self.tags.iter();
        tags.map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect()
    }
}

/// A rule that is there already is as good as one that was made.
fn there_already<T>(outcome: Result<T, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::Exists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
