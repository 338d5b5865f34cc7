//! Takes out of an inventory what differs from run to run. No I/O.

use serde_json::{Map, Value};

use super::super::super::form;

/// Names for random ids.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<(String, String)>,
}

// === impl Names ===

impl Names {
    pub(super) fn extend(&mut self, names: impl IntoIterator<Item = (String, String)>) {
        self.names
            .extend(names.into_iter().filter(|(id, _)| !id.is_empty()));
        // An ARN comes before the account id inside it.
        self.names
            .sort_by_key(|(id, _)| std::cmp::Reverse(id.len()));
    }

    /// Puts the names into all texts and keys, and `<hash>` and `<uuid>` for what looks like one.
    pub(super) fn scrub(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.scrub(item)),
            Value::Object(object) => {
                let entries = std::mem::take(object).into_iter().map(|(key, mut value)| {
                    self.scrub(&mut value);
                    (self.text(&key), value)
                });
                *object = entries.collect();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.names {
            text = text.replace(id, name);
        }
        let words =
            text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        words.map(anonymous).collect()
    }
}

/// Tags as an object; whatever they were called.
pub(super) fn tags(list: &Value) -> Value {
    let mut tags = Map::new();
    for tag in list.as_array().into_iter().flatten() {
        let field = |upper: &str, lower: &str| {
            tag.get(upper)
                .or_else(|| tag.get(lower))
                .cloned()
                .unwrap_or_default()
        };
        if let Value::String(key) = field("Key", "key") {
            tags.insert(key, field("Value", "value"));
        }
    }
    Value::Object(tags)
}

/// A list whose order means nothing.
pub(super) fn sorted(mut items: Vec<Value>) -> Value {
    items.sort_by_cached_key(Value::to_string);
    Value::Array(items)
}

/// A JSON document inside a text, which IAM gives percent-encoded.
pub(super) fn document(text: &Value) -> Value {
    let Some(plain) = text.as_str() else {
        return text.clone();
    };
    let parsed =
        serde_json::from_str(plain).or_else(|_| serde_json::from_str(&form::decode_segment(plain)));
    parsed.unwrap_or_else(|_| text.clone())
}

/// A secret value without its contents: which fields there are, and of what kind.
pub(super) fn shape(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let fields = object
                .iter()
                .map(|(name, value)| (name.clone(), shape(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(text) => {
            let first = text.trim_start().lines().next().unwrap_or_default();
            let kind = first
                .strip_prefix("-----BEGIN ")
                .map(|rest| rest.trim_end_matches('-'));
            Value::from(kind.unwrap_or(if text.is_empty() { "empty" } else { "text" }))
        }
        Value::Number(_) => Value::from("number"),
        Value::Bool(_) => Value::from("boolean"),
        Value::Null => Value::Null,
    }
}

/// A word, with the separator after it, unless it is random.
fn anonymous(word: &str) -> String {
    let bare = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let rest = &word[bare.len()..];
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups: Vec<&str> = bare.split('-').collect();
    if bare.len() == 64 && hex(bare) {
        return format!("<hash>{rest}");
    }
    if groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| hex(group))
    {
        return format!("<uuid>{rest}");
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn random_ids_get_names() {
        let mut names = Names::default();
        names.extend([
            ("123456789012".into(), "<region>".into()),
            (
                "arn:aws:sm:123456789012:secret:a-AbCdEf".into(),
                "arn:aws:sm:123456789012:secret:a".into(),
            ),
        ]);
        let mut value = json!({
            "sg-123456789012": "arn:aws:sm:123456789012:secret:a-AbCdEf",
            "cert": format!("cert/{}:x", "0a".repeat(32)),
            "uuid": "addon/b/0c0ffee0-0000-4000-8000-000000000000",
        });
        names.scrub(&mut value);
        assert_eq!(
            value,
            json!({
                "sg-<region>": "arn:aws:sm:<region>:secret:a",
                "cert": "cert/<hash>:x",
                "uuid": "addon/b/<uuid>",
            })
        );
    }

    #[test]
    fn the_contents_of_a_secret_are_left_out() {
        let value =
            json!({ "privateKey": "-----BEGIN PRIVATE KEY-----\nabc", "port": 8883, "user": "me" });
        assert_eq!(
            shape(&value),
            json!({ "privateKey": "PRIVATE KEY", "port": "number", "user": "text" })
        );
    }
}
