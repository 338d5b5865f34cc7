//! The names of the first deployment's outputs, null for what is not there, and values the agent's chart takes.

use region_file::tags::Owner;
use serde_json::Value;

use super::*;
use crate::fixture::two_clusters;
use crate::resource::Facts;

mod argocd;
mod iam;

fn everything(region: &Region) -> LiveValues {
    let mut found = LiveValues::default();
    let clusters = region
        .clusters
        .iter()
        .flat_map(|cluster| crate::desired::cluster(region, cluster));
    for resource in crate::desired::region(region).into_iter().chain(clusters) {
        let address = resource.address();
        let arn = match address.kind {
            "secret" | "certificate" => format!(
                "arn:aws:secretsmanager:us-east-2:1:secret:{}-AbCdEf",
                address.name
            ),
            "role" => format!("arn:aws:iam::1:role/{}", address.name),
            _ => continue,
        };
        found.learn(
            &address,
            &Observed::ready(Owner::Ours, BTreeMap::new(), Some(arn)),
        );
    }
    let address = crate::desired::region(region)[3].address();
    let observed = Observed {
        facts: Facts {
            endpoint: Some("abc-ats.iot.us-east-2.amazonaws.com".into()),
            database: Some(("db.example".into(), 5432)),
            ..Facts::default()
        },
        ..Observed::ready(Owner::Ours, BTreeMap::new(), None)
    };
    found.learn(&address, &observed);
    found
}

