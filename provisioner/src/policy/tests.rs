//! Policies as made are as they should be; the first deployment's are not, and it is told where.

use link::error::Hint;

use super::*;
use crate::fixture::two_clusters;

fn first_deployment_agent(region: &Region) -> Document {
    let arn = region.arn_prefix();
    let topic = |action: PolicyAction, topic: &str| {
        let kind = action.resource_kind();
        Statement::allow([action], [format!("{arn}:{kind}/{topic}")])
    };
    Document::new(vec![
        Statement::allow([PolicyAction::Connect], [format!("{arn}:client/*")]),
        topic(
            PolicyAction::Subscribe,
            "maestro/consumers/management-01/sourceevents",
        ),
        topic(
            PolicyAction::Receive,
            "maestro/consumers/management-01/sourceevents",
        ),
        topic(
            PolicyAction::Publish,
            "maestro/consumers/management-01/agentevents",
        ),
    ])
    .named("old")
}

#[test]
fn policies_as_made_allow_and_deny_what_they_should_in_every_scheme() {
    for more in [
        "",
        "topics: {scheme: sources}\n",
        "server: {connections: 3}\n",
        "server: {store: sqlite, connections: 3}\n",
        "server: {replicas: 16, connections: 64}\n",
        "server: {lifecycleEvents: true}\n",
        "server: {lifecycleEvents: true, store: sqlite}\n",
        "topics: {sourceEvents: m/consumers/+/sourceevents, agentEvents: $share/g/m/consumers/+/agentevents}\n",
        "topics: {sourceEvents: sources/maestro/consumers/+/sourceevents, agentEvents: \
         sources/maestro/consumers/+/agentevents, sourceBroadcast: sources/+/sourcebroadcast, agentBroadcast: \
         clusters/+/agentbroadcast}\n",
    ] {
        let region = two_clusters(more);
        let matrix = check(&region, &Documents::desired(&region));
        assert!(matrix.is_as_it_should_be(), "{more}\n{matrix}");
        assert!(matrix.rows.iter().any(|row| row.allowed));
    }
}

