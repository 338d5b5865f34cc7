//! The OpenAPI document as a validator: what it says of a value, and values that are next to one it allows.
//!
//! Only the keywords the document uses are known; another one is an error of the test, not something passed over.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The document with what it says.
pub(crate) struct Document(Value);

/// How a value is changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The member is gone.
    Without,
    /// This is there in its place, or besides.
    With(Value),
}

// === impl Document ===

impl Document {
    pub(crate) fn new(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap())
    }

    pub(crate) fn at(&self, pointer: &str) -> &Value {
        let found = self.0.pointer(pointer);
        found.unwrap_or_else(|| panic!("the document has no {pointer}"))
    }

    pub(crate) fn schema(&self, name: &str) -> &Value {
        self.at(&format!("/components/schemas/{name}"))
    }

    /// What a reference stands for, or the value itself.
    pub(crate) fn resolved<'d>(&'d self, value: &'d Value) -> &'d Value {
        match value["$ref"].as_str() {
            Some(reference) => self.at(reference.trim_start_matches('#')),
            None => value,
        }
    }

    /// What the schema has against the value. A member that an answer has and the document does not name is one, unless
    /// the document says that there may be others.
    pub(crate) fn problems(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.check(schema, value, "", &mut found);
        found
    }

    fn check(&self, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
        let schema = self.resolved(schema);
        let keywords = schema.as_object().unwrap();
        if let Some(strange) = keywords.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            panic!("keyword `{strange}` is not known here");
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            if !choices
                .iter()
                .any(|choice| self.problems(choice, value).is_empty())
            {
                found.push(format!("{path}: none of the choices"));
            }
            return;
        }
        if !types(schema).any(|name| is_a(name, value)) {
            return found.push(format!("{path}: not of its type: {value}"));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            found.push(format!("{path}: not among its values: {value}"));
        }
        let below = |bound: &str, number: Option<i64>| {
            number.is_some_and(|number| schema[bound].as_i64().is_some_and(|bound| number < bound))
        };
        let above = |bound: &str, number: Option<i64>| {
            number.is_some_and(|number| schema[bound].as_i64().is_some_and(|bound| number > bound))
        };
        let length = value.as_str().map(|text| text.len() as i64);
        let items = value.as_array().map(|items| items.len() as i64);
        if below("minLength", length)
            || above("maxLength", length)
            || below("minItems", items)
            || below("minimum", value.as_i64())
            || above("maximum", value.as_i64())
        {
            found.push(format!("{path}: out of its bounds: {value}"));
        }
        if schema["format"] == "date-time"
            && value
                .as_str()
                .is_some_and(|text| text.parse::<Timestamp>().is_err())
        {
            found.push(format!("{path}: no time: {value}"));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{path}/{index}"), found);
        }
        if let Value::Object(members) = value {
            self.check_members(schema, members, path, found);
        }
    }

    fn check_members(
        &self,
        schema: &Value,
        members: &Map<String, Value>,
        path: &str,
        found: &mut Vec<String>,
    ) {
        let required = schema["required"].as_array().into_iter().flatten();
        for key in required.filter_map(Value::as_str) {
            if !members.contains_key(key) {
                found.push(format!("{path}/{key}: is required"));
            }
        }
        for (key, value) in members {
            let path = format!("{path}/{key}");
            match (&schema["properties"][key], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(true)) => {}
                (Value::Null, Value::Object(_)) => {
                    self.check(&schema["additionalProperties"], value, &path, found);
                }
                (Value::Null, _) => found.push(format!("{path}: is not in the document")),
                (member, _) => self.check(member, value, &path, found),
            }
        }
    }

    /// Changes that make a value one that the schema refuses, by pointer: each required member away, a member too many, an
    /// unlisted word, another type, one past a bound.
    pub(crate) fn breaches(&self, schema: &Value, value: &Value) -> Vec<(String, Change)> {
        let mut found = Vec::new();
        self.walk(schema, value, "", &mut |schema, value, path| {
            let mut change = |path: &str, change| found.push((path.to_owned(), change));
            let required = schema["required"].as_array().into_iter().flatten();
            for key in required.filter_map(Value::as_str) {
                change(&format!("{path}/{key}"), Change::Without);
            }
            if schema["additionalProperties"] == false {
                change(&format!("{path}/unlisted"), Change::With(json!(1)));
            }
            if path.is_empty() {
                return;
            }
            let other = if types(schema).any(|name| name == "string") {
                json!(7)
            } else {
                json!("seven")
            };
            change(path, Change::With(other));
            if schema.get("enum").is_some() {
                change(path, Change::With(json!("Unlisted")));
            }
            if schema["minLength"] == 1 {
                change(path, Change::With(json!("")));
            }
            if schema["minItems"] == 1 {
                change(path, Change::With(json!([])));
            }
            for (bound, step) in [("minimum", -1), ("maximum", 1)] {
                if let Some(bound) = schema[bound].as_i64() {
                    change(path, Change::With(json!(bound + step)));
                }
            }
            let _ = value;
        });
        found
    }

    /// Changes that leave a value one that the schema allows: each optional member away, each listed word.
    pub(crate) fn variants(&self, schema: &Value, value: &Value) -> Vec<(String, Change)> {
        let mut found = Vec::new();
        self.walk(schema, value, "", &mut |schema, value, path| {
            for word in schema["enum"].as_array().into_iter().flatten() {
                found.push((path.to_owned(), Change::With(word.clone())));
            }
            let required = schema["required"].as_array();
            for key in value.as_object().into_iter().flat_map(Map::keys) {
                if !required.is_some_and(|keys| keys.contains(&json!(key))) {
                    found.push((format!("{path}/{}", escaped(key)), Change::Without));
                }
            }
        });
        found
    }

    /// Every part of a value that the document describes.
    fn walk(
        &self,
        schema: &Value,
        value: &Value,
        path: &str,
        visit: &mut impl FnMut(&Value, &Value, &str),
    ) {
        let mut schema = self.resolved(schema);
        if let Some(first) = schema["anyOf"].get(0) {
            schema = self.resolved(first);
        }
        visit(schema, value, path);
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.walk(&schema["items"], item, &format!("{path}/{index}"), visit);
        }
        for (key, member) in value.as_object().into_iter().flatten() {
            if let Some(schema) = schema["properties"].get(key) {
                self.walk(schema, member, &format!("{path}/{}", escaped(key)), visit);
            }
        }
    }
}

// === impl Change ===

impl Change {
    /// The value with this change at the pointer.
    pub(crate) fn apply(&self, value: &Value, pointer: &str) -> Value {
        let mut changed = value.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let key = &key.replace("~1", "/").replace("~0", "~");
        match (changed.pointer_mut(parent).unwrap(), self) {
            (Value::Object(members), Self::Without) => drop(members.remove(key)),
            (Value::Object(members), Self::With(value)) => {
                members.insert(key.to_owned(), value.clone());
            }
            (Value::Array(items), Self::With(value)) => {
                items[key.parse::<usize>().unwrap()] = value.clone();
            }
            (other, _) => panic!("{pointer}: {other}"),
        }
        changed
    }
}

/// A member's name in a pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let one = schema["type"].as_str();
    let many = schema["type"].as_array().into_iter().flatten();
    one.into_iter().chain(many.filter_map(Value::as_str))
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type `{other}` is not known here"),
    }
}

/// `pattern` is not checked: the rules on names have tests of their own.
const KNOWN: &[&str] = &[
    "$ref",
    "additionalProperties",
    "anyOf",
    "default",
    "description",
    "enum",
    "example",
    "format",
    "items",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
];
