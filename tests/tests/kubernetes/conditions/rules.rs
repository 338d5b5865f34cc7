//! Conditions that rules make of objects, and what they add up to for the work.

use super::*;

/// Two ConfigMaps, `one` and `two`, with rules that look at their data.
async fn post<'a>(
    fixture: &'a Fixture,
    data: [Value; 2],
    rules: Value,
) -> Result<PostedBundle<'a>> {
    let [one, two] = data;
    let rules = json!({ "conditionRules": rules });
    fixture
        .post(Change {
            manifests: vec![fixture.map("one", one), fixture.map("two", two)],
            manifest_configs: vec![fixture.config("configmaps", "*", rules)],
            ..Change::default()
        })
        .await
}

fn rule(condition: &str, expression: &str) -> Value {
    json!({ "type": "CEL", "condition": condition, "celExpressions": [expression] })
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_judged_and_what_is_wrong_with_them_is_told() -> Result<()> {
    let fixture = Fixture::new("rules").await?;
    let expression = "result ? object.data.a + ' holds' : 'no'";
    let with_message = json!({
        "type": "CEL", "condition": "Fixed", "celExpressions": ["true"], "message": "as it was written",
    });
    let with_expression = json!({
        "type": "CEL", "condition": "Told", "celExpressions": ["true"], "message": "not this",
        "messageExpression": expression,
    });
    let rules = json!([
        rule("Holds", "object.data.a == '1'"),
        rule("Fails", "object.data.a == '2'"),
        with_message,
        with_expression,
        rule("NoKey", "object.data.nothing == '1'"),
        rule("NoBool", "object.data.a"),
        rule("NoCel", "object.data."),
        { "type": "CEL", "condition": "NoExpression" },
        { "type": "WellKnownConditions", "condition": "Complete" },
    ]);
    let data = || json!({ "a": "1" });
    let bundle = post(&fixture, [data(), data()], rules).await?;
    bundle
        .says(&[
            ("0/Holds", "True ConditionRuleEvaluated: Manifest is Holds"),
            ("0/Fails", "False ConditionRuleEvaluated: Manifest is not Fails"),
            ("0/Fixed", "True ConditionRuleEvaluated: as it was written"),
            ("0/Told", "True ConditionRuleEvaluated: 1 holds"),
            (
                "0/NoKey",
                "False ConditionRuleExpressionError: expression 1 (`object.data.nothing == '1'`) failed: no such key \
                 `nothing`; ask `has()` first, or use `.?` and `orValue()`",
            ),
            (
                "0/NoBool",
                "False ConditionRuleExpressionError: expression 1 (`object.data.a`) gives string, not bool",
            ),
            (
                "0/NoExpression",
                "Unknown ConditionRuleInvalid: a CEL rule needs `celExpressions`",
            ),
            // A ConfigMap is never complete, nor is it said to be incomplete.
            ("0/Complete", ABSENT),
            ("Complete", ABSENT),
            (
                "Holds",
                "True ConditionRulesAggregated: Aggregated from 2 manifest conditions",
            ),
            (
                "NoBool",
                "False ConditionRulesAggregated: Aggregated from 2 manifest conditions",
            ),
            (
                "NoExpression",
                "Unknown ConditionRulesAggregated: Aggregated from 2 manifest conditions",
            ),
        ])
        .await?;
    bundle
        .says_like(
            "0/NoCel",
            &["False ConditionRuleExpressionError: expression 1 (`object.data.`) does not compile: "],
        )
        .await?;

    // Rules that are gone take their conditions along.
    let rules = json!({ "conditionRules": [rule("Holds", "object.data.a == '1'")] });
    let change = Change {
        manifest_configs: vec![fixture.config("configmaps", "one", rules)],
        ..Change::default()
    };
    bundle.change_all(change).await?;
    bundle
        .says(&[
            ("0/Fails", ABSENT),
            ("1/Holds", ABSENT),
            ("Fails", ABSENT),
            ("Holds", "True ConditionRulesAggregated: Manifest is Holds"),
        ])
        .await?;
    bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_two_manifests_add_up_in_their_own_ways() -> Result<()> {
    let fixture = Fixture::new("aggregate").await?;
    let rules = json!([
        rule("Complete", "object.data.state == 'complete'"),
        rule("Progressing", "object.data.state == 'progressing'"),
        rule("Degraded", "object.data.state == 'degraded'"),
    ]);
    let states = [
        (["complete", "complete"], ["True", "False", "False"]),
        (["complete", "progressing"], ["False", "True", "False"]),
        (["degraded", "progressing"], ["False", "True", "False"]),
        (["degraded", "degraded"], ["False", "False", "True"]),
        (["idle", "idle"], ["False", "False", "False"]),
    ];
    for ([one, two], [complete, progressing, degraded]) in states {
        let data = [json!({ "state": one }), json!({ "state": two })];
        let bundle = post(&fixture, data, rules.clone()).await?;
        let words = |status: &str| {
            format!("{status} ConditionRulesAggregated: Aggregated from 2 manifest conditions")
        };
        let said = bundle
            .says(&[
                ("Complete", &words(complete)),
                ("Progressing", &words(progressing)),
                ("Degraded", &words(degraded)),
            ])
            .await;
        said.with_context(|| format!("{one} and {two}"))?;
        bundle.goes().await?;
    }

    // Unknown is less than False and more than True, but Progressing asks for any True first.
    let unknown = |condition: &str| json!({ "type": "CEL", "condition": condition });
    let beside = |condition: &str, expression: &str| {
        let one = json!({ "conditionRules": [rule(condition, expression)] });
        let two = json!({ "conditionRules": [unknown(condition)] });
        vec![
            fixture.config("configmaps", "one", one),
            fixture.config("configmaps", "two", two),
        ]
    };
    for (condition, expression, status) in [
        ("Complete", "true", "Unknown"),
        ("Complete", "false", "False"),
        ("Degraded", "true", "Unknown"),
        ("Progressing", "true", "True"),
        ("Progressing", "false", "Unknown"),
    ] {
        let bundle = Change {
            manifests: vec![fixture.map("one", json!({})), fixture.map("two", json!({}))],
            manifest_configs: beside(condition, expression),
            ..Change::default()
        };
        let bundle = fixture.post(bundle).await?;
        let words =
            format!("{status} ConditionRulesAggregated: Aggregated from 2 manifest conditions");
        let said = bundle.says(&[(condition, &words)]).await;
        said.with_context(|| format!("{condition} with {expression} and unknown"))?;
        bundle.goes().await?;
    }
    fixture.region.passed();
    Ok(())
}
