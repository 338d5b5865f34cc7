//! The rules of docs/IOT-CORE.md §1.7, the near misses of §6, and the laws any evaluator must keep.

use proptest::prelude::*;

use super::super::context::{ArnPrefix, ConnectAttributes, Thing};
use super::*;

mod laws;
mod near_misses;

fn context() -> Context {
    Context::new(
        ArnPrefix::new("us-east-2", "123456789012"),
        "c1-work-agent-client",
    )
}

fn policy(statements: &str) -> Vec<Document> {
    let json = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
        .replace("ARN:", "arn:aws:iot:us-east-2:123456789012:");
    vec![Document::parse(&json).unwrap().named("agent")]
}

fn allow(action: &str, resource: &str) -> Vec<Document> {
    policy(&format!(
        r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}"#
    ))
}

#[track_caller]
fn check(policies: &[Document], request: &Request<'_>, allowed: bool) {
    let decision = evaluate(policies, request);
    assert_eq!(decision.is_allowed(), allowed, "{}", decision.explain());
}

#[track_caller]
fn explains(policies: &[Document], request: &Request<'_>, part: &str) {
    let text = evaluate(policies, request).explain();
    assert!(text.contains(part), "{text}");
}

#[test]
fn nothing_is_allowed_by_default() {
    let context = context();
    check(&[], &Request::connect(&context), false);
    check(&[], &Request::publish("a", &context), false);
}

#[test]
fn star_crosses_levels_and_question_mark_is_one_character() {
    let context = context();
    let star = allow("iot:Publish", "ARN:topic/sources/*/agentevents");
    check(
        &star,
        &Request::publish("sources/a/b/agentevents", &context),
        true,
    );
    check(
        &star,
        &Request::publish("sources/agentevents", &context),
        false,
    );
    let one = allow("iot:Publish", "ARN:topic/a-?");
    check(&one, &Request::publish("a-1", &context), true);
    check(&one, &Request::publish("a-", &context), false);
    check(&one, &Request::publish("a-12", &context), false);
}

#[test]
fn plus_and_hash_are_literal() {
    let context = context();
    let plus = allow("iot:Subscribe", "ARN:topicfilter/a/+/b");
    check(&plus, &Request::subscribe("a/+/b", &context), true);
    check(&plus, &Request::subscribe("a/x/b", &context), false);
    let star = allow("iot:Subscribe", "ARN:topicfilter/a/*");
    check(&star, &Request::subscribe("a/#", &context), true);
    let middle = allow(
        "iot:Subscribe",
        "ARN:topicfilter/sources/maestro/consumers/*/agentevents",
    );
    check(
        &middle,
        &Request::subscribe("sources/maestro/consumers/+/agentevents", &context),
        true,
    );
    check(
        &middle,
        &Request::subscribe("sources/maestro/#", &context),
        false,
    );
}

#[test]
fn deny_wins_wherever_it_stands_and_is_explained() {
    let context = context();
    let both = policy(
        r#"{"Effect":"Allow","Action":"iot:*","Resource":"*"},
           {"Sid":"NoSecrets","Effect":"Deny","Action":"iot:Receive","Resource":"ARN:topic/secret/*"}"#,
    );
    check(&both, &Request::receive("open/x", &context), true);
    let decision = evaluate(&both, &Request::receive("secret/x", &context));
    let Decision::Deny {
        by: Some(by),
        addition: None,
        ..
    } = &decision
    else {
        panic!("{decision:?}");
    };
    assert_eq!((by.policy, by.statement), (0, 1));
    assert_eq!(
        decision.explain(),
        "`iot:Receive` on `arn:aws:iot:us-east-2:123456789012:topic/secret/x` is denied by statement 2 \
         (`NoSecrets`) of policy `agent`: narrow that statement, its resource \
         `arn:aws:iot:us-east-2:123456789012:topic/secret/*` covers this one and no allow can outweigh it"
    );
    // A Deny on topicfilter/secret/* does not keep `#` from hearing it: that is what Deny Receive is for.
    check(&both, &Request::subscribe("#", &context), true);
}

#[test]
fn an_allow_names_the_statement_that_allowed() {
    let context = context();
    let policies = allow("iot:Connect", "ARN:client/${iot:ClientId}");
    assert_eq!(
        evaluate(&policies, &Request::connect(&context)).explain(),
        "`iot:Connect` on `arn:aws:iot:us-east-2:123456789012:client/c1-work-agent-client` is allowed by \
         statement 1 of policy `agent`, whose resource is \
         `arn:aws:iot:us-east-2:123456789012:client/${iot:ClientId}`"
    );
}

