//! The policy document model: what AWS IoT reads from JSON, no more, and what it writes back.
//!
//! Reading is strict (an unknown key would silently grant or refuse something else than its author meant); what is
//! legal but probably a mistake is reported by [`Document::warnings`]. Deciding is [`super::evaluate()`]'s work.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::limits::POLICY_CHARACTERS;
use super::wildcard;

pub use self::error::PolicyError;

mod error;
mod json;
mod parse;

/// A version of the policy language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PolicyVersion {
    /// `2012-10-17`, in which variables work.
    #[default]
    V2012,
    /// `2008-10-17`, in which variables are plain text.
    V2008,
}

/// An IoT policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The name the policy is registered under; not part of the JSON, only of explanations.
    pub name: Option<String>,
    /// The optional `Id` key.
    pub id: Option<String>,
    /// The version of the language it is written in.
    pub version: PolicyVersion,
    /// The statements in order.
    pub statements: Vec<Statement>,
    /// Why it could not be read, if it could not: whatever it says is unknown ([`Document::read`]).
    pub unread: Option<String>,
}

/// One statement: the effect on the actions on the resources, under the conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// The optional statement id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// Action patterns, such as `iot:Publish` or `iot:*`.
    #[serde(rename = "Action", serialize_with = "one_or_many")]
    pub actions: Vec<String>,
    /// Resource patterns: whole resource names with `*`, `?` and variables, or `*`.
    #[serde(rename = "Resource", serialize_with = "one_or_many")]
    pub resources: Vec<String>,
    /// Operator → key → values; all must hold.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: PolicyCondition,
}

/// The `Condition` block: operator → key → values.
pub type PolicyCondition = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Allows, unless something denies.
    Allow,
    /// Denies, whatever allows.
    Deny,
}

/// What a client does and a broker checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyAction {
    /// `iot:Connect` on `client/<id>`.
    Connect,
    /// `iot:Publish` on `topic/<name>`.
    Publish,
    /// `iot:Subscribe` on `topicfilter/<filter>`.
    Subscribe,
    /// `iot:Receive` on `topic/<name>`, checked on every delivery.
    Receive,
    /// `iot:RetainPublish` on `topic/<name>`, besides `iot:Publish`.
    RetainPublish,
}

// === impl Document ===

impl Document {
    /// A document of statements.
    pub fn new(statements: Vec<Statement>) -> Self {
        Self {
            statements,
            ..Self::default()
        }
    }

    /// Gives the document the name explanations use.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Reads a policy document.
    ///
    /// # Errors
    /// [`PolicyError`] names the field, by its path in the document, and what is wrong with it.
    pub fn parse(json: &str) -> Result<Self, PolicyError> {
        parse::document(json)
    }

    /// Reads a policy document that is in force already, whatever it looks like: one that cannot be read here makes
    /// every decision it takes part in unknown, save where another document denies.
    pub fn read(json: &str) -> Self {
        Self::parse(json).unwrap_or_else(|error| Self {
            unread: Some(crate::error::chain(&error)),
            ..Self::default()
        })
    }

    /// The document as compact JSON, single actions and resources as plain strings.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Characters without white space, as IoT Core counts them (docs/IOT-CORE.md §1.2).
    pub fn size(&self) -> usize {
        size_of(&self.to_json())
    }

    /// Refuses a document that IoT Core would refuse for its size.
    ///
    /// # Errors
    /// [`PolicyError::TooLong`] with the measured size and the limit.
    pub fn check_size(&self) -> Result<(), PolicyError> {
        let (characters, limit) = (self.size(), POLICY_CHARACTERS);
        if characters > limit {
            return Err(PolicyError::TooLong { characters, limit });
        }
        Ok(())
    }
}

/// Characters of a policy text without white space, as IoT Core counts them (docs/IOT-CORE.md §1.2).
pub fn size_of(json: &str) -> usize {
    json.chars().filter(|c| !c.is_whitespace()).count()
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Version", self.version.as_str())?;
        if let Some(id) = &self.id {
            map.serialize_entry("Id", id)?;
        }
        map.serialize_entry("Statement", &self.statements)?;
        map.end()
    }
}

// === impl PolicyVersion ===

impl PolicyVersion {
    /// As it stands in a document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2012 => "2012-10-17",
            Self::V2008 => "2008-10-17",
        }
    }
}

// === impl Statement ===

impl Statement {
    /// A statement that allows `actions` on `resources`, without conditions.
    pub fn allow(
        actions: impl IntoIterator<Item = PolicyAction>,
        resources: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            sid: None,
            effect: Effect::Allow,
            actions: actions.into_iter().map(|a| a.to_string()).collect(),
            resources: resources.into_iter().collect(),
            condition: PolicyCondition::new(),
        }
    }

    /// The same statement as a denial.
    #[must_use]
    pub fn denying(mut self) -> Self {
        self.effect = Effect::Deny;
        self
    }

    /// The statement as compact JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether one of the action patterns covers `action`. Spelling counts, as `iot:Publish` is spelled.
    pub fn covers(&self, action: PolicyAction) -> bool {
        self.actions.iter().any(|pattern| {
            pattern == action.name()
                || (pattern.contains(['*', '?']) && wildcard::matches(pattern, action.name()))
        })
    }
}

// === impl PolicyAction ===

impl PolicyAction {
    /// Every action the evaluator knows.
    pub const ALL: [Self; 5] = [
        Self::Connect,
        Self::Publish,
        Self::Subscribe,
        Self::Receive,
        Self::RetainPublish,
    ];

    /// The name in a policy, such as `iot:Connect`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "iot:Connect",
            Self::Publish => "iot:Publish",
            Self::Subscribe => "iot:Subscribe",
            Self::Receive => "iot:Receive",
            Self::RetainPublish => "iot:RetainPublish",
        }
    }

    /// The kind of resource the action is checked against: `client`, `topic` or `topicfilter`.
    pub const fn resource_kind(self) -> &'static str {
        match self {
            Self::Connect => "client",
            Self::Subscribe => "topicfilter",
            Self::Publish | Self::Receive | Self::RetainPublish => "topic",
        }
    }
}

impl fmt::Display for PolicyAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn one_or_many<S: Serializer>(values: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match values {
        [one] => serializer.serialize_str(one),
        many => many.serialize(serializer),
    }
}

#[cfg(test)]
mod tests;
