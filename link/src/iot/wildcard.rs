//! Policy patterns: `*` any run of characters (also `/`), `?` one character, `${…}` a variable, all else literal.
//!
//! `+` and `#` are literal too: a policy knows nothing of MQTT filters (iot-core.md §1.7). A variable's value is
//! literal, whatever it holds. `${*}`, `${?}` and `${$}` stand for the characters themselves.

use std::fmt::Write as _;

use super::context::Context;

/// A pattern with its variables resolved, ready to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

/// A variable that has no value in the context; the statement it stands in does not match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy variable `${{{0}}}` has no value here")]
pub struct Unresolved(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
}

// === impl Pattern ===

impl Pattern {
    /// Resolves the variables of `text` and takes it apart.
    ///
    /// # Errors
    /// [`Unresolved`] names the first variable without a value. An unclosed `${` is literal.
    pub fn resolve(text: &str, context: &Context) -> Result<Self, Unresolved> {
        Self::compile(text, |name| context.variable(name))
    }

    /// Takes `text` apart with variables as plain text; for comparing spellings, never for deciding.
    pub fn literal_variables(text: &str) -> Self {
        let mut tokens = Vec::new();
        push_wild(&mut tokens, text);
        Self(tokens)
    }

    /// Whether the whole of `text` fits the pattern.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let pattern = &self.0;
        let (mut p, mut t) = (0, 0);
        // The last `*` seen and where it stopped: on a dead end it swallows one more character. Only the last
        // one ever needs to, so the cost is at most pattern × text.
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(Token::Any) => {
                    retry = Some((p + 1, t));
                    p += 1;
                    continue;
                }
                Some(Token::One) => {
                    (p, t) = (p + 1, t + 1);
                    continue;
                }
                Some(Token::Char(c)) if *c == text[t] => {
                    (p, t) = (p + 1, t + 1);
                    continue;
                }
                _ => {}
            }
            let Some((after, stopped)) = retry else {
                return false;
            };
            retry = Some((after, stopped + 1));
            (p, t) = (after, stopped + 1);
        }
        pattern[p..].iter().all(|token| *token == Token::Any)
    }

    fn compile(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Unresolved> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            push_wild(&mut tokens, &rest[..start]);
            let Some(length) = rest[start + 2..].find('}') else {
                push_wild(&mut tokens, &rest[start..]);
                return Ok(Self(tokens));
            };
            let name = &rest[start + 2..start + 2 + length];
            match name {
                "*" | "?" | "$" => tokens.extend(name.chars().map(Token::Char)),
                _ => {
                    let value = variable(name).ok_or_else(|| Unresolved(name.to_owned()))?;
                    tokens.extend(value.chars().map(Token::Char));
                }
            }
            rest = &rest[start + 2 + length + 1..];
        }
        push_wild(&mut tokens, rest);
        Ok(Self(tokens))
    }
}

/// Whether `text` fits `pattern`, which holds no variables.
pub fn matches(pattern: &str, text: &str) -> bool {
    Pattern::literal_variables(pattern).matches(text)
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
            '$' if characters.peek() == Some(&'{') => escaped.push_str("${$}"),
            _ => escaped.push(c),
        }
    }
    escaped
}

fn push_wild(tokens: &mut Vec<Token>, text: &str) {
    tokens.extend(text.chars().map(|c| match c {
        '*' => Token::Any,
        '?' => Token::One,
        other => Token::Char(other),
    }));
}