#[test]
fn a_deny_by_default_carries_the_exact_statement_to_add() {
    let context = context();
    let decision = evaluate(&[Document::default()], &Request::publish("a/b", &context));
    assert_eq!(
        decision.explain(),
        "`iot:Publish` on `arn:aws:iot:us-east-2:123456789012:topic/a/b` is denied because no statement allows \
         it; add {\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\
         \"Resource\":\"arn:aws:iot:us-east-2:123456789012:topic/a/b\"}"
    );
}

#[test]
fn thing_variables_need_a_thing_of_that_name_with_the_certificate() {
    let mut context = context();
    let name = allow(
        "iot:Publish",
        "ARN:topic/${iot:Connection.Thing.ThingName}/x",
    );
    let topic = "c1-work-agent-client/x";
    check(&name, &Request::publish(topic, &context), false);
    explains(
        &name,
        &Request::publish(topic, &context),
        "needs a thing named like the client id",
    );
    context.thing = Some(Thing {
        name: "c1-work-agent-client".into(),
        type_name: Some("agent".into()),
        attributes: [("site".to_owned(), "north".to_owned())].into(),
        attached: true,
    });
    check(&name, &Request::publish(topic, &context), true);
    let attributes = allow(
        "iot:Publish",
        "ARN:topic/${iot:Connection.Thing.ThingTypeName}/${iot:Connection.Thing.Attributes[site]}",
    );
    check(
        &attributes,
        &Request::publish("agent/north", &context),
        true,
    );
    context.thing = context.thing.map(|thing| Thing {
        attached: false,
        ..thing
    });
    check(&name, &Request::publish(topic, &context), false);
}

#[test]
fn certificate_and_connection_variables_resolve() {
    let mut context = context();
    context.certificate.id = Some("abc".into());
    context
        .certificate
        .attributes
        .insert("Subject.CommonName".into(), vec!["cn".into()]);
    context.source_ip = "10.1.2.3".parse().ok();
    let all = allow(
        "iot:Publish",
        "ARN:topic/${iot:CertificateId}/${iot:Certificate.Subject.CommonName}/${aws:SourceIp}",
    );
    check(&all, &Request::publish("abc/cn/10.1.2.3", &context), true);
    let unknown = allow("iot:Publish", "ARN:topic/${iot:Nothing}");
    check(&unknown, &Request::publish("", &context), false);
    explains(
        &unknown,
        &Request::publish("x", &context),
        "is refused as unknown: construct variable `${iot:Nothing}`, which is no variable that AWS IoT documents in \
         statement 1 of policy `agent`; use a variable",
    );
}

#[test]
fn a_variable_s_value_is_never_a_wildcard() {
    let mut context = context();
    context.client_id = "*".into();
    let own = allow("iot:Publish", "ARN:topic/${iot:ClientId}/x");
    check(&own, &Request::publish("*/x", &context), false);
    check(&own, &Request::publish("other/x", &context), false);
    explains(
        &own,
        &Request::publish("other/x", &context),
        "which has a value with a wildcard character in it",
    );
    let literal = allow("iot:Publish", "ARN:topic/${*}/x");
    check(&literal, &Request::publish("*/x", &context), true);
    check(&literal, &Request::publish("a/x", &context), false);
}

#[test]
fn connect_attributes_refuse_a_persistent_session_that_is_not_listed() {
    let mut context = context();
    let only_will = policy(
        r#"{"Effect":"Allow","Action":"iot:Connect","Resource":"ARN:client/*",
            "Condition":{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}}"#,
    );
    check(&only_will, &Request::connect(&context), true);
    context.connect = ConnectAttributes {
        persistent: false,
        last_will: true,
    };
    check(&only_will, &Request::connect(&context), true);
    context.connect.persistent = true;
    check(&only_will, &Request::connect(&context), false);
    explains(
        &only_will,
        &Request::connect(&context),
        "its condition `ForAllValues:StringEquals` on `iot:ConnectAttributes` does not hold",
    );
    check(
        &allow("iot:Connect", "*"),
        &Request::connect(&context),
        true,
    );
}

