//! What the first deployment's Terraform made is taken over: marked first, then put right, and nothing is made anew.

use std::collections::BTreeSet;

use anyhow::Context as _;
use sandbox::pki::{Authority, Set};
use serde_json::{Value, json};
use tests::testbed::Testbed;

use super::{CLUSTER, SERVER_POLICY, statement};

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn what_terraform_made_is_marked_then_put_right_and_never_made_anew() -> Result {
    let testbed = Testbed::start("adoption", &[CLUSTER]).await?;
    let endpoint = testbed.aws.endpoint();
    let identity = Authority::new("AWS")?.client("AWS IoT Certificate")?;
    terraform(&testbed, &identity).await?;
    let made = ids(&testbed).await?;

    let refused = testbed.run(&["apply", "--yes"]).await?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let hint = "run `provisioner adopt`";
    assert!(refused.stderr.contains(hint), "{refused:?}");

    let dry = testbed.must(&["adopt", "--dry-run"]).await?;
    for resource in MADE {
        let told = format!("> region {resource}\n");
        assert!(dry.stdout.contains(&told), "{resource}: {}", dry.stdout);
    }
    let all = format!("{} to adopt", MADE.len());
    assert!(dry.stdout.contains(&all), "{}", dry.stdout);
    let unasked = testbed.run(&["adopt"]).await?;
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    assert_eq!(endpoint.mutations(), 0);

    let before = contents(&testbed).await?;
    testbed.must(&["adopt", "--yes"]).await?;
    let calls = endpoint.calls().into_iter().filter(|call| call.mutating);
    let changes: BTreeSet<_> = calls.map(|call| call.action()).collect();
    let marks = MARKS.iter().map(|action| (*action).to_owned()).collect();
    assert_eq!(changes, marks);
    assert_eq!(contents(&testbed).await?, before);

    let plan = testbed.must(&["plan"]).await?;
    let shown = [
        "~ region iot-policy/testbed-maestro-server-policy",
        "disrupts: connections that use `iot:Connect` on `client/*` are refused within minutes",
        "~ region role/testbed-maestro-server",
        "~ region security-group/testbed-maestro-db",
        "disrupts: cuts off who reaches the database from elsewhere",
        "~ region database/testbed-maestro",
        "~ region certificate/maestro/server-cert",
        "+ region secret/maestro/consumers",
    ];
    for text in shown {
        assert!(plan.stdout.contains(text), "`{text}`: {}", plan.stdout);
    }

    testbed.must(&["apply", "--yes"]).await?;
    testbed.must(&["plan", "--exit-code"]).await?;
    assert_eq!(ids(&testbed).await?, made);
    let credentials = testbed.aws.secret("region", CREDENTIALS).await?;
    let credentials = credentials.context("no credentials")?;
    assert_eq!(credentials["password"], PASSWORD);
    assert_eq!(credentials["engine"], "postgres");
    let held = testbed.aws.secret("region", IDENTITY).await?;
    let held = held.context("no identity")?;
    assert_eq!(held["privateKey"], identity.key.as_str());
    assert_eq!(held["certificate"], identity.certificate.as_str());
    let inline = json!({ "RoleName": "testbed-maestro-server" });
    let inline = testbed
        .aws
        .call("region", "iam", "ListRolePolicies", inline)
        .await?;
    assert_eq!(inline["PolicyNames"], json!(["secrets-read"]));
    testbed.must(&["policy", "check", "--live"]).await?;
    testbed.passed();
    Ok(())
}

/// Makes what the first deployment had in the region's account, under the same names and without a mark.
async fn terraform(testbed: &Testbed, identity: &Set) -> Result {
    let call = async |service, operation, params| {
        let aws = &testbed.aws;
        aws.call("region", service, operation, params).await
    };
    let prerequisites = &testbed.aws.account("region").prerequisites;
    let group = json!({
        "GroupName": "testbed-maestro-db", "GroupDescription": "database", "VpcId": prerequisites.vpc,
    });
    let group = call("ec2", "CreateSecurityGroup", group).await?["groupId"].clone();
    let rule = json!({
        "GroupId": group,
        "IpPermissions.1.IpProtocol": "tcp",
        "IpPermissions.1.FromPort": "5432",
        "IpPermissions.1.ToPort": "5432",
        "IpPermissions.1.IpRanges.1.CidrIp": "10.0.0.0/16",
    });
    call("ec2", "AuthorizeSecurityGroupIngress", rule).await?;
    let subnets = json!({
        "DBSubnetGroupName": "testbed-maestro-db",
        "DBSubnetGroupDescription": "database",
        "SubnetIds.SubnetIdentifier.1": prerequisites.subnets[0],
        "SubnetIds.SubnetIdentifier.2": prerequisites.subnets[1],
        "SubnetIds.SubnetIdentifier.3": prerequisites.subnets[2],
    });
    call("rds", "CreateDBSubnetGroup", subnets).await?;
    call("rds", "CreateDBInstance", database(&group)).await?;
    let credentials = json!({
        "username": "maestro_admin", "password": PASSWORD, "engine": "postgres",
        "host": "old.example.com", "port": "5432", "database": "maestro",
    });
    let held = json!({ "certificate": identity.certificate, "privateKey": identity.key });
    for (name, value) in [(CREDENTIALS, credentials), (IDENTITY, held)] {
        let secret = json!({ "Name": name, "SecretString": value.to_string() });
        call("secretsmanager", "CreateSecret", secret).await?;
    }

    let trust = statement(&json!({
        "Effect": "Allow",
        "Principal": { "Service": "pods.eks.amazonaws.com" },
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }));
    let role = json!({ "RoleName": "testbed-maestro-server", "AssumeRolePolicyDocument": trust });
    call("iam", "CreateRole", role).await?;
    let all_of_iot = statement(&json!({ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }));
    let inline = json!({
        "RoleName": "testbed-maestro-server", "PolicyName": "iot", "PolicyDocument": all_of_iot,
    });
    call("iam", "PutRolePolicy", inline).await?;

    let account = &testbed.aws.account("region").id;
    let clients = format!("arn:aws:iot:{}:{account}:client/*", tests::aws::REGION);
    let document =
        statement(&json!({ "Effect": "Allow", "Action": "iot:Connect", "Resource": clients }));
    let policy = json!({ "policyName": SERVER_POLICY, "policyDocument": document });
    call("iot", "CreatePolicy", policy).await?;
    call(
        "iot",
        "CreateThing",
        json!({ "thingName": "testbed-maestro-server" }),
    )
    .await?;
    let registry = testbed.broker.registry();
    registry.register_pem(&identity.certificate, &[SERVER_POLICY])?;
    Ok(())
}

