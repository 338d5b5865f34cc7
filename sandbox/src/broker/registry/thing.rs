//! One thing, with the certificates attached to it.

use std::collections::{BTreeMap, BTreeSet};

use link::iot::Thing;
use serde::{Deserialize, Serialize};

use super::Fingerprint;

/// A thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredThing {
    /// Made by the registry, and another one when a thing of the same name is made again.
    pub id: String,
    /// The thing type's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// The searchable attributes.
    pub attributes: BTreeMap<String, String>,
    /// Counts the changes of type and attributes, from 1.
    pub version: i64,
    /// The attached certificates.
    pub principals: BTreeSet<Fingerprint>,
}

/// What is to change about a thing's attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingChange {
    /// The new attributes. An empty value takes one away.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Whether other attributes stay.
    pub merge: bool,
    /// The version that the thing must have.
    pub expected_version: Option<i64>,
}

// === impl RegisteredThing ===

impl RegisteredThing {
    pub(super) fn new(type_name: Option<String>, attributes: BTreeMap<String, String>) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            type_name,
            attributes,
            version: 1,
            principals: BTreeSet::new(),
        }
    }

    /// What the policy evaluator sees when the certificate connects.
    pub(super) fn seen_by(&self, name: &str, certificate: &Fingerprint) -> Thing {
        Thing {
            name: name.to_owned(),
            type_name: self.type_name.clone(),
            attributes: self.attributes.clone(),
            attached: self.principals.contains(certificate),
        }
    }

    pub(super) fn set_attributes(&mut self, attributes: BTreeMap<String, String>, merge: bool) {
        if !merge {
            self.attributes.clear();
        }
        self.attributes.extend(attributes);
        self.attributes.retain(|_, value| !value.is_empty());
    }
}
