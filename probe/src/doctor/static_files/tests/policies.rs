//! Policies that allow too little, too much, and what is needed.

use link::iot::PolicyAction::{
    Connect as CONNECT, Publish as PUBLISH, Receive as RECEIVE, RetainPublish as RETAIN,
    Subscribe as SUBSCRIBE,
};
use link::iot::{ArnPrefix, Effect, Statement};
use link::party::Party;
use link::topic::Scheme;

use super::*;

fn arn() -> ArnPrefix {
    ArnPrefix::new("us-east-2", "111111111111")
}

fn scheme() -> Scheme {
    Scheme::default()
}

fn client(id: &str) -> ClientId {
    ClientId::new(id).unwrap()
}

fn of_agent(name: &str) -> Document {
    let party = Party::agent(&scheme(), &ConsumerName::new(name).unwrap()).unwrap();
    party.policy(&arn())
}

fn of_bridge(slots: Option<u16>) -> Document {
    let source = SourceId::new("maestro").unwrap();
    let base = client("regional-x8k2-maestro-server");
    let party = match slots {
        Some(slots) => Party::replicas(&scheme(), &source, &base, slots, 1),
        None => Party::bridge(&scheme(), &source, &base, 1),
    };
    party.unwrap().policy(&arn())
}

/// Each of the parties with what was asked for it and its policy.
fn parties() -> Vec<(Asked, Document)> {
    let id = Some("regional-x8k2-maestro-server");
    let upstream = Scheme::upstream(&SourceId::new("east").unwrap());
    let consumer = ConsumerName::new("cluster-1").unwrap();
    let operator = Party::operator(&scheme(), &client("probe")).policy(&arn());
    vec![
        (agent("management-01"), of_agent("management-01")),
        (Asked::default(), of_agent("management-01")),
        (
            agent("cluster-1"),
            Party::agent(&upstream, &consumer).unwrap().policy(&arn()),
        ),
        (bridge("maestro", id), of_bridge(None)),
        (bridge("maestro", id), of_bridge(Some(8))),
        (Asked::default(), operator),
        (
            Asked {
                id: Some(client("me")),
                ..Asked::default()
            },
            Party::operator(&scheme(), &client("me")).policy(&arn()),
        ),
    ]
}

#[test]
fn a_party_s_own_policy_is_healthy_with_and_without_its_region() {
    for (asked, document) in parties() {
        let found = looked_as(asked.clone(), &[("policy.json", &document.to_json())]);
        healthy(&found);
        for code in [NEEDS, EXCESS] {
            let ok = |finding: &&Finding| finding.code == code && finding.severity == Severity::Ok;
            assert!(found.iter().any(|finding| ok(&finding)), "{found:#?}");
        }
    }
    for document in [of_agent("management-01"), of_bridge(Some(8))] {
        let found = looked(&[
            ("region.yaml", REGION_FILE),
            ("policy.json", &document.to_json()),
        ]);
        healthy(&found);
    }
    let values = looked_as(
        bridge("maestro", None),
        &[
            ("server.yaml", BRIDGE_FILE),
            ("policy.json", &of_bridge(Some(8)).to_json()),
        ],
    );
    healthy(&values);
}

#[test]
fn a_policy_is_read_as_aws_prints_it_too() {
    let document = of_agent("management-01").to_json();
    let printed = serde_json::json!({"policyName": "a", "policyDocument": document}).to_string();
    let found = looked_as(agent("management-01"), &[("policy.json", &printed)]);
    healthy(&found);
    assert!(
        found.iter().any(|finding| finding.code == NEEDS),
        "{found:#?}"
    );
}

#[test]
fn each_statement_that_is_lacking_is_told_and_the_printed_one_makes_it_whole() {
    for (asked, document) in parties() {
        for index in 0..document.statements.len() {
            if document.statements[index].effect == Effect::Deny {
                continue;
            }
            // Whose policy it is cannot follow from one that lets nobody connect.
            let asked = match (&asked.consumer, &asked.source, index) {
                (None, None, 0) => continue,
                _ => asked.clone(),
            };
            let mut less = document.clone();
            let gone = less.statements.remove(index);
            let found = looked_as(asked.clone(), &[("policy.json", &less.to_json())]);
            let finding = only(&found, NEEDS, &[&gone.actions[0]]);
            let printed = finding.next.split_once(": ").unwrap().1;
            let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{printed}]}}"#);
            less.statements
                .extend(Document::parse(&text).unwrap().statements);
            let whole = looked_as(asked, &[("policy.json", &less.to_json())]);
            assert!(
                !wrong(&whole).iter().any(|finding| finding.code == NEEDS),
                "{whole:#?}"
            );
        }
    }
}

#[test]
fn a_deny_that_hits_what_is_needed_is_to_be_narrowed() {
    let mut document = of_agent("management-01");
    let all = Statement::allow([PUBLISH], [format!("{}:topic/maestro/*", arn())]);
    document.statements.push(all.denying());
    let found = looked_as(
        agent("management-01"),
        &[("policy.json", &document.to_json())],
    );
    let finding = only(&found, NEEDS, &["iot:Publish", "denies"]);
    assert!(finding.next.contains("narrow"), "{finding:?}");
}

