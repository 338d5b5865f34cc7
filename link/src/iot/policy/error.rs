//! Why a policy document was refused.

use crate::error::Hint;

/// Why a policy document was refused. `at` is the field path in the document, such as `Statement[1].Resource`.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The text is not JSON.
    #[error("read policy document")]
    Json(#[source] serde_json::Error),
    /// A key that IoT policies do not have.
    #[error("policy has an unknown key `{key}` in {at}")]
    UnknownKey {
        /// The field path.
        at: String,
        /// The key.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A key that must be there is not.
    #[error("policy has no `{key}` in {at}")]
    Missing {
        /// The field path.
        at: String,
        /// The key.
        key: &'static str,
    },
    /// A value is not what must stand there.
    #[error("policy value of `{at}` is {found} instead of {expected}")]
    Value {
        /// The field path.
        at: String,
        /// What stands there.
        found: String,
        /// What must.
        expected: &'static str,
    },
    /// The document is longer than IoT Core takes (docs/IOT-CORE.md §1.2).
    #[error("policy has {characters} characters without white space, the limit is {limit}")]
    TooLong {
        /// Measured.
        characters: usize,
        /// Allowed.
        limit: usize,
    },
}

// === impl PolicyError ===

impl Hint for PolicyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { nearest: Some(nearest), .. } => {
                Some(format!("write `{nearest}`"))
            }
            Self::UnknownKey { key, .. } if key.starts_with("Not") => Some(format!(
                "list what is meant instead: IoT policies have no `{key}`"
            )),
            Self::UnknownKey { key, .. } if key == "Principal" => Some(
                "remove `Principal`: an IoT policy applies to the certificates it is attached to".into(),
            ),
            Self::UnknownKey { key, .. } => Some(format!("remove `{key}`")),
            Self::Missing { key: "Version", .. } => {
                Some("write `\"Version\": \"2012-10-17\"`".into())
            }
            Self::Missing { key, .. } => Some(format!("add `{key}`")),
            Self::Value { expected, .. } => Some(format!("write {expected}")),
            Self::TooLong { .. } => Some(
                "shorten resources with `*`, merge statements, or attach a second policy (10 per certificate)".into(),
            ),
            Self::Json(_) => None,
        }
    }
}
