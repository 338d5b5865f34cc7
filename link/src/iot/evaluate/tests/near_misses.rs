//! The mistakes of docs/IOT-CORE.md §6 rows 2 to 6, and what a person reads.

use super::*;

#[test]
fn near_misses_say_what_is_wrong() {
    let context = context();
    let cases: Vec<(Vec<Document>, Request<'_>, &str)> = vec![
        (
            allow("iot:Subscribe", "ARN:topic/a/b"),
            Request::subscribe("a/b", &context),
            "grants `topic/…` where `topicfilter/…` is checked",
        ),
        (
            allow("iot:Publish", "ARN:topicfilter/a/b"),
            Request::publish("a/b", &context),
            "grants `topicfilter/…` where `topic/…` is checked",
        ),
        (
            allow("iot:Publish", "ARN:topic/a/+/b"),
            Request::publish("a/x/b", &context),
            "has `+` or `#` in `arn:aws:iot:us-east-2:123456789012:topic/a/+/b`, which a policy takes literally",
        ),
        (
            allow("iot:Receive", "ARN:topic/a/#"),
            Request::receive("a/x/b", &context),
            "takes literally: write `*`",
        ),
        (
            allow("iot:Subscribe", "ARN:topicfilter/a/x/b"),
            Request::subscribe("a/+/b", &context),
            "but the filter's own text `a/+/b` is what is matched",
        ),
        (
            allow("iot:Subscribe", "ARN:topicfilter/a/+/b"),
            Request::receive("a/x/b", &context),
            "every delivery needs `iot:Receive` on the topic too",
        ),
        (
            allow("iot:Subscribe", "ARN:topicfilter/$share/g/a/*/b"),
            Request::receive("a/x/b", &context),
            "every delivery needs `iot:Receive`",
        ),
        (
            allow("iot:Receive", "ARN:topic/a/b"),
            Request::publish("a/b", &context),
            "names the resource for `iot:Receive` but not `iot:Publish`",
        ),
        (
            allow("iot:Publish", "ARN:topic/a/b"),
            Request::retain_publish("a/b", &context),
            "names the resource for `iot:Publish` but not `iot:RetainPublish`",
        ),
        (
            allow(
                "iot:Publish",
                "arn:aws:iot:eu-west-1:123456789012:topic/a/b",
            ),
            Request::publish("a/b", &context),
            "is for `arn:aws:iot:eu-west-1:123456789012`, but this broker is `arn:aws:iot:us-east-2:123456789012`",
        ),
        (
            allow(
                "iot:Subscribe",
                "ARN:topicfilter/sources/maestro/consumers/*/agentevents",
            ),
            Request::subscribe("sources/maestro/#", &context),
            "but the filter `sources/maestro/#` is wider than that",
        ),
        (
            allow("iot:Subscribe", "ARN:topicfilter/a/+/b"),
            Request::subscribe("a/x/b", &context),
            "takes literally: write `*`",
        ),
        (
            allow("iot:Connect", "ARN:client/c1-work-agent"),
            Request::connect(&context),
            "allows `arn:aws:iot:us-east-2:123456789012:client/c1-work-agent`, not the client id `c1-work-agent-client`",
        ),
    ];
    for (policies, request, part) in &cases {
        check(policies, request, false);
        explains(policies, request, part);
        explains(policies, request, "statement 1 of policy `agent`");
        explains(policies, request, "; add {");
    }
}

#[test]
fn unrelated_statements_are_not_near_misses() {
    let context = context();
    let policies = allow("iot:Publish", "ARN:topic/a/b");
    let decision = evaluate(&policies, &Request::publish("x/y", &context));
    let Decision::Deny { near_misses, .. } = decision else {
        panic!("allowed");
    };
    assert_eq!(near_misses, []);
}

#[test]
fn a_certificate_without_policies_is_told_apart() {
    let context = context();
    explains(
        &[],
        &Request::connect(&context),
        "is denied because no policy is attached; add {",
    );
}
