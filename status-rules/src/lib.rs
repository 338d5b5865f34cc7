//! Condition rules (docs/MAESTRO.md §6.10): what each rule of a manifest evaluates to for an object, and what the
//! evaluations of all manifests add up to for the work. Pure, and without a clock.
//!
//! CEL expressions are run by `expression.rs` under a budget of cost and on a stack of their own, so that no
//! rule of a source can stop the agent: whatever goes wrong becomes an evaluation with a reason.

use std::collections::BTreeMap;

use link::bundle::{Condition, ConditionRule, ManifestStatus};
use serde_json::Value;

use self::meter::Budget;
use self::value::Subject;

mod expression;
mod guard;
mod library;
mod meter;
mod rewrite;
mod stack;
mod value;
mod well_known;

/// What a rule evaluated to: a condition without its times and generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The type of the condition that the rule sets.
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Begins with `ConditionRule`.
    pub reason: &'static str,
    /// For people; at most 4 KiB.
    pub message: String,
}

/// Evaluates the rules of a manifest for its object; a rule that does not apply to it is left out. For an object that
/// is absent (`None`) only rules are evaluated that no object could satisfy.
///
/// All rules of a call share one budget of cost, so that it ends within a second whatever they are.
pub fn evaluate(rules: &[ConditionRule], object: Option<&Value>) -> Vec<Evaluation> {
    let budget = Budget::of_manifest();
    let subject = object
        .filter(|_| rules.iter().any(|rule| rule.kind == "CEL"))
        .map(Subject::of);
    rules
        .iter()
        .filter_map(|rule| match rule.kind.as_str() {
            "WellKnownConditions" => well_known::evaluate(rule, object?),
            "CEL" if rule.condition.is_empty() => None,
            "CEL" => Some(expression::evaluate(rule, subject.as_ref()?, &budget)),
            kind => Some(unknown(rule, kind)),
        })
        .collect()
}

/// What the rule conditions of all manifests add up to, one for each type of condition.
pub fn aggregate(manifests: &[ManifestStatus]) -> Vec<Evaluation> {
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
            Evaluation {
                condition: kind.to_owned(),
                status,
                reason: "ConditionRulesAggregated",
                message,
            }
        })
        .collect()
}

fn unknown(rule: &ConditionRule, kind: &str) -> Evaluation {
    let condition = match rule.condition.as_str() {
        "" => "Complete",
        condition => condition,
    };
    Evaluation {
        condition: condition.into(),
        status: "Unknown",
        reason: "ConditionRuleInvalid",
        message: format!("unknown rule type `{kind}`: use `CEL` or `WellKnownConditions`"),
    }
}

#[cfg(test)]
mod tests;
