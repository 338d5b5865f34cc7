//! Request bodies: one JSON object whose every member is known, or a refusal that names the one that is not.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use super::error::{ApiError, Code};

/// The members of a JSON object.
#[derive(Debug)]
pub(super) struct Object(Map<String, Value>);

// === impl Object ===

impl Object {
    /// Refuses members that are not in the list, each with the nearest known one.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, ApiError> {
        let unknown: Vec<String> = self
            .0
            .keys()
            .filter(|key| !known.contains(&key.as_str()))
            .map(|key| unknown(key, known))
            .collect();
        if unknown.is_empty() {
            return Ok(self);
        }
        Err(ApiError::validation(unknown.join("; ")))
    }

    /// Takes a member; `null` counts as absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a member where `null` means "clear": outer `None` is absent, inner `None` is `null`.
    pub(super) fn take_nullable(&mut self, key: &str) -> Option<Option<Value>> {
        let value = self.0.remove(key)?;
        Some(Some(value).filter(|value| !value.is_null()))
    }

    /// Takes a member that must be a string.
    pub(super) fn take_string(&mut self, key: &str) -> Result<Option<String>, ApiError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(key, "a string", &other)),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = to_bytes(request.into_body(), BODY_BYTES)
            .await
            .map_err(|error| {
                let limited = bounded(&error);
                if limited {
                    ApiError::too_large(BODY_BYTES)
                } else {
                    ApiError::new(Code::Malformed, "the request body ended too early")
                }
            })?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(other) => Err(ApiError::new(
                Code::Malformed,
                format!(
                    "the request body must be a JSON object, not {}",
                    kind(&other)
                ),
            )),
            Err(error) => Err(ApiError::new(
                Code::Malformed,
                format!("the request body is not JSON: {error}"),
            )),
        }
    }
}

/// `unknown field `x`, did you mean `y`?`
pub(super) fn unknown(key: &str, known: &[&str]) -> String {
    let shown: String = key.chars().take(60).collect();
    match nearest(key, known) {
        Some(near) => format!("unknown field `{shown}`, did you mean `{near}`?"),
        None => format!("unknown field `{shown}`, known are {}", listed(known)),
    }
}

/// The known name a caller most likely meant.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let key: String = key.to_lowercase().chars().take(60).collect();
    known
        .iter()
        .map(|name| (strsim::osa_distance(&key, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .map(|(_, name)| name)
}

/// Names in backticks, joined by commas.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// `field `x` must be a string, not a number`
pub(super) fn wrong_type(key: &str, wanted: &str, found: &Value) -> ApiError {
    ApiError::validation(format!(
        "field `{key}` must be {wanted}, not {}",
        kind(found)
    ))
}

/// The type of a value in words.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The longest body: 500 KiB of manifests (wire.md §2.3), four times over for white space and escapes.
pub(super) const BODY_BYTES: usize = 2 * 1024 * 1024;

/// Whether reading stopped because of [`BODY_BYTES`].
fn bounded(error: &axum::Error) -> bool {
    // The type is private to the body library; its text is part of its documentation.
    link::error::chain(error).contains("length limit exceeded")
}
