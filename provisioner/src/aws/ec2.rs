//! The calls of EC2 that are made here, and as much of their answers as is read.
//!
//! Names are those of the API (EC2 API Reference, version 2016-11-15): lists are flat in requests, and lists of `item`
//! in answers.

use aws_config::SdkConfig;

use super::Query;
use super::query::{Call, Element, Malformed, Page, QueryRequest, Service};

/// Amazon EC2.
const SERVICE: Service = Service {
    name: "ec2",
    id: "EC2",
    version: "2016-11-15",
};

/// A client with these settings.
pub(crate) fn client(config: &SdkConfig) -> Query {
    Query::new(SERVICE, config)
}

/// A subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub(crate) vpc_id: Option<String>,
    pub(crate) availability_zone: Option<String>,
}

/// A security group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ec2SecurityGroup {
    pub(crate) group_id: Option<String>,
    pub(crate) group_name: Option<String>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) ip_permissions: Vec<IpPermission>,
    pub(crate) ip_permissions_egress: Vec<IpPermission>,
    pub(crate) tags: Vec<(String, String)>,
}

/// Ports, and who may use them. Everything that AWS tells is kept: to close one, it has to be named exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IpPermission {
    pub(crate) ip_protocol: Option<String>,
    pub(crate) from_port: Option<i32>,
    pub(crate) to_port: Option<i32>,
    pub(crate) groups: Vec<UserIdGroupPair>,
    pub(crate) ip_ranges: Vec<Peer>,
    pub(crate) ipv6_ranges: Vec<Peer>,
    pub(crate) prefix_lists: Vec<Peer>,
}

/// A security group as a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserIdGroupPair {
    pub(crate) description: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) group_name: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) vpc_peering_connection_id: Option<String>,
    pub(crate) peering_status: Option<String>,
}

/// A range of addresses or a prefix list as a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) id: Option<String>,
    pub(crate) description: Option<String>,
}

/// Whether there is a VPC of that id: the call fails if there is none.
pub(crate) fn describe_vpcs(id: &str) -> Call<()> {
    told(QueryRequest::new("DescribeVpcs").list("VpcId", [id]))
}

/// The subnet of that id.
pub(crate) fn describe_subnets(id: &str) -> Call<Vec<Subnet>> {
    Call {
        request: QueryRequest::new("DescribeSubnets").list("SubnetId", [id]),
        read: Some(|answer| answer.read_items("subnetSet", "item", Subnet::read)),
    }
}

/// The security group of that id.
pub(crate) fn describe_security_group(id: &str) -> Call<Page<Ec2SecurityGroup>> {
    Call {
        request: QueryRequest::new("DescribeSecurityGroups").list("GroupId", [id]),
        read: Some(security_groups),
    }
}

/// The security groups that all filters match: name and value, in which `*` and `?` are wildcards.
pub(crate) fn describe_security_groups(filters: &[(&str, &str)]) -> Call<Page<Ec2SecurityGroup>> {
    let request = QueryRequest::new("DescribeSecurityGroups");
    Call {
        request: request.each("Filter", filters, |request, name, (filter, value)| {
            let request = request.with(format!("{name}.Name"), filter);
            request.list(&format!("{name}.Value"), [value])
        }),
        read: Some(security_groups),
    }
}

/// Makes a security group in a VPC, with tags.
pub(crate) fn create_security_group<'a>(
    name: &str,
    description: &str,
    vpc: &str,
    tags: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Call<()> {
    let request = QueryRequest::new("CreateSecurityGroup")
        .with("GroupDescription", description)
        .with("GroupName", name)
        .with("VpcId", vpc)
        .with("TagSpecification.1.ResourceType", "security-group")
        .tags("TagSpecification.1.Tag", tags);
    told(request)
}

/// Deletes a security group.
pub(crate) fn delete_security_group(id: &str) -> Call<()> {
    told(QueryRequest::new("DeleteSecurityGroup").with("GroupId", id))
}

/// Opens ports of a security group to others.
pub(crate) fn authorize_ingress(id: &str, permissions: &[IpPermission]) -> Call<()> {
    rules("AuthorizeSecurityGroupIngress", id, permissions)
}

/// Closes what was open to others.
pub(crate) fn revoke_ingress(id: &str, permissions: &[IpPermission]) -> Call<()> {
    rules("RevokeSecurityGroupIngress", id, permissions)
}

/// Closes what was open from inside.
pub(crate) fn revoke_egress(id: &str, permissions: &[IpPermission]) -> Call<()> {
    rules("RevokeSecurityGroupEgress", id, permissions)
}

/// Puts tags on a resource; others stay.
pub(crate) fn create_tags<'a>(
    id: &str,
    tags: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Call<()> {
    let request = QueryRequest::new("CreateTags").list("ResourceId", [id]);
    told(request.tags("Tag", tags))
}

