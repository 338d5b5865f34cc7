//! Messages that refusals share: names of JSON types, lists of known names, suggestions for misspelt ones.

use serde_json::{Map, Value};

/// Which members of an object are not known, each with the nearest known one; `None` when all are.
pub(crate) fn unknown_members(members: &Map<String, Value>, known: &[&str]) -> Option<String> {
    let mut strangers = members.keys().filter(|key| !known.contains(&key.as_str()));
    let mut told: Vec<String> = strangers
        .by_ref()
        .take(SHOWN)
        .map(|key| unknown(key, known))
        .collect();
    let more = strangers.count();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// `unknown field `x`, did you mean `y`?`
pub(crate) fn unknown(key: &str, known: &[&str]) -> String {
    unknown_as("field", key, known)
}

/// The same of something that is no field: `what` says what it is.
pub(crate) fn unknown_as(what: &str, key: &str, known: &[&str]) -> String {
    let shown: String = key.chars().take(60).collect();
    match nearest(key, known) {
        Some(near) => format!("unknown {what} `{shown}`, did you mean `{near}`?"),
        None => format!("unknown {what} `{shown}`, known are {}", listed(known)),
    }
}

/// The known name a caller most likely meant.
pub(crate) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let key: String = key.to_lowercase().chars().take(60).collect();
    known
        .iter()
        .map(|name| (strsim::osa_distance(&key, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .map(|(_, name)| name)
}

/// Names in backticks, joined by commas.
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// The type of a value in words.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

// Unknown members that are named: as many as a person mends at once.
const SHOWN: usize = 10;
