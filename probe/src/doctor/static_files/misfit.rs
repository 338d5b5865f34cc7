//! What does not fit, in a file: the field, what is wrong with it, and what to write.

use link::fault::{Code, Finding};
use region_file::Problem;

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Such as `image.tag`; empty for the whole file.
    pub(super) field: String,
    /// Line, from 1, where it is known.
    pub(super) line: Option<u64>,
    /// What, as a phrase that follows the field.
    pub(super) what: String,
    /// What to write instead.
    pub(super) fix: String,
}

// === impl Misfit ===

impl Misfit {
    /// A misfit of a field, whose line is not known yet.
    pub(super) fn new(field: &str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            line: None,
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl From<Problem> for Misfit {
    fn from(problem: Problem) -> Self {
        let Problem {
            field,
            line,
            what,
            fix,
        } = problem;
        Self {
            field,
            line,
            what,
            fix,
        }
    }
}

/// An error for each, up to a bound; `why` is why they matter.
pub(super) fn findings(code: Code, file: &str, misfits: &[Misfit], why: &str) -> Vec<Finding> {
    let said = misfits.iter().take(MAX_MISFITS).map(|misfit| {
        let line = misfit
            .line
            .map_or_else(String::new, |line| format!(" line {line}"));
        let field = match misfit.field.as_str() {
            "" => String::new(),
            field => format!("{field}: "),
        };
        Finding::error(
            code,
            format!("`{file}`{line}: {field}{}", bounded(&misfit.what)),
        )
        .why(why)
        .next(bounded(&misfit.fix))
    });
    let mut said: Vec<Finding> = said.collect();
    let more = misfits.len().saturating_sub(MAX_MISFITS);
    if more > 0 {
        let finding = Finding::error(code, format!("`{file}`: {more} more that do not fit"));
        said.push(finding.why(why).next("correct those above, and look again"));
    }
    said
}

// What was pasted into a wrong place may be anything, and may be long.
fn bounded(words: &str) -> String {
    let line = words.lines().next().unwrap_or_default();
    match line.len() == words.trim_end().len() && line.len() <= MAX_WORDS {
        true => line.to_owned(),
        false => {
            let before = line.split('`').next().unwrap_or_default();
            let before: String = before.chars().take(MAX_WORDS).collect();
            format!("{}… ({} bytes)", before, words.len())
        }
    }
}

// More than anybody corrects at once.
const MAX_MISFITS: usize = 100;
// Longer than all that is said of a value that looks like one.
const MAX_WORDS: usize = 600;
