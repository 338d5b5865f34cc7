//! Collects findings, and prints each as it is made.

use link::cli::StdoutError;
use link::fault::{Code, Finding, FindingsReport, Severity};

use crate::output::{Output, OutputFormat};
use crate::redact::{self, Misplaced};

/// What was found so far. In text each finding is printed at once; the JSON report is printed at the end.
#[derive(Debug)]
pub struct Findings {
    output: Output,
    all: Vec<Finding>,
    failed: Option<StdoutError>,
    misplaced: Misplaced,
}

/// Whether what needs a stage can go on.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It can.
    Continue,
    /// It cannot; the words end the sentence "not checked: …".
    Stop(String),
}

// === impl Findings ===

impl Findings {
    /// None yet.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            all: Vec::new(),
            failed: None,
            misplaced: Misplaced::default(),
        }
    }

    /// What is said from now on is said without these.
    pub(super) fn hide(&mut self, misplaced: Misplaced) {
        self.misplaced = misplaced;
    }

    /// Text as a finding has it.
    pub(super) fn clean(&self, text: &str) -> String {
        let text = redact::text(&self.misplaced.hide(text));
        redact::shown(&text, MOST_BYTES)
    }

    /// Adds one. Nothing that looks like a secret, and nothing that a terminal acts on, stays in it, whoever wrote its text.
    pub fn add(&mut self, mut finding: Finding) {
        for words in [&mut finding.seen, &mut finding.why, &mut finding.next] {
            *words = self.clean(words);
        }
        if self.output.format == OutputFormat::Text && self.failed.is_none() {
            // The reader that went away is no reason to stop: an archive may be wanted.
            let printed = self
                .output
                .print(|| text(&finding), || serde_json::Value::Null);
            self.failed = printed.err();
        }
        self.all.push(finding);
    }

    /// Adds one if there is one.
    pub fn extend(&mut self, finding: Option<Finding>) {
        if let Some(finding) = finding {
            self.add(finding);
        }
    }

    /// What was not checked, by the general code of its check.
    pub fn skip(&mut self, code: Code, why: &str) {
        self.add(Finding::info(code, format!("not checked: {why}")));
    }

    /// Whether there is an error with this code.
    pub fn has_error(&self, code: Code) -> bool {
        self.all
            .iter()
            .any(|finding| finding.code == code && finding.severity == Severity::Error)
    }

    /// Whether a check came to an end: it is good, or has this fault.
    pub fn has_looked_at(&self, general: Code, fault: Code) -> bool {
        self.all.iter().any(|finding| {
            finding.code == fault || finding.code == general && finding.severity == Severity::Ok
        })
    }

    /// The number of findings so far.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The worst of those after the first `count`.
    pub fn worst_since(&self, count: usize) -> Severity {
        let since = self.all.iter().skip(count);
        since
            .map(|finding| finding.severity)
            .max()
            .unwrap_or(Severity::Ok)
    }

    /// Ends the run: the report, and whether standard output could be written; a reader that went away is no error.
    pub fn finish(self) -> (FindingsReport, Result<(), StdoutError>) {
        (
            FindingsReport::new(self.all),
            self.failed.map_or(Ok(()), Err),
        )
    }
}

/// One finding for people: a line, and below a warning or an error what to do and where to read on.
pub(super) fn text(finding: &Finding) -> String {
    let Finding {
        code,
        severity,
        seen,
        why,
        next,
    } = finding;
    let mut lines = format!("{:<8} {code}  {}", severity.as_str(), indented(seen));
    if *severity >= Severity::Warning || !next.is_empty() {
        for (name, words) in [("why", why.as_str()), ("next", next)] {
            if !words.is_empty() {
                lines.push_str(&format!("\n         {name}: {}", indented(words)));
            }
        }
    }
    if *severity >= Severity::Warning {
        lines.push_str(&format!("\n         page: {}", code.page()));
    }
    lines
}

/// The last line for people.
pub(super) fn summary(report: &FindingsReport, about: &str) -> String {
    let count = |severity| {
        let all = report.findings.iter();
        all.filter(|finding| finding.severity == severity).count()
    };
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => format!("{about}: nothing is wrong as far as was looked"),
        (errors, warnings) => {
            format!("{about}: {errors} error(s), {warnings} warning(s)")
        }
    }
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n         ")
}

// Many times what any text of ours has; what others say may be endless.
const MOST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_line_with_its_next_step_and_its_page() {
        let finding = Finding::error(Code::new(111), "a").why("b").next("c");
        assert_eq!(
            text(&finding),
            "error    MQ111  a\n         why: b\n         next: c\n         page: docs/faults/MQ111.md"
        );
        assert_eq!(text(&Finding::ok(Code::new(100), "a")), "ok       MQ100  a");
    }

    #[test]
    fn what_looks_like_a_secret_is_in_no_finding() {
        let mut findings = Findings::new(Output {
            format: OutputFormat::Json,
            quiet: false,
        });
        findings.add(Finding::error(
            Code::new(106),
            "`mqtts://user:hunter2@host` is no host",
        ));
        let (report, printed) = findings.finish();
        assert!(printed.is_ok() && !report.findings[0].seen.contains("hunter2"));
    }

    #[test]
    fn what_others_say_is_bounded_and_makes_no_terminal_act() {
        let mut findings = Findings::new(Output {
            format: OutputFormat::Json,
            quiet: false,
        });
        let hostile = "\u{1b}[2J\u{202e}\u{9b}\0\r";
        let words = || format!("{hostile}{}", "x".repeat(2 * MOST_BYTES));
        findings.add(
            Finding::error(Code::new(106), words())
                .why(words())
                .next(words()),
        );
        let (report, _) = findings.finish();
        let found = &report.findings[0];
        for words in [&found.seen, &found.why, &found.next] {
            assert!(words.len() < MOST_BYTES + 100, "{}", words.len());
            assert!(!words.chars().any(link::printable::is_hidden), "{words:?}");
        }
    }
}
