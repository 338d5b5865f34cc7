//! Each refusal by its field, defaults by profile, and that all problems come at once.

use std::path::Path;

use link::id::ConsumerName;

use super::fixture::{CLUSTERS, LEAST, region, two_clusters};
use super::*;

mod iam;
mod partitions;
mod reading;
mod replicas;

fn refused(text: &str) -> Problems {
    Region::parse(text, Path::new("")).unwrap_err()
}

// Puts `value` for the default of `key` at the top level, or for a whole line.
fn least_with(line: &str, instead: &str) -> String {
    let text = LEAST.replace(line, instead);
    assert_ne!(text, LEAST, "{line}");
    text
}

#[test]
fn defaults_of_development_are_the_first_deployment_s() {
    let region = two_clusters("");
    assert_eq!(region.database.instance_class, "db.t4g.micro");
    assert_eq!(region.database.storage, 20);
    assert_eq!(region.database.engine_version, "18");
    assert_eq!(region.database.user, "maestro_admin");
    assert!(!region.database.multi_az && !region.database.deletion_protection);
    assert_eq!(region.broker.port, 8883);
    assert_eq!(region.broker.ca.matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(
        region.server.client_id.as_str(),
        "regional-x8k2-maestro-server"
    );
    assert_eq!(
        region.names.server_policy,
        "regional-x8k2-maestro-server-policy"
    );
    assert_eq!(region.clusters[0].names.role, "management-01-maestro-agent");
    assert_eq!(region.clusters[0].eks_cluster, "management-01");
    let server = &region.server;
    assert_eq!((server.replicas, server.slots), (2, 8));
    assert_eq!(region.scheme.share(), Some(server.client_id.as_str()));
    assert_eq!(
        region.scheme.clone().with_share(None),
        Ok(Scheme::default())
    );
    assert_eq!(region.warnings(), []);
}

#[test]
fn production_in_one_word_protects_and_each_key_still_goes_first() {
    let database = region("profile: production\n").database;
    assert!(database.multi_az && database.deletion_protection && database.final_snapshot);
    assert_eq!((database.storage, database.backup_days), (100, 30));
    assert_eq!(database.instance_class, "db.m7g.large");

    let region = two_clusters(
        "profile: production\ndatabase: {multiAz: false, instanceClass: db.t4g.medium}\n",
    );
    assert!(!region.database.multi_az);
    assert_eq!(region.secrets.recovery_days, 30);
    let fields: Vec<String> = region
        .warnings()
        .into_iter()
        .map(|warning| warning.field)
        .collect();
    assert_eq!(fields, ["database.instanceClass", "database.multiAz"]);
}

#[test]
fn all_problems_come_at_once_with_their_lines_and_fixes() {
    let text = r#"
name: Regional
regoin: us-east-2
account: "123"
network: {vpc: vpc-1, privateSubnets: [subnet-01234567]}
eks: {cluster: x, securityGroups: []}
database: {storage: 5, multiAz: maybe}
managementClusters:
  - {id: mc_1, account: "222222222222"}
  - {id: mc-2}
"#;
    insta::assert_snapshot!(refused(text), @r#"
    read region: 11 problems
      region: is missing; add it: AWS region, such as `us-east-2`
      line 2: name: is `Regional`, no base for names; write up to 40 lower-case letters, digits and single `-`, a letter first
      line 3: regoin: is not a key of this file; write `region`
      line 4: account: is `123`, no AWS account id; write its 12 digits in quotes
      line 5: network.vpc: is `vpc-1`, no such id; write one such as `vpc-0123456789abcdef0`
      line 5: network.privateSubnets: has fewer than two subnets; list private subnets in at least two zones: RDS takes no fewer
      line 6: eks.securityGroups: is empty, so that the server could not reach the database; list the security groups of the nodes and the cluster's primary one
      line 7: database.multiAz: is `maybe`; write true or false
      line 7: database.storage: is 5; write a whole number from 20 to 65536
      line 9: managementClusters[0].id: is refused: consumer name `mc_1` may hold only lower-case letters, digits and `-`; write a name that keeps this rule
      line 10: managementClusters[1].account: is missing; add it: Its AWS account, 12 digits in quotes
    "#);
}

#[test]
fn each_refusal_names_its_field() {
    let long = "x".repeat(200);
    for (more, field) in [
        (
            "access: {roleArn: 'arn:aws:iam::222222222222:role/x'}",
            "access.roleArn",
        ),
        ("access: {roleArn: admin}", "access.roleArn"),
        ("access: {profile: ''}", "access.profile"),
        ("profile: prod", "profile"),
        (
            "database: {instanceClass: t4g.micro}",
            "database.instanceClass",
        ),
        (
            "database: {engineVersion: '18beta'}",
            "database.engineVersion",
        ),
        ("database: {engineVersion: 18.1}", "database.engineVersion"),
        ("database: {user: admin}", "database.user"),
        ("database: {database: 1db}", "database.database"),
        ("database: {storage: 19}", "database.storage"),
        ("database: {maxStorage: 21}", "database.maxStorage"),
        (
            "database: {storage: 100, maxStorage: 109}",
            "database.maxStorage",
        ),
        ("database: {backupDays: 36}", "database.backupDays"),
        ("database: {backupWindow: 3-4}", "database.backupWindow"),
        (
            "database: {maintenanceWindow: mon:03:30-mon:04:30}",
            "database.maintenanceWindow",
        ),
        (
            "database: {performanceInsightsDays: 8}",
            "database.performanceInsightsDays",
        ),
        ("database: {kmsKey: alias/x}", "database.kmsKey"),
        ("broker: {port: 1883}", "broker.port"),
        ("broker: {ca: nowhere.pem}", "broker.ca"),
        ("topics: {scheme: mqtt}", "topics.scheme"),
        ("topics: {source: a}", "topics.source"),
        ("topics: {scheme: sources, source: other}", "server"),
        (
            "topics: {scheme: maestro, sourceEvents: a}",
            "topics.scheme",
        ),
        (
            "topics: {sourceEvents: maestro/consumers/+/sourceevents}",
            "topics.agentEvents",
        ),
        (
            "topics: {sourceEvents: a/+/sourceevents, agentEvents: b}",
            "topics",
        ),
        (
            "topics: {sourceEvents: a/consumers/b/sourceevents, agentEvents: a/consumers/b/agentevents}",
            "topics",
        ),
        ("server: {source: Maestro}", "server.source"),
        ("server: {clientId: 'a/b'}", "server.clientId"),
        ("server: {connections: 65}", "server.connections"),
        ("server: {store: file}", "server.store"),
        ("server: {store: sqlite, replicas: 2}", "server.replicas"),
        ("server: {store: sqlite, slots: 8}", "server.slots"),
        ("server: {replicas: 17}", "server.replicas"),
        ("server: {replicas: 4, slots: 4}", "server.slots"),
        ("server: {clientId: A}", "server"),
        ("server: {namespace: A}", "server.namespace"),
        ("agent: {serviceAccount: a.b.}", "agent.serviceAccount"),
        ("secrets: {recoveryDays: 3}", "secrets.recoveryDays"),
        ("secrets: {kmsKey: x}", "secrets.kmsKey"),
        ("tags: {'aws:x': y}", "tags.aws:x"),
        ("tags: {'provisioner:region': y}", "tags.provisioner:region"),
        ("tags: {a: 'b;'}", "tags.a"),
        ("names: {serverRole: '{nam}-x'}", "names.serverRole"),
        ("names: {serverRole: '{name'}", "names.serverRole"),
        ("names: {serverRole: '{cluster}'}", "names.serverRole"),
        ("names: {serverRole: 'a/b'}", "names.serverRole"),
        (
            "names: {serverConfig: maestro/server-cert}",
            "names.serverConfig",
        ),
        ("names: {database: '{name}--x'}", "names.database"),
        (
            "managementClusters: [{id: A, account: '222222222222'}]",
            "managementClusters[0].id",
        ),
        (
            "managementClusters: [{id: a, account: '2'}]",
            "managementClusters[0].account",
        ),
        (
            "managementClusters: [{id: a, account: '222222222222', region: moon}]",
            "managementClusters[0].region",
        ),
        (
            "managementClusters: [{id: a, account: '222222222222', eksCluster: '-'}]",
            "managementClusters[0].eksCluster",
        ),
        (
            "managementClusters: [{id: a, account: '222222222222', agentClientId: 'a b'}]",
            "managementClusters[0].agentClientId",
        ),
        (
            "managementClusters: [{id: a, account: '222222222222', access: {roleArn: 'arn:aws:iam::111111111111:role/x'}}]",
            "managementClusters[0].access.roleArn",
        ),
        (&format!("server: {{clientId: {long}}}"), "server.clientId"),
    ] {
        let problems = refused(&format!("{LEAST}{more}\n"));
        assert!(problems.about(field), "{more}\n{problems}");
        assert_eq!(problems.problems.len(), 1, "{more}\n{problems}");
    }
    for (line, instead, field) in [
        ("name: regional-x8k2", "name: Regional", "name"),
        ("region: us-east-2", "region: ohio", "region"),
        ("\"111111111111\"", "'11'", "account"),
        ("vpc-0123456789abcdef0", "vpc-01", "network.vpc"),
        ("subnet-0123456789abcdef0, ", "", "network.privateSubnets"),
        ("abcdef1]", "abcdef0]", "network.privateSubnets[1]"),
        ("[sg-0123456789abcdef0]", "[]", "eks.securityGroups"),
        ("sg-0123456789abcdef0", "sg-xyz", "eks.securityGroups[0]"),
        (
            "  cluster:",
            "  bastionSecurityGroup: x\n  cluster:",
            "eks.bastionSecurityGroup",
        ),
        (
            "  cluster:",
            "  rotationPollInterval: 1s\n  cluster:",
            "eks.rotationPollInterval",
        ),
        ("  cluster: regional-x8k2", "", "eks.cluster"),
    ] {
        let problems = refused(&least_with(line, instead));
        assert!(problems.about(field), "{field}\n{problems}");
        assert_eq!(problems.problems.len(), 1, "{field}\n{problems}");
    }
}

#[test]
fn clusters_that_are_one_are_refused() {
    let clusters = |lines: &[&str]| {
        let lines: String = lines
            .iter()
            .map(|line| format!("  - {{{line}}}\n"))
            .collect();
        refused(&format!("{LEAST}managementClusters:\n{lines}"))
    };
    let twice = clusters(&[
        "id: a, account: '222222222222'",
        "id: a, account: '333333333333'",
    ]);
    assert!(twice.about("managementClusters[1].id"), "{twice}");
    let client = clusters(&[
        "id: a, account: '222222222222'",
        "id: b, account: '333333333333', agentClientId: a-work-agent",
    ]);
    assert!(
        client.about("managementClusters[1].agentClientId"),
        "{client}"
    );
    let eks = clusters(&[
        "id: a, account: '222222222222'",
        "id: b, account: '222222222222', eksCluster: a",
    ]);
    assert!(eks.about("managementClusters[1].eksCluster"), "{eks}");
}

#[test]
fn two_clusters_in_one_account_need_names_with_the_cluster_in_them() {
    let together = CLUSTERS.replace("333333333333", "222222222222");
    let problems = refused(&format!("{LEAST}{together}"));
    insta::assert_snapshot!(problems, @r#"
    read region: 2 problems
      names.agentCertificate: gives `maestro/agent-cert` to `management-02` and to another cluster in account 222222222222; use `{cluster}` in `names.agentCertificate`
      names.agentConfig: gives `maestro/agent-config` to `management-02` and to another cluster in account 222222222222; use `{cluster}` in `names.agentConfig`
    "#);
    region(&format!(
        "{together}names: {{agentCertificate: 'maestro/{{cluster}}/cert', agentConfig: 'maestro/{{cluster}}/config'}}\n"
    ));
    // Secrets of two regions do not meet.
    region(&together.replace("02, account", "02, region: eu-west-1, account"));
}

#[test]
fn a_policy_that_would_be_too_long_is_refused_with_what_to_shorten() {
    let long = "m".repeat(160);
    let text = format!(
        "{LEAST}{CLUSTERS}topics:\n  sourceEvents: {long}/consumers/+/sourceevents\n  agentEvents: \
         $share/group/{long}/consumers/+/agentevents\n  sourceBroadcast: {long}/+/sourcebroadcast\n  agentBroadcast: \
         {long}/+/agentbroadcast\nserver: {{clientId: {}, connections: 64}}\n",
        "c".repeat(120)
    );
    let problems = refused(&text);
    assert!(problems.about("server"), "{problems}");
    let text = problems.to_string();
    assert!(text.contains("too long: policy has 2"), "{text}");
    assert!(
        text.contains("shorten `server.clientId` or the topics, or use fewer"),
        "{text}"
    );
}

#[test]
fn topics_are_a_scheme_by_name_or_each_topic() {
    let consumer = ConsumerName::new("mc").unwrap();
    let topic = |more: &str| region(more).scheme.source_events(&consumer);
    assert_eq!(topic(""), "maestro/consumers/mc/sourceevents");
    assert_eq!(
        topic("topics: {scheme: sources}\n"),
        "sources/maestro/consumers/mc/sourceevents"
    );
    let both = "topics: {scheme: sources, source: west}\nserver: {source: west}\n";
    assert_eq!(topic(both), "sources/west/consumers/mc/sourceevents");
    let explicit = "topics: {sourceEvents: m/consumers/+/sourceevents, agentEvents: m/consumers/+/agentevents}\n";
    assert_eq!(topic(explicit), "m/consumers/mc/sourceevents");
}

#[test]
fn an_account_without_quotes_is_read_and_a_broken_file_is_told_with_its_line() {
    let text = least_with("\"111111111111\"", "111111111111");
    assert_eq!(
        Region::parse(&text, Path::new("")).unwrap().account,
        "111111111111"
    );
    let broken = refused("name: a\nname: b\n").to_string();
    assert!(broken.contains("line 2"), "{broken}");
    assert!(refused("").about("network"));
    assert!(refused("- a\n").about(""));
}

#[test]
fn the_schema_describes_every_key() {
    fn walk(at: &str, schema: &Value) {
        let schema = schema["anyOf"].get(0).unwrap_or(schema);
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let text = inner["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty() && !text.ends_with('.'), "{at}.{key}");
            walk(key, inner);
        }
    }
    let schema = Region::schema();
    walk("", &schema);
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"].as_array().unwrap().len(), 5);
    assert_eq!(
        schema["properties"]["database"]["properties"]["storage"]["minimum"],
        20
    );
}

#[test]
fn warnings_name_their_fields() {
    let region = region(
        "database: {engineVersion: '18.1', backupDays: 0, deletionProtection: true}\nsecrets: {recoveryDays: 0}\n",
    );
    let fields: Vec<String> = region
        .warnings()
        .into_iter()
        .map(|warning| warning.field)
        .collect();
    assert_eq!(
        fields,
        [
            "database.engineVersion",
            "database.backupDays",
            "database.finalSnapshot",
            "secrets.recoveryDays"
        ]
    );
}
