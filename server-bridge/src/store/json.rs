//! JSON kept as text: checked once where it enters, spliced into payloads and answers without a parse.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

mod peers;

pub use peers::MAX_DEPTH;

/// One JSON value as compact text. Made from [`Value`] it is canonical (object keys sorted), so that equal
/// content is equal text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Json(String);

/// The text is not one JSON value that every peer can read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidJson {
    /// It is not JSON.
    #[error("the text is not one JSON value")]
    Syntax(#[from] serde_json::Error),
    /// Go's clients refuse a whole list for one such number.
    #[error("number `{number}` at `{place}` is beyond a 64-bit float")]
    Number {
        /// Where, as in `manifests[0].spec.replicas`.
        place: String,
        /// The number, cut to 40 characters.
        number: String,
    },
    /// It is nested too deeply.
    #[error("nested deeper than {} levels", MAX_DEPTH)]
    Depth,
}

// === impl Json ===

impl Json {
    /// The canonical text of a value.
    pub fn from_value(value: &Value) -> Self {
        Self(value.to_string())
    }

    /// Checks that the text is one JSON value that every peer can read, and keeps it as it stands, without surrounding
    /// white space.
    ///
    /// # Errors
    /// [`InvalidJson`] with the place of the first fault.
    pub fn parse(text: &str) -> Result<Self, InvalidJson> {
        Self::check(text)?;
        Ok(Self(text.trim().to_owned()))
    }

    /// What [`Json::parse`] checks, for text that is not to be kept.
    ///
    /// # Errors
    /// As [`Json::parse`].
    pub fn check(text: &str) -> Result<(), InvalidJson> {
        peers::check(text)
    }

    /// Text that a store wrote itself and need not check again.
    pub(super) fn trusted(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, for the few places that look inside.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// The members of an object as they stand between its braces, or `None` for anything else.
    pub fn object_members(&self) -> Option<&str> {
        Some(self.0.strip_prefix('{')?.strip_suffix('}')?.trim())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_is_equal_text_whatever_the_key_order() {
        let one: Value = serde_json::from_str(r#"{"b": 1, "a": [true]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a":[true],"b":1}"#).unwrap();
        assert_eq!(Json::from_value(&one), Json::from_value(&other));
    }

    #[test]
    fn object_members_can_be_spliced() {
        assert_eq!(
            Json::parse(" {\"a\":1} ").unwrap().object_members(),
            Some("\"a\":1")
        );
        assert_eq!(Json::parse("{}").unwrap().object_members(), Some(""));
        assert_eq!(Json::parse("[]").unwrap().object_members(), None);
        assert!(Json::parse("{} {}").is_err());
    }
}