fn rules(action: &'static str, id: &str, permissions: &[IpPermission]) -> Call<()> {
    let request = QueryRequest::new(action).with("GroupId", id);
    told(
        request.each("IpPermissions", permissions, |request, name, permission| {
            permission.write(request, &name)
        }),
    )
}

fn told(request: QueryRequest) -> Call<()> {
    let read = None;
    Call { request, read }
}

fn security_groups(answer: &Element) -> Result<Page<Ec2SecurityGroup>, Malformed> {
    Ok(Page {
        items: answer.read_items("securityGroupInfo", "item", Ec2SecurityGroup::read)?,
        next: answer.text("nextToken").filter(|token| !token.is_empty()),
    })
}

// === impl Subnet ===

impl Subnet {
    fn read(item: &Element) -> Result<Self, Malformed> {
        Ok(Self {
            vpc_id: item.text("vpcId"),
            availability_zone: item.text("availabilityZone"),
        })
    }
}

// === impl Ec2SecurityGroup ===

impl Ec2SecurityGroup {
    fn read(item: &Element) -> Result<Self, Malformed> {
        let permissions = |name| item.read_items(name, "item", IpPermission::read);
        let tags = item.items("tagSet", "item");
        Ok(Self {
            group_id: item.text("groupId"),
            group_name: item.text("groupName"),
            vpc_id: item.text("vpcId"),
            ip_permissions: permissions("ipPermissions")?,
            ip_permissions_egress: permissions("ipPermissionsEgress")?,
            tags: tags
                .filter_map(|tag| Some((tag.text("key")?, tag.text("value")?)))
                .collect(),
        })
    }
}

// === impl IpPermission ===

impl IpPermission {
    fn read(item: &Element) -> Result<Self, Malformed> {
        let peers = |list: &str, id: &str| {
            let peers = item.items(list, "item");
            peers.map(|peer| Peer::read(peer, id)).collect()
        };
        let groups = item.items("groups", "item");
        Ok(Self {
            ip_protocol: item.text("ipProtocol"),
            from_port: item.value("fromPort")?,
            to_port: item.value("toPort")?,
            groups: groups.map(UserIdGroupPair::read).collect(),
            ip_ranges: peers("ipRanges", "cidrIp"),
            ipv6_ranges: peers("ipv6Ranges", "cidrIpv6"),
            prefix_lists: peers("prefixListIds", "prefixListId"),
        })
    }

    fn write(&self, request: QueryRequest, name: &str) -> QueryRequest {
        let peers = |request: QueryRequest, list: &str, id: &str, peers: &[Peer]| {
            request.each(&format!("{name}.{list}"), peers, |request, name, peer| {
                let request = request.maybe(format!("{name}.Description"), peer.description());
                request.maybe(format!("{name}.{id}"), peer.id.as_ref())
            })
        };
        let request = request
            .maybe(format!("{name}.IpProtocol"), self.ip_protocol.as_ref())
            .maybe(format!("{name}.FromPort"), self.from_port)
            .maybe(format!("{name}.ToPort"), self.to_port)
            .each(
                &format!("{name}.Groups"),
                &self.groups,
                |request, name, group| group.write(request, &name),
            );
        let request = peers(request, "IpRanges", "CidrIp", &self.ip_ranges);
        let request = peers(request, "Ipv6Ranges", "CidrIpv6", &self.ipv6_ranges);
        peers(request, "PrefixListIds", "PrefixListId", &self.prefix_lists)
    }
}

// === impl UserIdGroupPair ===

impl UserIdGroupPair {
    fn read(item: &Element) -> Self {
        Self {
            description: item.text("description"),
            user_id: item.text("userId"),
            group_name: item.text("groupName"),
            group_id: item.text("groupId"),
            vpc_id: item.text("vpcId"),
            vpc_peering_connection_id: item.text("vpcPeeringConnectionId"),
            peering_status: item.text("peeringStatus"),
        }
    }

    fn write(&self, request: QueryRequest, name: &str) -> QueryRequest {
        let fields = [
            ("Description", &self.description),
            ("UserId", &self.user_id),
            ("GroupName", &self.group_name),
            ("GroupId", &self.group_id),
            ("VpcId", &self.vpc_id),
            ("VpcPeeringConnectionId", &self.vpc_peering_connection_id),
            ("PeeringStatus", &self.peering_status),
        ];
        fields.into_iter().fold(request, |request, (field, value)| {
            request.maybe(format!("{name}.{field}"), value.as_ref())
        })
    }
}

// === impl Peer ===

impl Peer {
    fn read(item: &Element, id: &str) -> Self {
        Self {
            id: item.text(id),
            description: item.text("description"),
        }
    }

    fn description(&self) -> Option<&String> {
        self.description.as_ref()
    }
}

#[cfg(test)]
mod tests;
