//! A YAML file as a JSON tree, and the line of each field.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::Problem;

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The tree; an object, or null for an empty file.
    pub(super) root: Value,
    /// Line numbers, from 1, by field.
    lines: BTreeMap<String, u64>,
}

/// The name of a field within another: `a.b`.
pub(super) fn child(at: &str, key: &str) -> String {
    if at.is_empty() {
        key.to_owned()
    } else {
        format!("{at}.{key}")
    }
}

// === impl Tree ===

impl Tree {
    /// Reads the text.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if text.trim_start_matches('\u{feff}').lines().all(blank) {
            return Ok(Self::default());
        }
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! { max_buffered_comment_events: MAX_COMMENTS },
        };
        let root: Spanned<Node> =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| Problem {
                line: error.location().map(|location| location.line()),
                ..Problem::new(
                    "",
                    first_line(&UserMessageFormatter.format_message(&error)),
                    "write YAML of `key: value` lines, each key once",
                )
            })?;
        let mut lines = BTreeMap::new();
        let root = plain("", root, &mut lines);
        Ok(Self { root, lines })
    }

    /// The line of a field, or of the nearest one around it that the file has.
    pub(super) fn line(&self, field: &str) -> Option<u64> {
        let mut field = field;
        loop {
            if let Some(line) = self.lines.get(field) {
                return Some(*line);
            }
            let end = field.rfind(['.', '['])?;
            field = &field[..end];
        }
    }
}

fn plain(at: &str, node: Spanned<Node>, lines: &mut BTreeMap<String, u64>) -> Value {
    if !at.is_empty() {
        lines.insert(at.to_owned(), node.referenced.line());
    }
    match node.value {
        Node::Scalar(value) => value,
        Node::List(items) => {
            let items = items.into_iter().enumerate();
            items
                .map(|(index, item)| plain(&format!("{at}[{index}]"), item, lines))
                .collect()
        }
        Node::Map(pairs) => {
            let pairs = pairs.into_iter().map(|(key, value)| {
                let value = plain(&child(at, &key), value, lines);
                (key, value)
            });
            Value::Object(pairs.collect())
        }
    }
}

fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    format!("is not YAML that can be read here: {line}")
}

enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

// === impl Node ===

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(
            Number::from_f64(value).map_or(Value::Null, Value::Number),
        ))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(Node::Map(map))
    }
}

// After a key without a value; the file that `init` writes has dozens of them in a row, and people add theirs.
const MAX_COMMENTS: usize = 10_000;
