//! Conditions computed from objects by rules (wire.md §6.10). This target evaluates the well-known ones; a CEL
//! rule is answered honestly with `Unknown` until CEL is there.

use std::collections::BTreeMap;

use link::bundle::manifest::ObjectRef;
use link::bundle::{Condition, ConditionRule, ManifestStatus};
use serde_json::Value;

use super::Context;

type Judgement = (String, &'static str, &'static str, String);

/// Type, status, reason and message per rule that has something to say.
pub(super) fn evaluate(rules: &[ConditionRule], object: Option<&Value>) -> Vec<Judgement> {
    rules
        .iter()
        .filter_map(|rule| match rule.kind.as_str() {
            "WellKnownConditions" => object.and_then(|object| well_known(rule, object)),
            "CEL" if rule.condition.is_empty() => None,
            kind => {
                let condition = if rule.condition.is_empty() {
                    "Complete"
                } else {
                    &rule.condition
                };
                Some((
                    condition.to_string(),
                    "Unknown",
                    "ConditionRuleInvalid",
                    format!("this agent does not evaluate rules of type {kind} yet"),
                ))
            }
        })
        .collect()
}

/// The conditions of the work that the manifests' rule conditions add up to.
pub(super) fn aggregate(manifests: &[ManifestStatus], context: Context<'_>) -> Vec<Condition> {
    let mut by_kind: BTreeMap<&str, Vec<&Condition>> = BTreeMap::new();
    for condition in manifests.iter().flat_map(|manifest| &manifest.conditions) {
        if condition.reason.starts_with("ConditionRule") {
            by_kind.entry(&condition.kind).or_default().push(condition);
        }
    }
    by_kind
        .into_iter()
        .map(|(kind, conditions)| {
            let has = |status: &str| conditions.iter().any(|c| c.status == status);
            let order = if kind == "Progressing" {
                ["True", "Unknown", "False"]
            } else {
                ["False", "Unknown", "True"]
            };
            let status = order
                .into_iter()
                .find(|status| has(status))
                .unwrap_or("Unknown");
            let message = match conditions.as_slice() {
                [one] => one.message.clone(),
                many => format!("Aggregated from {} manifest conditions", many.len()),
            };
            context.work(kind, status, "ConditionRulesAggregated", message)
        })
        .collect()
}

fn well_known(rule: &ConditionRule, object: &Value) -> Option<Judgement> {
    if !matches!(rule.condition.as_str(), "" | "Complete") {
        return None;
    }
    let coordinates = ObjectRef::of(object);
    let (done, message) = match (coordinates.group.as_str(), coordinates.kind.as_str()) {
        ("batch", "Job") => {
            let done = object["status"]["conditions"]
                .as_array()
                .is_some_and(|conditions| {
                    conditions.iter().any(|condition| {
                        matches!(condition["type"].as_str(), Some("Complete" | "Failed"))
                            && condition["status"] == "True"
                    })
                });
            (
                done,
                format!("Job is {}finished", if done { "" } else { "not " }),
            )
        }
        ("", "Pod") => {
            let phase = object["status"]["phase"].as_str().unwrap_or_default();
            (
                matches!(phase, "Succeeded" | "Failed"),
                format!("Pod is in phase {phase}"),
            )
        }
        _ => return None,
    };
    let status = if done { "True" } else { "False" };
    Some(("Complete".into(), status, "ConditionRuleEvaluated", message))
}
