//! The search language: a documented part of the SQL-like one Maestro uses (docs/MAESTRO.md §5.2). Text becomes a
//! [`Filter`] or an error with a position; nothing of it ever becomes SQL text.
//!
//! ```text
//! expression = term { "or" term }          term = factor { "and" factor }
//! factor     = "not" factor | "(" expression ")" | predicate
//! predicate  = subject ( = != <> < <= > >= ) value
//!            | subject ["not"] ("like" | "ilike") 'pattern'
//!            | subject ["not"] "in" "(" value { "," value } ")"
//!            | subject "is" ["not"] "null" | subject ( = != <> ) "null"
//!            | path "@>" '{"label": "value", …}'
//! subject    = column | labels.NAME | path "->>" 'NAME' | meta "->>" ( 'name' | 'namespace' | 'uid' )
//! path       = payload->'metadata'->'labels' | metadata->'labels' (bundles) | labels (consumers)
//! meta       = payload->'metadata' | metadata (bundles)
//! ```
//! `<> null` means "is there", as Maestro's clients mean it, and not SQL's "unknown".
//! Strings are in single quotes, a quote inside doubled. Times are RFC 3339 or a date. `ilike` ignores ASCII case.

use std::fmt;

use crate::store::query::{Column, Comparison, Filter, Kind, Subject, Value};

mod fold;
mod lexer;
mod literal;
#[cfg(test)]
mod tests;

use fold::{negate, one_more, one_or};
use lexer::{Token, TokenKind};

/// Why a search was refused and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SearchError {
    /// Character, from 1.
    position: usize,
    problem: String,
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at position {}: {}", self.position, self.problem)
    }
}

/// What a search may look at besides the columns of its table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Roots {
    /// The paths that lead to the labels.
    pub(super) labels: &'static [&'static [&'static str]],
    /// The paths that lead to the metadata.
    pub(super) metadata: &'static [&'static [&'static str]],
}

/// Parses a search; `None` for blank text.
pub(super) fn parse<C: Column>(text: &str, roots: Roots) -> Result<Option<Filter<C>>, SearchError> {
    if text.len() > MAX_BYTES {
        return Err(SearchError {
            position: MAX_BYTES,
            problem: format!("the search is longer than {MAX_BYTES} bytes"),
        });
    }
    let tokens = lexer::tokens(text)?;
    if tokens.len() == 1 {
        return Ok(None);
    }
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
        predicates: 0,
        roots,
    };
    let filter = parser.expression()?;
    parser.expect_end()?;
    Ok(Some(filter))
}

struct Parser {
    /// Ends in [`TokenKind::End`].
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    predicates: usize,
    roots: Roots,
}

// === impl Parser ===

impl Parser {
    fn expression<C: Column>(&mut self) -> Result<Filter<C>, SearchError> {
        let mut parts = vec![self.term()?];
        while self.take_word("or") {
            let part = self.term()?;
            match parts.last_mut().map(|last| one_more(last, &part)) {
                Some(true) => self.predicates -= 1,
                _ => parts.push(part),
            }
        }
        Ok(one_or(parts, Filter::Any))
    }

    fn term<C: Column>(&mut self) -> Result<Filter<C>, SearchError> {
        let mut parts = vec![self.factor()?];
        while self.take_word("and") {
            parts.push(self.factor()?);
        }
        Ok(one_or(parts, Filter::All))
    }

