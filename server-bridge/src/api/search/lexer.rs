//! Tokens of the search language (words, strings, numbers, symbols), each with its position.

use std::fmt;

use super::SearchError;

/// One token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Character, from 1.
    pub(super) position: usize,
}

/// What a token is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword, a column, a dotted label.
    Word(String),
    /// A string, without quotes.
    Text(String),
    /// A number as written.
    Number(String),
    /// An operator or punctuation.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

// === impl Token ===

impl Token {
    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.kind, TokenKind::Symbol(found) if found == symbol)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |text: &str| text.chars().take(40).collect::<String>();
        match &self.kind {
            TokenKind::Word(word) | TokenKind::Number(word) => write!(f, "`{}`", cut(word)),
            TokenKind::Text(text) => write!(f, "the string '{}'", cut(text)),
            TokenKind::Symbol(symbol) => write!(f, "`{symbol}`"),
            TokenKind::End => f.write_str("the end"),
        }
    }
}

/// Cuts text into tokens; the last is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, SearchError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        let position = at + 1;
        let rest = &chars[at..];
        let (kind, length) = if c == '\'' {
            string(rest, position)?
        } else if let Some(symbol) = SYMBOLS.iter().find(|s| starts_with(rest, s)) {
            (TokenKind::Symbol(symbol), symbol.len())
        } else if c.is_ascii_digit() || c == '-' && rest.get(1).is_some_and(char::is_ascii_digit) {
            let digits = rest[1..].iter().take_while(|c| c.is_ascii_digit()).count();
            let length = 1 + digits;
            (TokenKind::Number(rest[..length].iter().collect()), length)
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = word_length(rest);
            (TokenKind::Word(rest[..length].iter().collect()), length)
        } else {
            return Err(SearchError {
                position,
                problem: format!(
                    "`{}` is not part of the search language",
                    c.escape_default()
                ),
            });
        };
        tokens.push(Token { kind, position });
        at += length;
    }
    tokens.push(Token {
        kind: TokenKind::End,
        position: chars.len() + 1,
    });
    Ok(tokens)
}

fn string(rest: &[char], position: usize) -> Result<(TokenKind, usize), SearchError> {
    let mut text = String::new();
    let mut at = 1;
    loop {
        match (rest.get(at), rest.get(at + 1)) {
            (Some('\''), Some('\'')) => {
                text.push('\'');
                at += 2;
            }
            (Some('\''), _) => return Ok((TokenKind::Text(text), at + 1)),
            (Some('\0'), _) => {
                return Err(SearchError {
                    position: position + at,
                    problem: "a string cannot hold a NUL character".to_owned(),
                });
            }
            (Some(c), _) => {
                text.push(*c);
                at += 1;
            }
            (None, _) => {
                return Err(SearchError {
                    position,
                    problem: "the string has no closing quote".to_owned(),
                });
            }
        }
    }
}

/// Label names may hold `.`, `/` and `-`, but `->` ends a word.
fn word_length(rest: &[char]) -> usize {
    let mut length = 0;
    while let Some(c) = rest.get(length) {
        let arrow = *c == '-' && rest.get(length + 1) == Some(&'>');
        if !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')) || arrow {
            break;
        }
        length += 1;
    }
    length
}

fn starts_with(rest: &[char], symbol: &str) -> bool {
    symbol.chars().zip(rest).filter(|(a, b)| a == *b).count() == symbol.len()
}

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "->>", "->", "@>", "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",",
];