#[test]
fn conditions_on_address_client_and_thing_hold_as_documented() {
    let mut context = context();
    context.source_ip = "10.1.2.3".parse().ok();
    for (condition, holds) in [
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, true),
        (
            r#"{"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.1.2.3"]}}"#,
            true,
        ),
        (r#"{"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}"#, false),
        (r#"{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}"#, true),
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, false),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#, false),
        (r#"{"IpAddress":{"aws:SourceIp":"ten"}}"#, false),
        (
            r#"{"StringEquals":{"iot:ClientId":"c1-work-agent-client"}}"#,
            true,
        ),
        (r#"{"StringEquals":{"iot:ClientId":"c1-*"}}"#, false),
        (r#"{"StringLike":{"iot:ClientId":"c1-*"}}"#, true),
        (r#"{"StringNotLike":{"iot:ClientId":"c1-*"}}"#, false),
        (r#"{"StringNotEquals":{"iot:ClientId":"other"}}"#, true),
        (r#"{"StringNotEquals":{"iot:CertificateId":"x"}}"#, false),
        (r#"{"StringEquals":{"iot:CertificateId":"x"}}"#, false),
        (
            r#"{"Bool":{"iot:Connection.Thing.IsAttached":"false"}}"#,
            true,
        ),
        (
            r#"{"Bool":{"iot:Connection.Thing.IsAttached":true}}"#,
            false,
        ),
        (
            r#"{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":"LastWill"}}"#,
            false,
        ),
        (
            r#"{"StringEquals":{"iot:ClientId":"${iot:ClientId}"}}"#,
            true,
        ),
        (
            r#"{"StringEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}}"#,
            false,
        ),
    ] {
        let policies = policy(&format!(
            r#"{{"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{condition}}}"#
        ));
        let decision = evaluate(&policies, &Request::publish("a", &context));
        assert_eq!(decision.is_allowed(), holds, "{condition}");
    }
}

#[test]
fn unknown_operators_and_keys_make_the_decision_unknown_either_way() {
    let context = context();
    for (condition, construct) in [
        (
            r#"{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}"#,
            "construct condition operator `DateLessThan` in statement",
        ),
        (
            r#"{"StringEquals":{"aws:SomethingNew":"x"}}"#,
            "construct condition key `aws:SomethingNew`, which is no variable that AWS IoT documents in statement",
        ),
        (
            r#"{"IpAddress":{"iot:ClientId":"10.0.0.0/8"}}"#,
            "construct condition operator `IpAddress` on `iot:ClientId` in statement",
        ),
    ] {
        let allowed = policy(&format!(
            r#"{{"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{condition}}}"#
        ));
        check(&allowed, &Request::publish("a", &context), false);
        explains(&allowed, &Request::publish("a", &context), construct);
        let denied = policy(&format!(
            r#"{{"Effect":"Allow","Action":"iot:Publish","Resource":"*"}},
               {{"Effect":"Deny","Action":"iot:Publish","Resource":"*","Condition":{condition}}}"#
        ));
        check(&denied, &Request::publish("a", &context), false);
        explains(&denied, &Request::publish("a", &context), construct);
    }
}

#[test]
fn a_document_that_cannot_be_read_makes_unknown_what_no_other_denies() {
    let context = context();
    let mut policies = policy(
        r#"{"Effect":"Allow","Action":"iot:*","Resource":"*"},
           {"Effect":"Deny","Action":"iot:Publish","Resource":"ARN:topic/secret"}"#,
    );
    let json = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"iot:Publish","Resource":"*"}}"#;
    policies.push(Document::read(json).named("odd"));
    let decision = evaluate(&policies, &Request::publish("a", &context));
    assert!(
        matches!(decision, Decision::Unknown { by: None, .. }),
        "{decision:?}"
    );
    explains(
        &policies,
        &Request::publish("a", &context),
        "construct policy document `odd` that cannot be read here (policy has an unknown key `NotAction` in Statement)",
    );
    let denied = evaluate(&policies, &Request::publish("secret", &context));
    assert!(
        matches!(denied, Decision::Deny { by: Some(_), .. }),
        "{denied:?}"
    );
}

#[test]
fn shared_subscriptions_are_matched_on_the_whole_string() {
    let context = context();
    let plain = allow("iot:Subscribe", "ARN:topicfilter/a/+/b");
    let request = Request::subscribe("$share/g/a/+/b", &context);
    check(&plain, &request, false);
    explains(
        &plain,
        &request,
        "without the `$share/g/` that is part of the filter",
    );
}
