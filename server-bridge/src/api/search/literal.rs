//! Parses literals (strings, numbers, times, patterns) by the type of the column they are compared with.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::lexer::TokenKind;
use super::{Parser, SearchError, kind};
use crate::store::query::{Column, Glob, Kind, Pattern, Subject, Value};

// === impl Parser ===

impl Parser {
    /// A literal of the subject's type.
    pub(super) fn value<C: Column>(&mut self, subject: &Subject<C>) -> Result<Value, SearchError> {
        let value = match (&self.peek().kind, kind(subject)) {
            (TokenKind::Text(text) | TokenKind::Number(text), Kind::Text) => {
                Some(Value::Text(text.clone()))
            }
            (TokenKind::Text(text) | TokenKind::Number(text), Kind::Integer) => {
                text.parse().ok().map(Value::Integer)
            }
            (TokenKind::Text(text), Kind::Time) => time(text).map(Value::Integer),
            _ => None,
        };
        let Some(value) = value else {
            return Err(self.expected(match kind(subject) {
                Kind::Text => "a string in single quotes",
                Kind::Integer => "an integer",
                Kind::Time => {
                    "a time such as '2026-08-01T10:00:00Z' or a date such as '2026-08-01'"
                }
            }));
        };
        if let (Subject::Column(column), Value::Text(text)) = (subject, &value)
            && let Some(words) = column.words()
            && !words.contains(&text.as_str())
        {
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            return Err(self.expected(&words.join(", ")));
        }
        self.next += 1;
        Ok(value)
    }

    pub(super) fn pattern(&mut self) -> Result<Pattern, SearchError> {
        let at = self.next;
        let text = self.string()?;
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '%' => Glob::AnyText,
                '_' => Glob::AnyChar,
                '\\' => match chars.next() {
                    Some(escaped) => Glob::Char(escaped),
                    None => {
                        self.next = at;
                        return Err(self.error("a pattern cannot end in `\\`".to_owned()));
                    }
                },
                c => Glob::Char(c),
            });
        }
        // A run of `%` matches what one does, and would make matching slow.
        pieces.dedup_by(|a, b| *a == Glob::AnyText && *b == Glob::AnyText);
        if pieces.iter().filter(|p| **p == Glob::AnyText).count() > MAX_WILDCARDS {
            self.next = at;
            return Err(self.error(format!("more than {MAX_WILDCARDS} `%` in one pattern")));
        }
        Ok(Pattern(pieces))
    }

    pub(super) fn string(&mut self) -> Result<String, SearchError> {
        let TokenKind::Text(text) = &self.peek().kind else {
            return Err(self.expected("a string in single quotes"));
        };
        let text = text.clone();
        self.next += 1;
        Ok(text)
    }
}

fn time(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_microsecond());
    }
    if text.len() != "2026-08-01".len() {
        return None;
    }
    let date: Date = text.parse().ok()?;
    let midnight = date.to_zoned(TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_microsecond())
}

// Matching takes time to the power of wildcards in the worst case.
const MAX_WILDCARDS: usize = 8;
