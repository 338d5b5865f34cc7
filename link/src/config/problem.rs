//! What is wrong with a configuration: every problem at once, each with its origin and its fix.

use std::fmt;
use std::path::PathBuf;

use crate::error::{ExitKind, Failure, Hint};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A configuration file; line 0 when the line is not known.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// An environment variable, by name.
    Env(String),
    /// A command line flag, as written (`--broker-host`).
    Flag(String),
}

/// One thing that is wrong. Its text never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    origin: Option<Origin>,
    what: String,
    fix: Option<String>,
}

/// All that is wrong with a configuration; `Display` prints one problem per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblems(Vec<ConfigProblem>);

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment variable `{name}`"),
            Self::Flag(flag) => write!(f, "flag `{flag}`"),
        }
    }
}

// === impl ConfigProblem ===

impl ConfigProblem {
    /// A problem with what is wrong (naming the key), where, and how to fix it.
    pub fn new(
        origin: impl Into<Option<Origin>>,
        what: impl Into<String>,
        fix: impl Into<Option<String>>,
    ) -> Self {
        Self {
            origin: origin.into(),
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// Where the value came from, if there is one.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

// === impl ConfigProblems ===

impl ConfigProblems {
    /// Problems, of which there must be at least one to be an error.
    pub(super) fn new(problems: Vec<ConfigProblem>) -> Self {
        Self(problems)
    }

    /// Each problem, in the order of the sources and keys.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigProblem> {
        self.0.iter()
    }

    /// Puts the problems of two configurations together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "configuration is not valid: {one}"),
            many => {
                write!(f, "configuration has {} problems", many.len())?;
                many.iter()
                    .try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigProblems {}

impl Hint for ConfigProblems {
    fn hint(&self) -> Option<String> {
        Some("read docs/CONFIGURATION.md for every key, its default and its meaning".into())
    }
}

impl ConfigProblems {
    /// The same for the end of `main`: a wrong configuration is exit code 2, not 1.
    pub fn into_failure(self) -> Failure {
        let hint = self.hint();
        Failure::new(ExitKind::Usage, self).with_hint(hint)
    }
}
