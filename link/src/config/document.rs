//! A YAML or JSON file as flat, dotted keys with their lines.
//!
//! Read into a tree of our own, so that every key keeps its line and nothing of the file's text (which may hold
//! a password) comes back inside a parser's message.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error as YamlError, MessageFormatter, Spanned, UserMessageFormatter};

use super::value::Scalar;
use crate::telemetry::clip;

/// One key with its value, in the order of the file.
#[derive(Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) line: u64,
}

/// What stands behind a key.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    /// One value.
    Scalar(Scalar),
    /// Nothing (`key:`).
    Null,
    /// A list, which no key takes.
    List,
    /// An empty section (`topics: {}`).
    EmptySection,
}

/// A file that is not YAML.
pub(super) struct SyntaxError {
    pub(super) line: u64,
    pub(super) message: String,
    /// Whether the message repeats anything of the file but a key's name: it may be a secret, even another file's.
    pub(super) quotes: bool,
}

/// Parses the text. Sections become dotted keys.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    // A file of comments is an empty configuration, not an error.
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.trim_start_matches('\u{feff}').lines().all(blank) {
        return Ok(Vec::new());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let root: Spanned<Node> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let message = first_line(&UserMessageFormatter.format_message(&error));
            let names_a_key = matches!(
                error,
                YamlError::DuplicateMappingKey { .. } | YamlError::MultipleDocuments { .. }
            );
            SyntaxError {
                line: error.location().map_or(0, |location| location.line()),
                quotes: !names_a_key && repeats(&message, text),
                message: clip(&message, MESSAGE_BYTES).into_owned(),
            }
        })?;
    let line = root.referenced.line();
    match root.value {
        Node::Null => Ok(Vec::new()),
        Node::Section(pairs) => {
            let mut entries = Vec::new();
            flatten("", pairs, &mut entries);
            Ok(entries)
        }
        Node::Scalar(_) | Node::List => Err(SyntaxError {
            line,
            message: "expected `key: value` lines".into(),
            quotes: false,
        }),
    }
}

/// Every key of a YAML or JSON file with its value as text, in order; sections are dotted, and a value is empty where there is
/// none. Nothing where the text cannot be read. For those who look for what must not be shown.
pub fn entries(text: &str) -> Vec<(String, String)> {
    let entries = parse(text).unwrap_or_default();
    let value = |value| match value {
        Value::Scalar(Scalar::Text(text)) => text,
        Value::Scalar(scalar) => scalar.display(),
        Value::Null | Value::List | Value::EmptySection => String::new(),
    };
    let told = |entry: Entry| (entry.key, value(entry.value));
    entries.into_iter().map(told).collect()
}

// What is shorter gives nothing away.
const SHORTEST_QUOTED: usize = 3;
const MESSAGE_BYTES: usize = 200;

enum Node {
    Null,
    Scalar(Scalar),
    List,
    Section(Vec<(String, Spanned<Node>)>),
}

fn flatten(prefix: &str, pairs: Vec<(String, Spanned<Node>)>, entries: &mut Vec<Entry>) {
    for (name, node) in pairs {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        let line = node.referenced.line();
        let value = match node.value {
            Node::Section(pairs) if !pairs.is_empty() => {
                flatten(&key, pairs, entries);
                continue;
            }
            Node::Section(_) => Value::EmptySection,
            Node::Scalar(scalar) => Value::Scalar(scalar),
            Node::Null => Value::Null,
            Node::List => Value::List,
        };
        entries.push(Entry { key, value, line });
    }
}

/// Whether a word of the message stands in the text. Ordinary words do too now and then; then less is said than could be.
fn repeats(message: &str, text: &str) -> bool {
    message
        .split(|character: char| !character.is_alphanumeric())
        .any(|word| word.len() >= SHORTEST_QUOTED && text.contains(word))
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
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
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Integer(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Integer(value)))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        let value = i128::try_from(value).unwrap_or(i128::MAX);
        Ok(Node::Scalar(Scalar::Integer(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Text(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(Scalar::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<Node>()?.is_some() {}
        Ok(Node::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry::<String, Spanned<Node>>()? {
            pairs.push(pair);
        }
        Ok(Node::Section(pairs))
    }
}
