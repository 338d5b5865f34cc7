//! What somebody can do by hand to a region, and under which attribute each shows.

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::estate::Estate;

use super::super::{CLUSTER, statement};
use super::{CREDENTIALS, Result};

/// Calls that somebody makes by hand, and where they show.
pub(super) struct Meddling {
    pub(super) account: &'static str,
    pub(super) service: &'static str,
    pub(super) operation: &'static str,
    pub(super) params: Value,
    pub(super) shows: &'static [(&'static str, &'static str)],
}

// === impl Meddling ===

impl Meddling {
    /// In the region's account.
    fn new(
        service: &'static str,
        operation: &'static str,
        params: Value,
        shows: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            account: "region",
            service,
            operation,
            params,
            shows,
        }
    }

    /// In the cluster's account.
    fn away(self) -> Self {
        Self {
            account: CLUSTER,
            ..self
        }
    }
}

/// Every attribute that somebody can change with one call.
pub(super) async fn all(estate: &Estate) -> Result<Vec<Meddling>> {
    let mut all = databases(estate).await?;
    all.extend(secrets(estate).await?);
    all.extend(identities());
    all.extend(eks(estate).await?);
    Ok(all)
}

async fn databases(estate: &Estate) -> Result<Vec<Meddling>> {
    let ground = &estate.world.account("region").ground;
    let asked = json!({ "Filter.1.Name": "group-name", "Filter.1.Value.1": "estate-maestro-db" });
    let found = estate
        .world
        .call("region", "ec2", "DescribeSecurityGroups", asked)
        .await?;
    let group = &found["securityGroupInfo"][0]["groupId"];
    let rule = |range: &str| {
        json!({
            "GroupId": group,
            "IpPermissions.1.IpProtocol": "tcp",
            "IpPermissions.1.FromPort": "5432",
            "IpPermissions.1.ToPort": "5432",
            "IpPermissions.1.IpRanges.1.CidrIp": range,
        })
    };
    let bastion = json!({
        "GroupId": group,
        "IpPermissions.1.IpProtocol": "tcp",
        "IpPermissions.1.FromPort": "5432",
        "IpPermissions.1.ToPort": "5432",
        "IpPermissions.1.Groups.1.GroupId": ground.bastion_security_group,
        "IpPermissions.1.Groups.1.Description": "PostgreSQL from bastion",
    });
    let ingress: &[_] = &[("security-group/estate-maestro-db", "ingress")];
    let two = json!({
        "DBSubnetGroupName": "estate-maestro-db",
        "SubnetIds.SubnetIdentifier.1": ground.subnets[0],
        "SubnetIds.SubnetIdentifier.2": ground.subnets[1],
    });
    let database = json!({
        "DBInstanceIdentifier": "estate-maestro",
        "DBInstanceClass": "db.m7g.large",
        "BackupRetentionPeriod": "1",
        "PreferredBackupWindow": "01:00-02:00",
        "PreferredMaintenanceWindow": "tue:05:00-tue:06:00",
        "DeletionProtection": "true",
        "AllocatedStorage": "40",
        "MultiAZ": "true",
        "CloudwatchLogsExportConfiguration.DisableLogTypes.member.1": "upgrade",
        "EnablePerformanceInsights": "false",
        "AutoMinorVersionUpgrade": "false",
        "CopyTagsToSnapshot": "false",
        "VpcSecurityGroupIds.VpcSecurityGroupId.1": ground.cluster_security_group,
        "ApplyImmediately": "true",
    });
    Ok(vec![
        Meddling::new(
            "ec2",
            "AuthorizeSecurityGroupIngress",
            rule("10.9.0.0/16"),
            ingress,
        ),
        Meddling::new("ec2", "RevokeSecurityGroupIngress", bastion, ingress),
        Meddling::new(
            "ec2",
            "AuthorizeSecurityGroupEgress",
            rule("0.0.0.0/0"),
            &[("security-group/estate-maestro-db", "egress")],
        ),
        Meddling::new(
            "rds",
            "ModifyDBSubnetGroup",
            two,
            &[("subnet-group/estate-maestro-db", "subnets")],
        ),
        Meddling::new(
            "rds",
            "ModifyDBInstance",
            database,
            &[
                ("database/estate-maestro", "autoMinorVersionUpgrade"),
                ("database/estate-maestro", "backupDays"),
                ("database/estate-maestro", "backupWindow"),
                ("database/estate-maestro", "copyTagsToSnapshot"),
                ("database/estate-maestro", "deletionProtection"),
                ("database/estate-maestro", "instanceClass"),
                ("database/estate-maestro", "logExports"),
                ("database/estate-maestro", "maintenanceWindow"),
                ("database/estate-maestro", "multiAz"),
                ("database/estate-maestro", "performanceInsightsDays"),
                ("database/estate-maestro", "securityGroups"),
            ],
        ),
    ])
}

