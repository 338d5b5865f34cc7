//! Files that disagree, two and two.

use super::*;

const CONFIG_FILE: &str = r"
brokerHost: abc123-ats.iot.us-east-2.amazonaws.com:8883
password: ''
topics:
  sourceEvents: maestro/consumers/management-01/sourceevents
  agentEvents: maestro/consumers/management-01/agentevents
";

#[track_caller]
fn disagree(files: &[(&str, &str)], words: &[&str]) {
    let found = looked(files);
    let finding = only(&found, AGREE, words);
    assert_eq!(finding.severity, Severity::Error);
}

#[test]
fn values_of_an_agent_that_are_another_region_s_are_told() {
    for (from, to, words) in [
        (
            "management-01",
            "management-1",
            vec!["consumerName", "nearest is `management-01`"],
        ),
        (
            "management-01",
            "management-02",
            vec!["--cloudevents-client-id", "`other`"],
        ),
        (
            "us-east-2",
            "us-east-1",
            vec!["secrets.region", "`us-east-1`", "`us-east-2`"],
        ),
        (
            "maestro/agent-cert",
            "maestro/cert",
            vec!["secrets.certificate", "names.agentCertificate"],
        ),
        (
            "name: maestro-agent",
            "name: agent",
            vec!["serviceAccount.name", "agent.serviceAccount"],
        ),
        (
            "consumerName",
            "global: {aws_account_id: 111111111111}\nconsumerName",
            vec!["global.aws_account_id", "222222222222"],
        ),
        (
            "consumerName",
            "global: {rc_aws_account_id: '2'}\nconsumerName",
            vec!["rc_aws_account_id", "111111111111"],
        ),
        (
            "consumerName",
            "extraArgs: [--cloudevents-client-id, me]\nconsumerName",
            vec!["`me`"],
        ),
    ] {
        let text = AGENT_FILE.replacen(from, to, 1);
        assert_ne!(text, AGENT_FILE, "{from}");
        disagree(
            &[("region.yaml", REGION_FILE), ("agent.yaml", &text)],
            &words,
        );
    }
}

#[test]
fn values_of_a_bridge_that_are_another_region_s_are_told() {
    for (from, to, words) in [
        (
            "source: maestro",
            "source: other",
            vec!["source", "`other`", "server.source"],
        ),
        (
            "clientId: regional",
            "clientId: region",
            vec!["clientId", "server.clientId"],
        ),
        (
            "connections: 1",
            "connections: 2",
            vec!["connections", "`2`"],
        ),
        ("slots: 8", "slots: 9", vec!["slots", "`9`", "server.slots"]),
        (
            "secrets: {",
            "secrets: {consumers: a, ",
            vec!["secrets.consumers", "names.consumers"],
        ),
        (
            "store: postgres",
            "store: sqlite",
            vec!["store", "`sqlite`", "server.store"],
        ),
        (
            "replicas: 2",
            "replicas: 2\nlifecycleEvents: true",
            vec!["lifecycleEvents"],
        ),
    ] {
        let text = BRIDGE_FILE.replacen(from, to, 1);
        assert_ne!(text, BRIDGE_FILE, "{from}");
        disagree(
            &[("region.yaml", REGION_FILE), ("server.yaml", &text)],
            &words,
        );
    }
    // What the file does not say, the chart says.
    disagree(
        &[
            ("region.yaml", REGION_FILE),
            ("server.yaml", "source: maestro\nslots: 8\n"),
        ],
        &["clientId", "`maestro`"],
    );
}

#[test]
fn what_others_decide_is_not_compared() {
    for (from, to) in [
        ("management-01", "'{{ .Values.global.cluster_name }}'"),
        ("management-01", "''"),
        ("name: maestro-agent", "name: ''"),
        ("provider: csi", "provider: existing, existing: a"),
        (
            "certificate: maestro/agent-cert",
            "certificate: 'arn:aws:secretsmanager:us-east-2:222222222222:secret:maestro/agent-cert-AbCdEf'",
        ),
    ] {
        let text = AGENT_FILE.replacen(from, to, 1);
        healthy(&looked(&[
            ("region.yaml", REGION_FILE),
            ("agent.yaml", &text),
        ]));
    }
}

#[test]
fn policies_configurations_and_the_command_line_are_compared_too() {
    healthy(&looked(&[
        ("region.yaml", REGION_FILE),
        ("config.yaml", CONFIG_FILE),
    ]));
    for (from, to, words) in [
        (
            "us-east-2",
            "us-east-1",
            vec!["brokerHost (region)", "`us-east-1`"],
        ),
        ("8883", "443", vec!["brokerHost (port)", "broker.port"]),
        (
            "management-01/sourceevents",
            "management-03/sourceevents",
            vec!["topics.sourceEvents"],
        ),
        (
            "management-01/agentevents",
            "management-02/agentevents",
            vec!["topics.agentEvents"],
        ),
    ] {
        let text = CONFIG_FILE.replacen(from, to, 1);
        disagree(
            &[("region.yaml", REGION_FILE), ("config.yaml", &text)],
            &words,
        );
    }
    let elsewhere = link::iot::ArnPrefix::new("us-east-2", "999999999999");
    let party = region_file::Region::parse(REGION_FILE, Path::new(""))
        .unwrap()
        .clusters[0]
        .party
        .clone();
    let policy = party.policy(&elsewhere).to_json();
    disagree(
        &[("region.yaml", REGION_FILE), ("policy.json", &policy)],
        &["Resource", "999999999999", "111111111111"],
    );
    for asked in [agent("management-03"), bridge("other", None)] {
        only(
            &looked_as(asked, &[("region.yaml", REGION_FILE)]),
            AGREE,
            &["the command line"],
        );
    }
    only(
        &looked_as(agent("a"), &[("agent.yaml", AGENT_FILE)]),
        AGREE,
        &["--consumer", "`management-01`"],
    );
}

#[test]
fn a_value_that_looks_like_no_name_is_not_shown() {
    let text = AGENT_FILE.replace("maestro/agent-cert", "'{\"privateKey\": \"CANARY\"}'");
    let found = looked(&[("region.yaml", REGION_FILE), ("agent.yaml", &text)]);
    only(&found, AGREE, &["secrets.certificate", "something else"]);
    assert!(!format!("{found:?}").contains("CANARY"), "{found:#?}");
}

#[test]
fn what_has_nothing_to_be_compared_with_is_said() {
    for (files, words) in [
        (vec![("agent.yaml", AGENT_FILE)], "only one file"),
        (
            vec![
                ("a.yaml", REGION_FILE),
                ("b.yaml", REGION_FILE),
                ("agent.yaml", AGENT_FILE),
            ],
            "2 regions",
        ),
    ] {
        let found = looked(&files);
        healthy(&found);
        let info = found.iter().find(|finding| finding.code == AGREE).unwrap();
        assert!(info.seen.contains(words), "{info:?}");
    }
    let found = looked(&[
        ("region.yaml", "name: a\nregion: b\n"),
        ("agent.yaml", AGENT_FILE),
    ]);
    assert!(
        found
            .iter()
            .any(|it| it.code == AGREE && it.seen.contains("not valid")),
        "{found:#?}"
    );
}
