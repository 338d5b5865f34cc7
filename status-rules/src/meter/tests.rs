//! Rules that cost too much are given up, and ordinary ones are not.

use std::time::{Duration, Instant};

use link::bundle::ConditionRule;
use serde_json::{Value, json};

use crate::evaluate;
use crate::tests::{cel, judged};

/// A list of a thousand, a text of a megabyte, and pairs to compare.
fn heavy() -> Value {
    let items: Vec<Value> = (0..1000)
        .map(|i| json!({"name": format!("item-{i}"), "n": i}))
        .collect();
    json!({"apiVersion": "v1", "kind": "X", "items": items, "text": "a".repeat(1024 * 1024)})
}

#[test]
fn what_costs_too_much_is_given_up_quickly() {
    let heavy = heavy();
    let nested = "[object.text].map(a, a + a)".to_string()
        + &(0..40).map(|_| ".map(a, a + a)").collect::<String>()
        + ".size() == 1";
    let bytes = nested.replacen("object.text", "bytes(object.text)", 1);
    for expression in [
        "object.items.all(a, object.items.all(b, object.items.all(c, object.items.all(d, true))))",
        "object.items.exists(a, object.items.exists(b, object.items.exists(c, object.items.exists(d, false)))) || true",
        "object.items.map(a, object.items.map(b, a.n + b.n)).size() == 1",
        "object.items.map(a, object.text).size() == 1",
        "object.items.all(a, object.text == object.text)",
        "object.items.all(a, object.items == object.items)",
        "object.items.all(a, object.text < object.text + 'b')",
        "object.items.all(a, object.text.contains('b' + object.text) || true)",
        "object.text.replace('a', object.text) == ''",
        "object.items.map(a, 'a').join(object.text) == ''",
        "object.text.split('').map(a, object.text.split('')).size() == 1",
        "object.items.map(i, {'k': object.text}).size() == 1",
        "object.items.all(i, object.?items.hasValue())",
        "object.items.map(i, object.items).distinct().size() == 1",
        "lists.range(1000000000000).size() == 1",
        "object.items.all(i, object.text.matches('(a|aa)*b') || true)",
        "object.items.all(i, 'a'.matches('((((a{9}){9}){9}){9}){9}') || true)",
        r"object.items.all(i, 'a'.matches('\\w{900}') || true)",
        "object.items.all(i, object.text.indexOf('b') == -1)",
        "object.items.all(i, object.text.replace('a', 'bb')[0] == '' || true)",
        "[0].map(i, object.text).map(t, '%s%s%s%s%s%s%s%s%s%s'.format([t,t,t,t,t,t,t,t,t,t])).size() == 1",
        "[object.text].all(ip, ip.replace('a', ip) == '')",
        "object.items.all(i, [object.text].all(math, math.contains('b') || true))",
        nested.as_str(),
        bytes.as_str(),
    ] {
        let started = Instant::now();
        let judged = judged(&cel(expression), &heavy);
        let took = started.elapsed();
        assert!(
            judged.contains("ConditionRuleExpressionError")
                && judged.contains("costs more than 1000000 steps"),
            "{expression}: {judged}"
        );
        assert!(took < BOUNDED, "{expression} took {took:?}");
    }
}

#[test]
fn rules_of_one_manifest_share_a_budget() {
    let dear = "object.items.all(a, object.items.all(b, true)) || true";
    let rules: Vec<Value> = (0..11)
        .map(|_| cel(dear))
        .chain([cel("object.items.size() > 0")])
        .collect();
    let rules: Vec<ConditionRule> = serde_json::from_value(json!(rules)).unwrap();
    let judged = evaluate(&rules, Some(&heavy()));
    assert!(
        judged[9].message.contains("costs more than 1000000 steps"),
        "{}",
        judged[9].message
    );
    assert!(
        judged[11]
            .message
            .contains("the rules of this manifest cost more"),
        "{}",
        judged[11].message
    );
}

#[test]
fn honest_rules_over_a_thousand_items_are_not_given_up() {
    for expression in [
        "object.items.all(a, a.name.startsWith('item-') && a.n >= 0 && a.n < 1000)",
        "object.items.filter(a, a.name.matches('^item-[0-9]$')).size() == 10",
        "object.items.map(a, a.n).sum() == 499500",
        "object.items.map(a, a.name).join(',').size() > 1000",
        "object.text.matches('^a+$') && !object.text.matches('(a|aa)*b')",
    ] {
        assert_eq!(
            judged(&cel(expression), &heavy()),
            "True ConditionRuleEvaluated Manifest is Ready",
            "{expression}"
        );
    }
}

#[test]
fn hostile_texts_are_parsed_quickly() {
    for text in [
        "1,".repeat(8000),
        "'a'".repeat(5000),
        "a ".repeat(8000),
        format!("{}1", "(1, ".repeat(90)),
        "a.b(c[d{e ? f : ".repeat(90),
        "[?{?a:b.?c[?d".repeat(60),
        "\u{e9}".repeat(8000),
    ] {
        let started = Instant::now();
        let judged = judged(&cel(&text), &json!({}));
        let took = started.elapsed();
        assert!(judged.contains("ConditionRuleExpressionError"), "{judged}");
        assert!(took < BOUNDED, "{took:?}");
    }
}

// A fraction of a second on a quiet machine; without a bound on its steps each would take hours.
const BOUNDED: Duration = Duration::from_secs(60);
