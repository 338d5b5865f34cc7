//! The condition of a work some of whose rules match none of its manifests. Not a condition of the Go agent, which says
//! nothing in this case; it is there only while there is such a rule.

use link::bundle::Status;

use super::Context;

/// Adds the condition, given one sentence for each rule.
pub fn unmatched(status: &mut Status, rules: &[String], context: Context<'_>) {
    if rules.is_empty() {
        return;
    }
    let message = format!("{}; the default settings hold instead", rules.join("; "));
    let condition = context.work(MATCHED, "False", "NoManifestMatches", message);
    status.conditions.push(condition);
}

const MATCHED: &str = "ManifestConfigsMatched";
