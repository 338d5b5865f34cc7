//! Names that travel on the wire, checked once where they enter.
//!
//! One grammar for all of them: what fits a consumer name, a topic level, a client id and a policy resource
//! alike, so that no layer has to escape what another let through.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A management cluster by name: an RFC 1123 label (1–63 of `a-z0-9-`, no hyphen at either end).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConsumerName(String);

/// The name of the party that owns bundles (`maestro` unless configured): 1–63 of `a-z0-9-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceId(String);

/// An MQTT client id that IoT Core accepts and that a policy can name exactly: 1–128 bytes of
/// `A-Za-z0-9._:-` (docs/IOT-CORE.md §1.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{name}` {problem}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    problem: &'static str,
}

macro_rules! name {
    ($type:ident, $what:literal, $check:path) => {
        impl $type {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`InvalidName`] says which rule the name breaks.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                match $check(&name) {
                    None => Ok(Self(name)),
                    Some(problem) => Err(InvalidName {
                        what: $what,
                        name,
                        problem,
                    }),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(ConsumerName, "consumer name", label_problem);
name!(SourceId, "source id", label_problem);
name!(ClientId, "client id", client_id_problem);

fn label_problem(name: &str) -> Option<&'static str> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > 63 {
        Some("is longer than 63 characters")
    } else if !name.chars().all(|c| alphanumeric(c) || c == '-') {
        Some("may hold only lower-case letters, digits and `-`")
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("must begin and end with a letter or digit")
    } else {
        None
    }
}

fn client_id_problem(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if name.is_empty() {
        Some("is empty: the broker would invent one that no policy names")
    } else if name.len() > 128 {
        Some("is longer than 128 bytes")
    } else if !name.chars().all(allowed) {
        Some("may hold only letters, digits and `-_.:`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_topic_or_policy_are_refused_with_the_rule() {
        for (name, part) in [
            ("", "is empty"),
            ("Cluster", "lower-case"),
            ("a/b", "lower-case"),
            ("+", "lower-case"),
            ("-a", "begin and end"),
            (&"a".repeat(64), "63"),
        ] {
            let error = ConsumerName::new(name).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(ClientId::new("$GEN/x").is_err());
        assert!(ClientId::new("cluster1-work-agent-client").is_ok());
    }
}
