//! What condition rules come to (docs/MAESTRO.md §6.10): a judgement per manifest and rule, and the sum of them for the work.
//! Expressions are run by [`cel`](self::cel) under a budget, so that no rule of a hub can hold the agent up.

use std::collections::BTreeMap;

use link::bundle::{Condition, ConditionRule, ManifestStatus};
use serde_json::Value;

use self::meter::Budget;
use self::value::Subject;
use super::Context;

mod cel;
mod guard;
mod library;
mod meter;
mod rewrite;
mod stack;
mod value;
mod well_known;

/// Condition type, status, reason and message.
type Judgement = (String, &'static str, &'static str, String);

/// Judges an object by rules; one that has nothing to say about it is left out. Nothing is said of an object that is
/// absent, except of rules that no object could satisfy.
pub(super) fn evaluate(rules: &[ConditionRule], object: Option<&Value>) -> Vec<Judgement> {
    let budget = Budget::of_manifest();
    let subject = object
        .filter(|_| rules.iter().any(|rule| rule.kind == "CEL"))
        .map(Subject::of);
    rules
        .iter()
        .filter_map(|rule| match rule.kind.as_str() {
            "WellKnownConditions" => well_known::judge(rule, object?),
            "CEL" if rule.condition.is_empty() => None,
            "CEL" => Some(cel::judge(rule, subject.as_ref()?, &budget)),
            kind => Some(unknown(rule, kind)),
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

fn unknown(rule: &ConditionRule, kind: &str) -> Judgement {
    let condition = match rule.condition.as_str() {
        "" => "Complete",
        condition => condition,
    };
    (
        condition.into(),
        "Unknown",
        "ConditionRuleInvalid",
        format!("unknown rule type `{kind}`: use `CEL` or `WellKnownConditions`"),
    )
}

#[cfg(test)]
mod tests;
