//! A value against a JSON schema (2020-12), as far as the schemas of our charts go: types, `enum`, `pattern`, bounds,
//! required and unknown keys, `anyOf`; pure. A test holds the charts to these words.
//!
//! No value is shown: values hold whatever somebody put there.

use link::spelling::nearest;
use regex_lite::Regex;
use serde_json::{Map, Value};

use super::misfit::Misfit;

/// All that does not fit.
pub(super) fn check(value: &Value, schema: &Value) -> Vec<Misfit> {
    let mut found = Vec::new();
    let root = Schema {
        schema,
        root: schema,
    };
    root.check("", value, &mut found);
    found
}

#[derive(Clone, Copy)]
struct Schema<'a> {
    schema: &'a Value,
    // For a key that stands on the wrong level.
    root: &'a Value,
}

// === impl Schema ===

impl<'a> Schema<'a> {
    fn below(self, schema: &'a Value) -> Self {
        Self { schema, ..self }
    }

    fn check(self, at: &str, value: &Value, found: &mut Vec<Misfit>) {
        let schema = self.schema;
        if let Some(forms) = schema["anyOf"].as_array() {
            return self.any_of(forms, at, value, found);
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            let words: Vec<String> = words.iter().map(word).collect();
            let fix = format!("write {}", words.join(" or "));
            return found.push(Misfit::new(
                at,
                "is none of the words that may stand here",
                fix,
            ));
        }
        let kinds = kinds(schema);
        if !kinds.is_empty() && !kinds.iter().any(|kind| is(value, kind)) {
            let wanted: Vec<&str> = kinds.iter().map(|kind| called(kind)).collect();
            let fix = format!("write {}", wanted.join(" or "));
            return found.push(Misfit::new(
                at,
                format!("is {}", called(kind_of(value))),
                fix,
            ));
        }
        match value {
            Value::String(text) => self.text(at, text, found),
            Value::Number(number) => self.number(at, number.as_f64().unwrap_or_default(), found),
            Value::Array(items) => self.list(at, items, found),
            Value::Object(pairs) => self.section(at, pairs, found),
            Value::Null | Value::Bool(_) => {}
        }
    }

    // The form that fits best says what is wrong.
    fn any_of(self, forms: &'a [Value], at: &str, value: &Value, found: &mut Vec<Misfit>) {
        let tried = forms.iter().map(|form| {
            let mut misfits = Vec::new();
            self.below(form).check(at, value, &mut misfits);
            let is_kind = kinds(form).iter().any(|kind| is(value, kind));
            (!is_kind, misfits)
        });
        let best = tried.min_by_key(|(is_other, misfits)| (!misfits.is_empty(), *is_other));
        found.extend(best.into_iter().flat_map(|(_, misfits)| misfits));
    }

    fn text(self, at: &str, text: &str, found: &mut Vec<Misfit>) {
        let least = self.schema["minLength"].as_u64().unwrap_or(0);
        if (text.chars().count() as u64) < least {
            return found.push(Misfit::new(at, "is empty", self.described("write it")));
        }
        let Some(pattern) = self.schema["pattern"].as_str() else {
            return;
        };
        // A pattern that cannot be read is found by a test.
        if Regex::new(pattern).is_ok_and(|form| !form.is_match(text)) {
            let fix = self.described(&format!("write what matches `{pattern}`"));
            found.push(Misfit::new(
                at,
                "has another form than the chart takes",
                fix,
            ));
        }
    }

    fn number(self, at: &str, number: f64, found: &mut Vec<Misfit>) {
        let bound = |name: &str| self.schema[name].as_f64();
        let (least, most) = (bound("minimum"), bound("maximum"));
        let (what, fix) = match (least, most) {
            (Some(least), _) if number < least => {
                ("is too small", format!("write {least} or more"))
            }
            (_, Some(most)) if number > most => ("is too large", format!("write {most} or less")),
            _ => return,
        };
        found.push(Misfit::new(at, what, self.described(&fix)));
    }

    fn list(self, at: &str, items: &[Value], found: &mut Vec<Misfit>) {
        let least = self.schema["minItems"].as_u64().unwrap_or(0);
        if (items.len() as u64) < least {
            let fix = self.described(&format!("list {least} or more"));
            found.push(Misfit::new(at, "has too few items", fix));
        }
        for (index, item) in items.iter().enumerate() {
            let each = self.below(&self.schema["items"]);
            each.check(&format!("{at}[{index}]"), item, found);
        }
    }

    fn section(self, at: &str, pairs: &Map<String, Value>, found: &mut Vec<Misfit>) {
        let known = &self.schema["properties"];
        let others = &self.schema["additionalProperties"];
        for (key, value) in pairs {
            let field = child(at, key);
            match (known.get(key), others) {
                (Some(schema), _) => self.below(schema).check(&field, value, found),
                (None, Value::Bool(false)) => {
                    let fix = self.instead(key, known);
                    found.push(Misfit::new(&field, "is no key of this chart", fix));
                }
                (None, others) => self.below(others).check(&field, value, found),
            }
        }
        let needed = self.schema["required"].as_array().into_iter().flatten();
        for key in needed.filter_map(Value::as_str) {
            if !pairs.contains_key(key) {
                // The chart's own values have all of them.
                let (what, fix) = match at.ends_with(']') {
                    true => ("is missing", "add it"),
                    false => (
                        "is null, which takes away what the chart says",
                        "remove the line, or write a value",
                    ),
                };
                found.push(Misfit::new(&child(at, key), what, fix));
            }
        }
    }

    // What was probably meant by an unknown key.
    fn instead(self, key: &str, known: &Value) -> String {
        let known: Vec<&str> = known
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        let mut paths = Vec::new();
        collect(self.root, "", &mut paths);
        paths.sort_by_key(String::len);
        let elsewhere = paths
            .iter()
            .find(|path| path.rsplit('.').next() == Some(key));
        match (elsewhere, nearest(key, &known)) {
            // Spelled as a key of another level is.
            (Some(path), _) => format!("write it as `{path}`"),
            (None, Some(near)) => format!("write `{near}`"),
            (None, None) => "remove it, or compare with the chart's README.md".into(),
        }
    }

    fn described(self, fix: &str) -> String {
        let text = self.schema["description"].as_str().unwrap_or_default();
        match text.split(". ").next().unwrap_or_default() {
            "" => fix.to_owned(),
            first => format!("{fix}: {}", first.trim_end_matches('.')),
        }
    }
}

fn collect(schema: &Value, at: &str, paths: &mut Vec<String>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = child(at, key);
        collect(schema, &path, paths);
        paths.push(path);
    }
}

fn child(at: &str, key: &str) -> String {
    match at {
        "" => key.to_owned(),
        at => format!("{at}.{key}"),
    }
}

fn kinds(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        kind => kind_of(value) == kind,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn called(kind: &str) -> &str {
    match kind {
        "null" => "nothing",
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        "string" => "a text (in quotes if it looks like something else)",
        "array" => "a list",
        "object" => "a section of `key: value` lines",
        other => other,
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}