fn database(group: &Value) -> Value {
    json!({
        "DBInstanceIdentifier": "testbed-maestro",
        "DBInstanceClass": "db.t4g.micro",
        "Engine": "postgres",
        "EngineVersion": "18.1",
        "DBName": "maestro",
        "AllocatedStorage": "20",
        "StorageType": "gp2",
        "StorageEncrypted": "true",
        "MasterUsername": "maestro_admin",
        "MasterUserPassword": PASSWORD,
        "DBSubnetGroupName": "testbed-maestro-db",
        "VpcSecurityGroupIds.VpcSecurityGroupId.1": group,
        "BackupRetentionPeriod": "1",
    })
}

/// What AWS gives a thing once and never again.
async fn ids(testbed: &Testbed) -> Result<Vec<Value>> {
    let call = async |service, operation, params, pointer: &str| {
        let aws = &testbed.aws;
        let answer = aws.call("region", service, operation, params).await?;
        let id = answer.pointer(pointer).cloned();
        id.with_context(|| format!("{operation}: `{pointer}` in {answer}"))
    };
    let group = json!({ "Filter.1.Name": "group-name", "Filter.1.Value.1": "testbed-maestro-db" });
    let role = json!({ "RoleName": "testbed-maestro-server" });
    let thing = json!({ "thingName": "testbed-maestro-server" });
    let mut ids = vec![
        call(
            "ec2",
            "DescribeSecurityGroups",
            group,
            "/securityGroupInfo/0/groupId",
        )
        .await?,
        call("iam", "GetRole", role, "/Role/RoleId").await?,
        call("iot", "DescribeThing", thing, "/thingId").await?,
    ];
    for name in [CREDENTIALS, IDENTITY] {
        let secret = json!({ "SecretId": name });
        ids.push(call("secretsmanager", "DescribeSecret", secret, "/ARN").await?);
    }
    let certificates = testbed.broker.registry().policy_targets(SERVER_POLICY)?;
    ids.extend(
        certificates
            .iter()
            .map(|certificate| json!(certificate.as_str())),
    );
    let database = json!({ "DBInstanceIdentifier": "testbed-maestro" });
    let pointer = "/DBInstances/0/DbiResourceId";
    ids.push(call("rds", "DescribeDBInstances", database, pointer).await?);
    Ok(ids)
}

/// What an adoption must leave alone: everything but tags.
async fn contents(testbed: &Testbed) -> Result<Value> {
    let mut inventory = testbed.aws.inventory("region").await?;
    without_tags(&mut inventory);
    Ok(inventory)
}

fn without_tags(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("tags");
            fields.values_mut().for_each(without_tags);
        }
        Value::Array(items) => items.iter_mut().for_each(without_tags),
        _ => {}
    }
}

const MADE: [&str; 8] = [
    "security-group/testbed-maestro-db",
    "subnet-group/testbed-maestro-db",
    "secret/maestro/db-credentials",
    "database/testbed-maestro",
    "thing/testbed-maestro-server",
    "iot-policy/testbed-maestro-server-policy",
    "certificate/maestro/server-cert",
    "role/testbed-maestro-server",
];
// Every way in which something is marked.
const MARKS: [&str; 6] = [
    "ec2:CreateTags",
    "iam:TagRole",
    "iot:TagResource",
    "iot:UpdateThing",
    "rds:AddTagsToResource",
    "secretsmanager:TagResource",
];
const CREDENTIALS: &str = "maestro/db-credentials";
const IDENTITY: &str = "maestro/server-cert";
const PASSWORD: &str = "made-by-terraform-a-year-ago";
