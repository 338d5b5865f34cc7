//! The conditions known without an expression: whether a Job or a Pod has run to its end.

use link::bundle::ConditionRule;
use link::bundle::manifest::ObjectRef;
use serde_json::Value;

use super::Evaluation;

/// Evaluates the rule for kinds that come to an end; `None` for other kinds and conditions.
pub(super) fn evaluate(rule: &ConditionRule, object: &Value) -> Option<Evaluation> {
    if !matches!(rule.condition.as_str(), "" | "Complete") {
        return None;
    }
    let coordinates = ObjectRef::of(object);
    let (done, message) = match (coordinates.group.as_str(), coordinates.kind.as_str()) {
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        _ => return None,
    };
    Some(Evaluation {
        condition: "Complete".into(),
        status: if done { "True" } else { "False" },
        reason: "ConditionRuleEvaluated",
        message,
    })
}

fn job(object: &Value) -> (bool, String) {
    let conditions = object["status"]["conditions"].as_array();
    let done = conditions.into_iter().flatten().any(|condition| {
        matches!(condition["type"].as_str(), Some("Complete" | "Failed"))
            && condition["status"] == "True"
    });
    let not = if done { "" } else { "not " };
    (done, format!("Job is {not}finished"))
}

fn pod(object: &Value) -> (bool, String) {
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    (
        matches!(phase, "Succeeded" | "Failed"),
        format!("Pod is in phase {phase}"),
    )
}
