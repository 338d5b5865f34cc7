//! The subnets the database may be in.

use std::collections::BTreeMap;

use region_file::tags::{Tags, pairs};
use serde_json::Value;

use crate::aws::rds::{self, DbSubnetGroup};
use crate::aws::{Account, AwsError, Cloud, Optional, Outcome};
use crate::scope::Scope;

use super::{DesiredValue, Difference, Facts, Manage, Observed, State, attributes};

/// The subnets the database may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetGroup {
    /// Whose account.
    pub scope: Scope,
    /// Its name; RDS stores it in lower case.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// The private subnets, in at least two zones.
    pub subnets: Vec<String>,
}

impl Manage for SubnetGroup {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let account = cloud.of(&self.scope)?;
        let call = rds::describe_db_subnet_groups(&self.stored());
        let groups = account.rds.call(call).await;
        let groups = groups
            .during("rds:DescribeDBSubnetGroups", &self.name)
            .optional()?;
        let Some(live) = groups.unwrap_or_default().into_iter().next() else {
            return Ok(None);
        };
        let call = rds::list_tags(&self.arn(account));
        let tags = account.rds.call(call).await;
        let tags = tags
            .during("rds:ListTagsForResource", &self.name)
            .optional()?;
        Ok(Some(self.observed(&live, &tags.unwrap_or_default())))
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, DesiredValue> {
        let subnets = self.subnets.iter().map(String::as_str);
        attributes([
            ("subnets", DesiredValue::Known(sorted(subnets))),
            ("tags", DesiredValue::Known(self.tags.wanted())),
        ])
    }

    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        attributes([("description", self.description().into())])
    }

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let description = self.description();
        let tags = self.tags.iter();
        let call = rds::create_db_subnet_group(&self.stored(), &description, &self.subnets, tags);
        let done = account.rds.call(call).await;
        done.during("rds:CreateDBSubnetGroup", &self.name)?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        for difference in differences {
            match difference.attribute.as_str() {
                "tags" => self.tag(account).await?,
                "subnets" => {
                    let call = rds::modify_db_subnet_group(&self.stored(), &self.subnets);
                    let done = account.rds.call(call).await;
                    done.during("rds:ModifyDBSubnetGroup", &self.name)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let call = rds::delete_db_subnet_group(&self.stored());
        let done = account.rds.call(call).await;
        done.during("rds:DeleteDBSubnetGroup", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        self.tag(cloud.of(&self.scope)?).await
    }
}

impl SubnetGroup {
    fn description(&self) -> String {
        format!("Subnets of {}", self.name)
    }

    fn observed(&self, live: &DbSubnetGroup, tags: &[(String, String)]) -> Observed {
        let (owner, tags) = self.tags.observed(pairs(tags));
        let subnets = sorted(live.subnets.iter().map(String::as_str));
        let attributes = attributes([("subnets", subnets), ("tags", tags)]);
        let mut observed = Observed::ready(owner, attributes, live.arn.clone());
        if let Some(status) = &live.status
            && status != "Complete"
        {
            observed.state = State::Settling(status.clone());
        }
        observed
    }

    async fn tag(&self, account: &Account) -> Result<(), AwsError> {
        let call = rds::add_tags(&self.arn(account), self.tags.iter());
        let done = account.rds.call(call).await;
        done.during("rds:AddTagsToResource", &self.name)?;
        Ok(())
    }

    /// The name as RDS knows it.
    fn stored(&self) -> String {
        self.name.to_lowercase()
    }

    fn arn(&self, account: &Account) -> String {
        account.arn("rds", &format!("subgrp:{}", self.stored()))
    }
}

/// Order means nothing, and RDS answers in its own.
fn sorted<'a>(subnets: impl Iterator<Item = &'a str>) -> Value {
    let mut subnets: Vec<_> = subnets.collect();
    subnets.sort_unstable();
    subnets.dedup();
    subnets.into()
}

#[cfg(test)]
mod tests {
    use super::super::compare;
    use super::*;
    use region_file::tags::Owner;

    fn group() -> SubnetGroup {
        SubnetGroup {
            scope: Scope::Region,
            name: "r1-maestro".into(),
            tags: Tags::new("r1", &BTreeMap::new()),
            subnets: vec!["subnet-b".into(), "subnet-a".into()],
        }
    }

    fn live(subnets: &[&str]) -> DbSubnetGroup {
        DbSubnetGroup {
            status: Some("Complete".into()),
            subnets: subnets.iter().map(|id| (*id).to_owned()).collect(),
            ..DbSubnetGroup::default()
        }
    }

    #[test]
    fn the_order_of_subnets_means_nothing() {
        let mark = ("provisioner:region".to_owned(), "r1".to_owned());
        let observed = group().observed(&live(&["subnet-a", "subnet-b"]), &[mark]);
        let wanted = group().wanted(&Cloud::default(), &Facts::default());
        assert!(wanted.keys().eq(observed.attributes.keys()));
        assert_eq!(compare(&wanted, &observed.attributes), (vec![], vec![]));
        assert_eq!(
            (observed.owner, observed.state),
            (Owner::Ours, State::Ready)
        );
    }

    #[test]
    fn another_subnet_is_a_difference() {
        let observed = group().observed(&live(&["subnet-a"]), &[]);
        let wanted = group().wanted(&Cloud::default(), &Facts::default());
        let (differences, _) = compare(&wanted, &observed.attributes);
        let names: Vec<_> = differences.iter().map(|it| it.attribute.as_str()).collect();
        assert_eq!(names, ["subnets", "tags"]);
        assert_eq!(observed.owner, Owner::Nobody);
    }
}