async fn secrets(estate: &Estate) -> Result<Vec<Meddling>> {
    let mut credentials = estate
        .world
        .secret("region", CREDENTIALS)
        .await?
        .context("no credentials")?;
    credentials["host"] = json!("elsewhere.example.com");
    let described = |name: &str| {
        let token = uuid::Uuid::new_v4().to_string();
        json!({ "SecretId": name, "Description": "mine", "ClientRequestToken": token })
    };
    let tagged = json!({
        "SecretId": "maestro/consumers",
        "Tags": [{ "Key": "team", "Value": "others" }],
    });
    Ok(vec![
        Meddling::new(
            "secretsmanager",
            "PutSecretValue",
            json!({ "SecretId": CREDENTIALS, "SecretString": credentials.to_string() }),
            &[("secret/maestro/db-credentials", "content.host")],
        ),
        Meddling::new(
            "secretsmanager",
            "UpdateSecret",
            described("maestro/server-config"),
            &[("secret/maestro/server-config", "description")],
        ),
        Meddling::new(
            "secretsmanager",
            "UpdateSecret",
            described("maestro/server-cert"),
            &[("certificate/maestro/server-cert", "description")],
        ),
        Meddling::new(
            "secretsmanager",
            "TagResource",
            tagged,
            &[("secret/maestro/consumers", "tags")],
        ),
        Meddling::new(
            "secretsmanager",
            "PutSecretValue",
            json!({ "SecretId": "maestro/agent-config", "SecretString": "{\"consumerName\": \"management-01\"}" }),
            &[("secret/maestro/agent-config", "content.config")],
        )
        .away(),
    ])
}

/// Roles, policies and things.
fn identities() -> Vec<Meddling> {
    let anybody = statement(&json!({
        "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole",
    }));
    let all_of_iot = statement(&json!({ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }));
    let role = "estate-maestro-server";
    let policy = "management-01-maestro-agent-policy";
    vec![
        Meddling::new(
            "iam",
            "UpdateAssumeRolePolicy",
            json!({ "RoleName": role, "PolicyDocument": anybody }),
            &[("role/estate-maestro-server", "trust")],
        ),
        Meddling::new(
            "iam",
            "UpdateRole",
            json!({ "RoleName": role, "Description": "mine" }),
            &[("role/estate-maestro-server", "description")],
        ),
        Meddling::new(
            "iam",
            "PutRolePolicy",
            json!({ "RoleName": role, "PolicyName": "extra", "PolicyDocument": all_of_iot }),
            &[("role/estate-maestro-server", "policies")],
        ),
        Meddling::new(
            "iam",
            "DeleteRolePolicy",
            json!({ "RoleName": "management-01-maestro-agent", "PolicyName": "secrets-read" }),
            &[("role/management-01-maestro-agent", "policies")],
        )
        .away(),
        Meddling::new(
            "iot",
            "CreatePolicyVersion",
            json!({ "policyName": policy, "policyDocument": all_of_iot }),
            &[],
        ),
        Meddling::new(
            "iot",
            "SetDefaultPolicyVersion",
            json!({ "policyName": policy, "policyVersionId": "2" }),
            &[("iot-policy/management-01-maestro-agent-policy", "document")],
        ),
        Meddling::new(
            "iot",
            "UpdateThing",
            json!({
                "thingName": "management-01-maestro-agent",
                "attributePayload": { "attributes": { "cluster": "other" }, "merge": true },
            }),
            &[("thing/management-01-maestro-agent", "attributes")],
        ),
    ]
}

async fn eks(estate: &Estate) -> Result<Vec<Meddling>> {
    let away = &estate.world.account(CLUSTER).ground;
    let asked = json!({
        "clusterName": CLUSTER, "namespace": "maestro-agent", "serviceAccount": "maestro-agent",
    });
    let found = estate
        .world
        .call(CLUSTER, "eks", "ListPodIdentityAssociations", asked)
        .await?;
    let association = &found["associations"][0]["associationId"];
    let slow = json!({ "secrets-store-csi-driver": { "enableSecretRotation": false } });
    Ok(vec![
        Meddling::new(
            "eks",
            "UpdateAddon",
            json!({
                "clusterName": "region",
                "addonName": "aws-secrets-store-csi-driver-provider",
                "configurationValues": slow.to_string(),
            }),
            &[(
                "addon/region/aws-secrets-store-csi-driver-provider",
                "configuration",
            )],
        ),
        Meddling::new(
            "eks",
            "UpdatePodIdentityAssociation",
            json!({
                "clusterName": CLUSTER, "associationId": association, "roleArn": away.operator_role,
            }),
            &[(
                "pod-identity/management-01/maestro-agent/maestro-agent",
                "role",
            )],
        )
        .away(),
    ])
}
