//! What the evaluator does not know, and logic with three values.
//!
//! **Invariant:** a construct whose meaning AWS does not document is never taken for one that is met. It makes a
//! statement's part unknown; an unknown part decides only where the other parts leave it to.

use std::fmt;

use super::super::context::UnknownReason;
use super::super::wildcard::UnresolvedVariable;

/// A construct of a policy whose outcome AWS does not document, or that this evaluator knows too little about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Construct {
    /// A document that cannot be read here.
    Document {
        /// The policy's name, if it has one.
        name: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// An action that covers the one asked for only if case does not count.
    ActionCase {
        /// The action, as written.
        action: String,
    },
    /// A resource that is no whole resource name, or whose `*` would have to span the parts between its colons.
    Resource {
        /// The resource, as written.
        resource: String,
    },
    /// A variable of a resource or condition value.
    Variable {
        /// Its name.
        name: String,
        /// Why its value is not known.
        reason: UnknownReason,
    },
    /// `?` before a character outside ASCII.
    Character {
        /// The pattern, as written.
        pattern: String,
    },
    /// A condition operator.
    Operator {
        /// Its name.
        operator: String,
    },
    /// A condition key.
    Key {
        /// Its name.
        key: String,
        /// Why its value is not known.
        reason: UnknownReason,
    },
    /// An operator on a key that AWS does not document it for.
    Combination {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
    },
    /// A value in a condition that its operator does not take.
    ConditionValue {
        /// The operator.
        operator: String,
        /// The value, as written.
        value: String,
    },
}

/// Yes, no, or it depends on a construct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    Unknown(Construct),
}

// === impl Construct ===

impl Construct {
    pub(super) fn of_variable(variable: &UnresolvedVariable) -> Self {
        Self::Variable {
            name: variable.name.clone(),
            reason: variable.reason,
        }
    }

    /// What to write instead, as one imperative sentence without a final period.
    pub fn hint(&self) -> String {
        match self {
            Self::Document { .. } => {
                "write the document as AWS documents it, or judge it with the policy simulator of AWS".into()
            }
            Self::ActionCase { .. } => "spell the action as AWS does, such as `iot:Publish`".into(),
            Self::Resource { .. } => {
                "write `arn:PARTITION:iot:REGION:ACCOUNT:KIND/NAME` with all six parts, or `*` alone".into()
            }
            Self::Variable { reason: UnknownReason::Absent | UnknownReason::Unset, .. } => {
                "put resources with variables that may have no value into a statement of their own that allows".into()
            }
            Self::Variable { .. } => "use a variable that has one plain value for every connection".into(),
            Self::Character { .. } => "write `*` for characters outside ASCII".into(),
            Self::Operator { .. } | Self::Combination { .. } => {
                "use `StringEquals` or `StringLike`, with `ForAnyValue:` or `ForAllValues:` on a list, `Bool` on \
                 `iot:Connection.Thing.IsAttached`, `IpAddress` on `aws:SourceIp`"
                    .into()
            }
            Self::Key { .. } => {
                "use a key that AWS IoT documents, and that has a value for every connection".into()
            }
            Self::ConditionValue { .. } => {
                "write one value of the operator's kind; a pattern goes with `StringLike`".into()
            }
        }
    }
}

impl fmt::Display for Construct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document { name, reason } => {
                write!(f, "policy document")?;
                if let Some(name) = name {
                    write!(f, " `{name}`")?;
                }
                write!(f, " that cannot be read here ({reason})")
            }
            Self::ActionCase { action } => write!(f, "action `{action}` in another case"),
            Self::Resource { resource } => {
                write!(f, "resource `{resource}`, which is no whole resource name")
            }
            Self::Variable { name, reason } => write!(f, "variable `${{{name}}}`, which {reason}"),
            Self::Character { pattern } => {
                write!(f, "`?` in `{pattern}` for a character outside ASCII")
            }
            Self::Operator { operator } => write!(f, "condition operator `{operator}`"),
            Self::Key { key, reason } => write!(f, "condition key `{key}`, which {reason}"),
            Self::Combination { operator, key } => {
                write!(f, "condition operator `{operator}` on `{key}`")
            }
            Self::ConditionValue { operator, value } => {
                write!(f, "condition value `{value}` of `{operator}`")
            }
        }
    }
}

// === impl Truth ===

impl Truth {
    pub(super) fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            unknown @ Self::Unknown(_) => unknown,
        }
    }

    /// No if one is no; else the first unknown; else yes.
    pub(super) fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut unknown = Self::Yes;
        for truth in truths {
            match truth {
                Self::No => return Self::No,
                Self::Yes => {}
                doubtful @ Self::Unknown(_) if unknown == Self::Yes => unknown = doubtful,
                Self::Unknown(_) => {}
            }
        }
        unknown
    }

    /// Yes if one is yes; else the first unknown; else no.
    pub(super) fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        Self::all(truths.into_iter().map(Self::negated)).negated()
    }
}
