//! Holds a tree against the file's JSON schema, so that keys, types and ranges are written down once: in `file`.
//!
//! What does not fit is reported and removed, so that the rest can be read and checked in the same run.

use std::collections::BTreeSet;

use link::spelling::nearest;
use serde_json::{Map, Number, Value};

use super::file::ACCOUNT;
use super::problem::Problem;
use super::tree::child;

/// Tells what of `value` does not fit `schema`, and takes it out.
pub(super) fn check(value: &mut Value, schema: &Value, problems: &mut Vec<Problem>) {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    let mut shape = Shape { problems };
    if !shape.fits("", value, schema) {
        *value = Value::Object(Map::new());
    }
}

struct Shape<'a> {
    problems: &'a mut Vec<Problem>,
}

// === impl Shape ===

impl Shape<'_> {
    // Whether the value can stay; parts of it may be gone afterwards.
    fn fits(&mut self, at: &str, value: &mut Value, schema: &Value) -> bool {
        let schema = without_null(schema);
        if let Some(words) = words(schema) {
            return self.word(at, value, &words);
        }
        match kind(schema) {
            "object" => self.object(at, value, schema),
            "array" => self.array(at, value, schema),
            "string" => self.text(at, value, schema),
            "integer" => self.integer(at, value, schema),
            "boolean" if value.is_boolean() => true,
            "boolean" => self.refuse(at, value, "write true or false"),
            _ => true,
        }
    }

    fn object(&mut self, at: &str, value: &mut Value, schema: &Value) -> bool {
        let Value::Object(pairs) = value else {
            return self.refuse(at, value, "write a section of `key: value` lines");
        };
        // `key:` with nothing after it is a key left out.
        pairs.retain(|_, value| !value.is_null());
        let known = schema["properties"].as_object();
        let others = schema.get("additionalProperties").filter(|s| s.is_object());
        let mut gone = BTreeSet::new();
        for (key, value) in pairs.iter_mut() {
            let field = child(at, key);
            let Some(schema) = known.and_then(|known| known.get(key)).or(others) else {
                self.unknown(&field, key, known);
                gone.insert(key.clone());
                continue;
            };
            if !self.fits(&field, value, schema) {
                gone.insert(key.clone());
            }
        }
        let needed = schema["required"].as_array().into_iter().flatten();
        for key in needed.filter_map(Value::as_str) {
            if !pairs.contains_key(key) {
                let what = known.and_then(|known| known[key]["description"].as_str());
                let what = what.unwrap_or_default().lines().next().unwrap_or_default();
                self.problems.push(Problem::new(
                    child(at, key),
                    "is missing",
                    format!("add it: {}", what.trim_end_matches('.')),
                ));
            }
        }
        pairs.retain(|key, _| !gone.contains(key));
        true
    }

    fn array(&mut self, at: &str, value: &mut Value, schema: &Value) -> bool {
        let Value::Array(items) = value else {
            return self.refuse(
                at,
                value,
                "write a list, each item on its own line after `- `",
            );
        };
        let mut fits = true;
        for (index, item) in items.iter_mut().enumerate() {
            // One bad item and the whole list is out: without it, later items would change their names.
            if !self.fits(&format!("{at}[{index}]"), item, &schema["items"]) {
                fits = false;
            }
        }
        fits
    }

    fn text(&mut self, at: &str, value: &mut Value, schema: &Value) -> bool {
        match value {
            Value::String(_) => true,
            Value::Number(number) if schema["pattern"] == ACCOUNT && digits(number).len() != 12 => {
                let number = digits(number);
                let what =
                    format!("is the number {number}: without quotes YAML drops leading zeros");
                let fix = format!("write its 12 digits in quotes, such as `\"{number:0>12}\"`");
                self.problems.push(Problem::new(at, what, fix));
                false
            }
            // `18` and `123456789012` mean one text only. `18.1` does not: it could have been `18.10`.
            Value::Number(number) if number.is_u64() => {
                *value = Value::String(number.to_string());
                true
            }
            _ => self.refuse(
                at,
                value,
                "write a text, in quotes if it looks like a number",
            ),
        }
    }

    fn integer(&mut self, at: &str, value: &Value, schema: &Value) -> bool {
        let least = schema["minimum"].as_i64().unwrap_or(0);
        let most = schema["maximum"].as_i64().unwrap_or(i64::from(u32::MAX));
        match value.as_i64() {
            Some(number) if (least..=most).contains(&number) => true,
            _ => self.refuse(
                at,
                value,
                &format!("write a whole number from {least} to {most}"),
            ),
        }
    }

    fn word(&mut self, at: &str, value: &Value, words: &[&str]) -> bool {
        match value.as_str() {
            Some(word) if words.contains(&word) => true,
            _ => self.refuse(at, value, &format!("write `{}`", words.join("` or `"))),
        }
    }

    fn refuse(&mut self, at: &str, value: &Value, fix: &str) -> bool {
        let what = match value {
            Value::Object(_) => "is a section".to_owned(),
            Value::Array(_) => "is a list".to_owned(),
            Value::String(text) => format!("is `{text}`"),
            other => format!("is {other}"),
        };
        self.problems.push(Problem::new(at, what, fix));
        false
    }

    fn unknown(&mut self, field: &str, key: &str, known: Option<&Map<String, Value>>) {
        let known: Vec<&str> = known
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        let fix = match nearest(key, &known) {
            Some(near) => format!("write `{near}`"),
            None => format!("remove it, known here are `{}`", known.join("`, `")),
        };
        self.problems
            .push(Problem::new(field, "is not a key of this file", fix));
    }
}

// A number with a leading zero comes as a float.
fn digits(number: &Number) -> String {
    number.as_u64().map_or_else(
        || format!("{:.0}", number.as_f64().unwrap_or_default()),
        |number| number.to_string(),
    )
}

// An optional value's schema allows null besides; here null never arrives.
fn without_null(schema: &Value) -> &Value {
    let any = schema["anyOf"].as_array().into_iter().flatten();
    any.into_iter()
        .find(|one| one["type"] != "null")
        .unwrap_or(schema)
}

fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            kinds.find(|kind| *kind != "null").unwrap_or_default()
        }
        _ => "",
    }
}

fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema["enum"].as_array() {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    let one = schema["oneOf"].as_array()?;
    Some(one.iter().filter_map(|one| one["const"].as_str()).collect())
}
