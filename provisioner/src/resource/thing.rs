//! An IoT thing: a name for a party in the registry.
//!
//! Things have no tags, so an attribute stands for the ownership tag. A thing without a type holds three attributes;
//! attributes that others put there are left alone.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_iot::types::AttributePayload;
use region_file::tags::{OWNER, Owner, Tags};
use serde_json::{Value, json};

use crate::aws::{AwsError, AwsErrorKind, Cloud, Optional, Outcome};
use crate::scope::Scope;

use super::{DesiredValue, Difference, Facts, Manage, Observed, attributes};

/// An IoT thing: a name for a party in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// Attributes besides the ownership attribute.
    pub attributes: BTreeMap<String, String>,
}

// === impl Thing ===

impl Thing {
    fn all(&self) -> BTreeMap<String, String> {
        let mut all = self.attributes.clone();
        all.insert(OWNER.to_owned(), self.tags.region().to_owned());
        all
    }

    // Whose it is, and those of its attributes that are ours to say.
    fn read(&self, live: &HashMap<String, String>) -> (Owner, Value) {
        let owner = match live.get(OWNER) {
            None => Owner::Nobody,
            Some(region) if region == self.tags.region() => Owner::Ours,
            Some(region) => Owner::Other(region.clone()),
        };
        let ours: BTreeMap<_, _> = self
            .all()
            .into_keys()
            .filter_map(|key| live.get(&key).map(|value| (key, value.clone())))
            .collect();
        (owner, json!(ours))
    }

    fn check(&self) -> Result<(), AwsError> {
        let count = self.all().len();
        if count > MAX_ATTRIBUTES {
            let message =
                format!("{count} attributes, a thing without a type holds {MAX_ATTRIBUTES}");
            let action = "iot:CreateThing";
            return Err(AwsError::new(
                AwsErrorKind::Limit,
                action,
                &self.name,
                message,
            ));
        }
        Ok(())
    }

    async fn merge(
        &self,
        cloud: &Cloud,
        attributes: BTreeMap<String, String>,
    ) -> Result<(), AwsError> {
        let iot = &cloud.of(&self.scope)?.iot;
        iot.update_thing()
            .thing_name(&self.name)
            .attribute_payload(payload(attributes, true))
            .send()
            .await
            .during("iot:UpdateThing", &self.name)?;
        Ok(())
    }
}

impl Manage for Thing {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let iot = &cloud.of(&self.scope)?.iot;
        let found = iot
            .describe_thing()
            .thing_name(&self.name)
            .send()
            .await
            .during("iot:DescribeThing", &self.name)
            .optional()?;
        let Some(found) = found else { return Ok(None) };
        let (owner, own) = self.read(&found.attributes.unwrap_or_default());
        let attributes = attributes([(ATTRIBUTES, own)]);
        Ok(Some(Observed::ready(owner, attributes, found.thing_arn)))
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, DesiredValue> {
        attributes([(ATTRIBUTES, DesiredValue::Known(json!(self.all())))])
    }

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), AwsError> {
        self.check()?;
        let iot = &cloud.of(&self.scope)?.iot;
        iot.create_thing()
            .thing_name(&self.name)
            .attribute_payload(payload(self.all(), false))
            .send()
            .await
            .during("iot:CreateThing", &self.name)?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        _differences: &[Difference],
    ) -> Result<(), AwsError> {
        self.check()?;
        self.merge(cloud, self.all()).await
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let iot = &cloud.of(&self.scope)?.iot;
        let principals = iot
            .list_thing_principals()
            .thing_name(&self.name)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<String>, _>>()
            .await
            .during("iot:ListThingPrincipals", &self.name)
            .optional()?;
        for principal in principals.unwrap_or_default() {
            iot.detach_thing_principal()
                .thing_name(&self.name)
                .principal(principal)
                .send()
                .await
                .during("iot:DetachThingPrincipal", &self.name)
                .was_there()?;
        }
        iot.delete_thing()
            .thing_name(&self.name)
            .send()
            .await
            .during("iot:DeleteThing", &self.name)
            .was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let mark = BTreeMap::from([(OWNER.to_owned(), self.tags.region().to_owned())]);
        self.merge(cloud, mark).await
    }
}

fn payload(attributes: BTreeMap<String, String>, merge: bool) -> AttributePayload {
    AttributePayload::builder()
        .set_attributes(Some(attributes.into_iter().collect()))
        .merge(merge)
        .build()
}

const ATTRIBUTES: &str = "attributes";

// Quota "attributes for a thing without a thing type" of the IoT registry.
const MAX_ATTRIBUTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn thing() -> Thing {
        Thing {
            scope: Scope::Region,
            name: "base-maestro-server".into(),
            tags: Tags::new("base", &BTreeMap::new()),
            attributes: BTreeMap::from([("party".into(), "server".into())]),
        }
    }

    fn live(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn attributes_of_others_are_no_difference() {
        let seen = live(&[("party", "server"), (OWNER, "base"), ("rack", "7")]);
        let (owner, attributes) = thing().read(&seen);
        assert_eq!(owner, Owner::Ours);
        assert_eq!(attributes, json!(thing().all()));
    }

    #[test]
    fn the_mark_tells_whose_a_thing_is() {
        assert_eq!(thing().read(&live(&[])).0, Owner::Nobody);
        let (owner, _) = thing().read(&live(&[(OWNER, "elsewhere")]));
        assert_eq!(owner, Owner::Other("elsewhere".into()));
    }

    #[test]
    fn more_attributes_than_a_thing_holds_are_refused_before_the_call() {
        let mut thing = thing();
        thing.attributes.insert("cluster".into(), "a".into());
        assert!(thing.check().is_ok());
        thing.attributes.insert("room".into(), "b".into());
        assert_eq!(thing.check().unwrap_err().kind(), AwsErrorKind::Limit);
    }
}