#[test]
fn what_depends_on_a_thing_or_an_unknown_condition_is_said_and_is_no_fault() {
    let mut document = of_agent("management-01");
    let of_thing = format!("{}:client/${{iot:Connection.Thing.ThingName}}", arn());
    document.statements[0].resources = vec![of_thing];
    let found = looked_as(
        agent("management-01"),
        &[("policy.json", &document.to_json())],
    );
    healthy(&found);
    assert!(
        found
            .iter()
            .any(|finding| finding.seen.contains("attached to a thing")),
        "{found:#?}"
    );

    let mut document = of_agent("management-01");
    let only_then = [(
        "aws:CurrentTime".to_owned(),
        vec!["2030-01-01T00:00:00Z".to_owned()],
    )];
    document.statements[1]
        .condition
        .insert("DateLessThan".into(), only_then.into());
    let found = looked_as(
        agent("management-01"),
        &[("policy.json", &document.to_json())],
    );
    healthy(&found);
    assert!(
        found
            .iter()
            .any(|finding| finding.seen.contains("not known")),
        "{found:#?}"
    );
}

#[test]
fn one_thing_is_told_of_each_statement_that_allows_more() {
    let region = |text: &str| format!("{}:{text}", arn());
    for (action, resource, named) in [
        (CONNECT, region("client/*"), "client/"),
        (CONNECT, region("client/management-*"), "client/management-"),
        (
            CONNECT,
            region("client/${iot:ClientId}"),
            "client/doctor-nobody",
        ),
        (CONNECT, "*".into(), "client/"),
        (PUBLISH, "*".into(), "topic/"),
        (
            PUBLISH,
            region("topic/maestro/consumers/*"),
            "topic/maestro/consumers/",
        ),
        (
            PUBLISH,
            region("topic/maestro/consumers/management-02/agentevents"),
            "management-02",
        ),
        (
            PUBLISH,
            region("topic/test/${iot:ClientId}"),
            "topic/test/management-01",
        ),
        (SUBSCRIBE, region("topicfilter/*"), "topicfilter/"),
        (
            SUBSCRIBE,
            region("topicfilter/maestro/consumers/+/sourceevents"),
            "+/sourceevents",
        ),
        (SUBSCRIBE, region("topicfilter/#"), "topicfilter/#"),
        (
            RECEIVE,
            region("topic/maestro/consumers/?/sourceevents"),
            "x/sourceevents",
        ),
        (
            RETAIN,
            region("topic/maestro/consumers/management-01/agentevents"),
            "agentevents",
        ),
    ] {
        let mut document = of_agent("management-01");
        document
            .statements
            .push(Statement::allow([action], [resource.clone()]));
        let found = looked_as(
            agent("management-01"),
            &[("policy.json", &document.to_json())],
        );
        let finding = only(&found, EXCESS, &[action.name(), named, "statement 5"]);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(wrong(&found).len(), 1, "{resource}: {found:#?}");
    }
    let mut document = of_agent("management-01");
    document.statements[1]
        .actions
        .push("iot:GetThingShadow".into());
    let found = looked_as(
        agent("management-01"),
        &[("policy.json", &document.to_json())],
    );
    only(&found, EXCESS, &["iot:GetThingShadow"]);
    let wide = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}"#;
    for asked in [
        agent("management-01"),
        bridge("maestro", None),
        Asked::default(),
    ] {
        only(
            &looked_as(asked, &[("policy.json", wide)]),
            EXCESS,
            &["iot:Connect", "its resource is `*`"],
        );
    }
}

#[test]
fn policies_of_a_named_party_count_together() {
    let mut first = of_agent("management-01");
    let second = Document::new(first.statements.split_off(2));
    let files = [
        ("a.json", &*first.to_json()),
        ("b.json", &*second.to_json()),
    ];
    healthy(&looked_as(agent("management-01"), &files));
}

#[test]
fn a_policy_of_nobody_known_is_not_checked_and_that_is_said() {
    let found = looked(&[("policy.json", &of_bridge(None).to_json())]);
    healthy(&found);
    for code in [NEEDS, EXCESS] {
        let info = found.iter().find(|finding| finding.code == code).unwrap();
        assert!(info.seen.contains("--source NAME"), "{info:?}");
    }
}

#[test]
fn a_policy_that_is_too_long_is_refused() {
    let mut document = of_agent("management-01");
    let topics = (0..60).map(|n| format!("{}:topic/test/{n}", arn()));
    document
        .statements
        .push(Statement::allow([PUBLISH], topics));
    let found = looked_as(
        agent("management-01"),
        &[("policy.json", &document.to_json())],
    );
    assert!(
        wrong(&found)
            .iter()
            .any(|it| it.code == READ && it.seen.contains("too long")),
        "{found:#?}"
    );
}
