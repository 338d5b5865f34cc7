//! JSON text as it comes from outside: each member once, no number and no depth that a peer cannot read.

use serde_json::Value;

use super::{Invalid, unique};
use crate::store::{InvalidJson, Json};

/// Why text is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is JSON that breaks a rule, which names its place.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Malformed(serde_json::Error),
}

/// The value of a text.
pub(crate) fn read(text: &[u8]) -> Result<Value, Unreadable> {
    let twice = unique::twice(text);
    match serde_json::from_slice(text) {
        Ok(_) if !twice.is_empty() => {
            let told: Vec<String> = twice
                .iter()
                .map(|path| format!("{path}: is there twice, and only one of the two can count"))
                .collect();
            Err(Invalid(told.join("; ")).into())
        }
        Ok(value) => Ok(value),
        Err(error) => match std::str::from_utf8(text).map(Json::check) {
            // A number that is too large is named with its field.
            Ok(Err(found @ (InvalidJson::Number { .. } | InvalidJson::Depth))) => {
                Err(Invalid(found.to_string()).into())
            }
            _ => Err(Unreadable::Malformed(error)),
        },
    }
}
