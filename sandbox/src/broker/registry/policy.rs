//! One policy with its versions and tags.

use std::collections::BTreeMap;

use jiff::Timestamp;
use link::iot::Document;
use link::iot::limits::POLICY_CHARACTERS;
use link::iot::policy::{PolicyError, size_of};
use serde::{Deserialize, Serialize};

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// A policy; its default version is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Versions by number; never empty.
    pub versions: BTreeMap<u64, PolicyVersion>,
    /// The number of the version in force.
    pub default_version: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When its default version last changed.
    pub modified: Timestamp,
    /// Its tags.
    pub tags: Tags,
    // Numbers of deleted versions are not given out again.
    next_version: u64,
}

/// One version of a policy; it never changes, save by [`super::Registry::put_policy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyVersion {
    /// When it was made.
    pub created: Timestamp,
    text: Text,
}

/// The document as it was given, which IoT Core gives back unchanged, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Text {
    json: String,
    document: Document,
}

// === impl Policy ===

impl Policy {
    /// A policy whose version 1 is in force.
    pub(super) fn new(version: PolicyVersion, tags: Tags) -> Self {
        let created = version.created;
        Self {
            versions: BTreeMap::from([(FIRST, version)]),
            default_version: FIRST,
            created,
            modified: created,
            tags,
            next_version: FIRST + 1,
        }
    }

    /// The version in force; `None` only if the registry's file was edited by hand.
    pub fn default_version(&self) -> Option<&PolicyVersion> {
        self.versions.get(&self.default_version)
    }

    /// Adds a version and gives its number.
    pub(super) fn add(&mut self, version: PolicyVersion, as_default: bool) -> u64 {
        let number = self.next_version;
        self.next_version += 1;
        if as_default {
            self.default_version = number;
            self.modified = version.created;
        }
        self.versions.insert(number, version);
        number
    }

    /// Replaces what the version in force says.
    pub(super) fn replace(&mut self, version: PolicyVersion) {
        self.modified = version.created;
        self.versions.insert(self.default_version, version);
    }
}

// === impl PolicyVersion ===

impl PolicyVersion {
    /// A version that says what the JSON says.
    pub(super) fn parse(json: &str, created: Timestamp) -> Result<Self, PolicyError> {
        let text = Text::try_from(json.to_owned())?;
        let (characters, limit) = (size_of(json), POLICY_CHARACTERS);
        if characters > limit {
            return Err(PolicyError::TooLong { characters, limit });
        }
        Ok(Self { created, text })
    }

    pub(super) fn of(document: Document, created: Timestamp) -> Result<Self, PolicyError> {
        document.check_size()?;
        let json = document.to_json();
        Ok(Self {
            created,
            text: Text { json, document },
        })
    }

    /// The JSON as it was given.
    pub fn json(&self) -> &str {
        &self.text.json
    }

    /// What it means.
    pub fn document(&self) -> &Document {
        &self.text.document
    }
}

// === impl Text ===

impl TryFrom<String> for Text {
    type Error = PolicyError;
    fn try_from(json: String) -> Result<Self, Self::Error> {
        let document = Document::parse(&json)?;
        Ok(Self { json, document })
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.json
    }
}

const FIRST: u64 = 1;
