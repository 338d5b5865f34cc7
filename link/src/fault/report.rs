//! The report of all findings of a run.

use serde::Serialize;

use super::{Finding, Severity};

/// The schema of a report. Members are only added under the same number; what takes one away or changes its meaning takes
/// the next.
pub const FINDINGS_SCHEMA: &str = "maestro-findings/1";

/// All findings of a run, in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingsReport {
    /// [`FINDINGS_SCHEMA`].
    pub schema: &'static str,
    /// What was found.
    pub findings: Vec<Finding>,
}

// === impl FindingsReport ===

impl FindingsReport {
    /// A report of these findings.
    pub fn new(findings: Vec<Finding>) -> Self {
        Self {
            schema: FINDINGS_SCHEMA,
            findings,
        }
    }

    /// The worst severity; `Ok` where nothing was found.
    pub fn worst(&self) -> Severity {
        let all = self.findings.iter().map(|finding| finding.severity);
        all.max().unwrap_or(Severity::Ok)
    }

    /// Whether nothing is wrong: neither an error nor a warning.
    pub fn is_healthy(&self) -> bool {
        self.worst() < Severity::Warning
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;

    #[test]
    fn a_report_is_healthy_until_a_warning() {
        let code = Code::new(100);
        let mut findings = vec![Finding::ok(code, "a"), Finding::info(code, "b")];
        assert!(FindingsReport::new(Vec::new()).is_healthy());
        assert!(FindingsReport::new(findings.clone()).is_healthy());
        findings.push(Finding::warning(code, "c"));
        assert!(!FindingsReport::new(findings).is_healthy());
    }

    #[test]
    fn a_report_reads_as_its_schema_says() {
        let finding = Finding::error(Code::new(111), "a").why("b").next("c");
        let text = serde_json::to_string(&FindingsReport::new(vec![finding])).unwrap();
        assert_eq!(
            text,
            r#"{"schema":"maestro-findings/1","findings":[{"code":"MQ111","severity":"error","seen":"a","why":"b","next":"c"}]}"#
        );
    }
}
