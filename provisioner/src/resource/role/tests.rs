use aws_sdk_iam::primitives::DateTime;
use region_file::tags::Owner;
use serde_json::json;

use crate::aws::{ec2, rds};

use super::super::compare;

use super::*;

fn account() -> Account {
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .build();
    Account {
        id: "111122223333".into(),
        region: "eu-west-1".into(),
        partition: "aws".into(),
        caller: "arn:aws:iam::111122223333:user/operator".into(),
        iot: aws_sdk_iot::Client::new(&config),
        iot_data: aws_sdk_iotdataplane::Client::new(&config),
        secrets: aws_sdk_secretsmanager::Client::new(&config),
        iam: aws_sdk_iam::Client::new(&config),
        eks: aws_sdk_eks::Client::new(&config),
        rds: rds::client(&config),
        ec2: ec2::client(&config),
    }
}

fn role() -> Role {
    Role {
        scope: Scope::Region,
        name: "r1-maestro-server".into(),
        tags: Tags::new("r1", &BTreeMap::new()),
        description: "For the server".into(),
        reads: vec![
            "maestro/server-cert".into(),
            "maestro/db-credentials".into(),
        ],
        connects_as: None,
        kms_key: None,
    }
}

fn live(trust: &str) -> Live {
    let mark = Tag::builder().key("provisioner:region").value("r1").build();
    Live::builder()
        .path("/")
        .role_name("r1-maestro-server")
        .role_id("AROA")
        .arn("arn:aws:iam::111122223333:role/r1-maestro-server")
        .create_date(DateTime::from_secs(0))
        .description("For the server")
        .assume_role_policy_document(trust)
        .tags(mark.unwrap())
        .build()
        .unwrap()
}

fn encoded(document: &Value) -> String {
    let bytes = document.to_string().into_bytes();
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_pod_may_read_its_secrets_and_nothing_that_begins_the_same() {
    let document = document::secrets_read(&account(), &role().reads, None);
    assert_eq!(
        document,
        json!({ "Version": "2012-10-17", "Statement": [{
            "Sid": "ReadSecrets",
            "Effect": "Allow",
            "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
            "Resource": [
                "arn:aws:secretsmanager:eu-west-1:111122223333:secret:maestro/db-credentials-??????",
                "arn:aws:secretsmanager:eu-west-1:111122223333:secret:maestro/server-cert-??????",
            ],
        }]})
    );
}

#[test]
fn a_key_may_be_used_through_secrets_manager_only() {
    let decrypt =
        |key| document::secrets_read(&account(), &role().reads, Some(key))["Statement"][1].take();
    let via = json!({ "kms:ViaService": ["secretsmanager.eu-west-1.amazonaws.com"] });
    let by_id = decrypt("k-1");
    assert_eq!(
        by_id,
        json!({
            "Sid": "DecryptSecrets",
            "Effect": "Allow",
            "Action": ["kms:Decrypt"],
            "Resource": ["arn:aws:kms:eu-west-1:111122223333:key/k-1"],
            "Condition": { "StringEquals": via },
        })
    );
    assert_eq!(decrypt("arn:aws:kms:eu-west-1:111122223333:key/k-1"), by_id);
    assert_eq!(
        decrypt("alias/a")["Condition"],
        json!({ "StringEquals": via, "ForAnyValue:StringEquals": { "kms:ResourceAliases": ["alias/a"] } })
    );
}

#[test]
fn another_spelling_of_the_same_document_is_no_difference() {
    let spelled = json!({
        "Statement": {
            "Action": ["sts:TagSession", "sts:AssumeRole"],
            "Principal": { "Service": ["pods.eks.amazonaws.com"] },
            "Effect": "Allow",
        },
        "Version": "2012-10-17",
    });
    let role = role();
    let policies = role.policies(&account(), &Facts::default()).unwrap();
    let observed = role.observed(&live(&encoded(&spelled)), policies, &[]);
    let cloud = Cloud::default().with(Scope::Region, account());
    let wanted = role.wanted(&cloud, &Facts::default());
    assert_eq!(compare(&wanted, &observed.attributes), (vec![], vec![]));
    assert_eq!(observed.owner, Owner::Ours);
    assert!(wanted.keys().eq(observed.attributes.keys()));
}

#[test]
fn a_pod_may_sign_in_to_the_one_database_as_the_one_user() {
    let role = Role {
        connects_as: Some("maestro_iam".into()),
        ..role()
    };
    let cloud = Cloud::default().with(Scope::Region, account());
    let wanted = role.wanted(&cloud, &Facts::default());
    assert_eq!(wanted["policies"], DesiredValue::After("the database"));

    let facts = Facts {
        database_resource: Some("db-ABCD".into()),
        ..Facts::default()
    };
    let policies = role.policies(&account(), &facts).unwrap();
    assert_eq!(
        policies["database-connect"]["Statement"][0],
        json!({
            "Sid": "ConnectToDatabase",
            "Effect": "Allow",
            "Action": ["rds-db:connect"],
            "Resource": ["arn:aws:rds-db:eu-west-1:111122223333:dbuser:db-ABCD/maestro_iam"],
        })
    );
    // A database restored under the same name has another id.
    let observed = role.observed(&live("%7B%7D"), policies, &[]);
    let facts = Facts {
        database_resource: Some("db-EFGH".into()),
        ..Facts::default()
    };
    let (differences, _) = compare(&role.wanted(&cloud, &facts), &observed.attributes);
    assert!(differences.iter().any(|it| it.attribute == "policies"));
}

#[test]
fn a_policy_that_is_not_ours_shows() {
    let role = role();
    let mut policies = role.policies(&account(), &Facts::default()).unwrap();
    let dead = json!({ "Statement": { "Effect": "Allow", "Action": "iot:*", "Resource": "*" } });
    policies.insert("iot".into(), document::from_iam(&encoded(&dead)));
    let observed = role.observed(&live("%7B%7D"), policies, &[]);
    let cloud = Cloud::default().with(Scope::Region, account());
    let (differences, _) = compare(
        &role.wanted(&cloud, &Facts::default()),
        &observed.attributes,
    );
    let names: Vec<_> = differences.iter().map(|it| it.attribute.as_str()).collect();
    assert_eq!(names, ["policies", "trust"]);
    let action = &differences[0].have["iot"]["Statement"][0]["Action"];
    assert_eq!(action, &json!(["iot:*"]));
}

#[test]
fn a_managed_policy_is_told() {
    let attached = AttachedPolicy::builder().policy_name("AdministratorAccess");
    let observed = role().observed(&live("%7B%7D"), Map::new(), &[attached.build()]);
    assert_eq!(
        observed.notes[0].text,
        "has managed policies attached: AdministratorAccess"
    );
}

#[test]
fn what_is_no_document_is_null() {
    for text in ["", "%", "%zz", "plain"] {
        assert_eq!(document::from_iam(text), Value::Null);
    }
}