#[test]
fn the_matrix_is_a_table() {
    let region = two_clusters("server: {replicas: 1, slots: 2}\n");
    let mut matrix = check(&region, &Documents::desired(&region));
    matrix
        .rows
        .retain(|row| row.party == PartyName::Agent("management-01".into()));
    insta::assert_snapshot!(matrix, @r#"
    ok    deny   management-01  iot:Connect        client/regional-x8k2-maestro-server-0
    ok    deny   management-01  iot:Connect        client/regional-x8k2-maestro-server-1
    ok    allow  management-01  iot:Connect        client/management-01-work-agent-client
    ok    deny   management-01  iot:Connect        client/management-02-work-agent-client
    ok    deny   management-01  iot:Connect        client/somebody-else
    ok    deny   management-01  iot:Publish        topic/maestro/consumers/management-01/sourceevents
    ok    allow  management-01  iot:Receive        topic/maestro/consumers/management-01/sourceevents
    ok    allow  management-01  iot:Publish        topic/maestro/consumers/management-01/agentevents
    ok    deny   management-01  iot:Receive        topic/maestro/consumers/management-01/agentevents
    ok    deny   management-01  iot:RetainPublish  topic/maestro/consumers/management-01/sourceevents
    ok    deny   management-01  iot:RetainPublish  topic/maestro/consumers/management-01/agentevents
    ok    deny   management-01  iot:Publish        topic/maestro/consumers/management-02/sourceevents
    ok    deny   management-01  iot:Receive        topic/maestro/consumers/management-02/sourceevents
    ok    deny   management-01  iot:Publish        topic/maestro/consumers/management-02/agentevents
    ok    deny   management-01  iot:Receive        topic/maestro/consumers/management-02/agentevents
    ok    deny   management-01  iot:RetainPublish  topic/maestro/consumers/management-02/sourceevents
    ok    deny   management-01  iot:RetainPublish  topic/maestro/consumers/management-02/agentevents
    ok    allow  management-01  iot:Subscribe      topicfilter/maestro/consumers/management-01/sourceevents
    ok    deny   management-01  iot:Subscribe      topicfilter/maestro/consumers/management-01/agentevents
    ok    deny   management-01  iot:Subscribe      topicfilter/maestro/consumers/management-02/sourceevents
    ok    deny   management-01  iot:Subscribe      topicfilter/maestro/consumers/management-02/agentevents
    ok    deny   management-01  iot:Subscribe      topicfilter/maestro/consumers/+/agentevents
    ok    deny   management-01  iot:Subscribe      topicfilter/$share/regional-x8k2-maestro-server/maestro/consumers/+/agentevents
    ok    deny   management-01  iot:Subscribe      topicfilter/maestro/consumers/+/sourceevents
    ok    deny   management-01  iot:Subscribe      topicfilter/$aws/events/presence/connected/+
    ok    deny   management-01  iot:Subscribe      topicfilter/$aws/events/presence/disconnected/+
    ok    deny   management-01  iot:Subscribe      topicfilter/#
    27 checked, 0 not as they should be
    "#);
}

#[test]
fn a_client_wildcard_is_told_as_open_with_the_statement_that_opens_it() {
    let region = two_clusters("server: {store: sqlite}\n");
    let name = PartyName::Agent("management-01".into());
    let mut live = Documents::desired(&region);
    live.0.insert(name, vec![first_deployment_agent(&region)]);
    let matrix = check(&region, &live);
    assert!(!matrix.is_as_it_should_be());
    let open: Vec<&str> = matrix.wrong().map(|row| row.resource.as_str()).collect();
    assert_eq!(
        open,
        [
            "client/regional-x8k2-maestro-server",
            "client/management-02-work-agent-client",
            "client/somebody-else"
        ]
    );
    let row = matrix.wrong().next().unwrap();
    assert!(
        row.why
            .as_deref()
            .unwrap()
            .contains("statement 1 of policy `old`"),
        "{row:?}"
    );
    assert!(matrix.to_string().ends_with("3 not as they should be"));
    let json = serde_json::to_value(row).unwrap();
    assert_eq!(json["party"], "management-01");
    assert_eq!(json["expected"], false);
}

#[test]
fn what_is_unknown_is_refused_and_never_as_it_should_be() {
    let region = two_clusters("server: {store: sqlite}\n");
    let name = PartyName::Agent("management-01".into());
    let mut live = Documents::desired(&region);
    let odd = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect",
        "Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}}]}"#;
    live.0
        .get_mut(&name)
        .unwrap()
        .push(Document::read(odd).named("odd"));
    let matrix = check(&region, &live);
    // Its own client id another policy allows; for the others it depends on the date.
    let wrong: Vec<&str> = matrix.wrong().map(|row| row.resource.as_str()).collect();
    assert_eq!(
        wrong,
        [
            "client/regional-x8k2-maestro-server",
            "client/management-02-work-agent-client",
            "client/somebody-else"
        ]
    );
    let text = matrix.to_string();
    assert!(
        text.contains("????  unknown  management-01  iot:Connect        client/somebody-else"),
        "{text}"
    );
    assert!(
        text.contains("unknown: construct condition operator `DateLessThan`"),
        "{text}"
    );
    let told = explain(
        &region,
        &live,
        &name,
        PolicyAction::Connect,
        "somebody-else",
    );
    assert!(!told.allowed);
    assert_eq!(
        told.unknown.as_deref(),
        Some("condition operator `DateLessThan`")
    );
    assert_eq!(
        told.decided_by.as_deref(),
        Some("statement 1 of policy `odd`")
    );
}

#[test]
fn a_policy_that_cannot_be_read_makes_a_party_unknown() {
    let region = two_clusters("server: {store: sqlite}\n");
    let name = PartyName::Agent("management-01".into());
    let mut live = Documents::desired(&region);
    live.0
        .get_mut(&name)
        .unwrap()
        .push(Document::read("{oops").named("odd"));
    let matrix = check(&region, &live);
    let of_it = |row: &&PolicyRow| row.party == name;
    assert!(
        matrix
            .rows
            .iter()
            .filter(of_it)
            .all(|row| !row.allowed && row.unknown.is_some())
    );
}

#[test]
fn a_party_without_policies_is_shut_out() {
    let region = two_clusters("");
    let matrix = check(&region, &Documents::live(BTreeMap::new()));
    assert!(matrix.rows.iter().all(|row| !row.allowed));
    assert!(
        matrix.to_string().contains("no policy is attached"),
        "{matrix}"
    );
}

#[test]
fn an_explanation_has_the_statement_that_decided_or_the_one_to_add() {
    let region = two_clusters("");
    let documents = Documents::desired(&region);
    let agent = PartyName::parse(&region, "management-01").unwrap();
    let own = "maestro/consumers/management-01/agentevents";
    let allowed = explain(&region, &documents, &agent, PolicyAction::Publish, own);
    assert!(allowed.allowed);
    assert_eq!(
        allowed.decided_by.as_deref(),
        Some("statement 2 of policy `management-01-maestro-agent-policy`")
    );
    let other = "maestro/consumers/management-02/agentevents";
    let denied = explain(
        &region,
        &documents,
        &agent,
        action("publish").unwrap(),
        other,
    );
    assert!(!denied.allowed);
    let add = denied.add.as_ref().unwrap().to_json();
    assert!(
        add.contains("topic/maestro/consumers/management-02/agentevents"),
        "{add}"
    );
    assert!(
        denied
            .to_string()
            .starts_with("management-01: `iot:Publish` on"),
        "{denied}"
    );
    let subscribed = explain(
        &region,
        &documents,
        &agent,
        PolicyAction::Subscribe,
        "maestro/consumers/+/sourceevents",
    );
    assert!(!subscribed.allowed);
}

#[test]
fn unknown_parties_and_actions_are_refused_with_those_that_are_known() {
    let region = two_clusters("");
    let error = PartyName::parse(&region, "mc").unwrap_err();
    assert_eq!(error.to_string(), "region has no party `mc`");
    assert_eq!(
        error.hint().unwrap(),
        "name one of `server`, `management-01`, `management-02`"
    );
    assert_eq!(action("iot:RetainPublish"), Ok(PolicyAction::RetainPublish));
    assert_eq!(action("retain-publish"), Ok(PolicyAction::RetainPublish));
    assert!(action("pub").is_err());
}
