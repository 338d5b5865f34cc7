//! Laws that hold for every policy and request.

use super::*;
use crate::iot::policy::PolicyCondition;
use crate::iot::wildcard::{self, PolicyPattern};

// Small alphabets, so that patterns and texts meet often.
fn resource_text() -> impl Strategy<Value = String> {
    "[ab/+*?$#{}]{0,6}"
}

fn pattern_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab/+*?]{0,6}",
        Just("*".to_owned()),
        Just("${iot:ClientId}".to_owned()),
        Just("${iot:Connection.Thing.ThingName}".to_owned()),
    ]
}

fn conditions() -> impl Strategy<Value = PolicyCondition> {
    let one = |operator: &str, key: &str, value: &str| {
        let values = [(key.to_owned(), vec![value.to_owned()])].into();
        PolicyCondition::from([(operator.to_owned(), values)])
    };
    prop_oneof![
        4 => Just(PolicyCondition::new()),
        1 => Just(one("StringEquals", "iot:ClientId", "a")),
        1 => Just(one("NumericEquals", "iot:ClientId", "a")),
        1 => Just(one("StringLike", "iot:ClientId", "${iot:CertificateId}")),
    ]
}

fn statements_any() -> impl Strategy<Value = Statement> {
    let actions = proptest::collection::vec(
        prop_oneof![
            Just("iot:*".to_owned()),
            (0..5_usize).prop_map(|index| PolicyAction::ALL[index].to_string()),
        ],
        1..3,
    );
    let kind = prop_oneof![Just("client"), Just("topic"), Just("topicfilter")];
    let resources = proptest::collection::vec(
        (kind, pattern_text())
            .prop_map(|(kind, name)| format!("{}:{kind}/{name}", ArnPrefix::default())),
        1..3,
    );
    (any::<bool>(), actions, resources, conditions()).prop_map(
        |(deny, actions, resources, condition)| Statement {
            sid: None,
            effect: if deny { Effect::Deny } else { Effect::Allow },
            actions,
            resources,
            condition,
        },
    )
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    let document = proptest::collection::vec(statements_any(), 0..4).prop_map(Document::new);
    proptest::collection::vec(document, 0..3)
}

fn requests() -> impl Strategy<Value = (PolicyAction, String, Context)> {
    (0..5_usize, resource_text(), "[ab*+]{1,2}").prop_map(|(action, name, client)| {
        (
            PolicyAction::ALL[action],
            name,
            Context::new(ArnPrefix::default(), client),
        )
    })
}

fn request<'a>((action, name, context): &'a (PolicyAction, String, Context)) -> Request<'a> {
    Request {
        action: *action,
        resource: Resource::of(*action, name),
        context,
    }
}

fn naive(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
        ['?', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && naive(rest, &text[1..]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn wildcards_match_as_the_naive_matcher_does(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(
            wildcard::matches(&pattern, &text),
            naive(&characters(&pattern), &characters(&text))
        );
    }

    #[test]
    fn escaped_text_matches_itself_and_nothing_else(text in "\\PC{0,12}|[*?${}a]{0,8}", other in "[*?${}a]{0,8}") {
        let context = Context::default();
        let pattern = PolicyPattern::resolve(&wildcard::escape(&text), &context);
        prop_assert!(pattern.matches(&text));
        prop_assert_eq!(pattern.matches(&other), text == other);
    }

    #[test]
    fn adding_a_deny_never_allows_more(
        mut policies in documents(), asked in requests(), added in statements_any(), at in 0..10_usize,
    ) {
        let before = evaluate(&policies, &request(&asked)).is_allowed();
        let added = Document::new(vec![added.denying()]);
        policies.insert(at.min(policies.len()), added);
        let after = evaluate(&policies, &request(&asked)).is_allowed();
        prop_assert!(before || !after);
    }

    #[test]
    fn adding_an_allow_never_denies_more(
        mut policies in documents(), asked in requests(), mut added in statements_any(), at in 0..10_usize,
    ) {
        let before = evaluate(&policies, &request(&asked)).is_allowed();
        added.effect = Effect::Allow;
        policies.insert(at.min(policies.len()), Document::new(vec![added]));
        let after = evaluate(&policies, &request(&asked)).is_allowed();
        prop_assert!(!before || after);
    }

    #[test]
    fn the_suggested_addition_allows_the_request(mut policies in documents(), asked in requests()) {
        let decision = evaluate(&policies, &request(&asked));
        prop_assert!(!decision.explain().is_empty());
        match decision {
            // A Deny that may apply takes the place of an addition: it must be narrowed first.
            Decision::Allow { .. } | Decision::Deny { addition: None, .. } | Decision::Unknown { .. } => {}
            Decision::Deny { by: None, addition: Some(addition), .. } => {
                // Through JSON, the way a person would add it.
                let text = Document::new(vec![addition]).to_json();
                policies.push(Document::parse(&text).unwrap());
                let decision = evaluate(&policies, &request(&asked));
                prop_assert!(decision.is_allowed(), "{}", decision.explain());
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn what_is_allowed_stays_so_without_what_is_doubtful_in_allows(
        policies in documents(), asked in requests(),
    ) {
        let decision = evaluate(&policies, &request(&asked));
        let Decision::Allow { by, .. } = decision else {
            return Ok(());
        };
        // The statement that allows does so alone, with no condition or variable that is in doubt.
        let alone = Document::new(vec![policies[by.policy].statements[by.statement].clone()]);
        prop_assert!(evaluate(&[alone], &request(&asked)).is_allowed());
    }

    #[test]
    fn order_of_statements_and_policies_does_not_matter(mut policies in documents(), asked in requests()) {
        let before = evaluate(&policies, &request(&asked)).is_allowed();
        policies.reverse();
        for document in &mut policies {
            document.statements.reverse();
        }
        prop_assert_eq!(evaluate(&policies, &request(&asked)).is_allowed(), before);
    }

    #[test]
    fn any_pattern_and_any_name_are_decided_and_explained(
        pattern in "\\PC{0,40}|[a-z$*?{}:/+#]{0,40}", name in "\\PC{0,40}|[a-z$/+#]{0,40}", action in 0..5_usize,
        operator in "\\PC{0,12}|(ForAllValues:)?(Bool|IpAddress|StringLike)", value in "\\PC{0,12}|[0-9./]{0,12}",
        key in "iot:[A-Za-z.\\[\\]]{0,24}|aws:SourceIp",
    ) {
        let asked = (PolicyAction::ALL[action], name, Context::default());
        let values = [(key, vec![value])].into();
        let mut statement = Statement::allow([asked.0], [format!("{}:{pattern}", ArnPrefix::default())]);
        let plain = Document::new(vec![statement.clone()]);
        statement.condition.insert(operator, values);
        let documents = [plain, Document::new(vec![statement])];
        let _ = evaluate(&documents, &request(&asked)).explain();
        let _ = evaluate(&documents[1..], &request(&asked)).explain();
        let _ = documents[1].warnings();
    }
}
