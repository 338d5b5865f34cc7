//! What somebody can do by hand to a region, and under which attribute each shows.

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::testbed::Testbed;

use super::super::{CLUSTER, statement};
use super::{CREDENTIALS, Result};

/// Calls that somebody makes by hand, and where they show.
pub(super) struct ManualChange {
    pub(super) account: &'static str,
    pub(super) service: &'static str,
    pub(super) operation: &'static str,
    pub(super) params: Value,
    pub(super) shows: &'static [(&'static str, &'static str)],
}

// === impl ManualChange ===

impl ManualChange {
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
pub(super) async fn all(testbed: &Testbed) -> Result<Vec<ManualChange>> {
    let mut all = databases(testbed).await?;
    all.extend(secrets(testbed).await?);
    all.extend(identities());
    all.extend(eks(testbed).await?);
    Ok(all)
}

async fn databases(testbed: &Testbed) -> Result<Vec<ManualChange>> {
    let prerequisites = &testbed.aws.account("region").prerequisites;
    let asked = json!({ "Filter.1.Name": "group-name", "Filter.1.Value.1": "testbed-maestro-db" });
    let found = testbed
        .aws
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
        "IpPermissions.1.Groups.1.GroupId": prerequisites.bastion_security_group,
        "IpPermissions.1.Groups.1.Description": "PostgreSQL from bastion",
    });
    let ingress: &[_] = &[("security-group/testbed-maestro-db", "ingress")];
    let two = json!({
        "DBSubnetGroupName": "testbed-maestro-db",
        "SubnetIds.SubnetIdentifier.1": prerequisites.subnets[0],
        "SubnetIds.SubnetIdentifier.2": prerequisites.subnets[1],
    });
    let database = json!({
        "DBInstanceIdentifier": "testbed-maestro",
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
        "VpcSecurityGroupIds.VpcSecurityGroupId.1": prerequisites.cluster_security_group,
        "ApplyImmediately": "true",
    });
    Ok(vec![
        ManualChange::new(
            "ec2",
            "AuthorizeSecurityGroupIngress",
            rule("10.9.0.0/16"),
            ingress,
        ),
        ManualChange::new("ec2", "RevokeSecurityGroupIngress", bastion, ingress),
        ManualChange::new(
            "ec2",
            "AuthorizeSecurityGroupEgress",
            rule("0.0.0.0/0"),
            &[("security-group/testbed-maestro-db", "egress")],
        ),
        ManualChange::new(
            "rds",
            "ModifyDBSubnetGroup",
            two,
            &[("subnet-group/testbed-maestro-db", "subnets")],
        ),
        ManualChange::new(
            "rds",
            "ModifyDBInstance",
            database,
            &[
                ("database/testbed-maestro", "autoMinorVersionUpgrade"),
                ("database/testbed-maestro", "backupDays"),
                ("database/testbed-maestro", "backupWindow"),
                ("database/testbed-maestro", "copyTagsToSnapshot"),
                ("database/testbed-maestro", "deletionProtection"),
                ("database/testbed-maestro", "instanceClass"),
                ("database/testbed-maestro", "logExports"),
                ("database/testbed-maestro", "maintenanceWindow"),
                ("database/testbed-maestro", "multiAz"),
                ("database/testbed-maestro", "performanceInsightsDays"),
                ("database/testbed-maestro", "securityGroups"),
            ],
        ),
    ])
}

async fn secrets(testbed: &Testbed) -> Result<Vec<ManualChange>> {
    let mut credentials = testbed
        .aws
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
        ManualChange::new(
            "secretsmanager",
            "PutSecretValue",
            json!({ "SecretId": CREDENTIALS, "SecretString": credentials.to_string() }),
            &[("secret/maestro/db-credentials", "content.host")],
        ),
        ManualChange::new(
            "secretsmanager",
            "UpdateSecret",
            described("maestro/server-config"),
            &[("secret/maestro/server-config", "description")],
        ),
        ManualChange::new(
            "secretsmanager",
            "UpdateSecret",
            described("maestro/server-cert"),
            &[("certificate/maestro/server-cert", "description")],
        ),
        ManualChange::new(
            "secretsmanager",
            "TagResource",
            tagged,
            &[("secret/maestro/consumers", "tags")],
        ),
        ManualChange::new(
            "secretsmanager",
            "PutSecretValue",
            json!({ "SecretId": "maestro/agent-config", "SecretString": "{\"consumerName\": \"management-01\"}" }),
            &[("secret/maestro/agent-config", "content.config")],
        )
        .away(),
    ])
}

/// Roles, policies and things.
fn identities() -> Vec<ManualChange> {
    let anybody = statement(&json!({
        "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole",
    }));
    let all_of_iot = statement(&json!({ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }));
    let role = "testbed-maestro-server";
    let policy = "management-01-maestro-agent-policy";
    vec![
        ManualChange::new(
            "iam",
            "UpdateAssumeRolePolicy",
            json!({ "RoleName": role, "PolicyDocument": anybody }),
            &[("role/testbed-maestro-server", "trust")],
        ),
        ManualChange::new(
            "iam",
            "UpdateRole",
            json!({ "RoleName": role, "Description": "mine" }),
            &[("role/testbed-maestro-server", "description")],
        ),
        ManualChange::new(
            "iam",
            "PutRolePolicy",
            json!({ "RoleName": role, "PolicyName": "extra", "PolicyDocument": all_of_iot }),
            &[("role/testbed-maestro-server", "policies")],
        ),
        ManualChange::new(
            "iam",
            "DeleteRolePolicy",
            json!({ "RoleName": "management-01-maestro-agent", "PolicyName": "secrets-read" }),
            &[("role/management-01-maestro-agent", "policies")],
        )
        .away(),
        ManualChange::new(
            "iot",
            "CreatePolicyVersion",
            json!({ "policyName": policy, "policyDocument": all_of_iot }),
            &[],
        ),
        ManualChange::new(
            "iot",
            "SetDefaultPolicyVersion",
            json!({ "policyName": policy, "policyVersionId": "2" }),
            &[("iot-policy/management-01-maestro-agent-policy", "document")],
        ),
        ManualChange::new(
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

async fn eks(testbed: &Testbed) -> Result<Vec<ManualChange>> {
    let away = &testbed.aws.account(CLUSTER).prerequisites;
    let asked = json!({
        "clusterName": CLUSTER, "namespace": "maestro-agent", "serviceAccount": "maestro-agent",
    });
    let found = testbed
        .aws
        .call(CLUSTER, "eks", "ListPodIdentityAssociations", asked)
        .await?;
    let association = &found["associations"][0]["associationId"];
    let slow = json!({ "secrets-store-csi-driver": { "enableSecretRotation": false } });
    Ok(vec![
        ManualChange::new(
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
        ManualChange::new(
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
