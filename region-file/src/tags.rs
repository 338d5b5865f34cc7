//! Tags: the operator's, and the ownership tag.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// The tags a resource carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    region: String,
    all: BTreeMap<String, String>,
}

/// Whose a resource is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The region's that asked.
    Ours,
    /// Another region's, by name.
    Other(String),
    /// The cluster's, and used by whoever is on it: kept as we need it, never removed.
    Shared,
    /// No provisioner's: made by hand, a script or Terraform.
    Nobody,
}

// === impl Tags ===

impl Tags {
    /// The operator's tags and the ownership tag of the region.
    pub fn new(region: &str, tags: &BTreeMap<String, String>) -> Self {
        let mut all = tags.clone();
        all.insert(OWNER.to_owned(), region.to_owned());
        Self {
            region: region.to_owned(),
            all,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// All of them, as a map.
    pub fn to_map(&self) -> HashMap<String, String> {
        let all = self.all.iter();
        all.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The wanted value of an attribute `tags`.
    pub fn wanted(&self) -> Value {
        serde_json::json!(self.all)
    }

    /// Whose a resource with these tags is, and its value of an attribute `tags`: tags that others put there (cost
    /// allocation, organisation) are none of our business.
    pub fn observed<'a>(
        &self,
        live: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> (Owner, Value) {
        let mut owner = Owner::Nobody;
        let mut ours = serde_json::Map::new();
        for (key, value) in live {
            if key == OWNER {
                owner = if value == self.region {
                    Owner::Ours
                } else {
                    Owner::Other(value.to_owned())
                };
            }
            if self.all.contains_key(key) {
                ours.insert(key.to_owned(), value.into());
            }
        }
        (owner, Value::Object(ours))
    }
}

/// Tags as AWS tells them, for [`Tags::observed`].
pub fn pairs(tags: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    tags.iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
}

/// The tag that says whose a resource is. Things have no tags; an attribute of this name says it there.
pub const OWNER: &str = "provisioner:region";
