//! Every resource by name, texts that agent and bridge load, and that no two resources are one.

use std::collections::BTreeSet;
use std::fs;

use link::config::{Broker, Layers, from_mount};
use proptest::prelude::*;

use super::*;
use crate::fixture::{region as parse, two_clusters};
use crate::resource::{Change, Difference, Manage as _};

fn addresses(resources: &[Resource]) -> String {
    resources
        .iter()
        .map(|resource| format!("{}\n", resource.address()))
        .collect()
}

fn all(desired: &Region) -> Vec<Resource> {
    let clusters = desired
        .clusters
        .iter()
        .flat_map(|one| cluster(desired, one));
    region(desired).into_iter().chain(clusters).collect()
}

fn contents<'a>(resources: &'a [Resource], name: &str) -> &'a BTreeMap<String, Content> {
    let secret = resources.iter().find_map(|resource| match resource {
        Resource::Secret(secret) if secret.name == name => Some(secret),
        _ => None,
    });
    &secret.unwrap().content
}

fn filled(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::WithEndpoint(text) => {
            text.replace("{endpoint}", "abc-ats.iot.us-east-2.amazonaws.com")
        }
        other => panic!("{other:?} is made elsewhere"),
    }
}

#[test]
fn everything_of_a_region_is_there_in_the_order_it_is_needed() {
    insta::assert_snapshot!(addresses(&region(&two_clusters(""))), @r#"
    region security-group/regional-x8k2-maestro-db
    region subnet-group/regional-x8k2-maestro-db
    region secret/maestro/db-credentials
    region database/regional-x8k2-maestro
    region thing/regional-x8k2-maestro-server
    region iot-policy/regional-x8k2-maestro-server-policy
    region thing/management-01-maestro-agent
    region iot-policy/management-01-maestro-agent-policy
    region thing/management-02-maestro-agent
    region iot-policy/management-02-maestro-agent-policy
    region certificate/maestro/server-cert
    region secret/maestro/server-config
    region secret/maestro/consumers
    region role/regional-x8k2-maestro-server
    region addon/regional-x8k2/eks-pod-identity-agent
    region addon/regional-x8k2/aws-secrets-store-csi-driver-provider
    region pod-identity/regional-x8k2/maestro-server/maestro-server
    "#);
}

#[test]
fn everything_of_a_cluster_is_there_in_its_own_account() {
    let region = two_clusters("");
    insta::assert_snapshot!(addresses(&cluster(&region, &region.clusters[0])), @r#"
    management-01 certificate/maestro/agent-cert
    management-01 secret/maestro/agent-config
    management-01 role/management-01-maestro-agent
    management-01 addon/management-01/eks-pod-identity-agent
    management-01 addon/management-01/aws-secrets-store-csi-driver-provider
    management-01 pod-identity/management-01/maestro-agent/maestro-agent
    "#);
}

#[test]
fn an_agent_beside_the_server_shares_its_add_ons() {
    let region = parse(
        "managementClusters: [{id: mc, account: '111111111111', eksCluster: regional-x8k2}]\nthings: false\n",
    );
    let resources = cluster(&region, &region.clusters[0]);
    assert!(
        !resources
            .iter()
            .any(|resource| matches!(resource, Resource::Addon(_)))
    );
    assert!(
        !all(&region)
            .iter()
            .any(|resource| matches!(resource, Resource::Thing(_)))
    );
    assert!(
        resources
            .iter()
            .all(|resource| resource.address().scope
                == Scope::Cluster(region.clusters[0].id.clone()))
    );
}

#[test]
fn configuration_is_in_the_shape_of_the_first_deployment() {
    let region = two_clusters("");
    let config = contents(&self::region(&region), "maestro/server-config")["config"].clone();
    insta::assert_snapshot!(filled(&config), @r#"
    brokerHost: "abc-ats.iot.us-east-2.amazonaws.com:8883"
    username: ""
    password: ""
    clientCertFile: /mnt/secrets-store/certificate
    clientKeyFile: /mnt/secrets-store/privateKey
    caFile: /mnt/secrets-store/ca.crt
    topics:
      sourceEvents: maestro/consumers/+/sourceevents
      agentEvents: $share/regional-x8k2-maestro-server/maestro/consumers/+/agentevents
    "#);
    let resources = self::region(&region);
    let Content::Text(consumers) = &contents(&resources, "maestro/consumers")["consumers"] else {
        panic!("consumers are no secret");
    };
    insta::assert_snapshot!(consumers, @r#"
    - name: management-01
      labels:
        cluster_type: management
        region: us-east-2
        cluster_id: management-01
    - name: management-02
      labels:
        cluster_type: management
        region: us-east-2
        cluster_id: management-02
    "#);
}

#[test]
fn agent_and_server_load_what_is_mounted() {
    let region = two_clusters("topics: {scheme: sources}\nbroker: {port: 443}\n");
    let agent = &region.clusters[1];
    for (resources, secret) in [
        (cluster(&region, agent), "maestro/agent-config"),
        (self::region(&region), "maestro/server-config"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        for (key, content) in contents(&resources, secret) {
            let file = if key == "config" { "config.yaml" } else { key };
            fs::write(directory.path().join(file), filled(content)).unwrap();
        }
        let mount = from_mount(directory.path()).unwrap();
        let mut layers = Layers::new(Broker::KEYS);
        layers.file(&mount.config.unwrap());
        let broker = Broker::read(&mut layers);
        let broker = layers.finish(broker).unwrap();
        assert_eq!(
            (broker.host.as_str(), broker.port),
            ("abc-ats.iot.us-east-2.amazonaws.com", 443)
        );
        let topics = broker.topics.unwrap();
        if let Some(consumer) = mount.consumer {
            assert_eq!(consumer, agent.id);
            assert_eq!(
                topics.agent_events,
                "sources/maestro/consumers/management-02/agentevents"
            );
        } else {
            assert_eq!(
                topics.agent_events,
                "$share/regional-x8k2-maestro-server/sources/maestro/consumers/+/agentevents"
            );
        }
    }
}

#[test]
fn cluster_ids_that_look_like_something_else_stay_texts() {
    let ids = [
        "n", "no", "on", "null", "123", "1e3", "0x1f", "0o7", "12e03",
    ];
    let lines: String = ids
        .iter()
        .enumerate()
        .map(|(index, id)| format!("  - {{id: '{id}', account: '{index:012}'}}\n"))
        .collect();
    let region = parse(&format!("managementClusters:\n{lines}"));
    let text = filled(&contents(&self::region(&region), "maestro/consumers")["consumers"]);
    for id in ids {
        assert!(
            text.contains(&format!("name: \"{id}\"\n"))
                || text.contains(&format!("name: '{id}'\n")),
            "{id}\n{text}"
        );
    }
}

#[test]
fn client_ids_and_policies_are_those_of_the_parties() {
    let region = two_clusters("server: {connections: 2, slots: 3}\n");
    for resource in all(&region) {
        match resource {
            Resource::Certificate(it) if it.key_scope == Scope::Region => {
                assert_eq!(
                    it.client_ids,
                    [
                        "regional-x8k2-maestro-server-0",
                        "regional-x8k2-maestro-server-0-1",
                        "regional-x8k2-maestro-server-1",
                        "regional-x8k2-maestro-server-1-1",
                        "regional-x8k2-maestro-server-2",
                        "regional-x8k2-maestro-server-2-1",
                    ]
                );
                assert_eq!(it.in_use, 4);
            }
            Resource::Certificate(it) => assert!(it.client_ids[0].ends_with("-work-agent-client")),
            Resource::IotPolicy(it) => {
                assert_eq!(it.document.name.as_deref(), Some(it.name.as_str()));
                assert!(it.document.check_size().is_ok());
                assert!(
                    !it.document.to_json().contains("client/*"),
                    "{}",
                    it.document.to_json()
                );
            }
            Resource::Addon(it) if it.name == "aws-secrets-store-csi-driver-provider" => {
                let driver = &it.configuration["secrets-store-csi-driver"];
                assert_eq!(driver["enableSecretRotation"], true);
                assert_eq!(driver["rotationPollInterval"], "300s");
            }
            _ => {}
        }
    }
}

#[test]
fn more_slots_disturb_nobody_and_what_loses_its_client_id_is_named() {
    let policy = |server: &str| {
        let region = parse(&format!("server: {server}\n"));
        let resources = self::region(&region).into_iter();
        let mut policies = resources.filter_map(|resource| match resource {
            Resource::IotPolicy(policy) => Some(policy),
            _ => None,
        });
        policies.next().unwrap()
    };
    let change = |from: &str, to: &str| {
        let difference = Difference {
            attribute: "document".into(),
            have: json!(policy(from).document),
            want: Value::Null,
        };
        policy(to).change(&difference)
    };
    assert_eq!(change("{}", "{replicas: 5}"), Change::Quiet);
    let lost = |from, to| match change(from, to) {
        Change::Disrupts(what) => what,
        other => panic!("{other:?}"),
    };
    let fewer = lost("{replicas: 5}", "{}");
    assert!(
        fewer.contains("`client/regional-x8k2-maestro-server-9`"),
        "{fewer}"
    );
    let moved = lost("{store: sqlite}", "{}");
    assert!(
        moved.contains("`client/regional-x8k2-maestro-server`"),
        "{moved}"
    );
}

#[test]
fn the_database_takes_its_password_from_the_secret_before_it() {
    let resources = region(&parse("profile: production\n"));
    let place = |kind| {
        resources
            .iter()
            .position(|resource| resource.address().kind == kind)
            .unwrap()
    };
    assert!(place("secret") < place("database") && place("security-group") < place("database"));
    let content = contents(&resources, "maestro/db-credentials");
    assert_eq!(content["password"], Content::Password(32));
    assert_eq!(
        content.keys().collect::<Vec<_>>(),
        ["database", "host", "password", "port", "username"]
    );
}

proptest! {
    #[test]
    fn no_two_resources_have_one_address(
        ids in prop::collection::btree_set("[a-z][a-z0-9]{0,8}", 0..6),
        accounts in prop::collection::vec(0_u8..3, 6),
        things: bool,
    ) {
        let lines: String = ids
            .iter()
            .zip(&accounts)
            .map(|(id, account)| format!("  - {{id: '{id}', account: '11111111111{account}'}}\n"))
            .collect();
        let list = if ids.is_empty() { "managementClusters: []\n".into() } else { format!("managementClusters:\n{lines}") };
        let region = parse(&format!(
            "{list}things: {things}\nnames: {{agentCertificate: 'm/{{cluster}}/a', agentConfig: 'm/{{cluster}}/b'}}\n"
        ));
        let resources = all(&region);
        let unique: BTreeSet<_> = resources.iter().map(Resource::address).collect();
        prop_assert_eq!(unique.len(), resources.len());
    }
}
