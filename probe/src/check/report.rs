//! How a stage ended, and how that is shown: one line per stage for people, one object per line for scripts.

use std::time::Duration;

use link::iot::Document;
use link::printable::printable_lines;
use serde_json::{Value, json};

use super::finding::Finding;
use crate::output::millis;
use crate::stage::Stage;

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works; what was seen.
    Pass(String),
    /// It does not.
    Fail(Finding),
    /// Not tried, and why.
    Skipped(String),
}

/// A stage that is over.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took; zero when skipped.
    pub took: Duration,
}

/// The lines of one stage. Names of others, such as those in the server's certificate, are shown without what a terminal acts
/// on.
pub fn text(report: &Report) -> String {
    let name = report.stage.name();
    let ms = millis(report.took);
    let lines = match &report.outcome {
        Outcome::Pass(detail) => format!("pass     {name:<10} {ms:>9.1} ms  {detail}"),
        Outcome::Skipped(why) => format!("skipped  {name:<10} {:>9}     {why}", ""),
        Outcome::Fail(finding) => format!(
            "fail     {name:<10} {ms:>9.1} ms  {}: {}\n         hint: {}",
            finding.code, finding.what, finding.hint
        ),
    };
    printable_lines(&lines)
}

/// The object of one stage.
pub fn json(report: &Report) -> Value {
    let mut object = json!({
        "type": "stage",
        "stage": report.stage.name(),
        "ms": millis(report.took),
    });
    let (outcome, detail) = match &report.outcome {
        Outcome::Pass(detail) => ("pass", detail),
        Outcome::Skipped(why) => ("skipped", why),
        Outcome::Fail(finding) => {
            object["code"] = json!(finding.code);
            object["hint"] = json!(finding.hint);
            ("fail", &finding.what)
        }
    };
    object["outcome"] = json!(outcome);
    object["detail"] = json!(detail);
    object
}

/// The outcome of the whole check.
pub fn result_json(reports: &[Report], client_id: &str) -> Value {
    let failed = reports.iter().find_map(|report| match &report.outcome {
        Outcome::Fail(finding) => Some((report.stage, finding)),
        _ => None,
    });
    match failed {
        None => json!({"type": "result", "ok": true, "clientId": client_id}),
        Some((stage, finding)) => json!({
            "type": "result", "ok": false, "clientId": client_id, "stage": stage.name(),
            "code": finding.code, "hint": finding.hint, "exitCode": finding.kind.code(),
        }),
    }
}

/// What a policy must allow, one pair of action and resource name each.
pub fn needs(policy: &Document) -> Vec<(String, String)> {
    policy
        .statements
        .iter()
        .flat_map(|statement| {
            statement.actions.iter().flat_map(|action| {
                statement
                    .resources
                    .iter()
                    .map(move |resource| (action.to_string(), resource.to_string()))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_call_themselves_does_nothing_to_a_terminal() {
        let report = Report {
            stage: Stage::Tls,
            outcome: Outcome::Pass("TLS 1.3, server `CN=a\u{1b}[2J\u{202e}b`".into()),
            took: Duration::ZERO,
        };
        let shown = text(&report);
        assert!(shown.contains("CN=a\u{fffd}[2J\u{fffd}b"), "{shown:?}");
    }
}
