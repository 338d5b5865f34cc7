//! The subnets the database may be in.

use std::collections::BTreeMap;

use aws_sdk_rds::types::{DbSubnetGroup, Tag};
use serde_json::Value;

use crate::aws::{Account, Cloud, Error, Optional, Outcome};

use super::{Difference, Facts, Manage, Observed, Scope, State, Tags, Want};

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
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, Error> {
        let account = cloud.of(&self.scope)?;
        let request = account.rds.describe_db_subnet_groups();
        let answer = request.db_subnet_group_name(self.stored()).send().await;
        let answer = answer
            .during("rds:DescribeDBSubnetGroups", &self.name)
            .optional()?;
        let groups = answer.and_then(|answer| answer.db_subnet_groups);
        let Some(live) = groups.unwrap_or_default().into_iter().next() else {
            return Ok(None);
        };
        let request = account.rds.list_tags_for_resource();
        let answer = request.resource_name(self.arn(account)).send().await;
        let answer = answer
            .during("rds:ListTagsForResource", &self.name)
            .optional()?;
        let tags = answer.and_then(|answer| answer.tag_list);
        Ok(Some(self.observed(&live, &tags.unwrap_or_default())))
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, Want> {
        let subnets = self.subnets.iter().map(String::as_str);
        BTreeMap::from([
            ("subnets".to_owned(), Want::Is(sorted(subnets))),
            ("tags".to_owned(), Want::Is(self.tags.wanted())),
        ])
    }

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        let request = account
            .rds
            .create_db_subnet_group()
            .db_subnet_group_name(self.stored())
            .db_subnet_group_description(format!("Subnets of {}", self.name))
            .set_subnet_ids(Some(self.subnets.clone()))
            .set_tags(Some(self.sdk_tags()));
        let done = request.send().await;
        done.during("rds:CreateDBSubnetGroup", &self.name)?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        for difference in differences {
            match difference.attribute.as_str() {
                "tags" => self.tag(account).await?,
                "subnets" => {
                    let request = account
                        .rds
                        .modify_db_subnet_group()
                        .db_subnet_group_name(self.stored())
                        .set_subnet_ids(Some(self.subnets.clone()));
                    let done = request.send().await;
                    done.during("rds:ModifyDBSubnetGroup", &self.name)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), Error> {
        let account = cloud.of(&self.scope)?;
        let request = account.rds.delete_db_subnet_group();
        let done = request.db_subnet_group_name(self.stored()).send().await;
        done.during("rds:DeleteDBSubnetGroup", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), Error> {
        self.tag(cloud.of(&self.scope)?).await
    }
}

impl SubnetGroup {
    fn observed(&self, live: &DbSubnetGroup, tags: &[Tag]) -> Observed {
        let tags = tags.iter();
        let (owner, tags) = self
            .tags
            .observed(tags.filter_map(|tag| Some((tag.key()?, tag.value()?))));
        let subnets = live.subnets().iter();
        let subnets = sorted(subnets.filter_map(|subnet| subnet.subnet_identifier()));
        let attributes =
            BTreeMap::from([("subnets".to_owned(), subnets), ("tags".to_owned(), tags)]);
        let id = live.db_subnet_group_arn().map(str::to_owned);
        let mut observed = Observed::ready(owner, attributes, id);
        if let Some(status) = live.subnet_group_status()
            && status != "Complete"
        {
            observed.state = State::Settling(status.to_owned());
        }
        observed
    }

    async fn tag(&self, account: &Account) -> Result<(), Error> {
        let request = account.rds.add_tags_to_resource();
        let request = request.resource_name(self.arn(account));
        let done = request.set_tags(Some(self.sdk_tags())).send().await;
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

    fn sdk_tags(&self) -> Vec<Tag> {
        let tags = self.tags.iter();
        tags.map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect()
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
    use aws_sdk_rds::types::Subnet;

    use super::super::{Owner, compare};
    use super::*;

    fn group() -> SubnetGroup {
        SubnetGroup {
            scope: Scope::Region,
            name: "r1-maestro".into(),
            tags: Tags::new("r1", &BTreeMap::new()),
            subnets: vec!["subnet-b".into(), "subnet-a".into()],
        }
    }

    fn live(subnets: &[&str]) -> DbSubnetGroup {
        let live = DbSubnetGroup::builder().subnet_group_status("Complete");
        let subnets = subnets
            .iter()
            .map(|id| Subnet::builder().subnet_identifier(*id));
        subnets
            .fold(live, |live, subnet| live.subnets(subnet.build()))
            .build()
    }

    #[test]
    fn the_order_of_subnets_means_nothing() {
        let mark = Tag::builder().key("provisioner:region").value("r1").build();
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
