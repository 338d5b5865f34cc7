//! Faults that a tool can name: stable codes, findings, and the report that scripts read.
//!
//! A code is a statement that holds or does not, such as `MQ221`, "the peer speaks TLS". A code that ends in 0 is the general
//! statement of its check: a check that found nothing wrong says so with it, and a failure whose cause could not be told
//! more exactly carries it too. Codes are never used again for something else; each has a page beside
//! `docs/faults/README.md`, and `tests/tests/docs/faults.rs` compares pages, catalogue and code.
//!
//! **Invariant:** nothing in a finding is a secret. What is seen of a file is its path, size and kind, never its content.

mod catalogue;
mod report;

use std::fmt;

use serde::Serialize;

pub use self::catalogue::CATALOGUE;
pub use self::report::{FINDINGS_SCHEMA, FindingsReport};

/// A code of the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

/// One line of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// What holds when nothing is wrong, as a sentence without a period.
    pub statement: &'static str,
    /// The fault in a few words, as somebody on call would name it.
    pub fault: &'static str,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The statement was checked, and holds.
    Ok,
    /// Nothing is wrong as far as can be told: what was not checked and why, or a fact worth knowing.
    Info,
    /// It works now, and will not for ever or not everywhere.
    Warning,
    /// It does not work.
    Error,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The statement that it is about.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen, on which object; one or more sentences without secrets.
    pub seen: String,
    /// Why it matters; empty where `ok` says all.
    pub why: String,
    /// The next command or step; empty where there is nothing to do.
    pub next: String,
}

// === impl Code ===

impl Code {
    /// The code with this number, if the catalogue has it.
    pub fn from_number(number: u16) -> Option<Self> {
        let code = Self(number);
        code.entry().map(|entry| entry.code)
    }

    /// For the catalogue and for constants of those who find: a number that is not in the catalogue is found by a test.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its line of the catalogue.
    pub fn entry(self) -> Option<&'static Entry> {
        let found = CATALOGUE.binary_search_by_key(&self.0, |entry| entry.code.0);
        found.ok().map(|at| &CATALOGUE[at])
    }

    /// Whether it is the general code of a check.
    pub const fn is_general(self) -> bool {
        self.0.is_multiple_of(10)
    }

    /// Its page, as a path in the repository.
    pub fn page(self) -> String {
        format!("docs/faults/{self}.md")
    }

    /// A hint that ends with the page, where an error outside of a report of findings is this fault.
    pub fn with_page(self, hint: &str) -> String {
        format!("{hint}; see {}", self.page())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MQ{:03}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Severity ===

impl Severity {
    /// The word in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

// === impl Finding ===

impl Finding {
    /// The statement holds.
    pub fn ok(code: Code, seen: impl Into<String>) -> Self {
        Self::new(Severity::Ok, code, seen)
    }

    /// A fact, or what was not checked and why.
    pub fn info(code: Code, seen: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, seen)
    }

    /// It works now.
    pub fn warning(code: Code, seen: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, seen)
    }

    /// It does not work.
    pub fn error(code: Code, seen: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, seen)
    }

    /// Why it matters.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// What to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    fn new(severity: Severity, code: Code, seen: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            seen: seen.into(),
            why: String::new(),
            next: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_in_order_and_each_line_says_something() {
        for pair in CATALOGUE.windows(2) {
            assert!(
                pair[0].code < pair[1].code,
                "{} {}",
                pair[0].code,
                pair[1].code
            );
        }
        for entry in CATALOGUE {
            assert!(
                !entry.statement.is_empty() && !entry.fault.is_empty(),
                "{}",
                entry.code
            );
            let general = Code(entry.code.0 / 10 * 10);
            assert!(
                general.entry().is_some(),
                "{} has no general code {general}",
                entry.code
            );
        }
    }

    #[test]
    fn a_code_is_three_digits_and_known_or_refused() {
        assert_eq!(Code::new(7).to_string(), "MQ007");
        assert_eq!(Code::from_number(100).map(Code::number), Some(100));
        assert_eq!(Code::from_number(99), None);
        assert_eq!(Code::new(100).page(), "docs/faults/MQ100.md");
    }
}
