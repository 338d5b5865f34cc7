//! A YAML file as a JSON tree, and the line of each field.
//!
//! Whoever wrote the text: aliases, nodes and depth are bounded, and what is beyond them is a problem like any other.

use std::collections::BTreeMap;
use std::{fmt, io, panic, thread};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::Problem;

/// What the file says.
#[derive(Debug, Default)]
pub struct Tree {
    /// The tree; an object, or null for an empty file.
    pub root: Value,
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
    ///
    /// # Errors
    /// The first thing that is no YAML, or more of it than is read, without the text itself.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if text.trim_start_matches('\u{feff}').lines().all(blank) {
            return Ok(Self::default());
        }
        // The reader descends recursively through frames of many kilobytes: at the limits, more than a thread has.
        let read = thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("yaml".into())
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || Self::read(text))?;
            Ok::<_, io::Error>(
                thread
                    .join()
                    .unwrap_or_else(|panic| panic::resume_unwind(panic)),
            )
        });
        read.unwrap_or_else(|error| {
            let what = format!("cannot be read for want of a thread: {error}");
            Err(Problem::new(
                "",
                what,
                "run it with fewer processes beside it",
            ))
        })
    }

    fn read(text: &str) -> Result<Self, Problem> {
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_buffered_comment_events: MAX_COMMENTS,
                max_depth: MAX_DEPTH,
                max_nodes: MAX_NODES,
            },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
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
    pub fn line(&self, field: &str) -> Option<u64> {
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
    // Below a path that is too long its line stands for all lines.
    let is_short = at.len() <= MAX_PATH;
    if !at.is_empty() && is_short {
        lines.insert(at.to_owned(), node.referenced.line());
    }
    match node.value {
        Node::Scalar(value) => value,
        Node::List(items) => {
            let items = items.into_iter().enumerate();
            items
                .map(|(index, item)| match is_short {
                    true => plain(&format!("{at}[{index}]"), item, lines),
                    false => plain(at, item, lines),
                })
                .collect()
        }
        Node::Map(pairs) => {
            let pairs = pairs.into_iter().map(|(key, value)| {
                let value = match is_short {
                    true => plain(&child(at, &key), value, lines),
                    false => plain(at, value, lines),
                };
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
        while let Some(pair) = pairs.next_entry::<String, _>()? {
            if pair.0.len() > MAX_KEY {
                return Err(A::Error::custom(format!(
                    "a key is longer than {MAX_KEY} bytes"
                )));
            }
            map.push(pair);
        }
        Ok(Node::Map(map))
    }
}

// After a key without a value; the file that `init` writes has dozens of them in a row, and people add theirs.
const MAX_COMMENTS: usize = 10_000;

// The deepest of ours has eight levels, the largest some thousand nodes. Aliases count with what they stand for.
const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 100_000;
const MAX_REPLAYED: usize = 20_000;

// Several times what the deepest text was measured to need; it is reserved, not filled.
const STACK_BYTES: usize = 32 * 1024 * 1024;

// Bytes of a key; Kubernetes takes 317 for an annotation's. Bytes of the path of a field, which each field below repeats.
const MAX_KEY: usize = 512;
const MAX_PATH: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_end_in_a_problem_without_their_content() {
        let mut laughs = "a0: &a0 [CANARY]\n".to_owned();
        for level in 1..20 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            laughs.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let deep = format!("{}CANARY{}", "[".repeat(70), "]".repeat(70));
        let indented: String = (0..2000)
            .map(|n| format!("{}a:\n", " ".repeat(n)))
            .collect();
        let wide = format!("a: [{}]", "CANARY,".repeat(100_001));
        let long = format!("{}: CANARY", "k".repeat(513));
        let cycle = "a: &a [*a, CANARY]".to_owned();
        let twice = "a: CANARY\na: CANARY\n".to_owned();
        let many = "a: 1\n---\nb: CANARY\n".to_owned();
        for text in [laughs, deep, indented, wide, long, cycle, twice, many] {
            let start: String = text.chars().take(40).collect();
            let problem = Tree::parse(&text).expect_err(&start);
            assert!(!problem.to_string().contains("CANARY"), "{problem}");
        }
    }

    #[test]
    fn what_is_at_the_limits_is_read() {
        let deep = format!("{}1{}", "[".repeat(62), "]".repeat(62));
        let wide = format!("a: [{}]", "1,".repeat(99_000));
        let long = format!("{}: 1", "k".repeat(512));
        for text in [deep, wide, long] {
            let start: String = text.chars().take(40).collect();
            assert!(Tree::parse(&text).is_ok(), "{start}");
        }
        // The path of a field is no longer than that of the last one that is told apart.
        let nested: String = (0..20)
            .map(|n| format!("{}{}:\n", " ".repeat(n), "k".repeat(500)))
            .collect();
        let tree = Tree::parse(&format!("{nested}{}last: 1\n", " ".repeat(20))).unwrap();
        assert!(tree.lines.keys().all(|path| path.len() <= MAX_PATH));
    }
}
