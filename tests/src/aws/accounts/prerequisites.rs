//! What an operator has already in an account: a VPC with private subnets in three zones, an EKS cluster with its
//! security group, a bastion's security group, and a role that may be assumed.

use serde_json::{Value, json};

use super::super::REGION;
use super::{FakeAws, FakeAwsError};

/// The names of what is there.
#[derive(Clone, Debug)]
pub struct Prerequisites {
    /// The id of the VPC, `10.0.0.0/16`.
    pub vpc: String,
    /// The ids of its three private subnets, in the zones a, b and c.
    pub subnets: Vec<String>,
    /// The name of the EKS cluster, which is the account's.
    pub cluster: String,
    /// The id of the security group of its nodes.
    pub cluster_security_group: String,
    /// The id of the security group of the bastion.
    pub bastion_security_group: String,
    /// The ARN of the role `operator`.
    pub operator_role: String,
}

pub(super) async fn prepare(
    aws: &FakeAws,
    name: &str,
    account: &str,
) -> Result<Prerequisites, FakeAwsError> {
    let call = async |service: &str, operation: &str, params: Value| {
        aws.call_as(account, service, operation, params).await
    };
    let vpc = json!({
        "CidrBlock": "10.0.0.0/16",
        "TagSpecification.1.ResourceType": "vpc",
        "TagSpecification.1.Tag.1.Key": "Name",
        "TagSpecification.1.Tag.1.Value": name,
    });
    let vpc = text(&call("ec2", "CreateVpc", vpc).await?, "/vpc/vpcId")?;
    let mut subnets = Vec::new();
    for (index, zone) in ["a", "b", "c"].into_iter().enumerate() {
        let subnet = json!({
            "VpcId": vpc,
            "CidrBlock": format!("10.0.{index}.0/24"),
            "AvailabilityZone": format!("{REGION}{zone}"),
            "TagSpecification.1.ResourceType": "subnet",
            "TagSpecification.1.Tag.1.Key": "Name",
            "TagSpecification.1.Tag.1.Value": format!("{name}-private-{zone}"),
        });
        let answer = call("ec2", "CreateSubnet", subnet).await?;
        subnets.push(text(&answer, "/subnet/subnetId")?);
    }
    let group = async |role: &str| {
        let group = json!({
            "GroupName": format!("{name}-{role}"),
            "GroupDescription": role,
            "VpcId": vpc,
        });
        text(
            &call("ec2", "CreateSecurityGroup", group).await?,
            "/groupId",
        )
    };
    let (cluster_security_group, bastion_security_group) =
        (group("cluster").await?, group("bastion").await?);
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole" }],
    });
    let role = json!({ "RoleName": "operator", "AssumeRolePolicyDocument": trust.to_string() });
    let operator_role = text(&call("iam", "CreateRole", role).await?, "/Role/Arn")?;
    let cluster = json!({
        "name": name,
        "version": "1.33",
        "roleArn": operator_role,
        // moto gives back what it was given, so also what AWS would add.
        "resourcesVpcConfig": {
            "subnetIds": subnets,
            "vpcId": vpc,
            "clusterSecurityGroupId": cluster_security_group,
            "endpointPrivateAccess": true,
            "endpointPublicAccess": false,
        },
    });
    call("eks", "CreateCluster", cluster).await?;
    Ok(Prerequisites {
        vpc,
        subnets,
        cluster: name.to_owned(),
        cluster_security_group,
        bastion_security_group,
        operator_role,
    })
}

fn text(answer: &Value, pointer: &str) -> Result<String, FakeAwsError> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| FakeAwsError::Answer(format!("a creation: `{pointer}` in {answer}")))
}
