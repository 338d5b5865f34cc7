//! What is wrong with a region's file: every problem at once, each by the name of its field, with its line and fix.

use std::fmt;
use std::path::PathBuf;

use link::error::{ExitKind, Failure, Hint};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `managementClusters[1].account`; empty for the whole file.
    pub field: String,
    /// Line in the file, from 1, if it is known.
    pub line: Option<u64>,
    /// What, as a phrase that follows the field.
    pub what: String,
    /// What to write instead, as an imperative phrase.
    pub fix: String,
}

/// All that is wrong with a region's file; `Display` prints one problem per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file, when there is one.
    pub path: Option<PathBuf>,
    /// At least one.
    pub problems: Vec<Problem>,
}

// === impl Problem ===

impl Problem {
    /// A problem of a field.
    pub(super) fn new(
        field: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            line: None,
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.what, self.fix)
    }
}

// === impl Problems ===

impl Problems {
    /// Whether one of them is about `field`.
    pub fn about(&self, field: &str) -> bool {
        self.problems.iter().any(|problem| problem.field == field)
    }

    /// The same for the end of `main`: a wrong file is a wrong command (exit code 2).
    pub fn into_failure(self) -> Failure {
        let hint = self.hint();
        Failure::new(ExitKind::Usage, self).with_hint(hint)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "read region from `{}`", path.display())?,
            None => f.write_str("read region")?,
        }
        match self.problems.as_slice() {
            [one] => write!(f, ": {one}"),
            many => {
                write!(f, ": {} problems", many.len())?;
                many.iter()
                    .try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for Problems {}

impl Hint for Problems {
    fn hint(&self) -> Option<String> {
        Some("run `provisioner init` for a file with every key and its default".into())
    }
}
