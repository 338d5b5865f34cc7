//! JSON taken apart without reading its numbers and strings: what Maestro's database holds travels on to the letter, so that
//! agents see `1.0` or a number of 30 digits as they have it. Object keys come out sorted, as Go writes them.

use std::collections::BTreeMap;
use std::fmt;

use crate::store::{InvalidJson, Json};

/// A value of checked text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plain<'t> {
    /// A number, `true`, `false` or `null`, as it stands.
    Word(&'t str),
    /// A string with its quotes and escapes, as it stands.
    Text(&'t str),
    Array(Vec<Plain<'t>>),
    /// Members by name; of several of one name the last counts, as with Go. The key as it stands is beside the value.
    Object(BTreeMap<String, (&'t str, Plain<'t>)>),
}

// === impl Plain ===

impl<'t> Plain<'t> {
    /// Checks the text as the store does, its depth too, and takes it apart.
    pub(super) fn parse(text: &'t str) -> Result<Self, InvalidJson> {
        Json::check(text)?;
        let mut reader = Reader { text, at: 0 };
        Ok(reader.value())
    }

    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        members.get(name).map(|(_, value)| value)
    }

    /// A member of an object that is there and not null.
    pub(super) fn some(&self, name: &str) -> Option<&Self> {
        self.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn is_null(&self) -> bool {
        *self == Self::Word("null")
    }

    /// The text of a string, or of a number or flag: attributes that came by MQTT are text, others have their kind.
    pub(super) fn attribute(&self) -> Option<String> {
        match self {
            Self::Text(quoted) => Some(unquoted(quoted)),
            Self::Word("null") | Self::Array(_) | Self::Object(_) => None,
            Self::Word(word) => Some((*word).to_owned()),
        }
    }

    /// The value alone, as compact text.
    pub(super) fn to_json(&self) -> Result<Json, InvalidJson> {
        Json::parse(&self.to_string())
    }
}

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) | Self::Text(text) => f.write_str(text),
            Self::Array(values) => {
                for (place, value) in values.iter().enumerate() {
                    f.write_str(if place == 0 { "[" } else { "," })?;
                    value.fmt(f)?;
                }
                f.write_str(if values.is_empty() { "[]" } else { "]" })
            }
            Self::Object(members) => {
                for (place, (key, value)) in members.values().enumerate() {
                    f.write_str(if place == 0 { "{" } else { "," })?;
                    write!(f, "{key}:{value}")?;
                }
                f.write_str(if members.is_empty() { "{}" } else { "}" })
            }
        }
    }
}

/// Reads text that is known to be one JSON value: what cannot be there is read as nothing.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn value(&mut self) -> Plain<'t> {
        match self.peek() {
            Some(b'{') => {
                let mut members = BTreeMap::new();
                self.at += 1;
                while let Some(b'"') = self.next_inside() {
                    let key = self.quoted();
                    self.at += usize::from(self.peek() == Some(b':'));
                    let value = self.value();
                    members.insert(unquoted(key), (key, value));
                }
                Plain::Object(members)
            }
            Some(b'[') => {
                let mut values = Vec::new();
                self.at += 1;
                while self.next_inside().is_some() {
                    values.push(self.value());
                }
                Plain::Array(values)
            }
            Some(b'"') => Plain::Text(self.quoted()),
            _ => {
                let rest = &self.text[self.at..];
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
                    .unwrap_or(rest.len());
                self.at += end;
                Plain::Word(&rest[..end])
            }
        }
    }

    /// The first byte of the next value of an array or an object; `None` behind its end.
    fn next_inside(&mut self) -> Option<u8> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                self.peek()
            }
            b']' | b'}' => {
                self.at += 1;
                None
            }
            byte => Some(byte),
        }
    }

    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn quoted(&mut self) -> &'t str {
        let (start, bytes) = (self.at, self.text.as_bytes());
        self.at += 1;
        while let Some(&byte) = bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'"' => break,
                _ => {}
            }
        }
        self.text.get(start..self.at).unwrap_or("\"\"")
    }
}

fn unquoted(quoted: &str) -> String {
    serde_json::from_str(quoted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(text: &str) -> String {
        Plain::parse(text).unwrap().to_string()
    }

    #[test]
    fn numbers_and_strings_stay_to_the_letter_and_keys_are_sorted() {
        assert_eq!(
            through(
                r#" {"b" : [1.0, 123456789012345678901234567890 ,0.10, true],"a":{ } , "\u0061b": "\u003c\"\\", "c":[ ]}"#
            ),
            r#"{"a":{},"\u0061b":"\u003c\"\\","b":[1.0,123456789012345678901234567890,0.10,true],"c":[]}"#
        );
        assert_eq!(through("null"), "null");
        assert_eq!(through(" -1.50e-7 "), "-1.50e-7");
        assert_eq!(through(r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
        assert!(Plain::parse("{} {}").is_err());
        assert!(Plain::parse("[1e999]").is_err());
    }

    #[test]
    fn attributes_are_read_whether_they_came_as_text_or_not() {
        let event = Plain::parse(r#"{"a":3,"b":"3","c":true,"d":null,"e":{}}"#).unwrap();
        let attribute = |name| event.get(name).and_then(Plain::attribute);
        assert_eq!(attribute("a"), Some("3".to_owned()));
        assert_eq!(attribute("b"), Some("3".to_owned()));
        assert_eq!(attribute("c"), Some("true".to_owned()));
        assert_eq!((attribute("d"), attribute("e")), (None, None));
        assert!(event.some("d").is_none() && event.some("e").is_some());
    }
}