#[test]
fn outputs_have_the_names_of_the_terraform_module_and_no_certificates() {
    let region = two_clusters("");
    let outputs = TerraformOutputs::new(&region, &everything(&region));
    assert_eq!(outputs.pending, Vec::<String>::new());
    insta::assert_snapshot!(outputs.to_json(), @r#"
    {
      "iot_mqtt_endpoint": "abc-ats.iot.us-east-2.amazonaws.com",
      "maestro_server_thing_name": "regional-x8k2-maestro-server",
      "maestro_agent_thing_names": {
        "management-01": "management-01-maestro-agent",
        "management-02": "management-02-maestro-agent"
      },
      "rds_endpoint": "db.example:5432",
      "rds_address": "db.example",
      "rds_port": 5432,
      "rds_database_name": "maestro",
      "rds_instance_id": "regional-x8k2-maestro",
      "maestro_server_mqtt_cert_secret_arn": "arn:aws:secretsmanager:us-east-2:1:secret:maestro/server-cert-AbCdEf",
      "maestro_server_mqtt_cert_secret_name": "maestro/server-cert",
      "maestro_db_credentials_secret_arn": "arn:aws:secretsmanager:us-east-2:1:secret:maestro/db-credentials-AbCdEf",
      "maestro_db_credentials_secret_name": "maestro/db-credentials",
      "maestro_consumers_secret_arn": "arn:aws:secretsmanager:us-east-2:1:secret:maestro/consumers-AbCdEf",
      "maestro_consumers_secret_name": "maestro/consumers",
      "maestro_server_config_secret_arn": "arn:aws:secretsmanager:us-east-2:1:secret:maestro/server-config-AbCdEf",
      "maestro_server_config_secret_name": "maestro/server-config",
      "maestro_server_role_arn": "arn:aws:iam::1:role/regional-x8k2-maestro-server",
      "maestro_server_role_name": "regional-x8k2-maestro-server",
      "maestro_agent_role_arns": {
        "management-01": "arn:aws:iam::1:role/management-01-maestro-agent",
        "management-02": "arn:aws:iam::1:role/management-02-maestro-agent"
      },
      "maestro_agent_role_names": {
        "management-01": "management-01-maestro-agent",
        "management-02": "management-02-maestro-agent"
      },
      "maestro_configuration_summary": {
        "mqtt": {
          "endpoint": "abc-ats.iot.us-east-2.amazonaws.com",
          "port": 8883,
          "topicPrefix": "maestro/consumers"
        },
        "database": {
          "host": "db.example",
          "port": 5432,
          "name": "maestro"
        },
        "server": {
          "roleArn": "arn:aws:iam::1:role/regional-x8k2-maestro-server",
          "mqttSecretName": "maestro/server-cert",
          "dbSecretName": "maestro/db-credentials"
        }
      },
      "pending": []
    }
    "#);
    assert!(!outputs.to_json().contains("maestro_agent_certificates"));
}

#[test]
fn what_is_not_there_yet_is_null_and_pending() {
    let region = two_clusters("things: false\ntopics: {scheme: sources}\n");
    let outputs = TerraformOutputs::new(&region, &LiveValues::default());
    assert_eq!(outputs.rds_endpoint, None);
    assert_eq!(outputs.maestro_server_thing_name, None);
    assert_eq!(
        outputs.maestro_configuration_summary.mqtt.topic_prefix,
        "sources/maestro/consumers"
    );
    assert_eq!(outputs.pending.len(), 11);
    assert!(
        outputs
            .pending
            .contains(&"maestro_agent_role_arns.management-02".to_owned())
    );
    let json: Value = serde_json::from_str(&outputs.to_json()).unwrap();
    assert!(json["rds_port"].is_null());
}

#[test]
fn values_of_the_agent_fit_the_schema_of_its_chart() {
    let schema: Value = serde_json::from_str(AGENT_SCHEMA).unwrap();
    let region = two_clusters("");
    let mut cluster = region.clusters[0].clone();
    cluster.agent_client_id = "other".into();
    for cluster in [&region.clusters[0], &cluster] {
        let values = helm::tree(&helm::AgentValues::new(&region, cluster));
        known("", &values, &schema);
    }
    let values = helm::yaml(&helm::AgentValues::new(&region, &cluster));
    insta::assert_snapshot!(values, @r#"
    consumerName: management-01
    secrets:
      provider: csi
      region: us-east-2
      certificate: maestro/agent-cert
      config: maestro/agent-config
      csi:
        create: true
        name: maestro-agent
        usePodIdentity: true
    serviceAccount:
      create: true
      name: maestro-agent
    extraArgs:
    - --cloudevents-client-id=other
    "#);
}

// Every key is one of the schema's, and of its type.
fn known(at: &str, value: &Value, schema: &Value) {
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        _ => "string",
    };
    let types = &schema["type"];
    let named = schema["enum"]
        .as_array()
        .is_some_and(|names| names.contains(value));
    let fits = *types == kind
        || types
            .as_array()
            .is_some_and(|all| all.contains(&kind.into()));
    assert!(fits || named, "{at}");
    for (key, value) in value.as_object().into_iter().flatten() {
        known(&format!("{at}.{key}"), value, &schema["properties"][key]);
    }
}

#[test]
fn values_of_a_server_that_hears_lifecycle_events_say_so() {
    let region = two_clusters("server: {lifecycleEvents: true}\n");
    let text = helm::yaml(&helm::ServerValues::new(&region));
    assert!(text.contains("\nlifecycleEvents: true\n"), "{text}");
}

#[test]
fn values_of_the_server_name_its_secrets() {
    let region = two_clusters("server: {connections: 2}\n");
    insta::assert_snapshot!(helm::yaml(&helm::ServerValues::new(&region)), @r#"
    source: maestro
    clientId: regional-x8k2-maestro-server
    connections: 2
    store: postgres
    replicas: 2
    slots: 8
    database:
      maxOpenConnections: 8
      caConfigMap: rds-ca-bundle
    secrets:
      provider: csi
      region: us-east-2
      certificate: maestro/server-cert
      config: maestro/server-config
      database: maestro/db-credentials
      consumers: maestro/consumers
      csi:
        create: true
        name: maestro-server
        usePodIdentity: true
    serviceAccount:
      create: true
      name: maestro-server
    "#);
}

#[test]
fn values_of_the_server_fit_the_schema_of_its_chart_and_its_database() {
    let schema: Value = serde_json::from_str(SERVER_SCHEMA).unwrap();
    let values = |more: &str| helm::tree(&helm::ServerValues::new(&two_clusters(more)));
    for more in ["", "server: {store: sqlite}\n", "server: {replicas: 0}\n"] {
        known("", &values(more), &schema);
    }
    let pool = |more: &str| values(more)["database"]["maxOpenConnections"].clone();
    assert_eq!(pool("server: {replicas: 5}\n"), 6);
    let larger = "server: {replicas: 5}\ndatabase: {instanceClass: db.m7g.large}\n";
    assert_eq!(pool(larger), 8);

    let file = values("server: {store: sqlite}\n");
    assert_eq!(
        (&file["store"], &file["replicas"]),
        (&"sqlite".into(), &1.into())
    );
    let credentials = &file["secrets"]["database"];
    assert!(credentials.is_null() && file["database"].is_null() && file["slots"].is_null());
    let class = secret_provider_class::server(&two_clusters("server: {store: sqlite}\n"));
    assert!(!class.contains("db.password"), "{class}");
}

#[test]
fn secret_provider_classes_mount_the_files_of_the_first_deployment() {
    let region = two_clusters("");
    insta::assert_snapshot!(secret_provider_class::server(&region), @r#"
    apiVersion: secrets-store.csi.x-k8s.io/v1
    kind: SecretProviderClass
    metadata:
      name: maestro-server
      namespace: "maestro-server"
    spec:
      provider: aws
      parameters:
        region: us-east-2
        usePodIdentity: "true"
        objects: |
          - objectName: "maestro/server-cert"
            objectType: secretsmanager
            jmesPath:
              - {path: certificate, objectAlias: certificate}
              - {path: privateKey, objectAlias: privateKey}
              - {path: caCert, objectAlias: ca.crt}
          - objectName: "maestro/server-config"
            objectType: secretsmanager
            jmesPath:
              - {path: config, objectAlias: config.yaml}
          - objectName: "maestro/db-credentials"
            objectType: secretsmanager
            jmesPath:
              - {path: username, objectAlias: db.user}
              - {path: password, objectAlias: db.password}
              - {path: host, objectAlias: db.host}
              - {path: port, objectAlias: db.port}
              - {path: database, objectAlias: db.name}
          - objectName: "maestro/consumers"
            objectType: secretsmanager
            jmesPath:
              - {path: consumers, objectAlias: consumers.yaml}
    "#);
    let agent = secret_provider_class::agent(&region, &region.clusters[1]);
    let agent: Value = serde_saphyr::from_str(&agent).unwrap();
    let objects = agent["spec"]["parameters"]["objects"].as_str().unwrap();
    let objects: Value = serde_saphyr::from_str(objects).unwrap();
    assert_eq!(objects[0]["objectName"], "maestro/agent-cert");
    assert_eq!(objects[1]["jmesPath"][1]["objectAlias"], "consumerName");
}

const AGENT_SCHEMA: &str = include_str!("../../../deploy/charts/agent/values.schema.json");
const SERVER_SCHEMA: &str = include_str!("../../../deploy/charts/server-bridge/values.schema.json");
