//! What the first deployment's Terraform made is taken over: marked first, then put right, and nothing is made anew.

use std::collections::BTreeSet;

use anyhow::Context as _;
use sandbox::pki::{Authority, Set};
use serde_json::{Value, json};
use tests::estate::Estate;

use super::{CLUSTER, SERVER_POLICY, statement};

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn what_terraform_made_is_marked_then_put_right_and_never_made_anew() -> Result {
    let estate = Estate::start("adoption", &[CLUSTER]).await?;
    let front = estate.world.front();
    let identity = Authority::new("AWS")?.client("AWS IoT Certificate")?;
    terraform(&estate, &identity).await?;
    let made = ids(&estate).await?;

    let refused = estate.run(&["apply", "--yes"]).await?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let hint = "run `provisioner adopt`";
    assert!(refused.stderr.contains(hint), "{refused:?}");

    let dry = estate.must(&["adopt", "--dry-run"]).await?;
    for resource in MADE {
        let told = format!("> region {resource}\n");
        assert!(dry.stdout.contains(&told), "{resource}: {}", dry.stdout);
    }
    let all = format!("{} to adopt", MADE.len());
    assert!(dry.stdout.contains(&all), "{}", dry.stdout);
    let unasked = estate.run(&["adopt"]).await?;
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    assert_eq!(front.mutations(), 0);

    let before = contents(&estate).await?;
    estate.must(&["adopt", "--yes"]).await?;
    let calls = front.calls().into_iter().filter(|call| call.mutating);
    let changes: BTreeSet<_> = calls.map(|call| call.action()).collect();
    let marks = MARKS.iter().map(|action| (*action).to_owned()).collect();
    assert_eq!(changes, marks);
    assert_eq!(contents(&estate).await?, before);

    let plan = estate.must(&["plan"]).await?;
    let shown = [
        "~ region iot-policy/estate-maestro-server-policy",
        "disrupts: connections that use `iot:Connect` on `client/*` are refused within minutes",
        "~ region role/estate-maestro-server",
        "~ region security-group/estate-maestro-db",
        "disrupts: cuts off who reaches the database from elsewhere",
        "~ region database/estate-maestro",
        "~ region certificate/maestro/server-cert",
        "+ region secret/maestro/consumers",
    ];
    for text in shown {
        assert!(plan.stdout.contains(text), "`{text}`: {}", plan.stdout);
    }

    estate.must(&["apply", "--yes"]).await?;
    estate.must(&["plan", "--exit-code"]).await?;
    assert_eq!(ids(&estate).await?, made);
    let credentials = estate.world.secret("region", CREDENTIALS).await?;
    let credentials = credentials.context("no credentials")?;
    assert_eq!(credentials["password"], PASSWORD);
    assert_eq!(credentials["engine"], "postgres");
    let held = estate.world.secret("region", IDENTITY).await?;
    let held = held.context("no identity")?;
    assert_eq!(held["privateKey"], identity.key.as_str());
    assert_eq!(held["certificate"], identity.certificate.as_str());
    let inline = json!({ "RoleName": "estate-maestro-server" });
    let inline = estate
        .world
        .call("region", "iam", "ListRolePolicies", inline)
        .await?;
    assert_eq!(inline["PolicyNames"], json!(["secrets-read"]));
    estate.must(&["policy", "check", "--live"]).await?;
    estate.passed();
    Ok(())
}

/// Makes what the first deployment had in the region's account, under the same names and without a mark.
async fn terraform(estate: &Estate, identity: &Set) -> Result {
    let call = async |service, operation, params| {
        let world = &estate.world;
        world.call("region", service, operation, params).await
    };
    let ground = &estate.world.account("region").ground;
    let group = json!({
        "GroupName": "estate-maestro-db", "GroupDescription": "database", "VpcId": ground.vpc,
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
        "DBSubnetGroupName": "estate-maestro-db",
        "DBSubnetGroupDescription": "database",
        "SubnetIds.SubnetIdentifier.1": ground.subnets[0],
        "SubnetIds.SubnetIdentifier.2": ground.subnets[1],
        "SubnetIds.SubnetIdentifier.3": ground.subnets[2],
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
    let role = json!({ "RoleName": "estate-maestro-server", "AssumeRolePolicyDocument": trust });
    call("iam", "CreateRole", role).await?;
    let all_of_iot = statement(&json!({ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }));
    let inline = json!({
        "RoleName": "estate-maestro-server", "PolicyName": "iot", "PolicyDocument": all_of_iot,
    });
    call("iam", "PutRolePolicy", inline).await?;

    let account = &estate.world.account("region").id;
    let clients = format!("arn:aws:iot:{}:{account}:client/*", tests::aws::REGION);
    let document =
        statement(&json!({ "Effect": "Allow", "Action": "iot:Connect", "Resource": clients }));
    let policy = json!({ "policyName": SERVER_POLICY, "policyDocument": document });
    call("iot", "CreatePolicy", policy).await?;
    call(
        "iot",
        "CreateThing",
        json!({ "thingName": "estate-maestro-server" }),
    )
    .await?;
    let registry = estate.broker.registry();
    registry.register_pem(&identity.certificate, &[SERVER_POLICY])?;
    Ok(())
}

fn database(group: &Value) -> Value {
    json!({
        "DBInstanceIdentifier": "estate-maestro",
        "DBInstanceClass": "db.t4g.micro",
        "Engine": "postgres",
        "EngineVersion": "18.1",
        "DBName": "maestro",
        "AllocatedStorage": "20",
        "StorageType": "gp2",
        "StorageEncrypted": "true",
        "MasterUsername": "maestro_admin",
        "MasterUserPassword": PASSWORD,
        "DBSubnetGroupName": "estate-maestro-db",
        "VpcSecurityGroupIds.VpcSecurityGroupId.1": group,
        "BackupRetentionPeriod": "1",
    })
}

/// What AWS gives a thing once and never again.
async fn ids(estate: &Estate) -> Result<Vec<Value>> {
    let call = async |service, operation, params, pointer: &str| {
        let world = &estate.world;
        let answer = world.call("region", service, operation, params).await?;
        let id = answer.pointer(pointer).cloned();
        id.with_context(|| format!("{operation}: `{pointer}` in {answer}"))
    };
    let group = json!({ "Filter.1.Name": "group-name", "Filter.1.Value.1": "estate-maestro-db" });
    let role = json!({ "RoleName": "estate-maestro-server" });
    let thing = json!({ "thingName": "estate-maestro-server" });
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
    let certificates = estate.broker.registry().policy_targets(SERVER_POLICY)?;
    ids.extend(
        certificates
            .iter()
            .map(|certificate| json!(certificate.as_str())),
    );
    let database = json!({ "DBInstanceIdentifier": "estate-maestro" });
    let pointer = "/DBInstances/0/DbiResourceId";
    ids.push(call("rds", "DescribeDBInstances", database, pointer).await?);
    Ok(ids)
}

/// What an adoption must leave alone: everything but tags.
async fn contents(estate: &Estate) -> Result<Value> {
    let mut inventory = estate.world.inventory("region").await?;
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
    "security-group/estate-maestro-db",
    "subnet-group/estate-maestro-db",
    "secret/maestro/db-credentials",
    "database/estate-maestro",
    "thing/estate-maestro-server",
    "iot-policy/estate-maestro-server-policy",
    "certificate/maestro/server-cert",
    "role/estate-maestro-server",
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
