//! Policy patterns: `*` any run of characters (also `/`), `?` one character, `${…}` a variable, all else literal.
//!
//! `+` and `#` are literal too: a policy knows nothing of MQTT filters (docs/IOT-CORE.md §1.7). A variable's value is
//! literal; `${*}`, `${?}` and `${$}` stand for the characters themselves. In a document of version `2008-10-17`
//! variables are plain text.
//!
//! **Invariant:** where AWS does not document what a pattern means, the answer is [`PatternMatch::Unclear`], never a guess: a
//! variable without a known value stays unresolved and may stand for any text, so that only what no text could match is
//! certain not to fit.

use std::fmt::Write as _;

use super::context::{Context, UnknownReason, VariableValue, is_special};

mod matching;

/// A pattern with its variables resolved, ready to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPattern {
    tokens: Vec<Token>,
    unresolved: Vec<UnresolvedVariable>,
}

/// A variable whose value is not known, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnresolvedVariable {
    /// The variable's name, as written.
    pub name: String,
    /// Why it has no value.
    pub reason: UnknownReason,
}

/// Whether a text fits a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternMatch<'p> {
    /// In every reading.
    Yes,
    /// In no reading.
    No,
    /// It depends on the value of a variable.
    Unclear(&'p UnresolvedVariable),
    /// It depends on what one character is: `?` stands before one outside ASCII.
    Character,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
    Unresolved,
}

// === impl PolicyPattern ===

impl PolicyPattern {
    /// Resolves the variables of `text` and takes it apart. A variable without a value stays unresolved.
    pub fn resolve(text: &str, context: &Context) -> Self {
        let mut pattern = Self {
            tokens: Vec::new(),
            unresolved: Vec::new(),
        };
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            pattern.push_wild(&rest[..start]);
            let inside = &rest[start + 2..];
            let Some(length) = inside.find('}') else {
                pattern.push_unresolved(inside, UnknownReason::Unlisted);
                return pattern;
            };
            pattern.push_variable(&inside[..length], context);
            rest = &inside[length + 1..];
        }
        pattern.push_wild(rest);
        pattern
    }

    /// Takes `text` apart with variables as plain text, as version `2008-10-17` does.
    pub fn literal_variables(text: &str) -> Self {
        Self {
            tokens: text.chars().map(wild).collect(),
            unresolved: Vec::new(),
        }
    }

    /// Whether the whole of `text` fits the pattern in every reading.
    pub fn matches(&self, text: &str) -> bool {
        self.fit(text) == PatternMatch::Yes
    }

    /// Whether the whole of `text` fits the pattern.
    pub fn fit(&self, text: &str) -> PatternMatch<'_> {
        let mut readings = matching::readings(&self.tokens, text);
        let all = readings.clone().all(|fits| fits);
        if !readings.any(|fits| fits) {
            return PatternMatch::No;
        }
        match self.unresolved.first() {
            Some(variable) => PatternMatch::Unclear(variable),
            None if all => PatternMatch::Yes,
            None => PatternMatch::Character,
        }
    }

    /// The variables without a value, in order.
    pub fn unresolved(&self) -> &[UnresolvedVariable] {
        &self.unresolved
    }

    /// Whether `text` is the pattern letter by letter, its wildcards taken as characters; never with a hole.
    pub fn is_literally(&self, text: &str) -> bool {
        let mut characters = text.chars();
        let same = self.tokens.iter().all(|token| match token {
            Token::Char(c) => characters.next() == Some(*c),
            Token::One => characters.next() == Some('?'),
            Token::Any => characters.next() == Some('*'),
            Token::Unresolved => false,
        });
        same && characters.next().is_none()
    }

    /// The same pattern with its ASCII letters in lower case.
    #[must_use]
    pub fn to_ascii_lowercase(&self) -> Self {
        let lower = |token: &Token| match token {
            Token::Char(c) => Token::Char(c.to_ascii_lowercase()),
            other => *other,
        };
        Self {
            tokens: self.tokens.iter().map(lower).collect(),
            unresolved: self.unresolved.clone(),
        }
    }

    fn push_variable(&mut self, name: &str, context: &Context) {
        if let "*" | "?" | "$" = name {
            self.tokens.extend(name.chars().map(Token::Char));
            return;
        }
        let reason = match context.value(name) {
            VariableValue::One(value) if !is_special(&value) => {
                self.tokens.extend(value.chars().map(Token::Char));
                return;
            }
            // Documented for certificates alone: the variable is then not replaced.
            VariableValue::One(_) => UnknownReason::Wildcard,
            VariableValue::Many(_) => UnknownReason::List,
            VariableValue::Absent => UnknownReason::Absent,
            VariableValue::Unknown(reason) => reason,
        };
        self.push_unresolved(name, reason);
    }

    fn push_unresolved(&mut self, name: &str, reason: UnknownReason) {
        self.tokens.push(Token::Unresolved);
        self.unresolved.push(UnresolvedVariable {
            name: name.to_owned(),
            reason,
        });
    }

    // The developer guide writes the special characters `$(*)`, the IAM guide `${*}`: the former is doubtful.
    fn push_wild(&mut self, text: &str) {
        let mut rest = text;
        while let Some(start) = rest.find("$(") {
            let mut inside = rest[start + 2..].chars();
            let special = matches!(inside.next(), Some('*' | '?' | '$'));
            if special && inside.next() == Some(')') {
                self.tokens.extend(rest[..start].chars().map(wild));
                self.push_unresolved(&rest[start + 2..=start + 2], UnknownReason::Unlisted);
                rest = &rest[start + 4..];
            } else {
                self.tokens.extend(rest[..start + 2].chars().map(wild));
                rest = &rest[start + 2..];
            }
        }
        self.tokens.extend(rest.chars().map(wild));
    }
}

/// Whether `text` fits `pattern`, whose variables, if it has any, are plain text: the wildcards of IAM policies too.
pub fn matches(pattern: &str, text: &str) -> bool {
    PolicyPattern::literal_variables(pattern).matches(text)
}

/// The pattern that matches exactly `text`.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '*' | '?' => {
                let _ = write!(escaped, "${{{c}}}");
            }
            '$' if matches!(characters.peek(), Some('{' | '(')) => escaped.push_str("${$}"),
            _ => escaped.push(c),
        }
    }
    escaped
}

fn wild(c: char) -> Token {
    match c {
        '*' => Token::Any,
        '?' => Token::One,
        other => Token::Char(other),
    }
}
