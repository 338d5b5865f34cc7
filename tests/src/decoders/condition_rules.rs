//! Condition rules, which sources write: an expression, and the object that it is evaluated for.

use link::bundle::ConditionRule;
use serde_json::{Value, json};

/// Evaluates the expression before the first empty line for the JSON object behind it.
pub(super) fn rules(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (expression, object) = text.split_once("\n\n").unwrap_or((&text, "{}"));
    let object: Value = serde_json::from_str(object).unwrap_or_default();
    let rule = json!({"type": "CEL", "condition": "Ready", "celExpressions": [expression],
        "messageExpression": expression});
    let rule: ConditionRule = serde_json::from_value(rule).expect("a rule");
    let evaluations = status_rules::evaluate(std::slice::from_ref(&rule), Some(&object));
    assert_eq!(evaluations.len(), 1);
    assert_ne!(evaluations[0].reason, "ConditionRuleInternalError");
    assert!(evaluations[0].message.len() <= LONGEST_MESSAGE);
    assert_eq!(evaluations, status_rules::evaluate(&[rule], Some(&object)));
}

// What a message may have, and the sign that it was cut.
const LONGEST_MESSAGE: usize = 4 * 1024 + "…".len();

/// Good inputs.
pub(super) const SEEDS: &[&str] = &[
    "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')\n\n\
     {\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
    "quantity(object.spec.size).isGreaterThan(quantity('1Gi')) ? object.?spec.n.orValue(0) > 2 : false\n\n\
     {\"spec\":{\"size\":\"2Gi\",\"n\":3}}",
    "object.labels.map(k, k).join(',').split(',').size() > 1 && '%s'.format([object]) != ''\n\n\
     {\"labels\":{\"a\":\"1\",\"b\":\"2\"}}",
];

/// What expressions are made of.
pub(super) const DICTIONARY: &[&str] = &[
    "object.",
    ".all(a, ",
    ".map(a, a + a)",
    ".matches('(a*)*')",
    "duration('1h')",
    "timestamp('2026-01-01T00:00:00Z')",
    "semver('1.0.0')",
    "cidr('10.0.0.0/8')",
    ".?a",
    "9223372036854775807",
    " in ",
];