    fn factor<C: Column>(&mut self) -> Result<Filter<C>, SearchError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let filter = if self.take_word("not") {
            Filter::Not(Box::new(self.factor()?))
        } else if self.take_symbol("(") {
            let inner = self.expression()?;
            self.expect_symbol(")")?;
            inner
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn predicate<C: Column>(&mut self) -> Result<Filter<C>, SearchError> {
        self.predicates += 1;
        if self.predicates > MAX_PREDICATES {
            return Err(self.error(format!("more than {MAX_PREDICATES} conditions")));
        }
        let subject = match self.subject()? {
            Parsed::Subject(subject) => subject,
            Parsed::Labels => return self.labels_contain(),
        };
        if self.take_word("is") {
            let negated = self.take_word("not");
            if !self.take_word("null") {
                return Err(self.expected("`null`"));
            }
            return Ok(negate(negated, Filter::IsNull(subject)));
        }
        let negated = self.take_word("not");
        if self.take_word("in") {
            self.expect_symbol("(")?;
            let mut values = vec![self.value(&subject)?];
            while self.take_symbol(",") {
                if values.len() == MAX_IN {
                    return Err(self.error(format!("more than {MAX_IN} values after `in`")));
                }
                values.push(self.value(&subject)?);
            }
            self.expect_symbol(")")?;
            return Ok(negate(negated, Filter::In(subject, values)));
        }
        for (word, fold) in [("like", false), ("ilike", true)] {
            if self.take_word(word) {
                if kind(&subject) != Kind::Text {
                    return Err(self.error(format!("`{word}` works on text columns and labels")));
                }
                let pattern = self.pattern()?;
                return Ok(negate(
                    negated,
                    Filter::Like {
                        subject,
                        pattern,
                        fold,
                    },
                ));
            }
        }
        if negated {
            return Err(self.expected("`in`, `like` or `ilike`"));
        }
        let comparison = self.comparison()?;
        let differs = comparison == Comparison::NotEqual;
        if (differs || comparison == Comparison::Equal) && self.take_word("null") {
            return Ok(negate(differs, Filter::IsNull(subject)));
        }
        let value = self.value(&subject)?;
        Ok(Filter::Compare(subject, comparison, value))
    }

    /// A column, a label, or a path to the labels before `@>`.
    fn subject<C: Column>(&mut self) -> Result<Parsed<C>, SearchError> {
        let TokenKind::Word(word) = &self.peek().kind else {
            return Err(self.expected("a column or a label"));
        };
        let word = word.clone();
        let at = self.next;
        self.next += 1;
        if let Some(label) = word
            .strip_prefix("labels.")
            .or_else(|| word.strip_prefix("metadata.labels."))
            .filter(|label| !label.is_empty())
        {
            return Ok(Parsed::Subject(Subject::Label(label.to_owned())));
        }
        let arrow = self.peek().is_symbol("->");
        if arrow || self.peek().is_symbol("->>") || self.peek().is_symbol("@>") {
            return self.path(word, at);
        }
        let column = C::ALL.iter().copied().find(|c| c.name() == word);
        column
            .map(|column| Parsed::Subject(Subject::Column(column)))
            .ok_or_else(|| {
                let names: Vec<&str> = C::ALL.iter().map(|c| c.name()).collect();
                let shown: String = word.chars().take(60).collect();
                self.next = at;
                self.error(format!(
                    "unknown column `{shown}`; there are {} and `labels.NAME`",
                    crate::validate::listed(&names)
                ))
            })
    }

    fn path<C: Column>(&mut self, root: String, at: usize) -> Result<Parsed<C>, SearchError> {
        let mut steps = vec![root];
        while self.take_symbol("->") {
            steps.push(self.string()?);
        }
        let leads = |roots: &[&[&str]]| roots.iter().any(|path| **path == steps[..]);
        if leads(self.roots.metadata) && self.take_symbol("->>") {
            let inside = self.next;
            let name = self.string()?;
            if let Some(known) = METADATA.iter().find(|known| **known == name) {
                return Ok(Parsed::Subject(Subject::Metadata(known)));
            }
            self.next = inside;
            let known = crate::validate::listed(METADATA);
            return Err(self.error(format!(
                "of the metadata {known} and the labels can be searched"
            )));
        }
        if !leads(self.roots.labels) {
            let roots: Vec<String> = self.roots.labels.iter().map(|path| written(path)).collect();
            self.next = at;
            return Err(self.error(format!(
                "only labels can be searched by path: {}",
                roots.join(", ")
            )));
        }
        if self.take_symbol("->>") {
            return Ok(Parsed::Subject(Subject::Label(self.string()?)));
        }
        if self.take_symbol("@>") {
            return Ok(Parsed::Labels);
        }
        Err(self.expected("`->>` or `@>`"))
    }

    fn labels_contain<C: Column>(&mut self) -> Result<Filter<C>, SearchError> {
        let at = self.next;
        let text = self.string()?;
        let Ok(labels) = serde_json::from_str::<crate::store::Labels>(&text) else {
            self.next = at;
            return Err(self.error(
                "`@>` takes a JSON object of strings, such as '{\"app\":\"web\"}'".to_owned(),
            ));
        };
        self.predicates += labels.len();
        if self.predicates > MAX_PREDICATES {
            return Err(self.error(format!("more than {MAX_PREDICATES} conditions")));
        }
        let parts = labels
            .into_iter()
            .map(|(name, value)| {
                Filter::Compare(Subject::Label(name), Comparison::Equal, Value::Text(value))
            })
            .collect();
        Ok(Filter::All(parts))
    }

    fn comparison(&mut self) -> Result<Comparison, SearchError> {
        let comparison = match &self.peek().kind {
            TokenKind::Symbol("=") => Comparison::Equal,
            TokenKind::Symbol("!=" | "<>") => Comparison::NotEqual,
            TokenKind::Symbol("<") => Comparison::Less,
            TokenKind::Symbol("<=") => Comparison::LessOrEqual,
            TokenKind::Symbol(">") => Comparison::Greater,
            TokenKind::Symbol(">=") => Comparison::GreaterOrEqual,
            _ => {
                return Err(self.expected(
                    "`=`, `!=`, `<`, `<=`, `>`, `>=`, `like`, `ilike`, `in` or `is null`",
                ));
            }
        };
        self.next += 1;
        Ok(comparison)
    }

    fn peek(&self) -> &Token {
        // The last token is `End` and is never taken.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take_word(&mut self, word: &str) -> bool {
        let taken =
            matches!(&self.peek().kind, TokenKind::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(taken);
        taken
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let taken = self.peek().is_symbol(symbol);
        self.next += usize::from(taken);
        taken
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), SearchError> {
        if self.take_symbol(symbol) {
            return Ok(());
        }
        Err(self.expected(&format!("`{symbol}`")))
    }

    fn expect_end(&self) -> Result<(), SearchError> {
        if self.peek().kind == TokenKind::End {
            return Ok(());
        }
        Err(self.expected("`and`, `or` or the end"))
    }

    fn expected(&self, wanted: &str) -> SearchError {
        self.error(format!("expected {wanted}, found {}", self.peek()))
    }

    fn error(&self, problem: String) -> SearchError {
        SearchError {
            position: self.peek().position,
            problem,
        }
    }
}

enum Parsed<C> {
    Subject(Subject<C>),
    Labels,
}

fn kind<C: Column>(subject: &Subject<C>) -> Kind {
    match subject {
        Subject::Column(column) => column.kind(),
        Subject::Label(_) | Subject::Metadata(_) => Kind::Text,
    }
}

fn written(path: &[&str]) -> String {
    let mut text = String::new();
    for (index, step) in path.iter().enumerate() {
        if index == 0 {
            text.push_str(step);
        } else {
            text.push_str(&format!("->'{step}'"));
        }
    }
    format!("`{text}`")
}

/// Members of the metadata that are text and tell one bundle from another.
const METADATA: &[&str] = &["name", "namespace", "uid"];

// Some 370 consumers with the longest names, as clients that watch them ask for them; short enough for every limit of the
// engines behind it, and encoded for the longest URL that HTTP servers take (65 534 bytes).
const MAX_BYTES: usize = 32 * 1024;

// SQLite refuses expressions deeper than 1 000; a chain of conditions nests by one each.
const MAX_DEPTH: usize = 32;
const MAX_PREDICATES: usize = 100;

// Each value is a parameter; SQLite takes 32 766: this many in each of the conditions, and what MAX_BYTES holds of others.
const MAX_IN: usize = 200;
