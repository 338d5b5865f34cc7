//! JSON kept as text: checked once where it enters, spliced into payloads and answers without a parse.

use std::fmt;

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// One JSON value as compact text. Made from [`Value`] it is canonical (object keys sorted), so that equal
/// content is equal text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Json(String);

/// The text is not one JSON value.
#[derive(Debug, thiserror::Error)]
#[error("the text is not one JSON value")]
pub struct InvalidJson(#[from] serde_json::Error);

// === impl Json ===

impl Json {
    /// The canonical text of a value.
    pub fn from_value(value: &Value) -> Self {
        Self(value.to_string())
    }

    /// Checks that the text is one JSON value and keeps it as it stands, without surrounding white space.
    ///
    /// # Errors
    /// [`InvalidJson`] with the position of the first fault.
    pub fn parse(text: &str) -> Result<Self, InvalidJson> {
        serde_json::from_str::<IgnoredAny>(text)?;
        Ok(Self(text.trim().to_owned()))
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
