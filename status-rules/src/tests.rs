//! Rules as a whole; the tests of the functions stand in `library/tests.rs`.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Status, reason and message of one rule.
pub(super) fn judged(rule: &Value, object: &Value) -> String {
    let rules: Vec<ConditionRule> = serde_json::from_value(json!([rule])).unwrap();
    evaluate(&rules, Some(object))
        .iter()
        .map(|it| format!("{} {} {}", it.status, it.reason, it.message))
        .collect()
}

/// A rule of one expression.
pub(super) fn cel(expression: &str) -> Value {
    json!({"type": "CEL", "condition": "Ready", "celExpressions": [expression]})
}

fn job() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"n": 3, "t": "x"},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]}})
}

#[test]
fn every_outcome_has_its_reason_and_its_words() {
    let rows = [
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["object.spec.n == 3", "true"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["false", "object.missing.x"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["true"], "message": "fixed"}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["object.spec.n == 4"], "message": "fixed",
            "messageExpression": "'%d, %s'.format([object.spec.n, result ? 'yes' : 'no'])"}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["true"], "message": "fixed", "messageExpression": "''"}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["true"], "messageExpression": "object.spec.n"}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["true"], "messageExpression": "object.x.y"}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["true", "object.spec.n"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["'true'"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["object.spec.n =="]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["object.status.missing == 1"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["nowhere == 1"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["result"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["object.spec.n.nothing()"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["object.spec.n + 'a' == ''"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["object.spec < 1"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["1 / 0 == 1"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["9223372036854775807 + 1 == 1"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["object.status.conditions[7].type == ''"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["'a'.matches('(')"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["'a'.replace('a')"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": ["@spend(object)"]}),
        json!({"type": "CEL", "condition": "Ready", "celExpressions": []}),
        json!({"type": "JQ", "condition": "Ready"}),
        json!({"type": "WellKnownConditions"}),
    ];
    let told: Vec<String> = rows.into_iter().map(|rule| judged(&rule, &job())).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    True ConditionRuleEvaluated Manifest is Ready
    False ConditionRuleEvaluated Manifest is not Ready
    True ConditionRuleEvaluated fixed
    False ConditionRuleEvaluated 3, no
    True ConditionRuleEvaluated fixed
    True ConditionRuleEvaluated Manifest is Ready (messageExpression (`object.spec.n`) gives int, not string)
    True ConditionRuleEvaluated Manifest is Ready (messageExpression (`object.x.y`) failed: no such key `x`; ask `has()` first, or use `.?` and `orValue()`)
    False ConditionRuleExpressionError expression 2 (`object.spec.n`) gives int, not bool
    False ConditionRuleExpressionError expression 1 (`'true'`) gives string, not bool
    False ConditionRuleExpressionError expression 1 (`object.spec.n ==`) does not compile: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER} at 1:17
    False ConditionRuleExpressionError expression 1 (`object.status.missing == 1`) failed: no such key `missing`; ask `has()` first, or use `.?` and `orValue()`
    False ConditionRuleExpressionError expression 1 (`nowhere == 1`) failed: there is no function or variable `nowhere`
    False ConditionRuleExpressionError expression 1 (`result`) failed: there is no function or variable `result`
    False ConditionRuleExpressionError expression 1 (`object.spec.n.nothing()`) failed: there is no function or variable `nothing`
    False ConditionRuleExpressionError expression 1 (`object.spec.n + 'a' == ''`) failed: `+` is not defined for int and string
    False ConditionRuleExpressionError expression 1 (`object.spec < 1`) failed: found no matching overload for '_<_' applied to '(map, int)'
    False ConditionRuleExpressionError expression 1 (`1 / 0 == 1`) failed: division by zero
    False ConditionRuleExpressionError expression 1 (`9223372036854775807 + 1 == 1`) failed: the result of `+` is too large
    False ConditionRuleExpressionError expression 1 (`object.status.conditions[7].type == ''`) failed: index 7 is out of bounds
    False ConditionRuleExpressionError expression 1 (`'a'.matches('(')`) failed: matches: '(' not a valid regex: regex parse error: ( ^ error: unclosed group
    False ConditionRuleExpressionError expression 1 (`'a'.replace('a')`) failed: found no matching overload for 'replace' applied to 'string.(string)'
    False ConditionRuleExpressionError expression 1 (`@spend(object)`) does not compile: Syntax error: token recognition error at: '@' at 1:1
    Unknown ConditionRuleInvalid a CEL rule needs `celExpressions`
    Unknown ConditionRuleInvalid unknown rule type `JQ`: use `CEL` or `WellKnownConditions`
    True ConditionRuleEvaluated Job is finished
    ");
}

#[test]
fn an_absent_object_is_judged_by_unknown_rules_only() {
    let rules =
        json!([cel("true"), {"type": "WellKnownConditions"}, {"type": "JQ", "condition": "Ready"}]);
    let rules: Vec<ConditionRule> = serde_json::from_value(rules).unwrap();
    let judged = evaluate(&rules, None);
    assert_eq!(judged.len(), 1);
    assert_eq!(judged[0].reason, "ConditionRuleInvalid");
}

#[test]
fn rules_without_a_condition_they_could_set_say_nothing() {
    for rule in [
        json!({"type": "CEL", "celExpressions": ["true"]}),
        json!({"type": "WellKnownConditions", "condition": "Ready"}),
    ] {
        assert_eq!(judged(&rule, &job()), "");
    }
}

#[test]
fn pods_end_when_their_phase_says_so() {
    let pod = |phase| json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": phase}});
    let rule = || json!({"type": "WellKnownConditions", "condition": "Complete"});
    assert_eq!(
        judged(&rule(), &pod("Running")),
        "False ConditionRuleEvaluated Pod is in phase Running"
    );
    assert_eq!(
        judged(&rule(), &pod("Failed")),
        "True ConditionRuleEvaluated Pod is in phase Failed"
    );
}

#[test]
fn expressions_that_would_overflow_the_stack_are_refused() {
    let deep = |open: &str, middle: &str, close: &str, times: usize| {
        open.repeat(times) + middle + &close.repeat(times)
    };
    let mut refused = 0;
    for times in [10, 60, 90, 96, 100, 200, 400, 499, 5000] {
        for expression in [
            deep("(", "true", ")", times),
            deep("[", "1", "]", times) + " == 1",
            deep("!", "true", "", times),
            deep("- ", "1", "", times) + " == 1",
            deep("true ? ", "true", " : false", times),
            deep("", "true", " ? true : false", times),
            deep("", "object", ".a", times),
            deep("", "object", ".?a", times),
            deep("", "object", "[0]", times),
            deep("", "1", " + 1", times) + " == 1",
            deep("", "true", " && true", times),
            deep("", "1", " == 1", times),
            deep("", "1", " in 1", times),
            deep("[1].map(a, ", "a", ")", times) + " == [1]",
            deep("{'a': ", "1", "}", times) + " == 1",
            deep("", "'a'", ".trim()", times) + " == 'a'",
            deep("", "[1]", ".map(a, a)", times) + " == [1]",
            deep("size(", "object", ")", times) + " == 1",
            "(".repeat(times),
            "[".repeat(times),
            "{".repeat(times),
            "'".repeat(times),
        ] {
            let judged = judged(&cel(&expression), &job());
            assert!(!judged.contains("Internal"), "{judged}");
            refused += usize::from(judged.contains("more than"));
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn long_flat_expressions_are_compiled_and_a_long_message_is_cut() {
    let list = format!("[{}].size() > 0", "1,".repeat(7000));
    assert_eq!(
        judged(&cel(&list), &job()),
        "True ConditionRuleEvaluated Manifest is Ready"
    );
    let long = format!("'{}é' == ''", "a".repeat(17_000));
    assert!(judged(&cel(&long), &job()).contains("is 17010 bytes long, more than 16384"));
    let told = judged(
        &json!({"type": "CEL", "condition": "Ready", "celExpressions": ["true"], "message": "é".repeat(9000)}),
        &job(),
    );
    assert!(told.ends_with('…') && told.len() < 4200, "{}", told.len());
}

#[test]
fn maps_are_walked_and_written_in_the_order_of_their_keys() {
    let labels: serde_json::Map<String, Value> =
        (0..20).map(|i| (format!("k{i:02}"), json!(i))).collect();
    let object = json!({"labels": labels});
    let rule = json!({"type": "CEL", "condition": "C", "celExpressions": ["true"],
        "messageExpression": "object.labels.map(k, k).join(',') + '%s'.format([object.labels])"});
    let told = judged(&rule, &object);
    assert!(told.contains("k00,k01,k02,k03"), "{told}");
    for _ in 0..5 {
        assert_eq!(judged(&rule, &object), told);
    }
}

proptest! {
    #[test]
    fn arbitrary_rules_never_panic_and_always_judge_alike(
        expression in r#"(object|result|[1-9]|'a'|"b"|true|null|\.spec|\.\?x|\.n|\[|\]|\(|\)|\{|\}|:|,| \+ | == |&&|\|\||!|-| in |\.map\(a, |\.all\(a, |size\(|ip\('::'\)|quantity\('1'\)| \? ){0,24}"#,
        n in any::<f64>(),
    ) {
        let object = json!({"spec": {"n": n, "x": {"b": 1, "a": [null, true, "t"]}}, "labels": {"z": 1, "y": 2, "x": 3}});
        let rule = json!({"type": "CEL", "condition": "C", "celExpressions": [expression], "messageExpression": expression});
        let first = judged(&rule, &object);
        prop_assert!(!first.contains("ConditionRuleInternalError"), "{first}");
        prop_assert_eq!(first, judged(&rule, &object));
    }

    #[test]
    fn arbitrary_texts_never_panic(expression in ".{0,60}|[a-z0-9.()\\[\\]{}'\" +?:&|!-]{0,60}") {
        let judged = judged(&cel(&expression), &job());
        prop_assert!(!judged.contains("ConditionRuleInternalError"), "{judged}");
    }
}
