//! Finds members that a JSON object has twice. Parsers keep the last one in silence, so the other would be lost.
//!
//! Runs over text that a parser has taken already, so its depth is bounded; names are compared as they read, not as
//! they are written.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write as _};

use link::telemetry::clip;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The paths of members that are there twice, as `manifests[0].data.k`; a bounded number, each of bounded length.
pub(super) fn twice(text: &[u8]) -> Vec<String> {
    let mut found = Found::default();
    let mut reader = serde_json::Deserializer::from_slice(text);
    // What cannot be read is refused by whoever reads it.
    drop(Walk(&mut found).deserialize(&mut reader));
    found.twice
}

#[derive(Default)]
struct Found<'t> {
    place: Vec<Step<'t>>,
    twice: Vec<String>,
    noted: usize,
}

enum Step<'t> {
    Member(Cow<'t, str>),
    Element(usize),
}

/// Goes through a value and keeps nothing of it.
struct Walk<'f, 't>(&'f mut Found<'t>);

/// A member's name, borrowed where it is written plainly.
struct Name;

// === impl Found ===

impl<'t> Found<'t> {
    fn note(&mut self, name: &str) {
        // A path takes time too, and the same may come again and again.
        self.noted += 1;
        if self.twice.len() >= SHOWN || self.noted > NOTED {
            return;
        }
        let mut path = String::new();
        let last = Step::Member(Cow::Borrowed(name));
        for step in self.place.iter().chain([&last]) {
            // However deep it is and however long the names are, and however often it is there.
            if path.len() > PATH_BYTES {
                break;
            }
            // Writing to a `String` cannot fail.
            let _ = match step {
                Step::Member(name) => {
                    let dot = if path.is_empty() { "" } else { "." };
                    write!(path, "{dot}{}", clip(name, PATH_BYTES))
                }
                Step::Element(index) => write!(path, "[{index}]"),
            };
        }
        let path = clip(&path, PATH_BYTES).into_owned();
        if !self.twice.contains(&path) {
            self.twice.push(path);
        }
    }
}

// === impl Walk ===

impl<'t> DeserializeSeed<'t> for Walk<'_, 't> {
    type Value = ();

    fn deserialize<D: Deserializer<'t>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Walk<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names: HashSet<Cow<'t, str>> = HashSet::new();
        while let Some(name) = members.next_key_seed(Name)? {
            if names.contains(&name) {
                self.0.note(&name);
            } else {
                names.insert(name.clone());
            }
            self.0.place.push(Step::Member(name));
            members.next_value_seed(Walk(self.0))?;
            self.0.place.pop();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            self.0.place.push(Step::Element(index));
            let more = elements.next_element_seed(Walk(self.0))?;
            self.0.place.pop();
            if more.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

// === impl Name ===

impl<'t> DeserializeSeed<'t> for Name {
    type Value = Cow<'t, str>;

    fn deserialize<D: Deserializer<'t>>(self, reader: D) -> Result<Cow<'t, str>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Name {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'t str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

// As many as a person mends at once.
const NOTED: usize = 64;
const SHOWN: usize = 10;
const PATH_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_there_twice_is_named_by_its_path_however_it_is_written() {
        for (text, expected) in [
            (r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}"#, vec![]),
            (r#"{"a":1,"a":1}"#, vec!["a"]),
            (r#"{"a":{},"\u0061":{}}"#, vec!["a"]),
            (
                r#"{"m":[0,{"data":{"k":"1","l":"","k":"2","k":"3"}}],"m":null}"#,
                vec!["m[1].data.k", "m"],
            ),
            (
                r#"[{"x":[[{"y":1.5,"y":-1,"y":true}]]}]"#,
                vec!["[0].x[0][0].y"],
            ),
            (r#"{"a":1,"a":"#, vec!["a"]),
        ] {
            assert_eq!(twice(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_body_full_of_duplicates_costs_no_more_than_another() {
        let body = format!("{{{}\"a\":0}}", "\"a\":{\"b\":[0]},".repeat(80_000));
        assert!(body.len() > 1_000_000);
        assert_eq!(twice(body.as_bytes()), ["a"]);
        let wide: Vec<String> = (0..70_000)
            .map(|number| format!("\"{number:06}\":0"))
            .collect();
        assert!(twice(format!("{{{}}}", wide.join(",")).as_bytes()).is_empty());
    }
}
