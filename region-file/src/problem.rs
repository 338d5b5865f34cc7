//! What is wrong with a region's file: every problem at once, each by the name of its field, with its line and fix.

use std::path::PathBuf;
use std::{fmt, io};

use link::error::Hint;
use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where, such as `managementClusters[1].account`; empty for the whole file.
    pub field: String,
    /// Line in the file, from 1, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// Whether there was a text to check; else the one problem is of the file itself.
    pub readable: bool,
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

impl Problem {
    /// A problem of the file itself, which could not be read.
    pub(super) fn unreadable(error: &io::Error) -> Self {
        let (what, fix) = match error.kind() {
            io::ErrorKind::NotFound => (
                "there is no such file",
                "name the region's file with `--file`, or write one with `provisioner init`",
            ),
            io::ErrorKind::IsADirectory => {
                ("it is a directory", "name the file in it with `--file`")
            }
            io::ErrorKind::PermissionDenied => {
                ("permission denied", "let the user who runs this read it")
            }
            io::ErrorKind::FileTooLarge => (
                "it is larger than 4 MiB",
                "name the region's file with `--file`",
            ),
            io::ErrorKind::InvalidData => ("it is not UTF-8 text", "save it as UTF-8"),
            _ => return Self::new("", error.to_string(), "check the file and its file system"),
        };
        Self::new("", what, fix)
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
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "read region from `{}`", path.display())?,
            None => f.write_str("read region")?,
        }
        match self.problems.as_slice() {
            [one] if !self.readable => write!(f, ": {}", one.what),
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
        if self.readable {
            return Some("run `provisioner init` for a file with every key and its default".into());
        }
        self.problems.first().map(|problem| problem.fix.clone())
    }
}
