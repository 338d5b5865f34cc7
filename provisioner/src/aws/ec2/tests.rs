use super::*;

const TAGS: [(&str, &str); 2] = [("owner", "a team"), ("provisioner:region", "r1")];

fn form<T>(call: &Call<T>) -> String {
    let form = call.request.form(SERVICE.version);
    let version = format!("&Version={}&", SERVICE.version);
    assert!(form.contains(&version), "{form}");
    form.replacen(&version, "&", 1)
}

fn read<T>(call: &Call<T>, answer: &str) -> T {
    let read = call.read.expect("the answer is read");
    read(&Element::parse(answer.as_bytes()).unwrap()).unwrap()
}

fn all_kinds() -> IpPermission {
    let peer = |id: &str| {
        vec![Peer {
            id: Some(id.into()),
            description: None,
        }]
    };
    IpPermission {
        ip_protocol: Some("tcp".into()),
        from_port: Some(5432),
        to_port: Some(5433),
        groups: vec![UserIdGroupPair {
            description: Some("the cluster's nodes".into()),
            user_id: Some("111122223333".into()),
            group_id: Some("sg-a".into()),
            ..UserIdGroupPair::default()
        }],
        ip_ranges: vec![
            Peer {
                id: Some("10.0.0.0/8".into()),
                description: Some("a b".into()),
            },
            Peer {
                id: Some("0.0.0.0/0".into()),
                description: None,
            },
        ],
        ipv6_ranges: peer("::/0"),
        prefix_lists: peer("pl-1"),
    }
}

// The forms of all calls, with the names that the serialisers of `aws-sdk-ec2` 1.274 write.
#[test]
fn everything_is_asked_for_under_its_name_in_the_api() {
    assert_eq!(
        form(&describe_vpcs("vpc-1")),
        "Action=DescribeVpcs&VpcId.1=vpc-1"
    );
    assert_eq!(
        form(&describe_subnets("subnet-1")),
        "Action=DescribeSubnets&SubnetId.1=subnet-1"
    );
    assert_eq!(
        form(&describe_security_group("sg-1")),
        "Action=DescribeSecurityGroups&GroupId.1=sg-1"
    );
    assert_eq!(
        form(&describe_security_groups(&[
            ("group-name", "r1-db"),
            ("vpc-id", "vpc-1")
        ])),
        "Action=DescribeSecurityGroups&Filter.1.Name=group-name&Filter.1.Value.1=r1-db\
         &Filter.2.Name=vpc-id&Filter.2.Value.1=vpc-1"
    );
    assert_eq!(
        form(&create_security_group("r1-db", "Who may", "vpc-1", TAGS)),
        "Action=CreateSecurityGroup&GroupDescription=Who%20may&GroupName=r1-db&VpcId=vpc-1\
         &TagSpecification.1.ResourceType=security-group\
         &TagSpecification.1.Tag.1.Key=owner&TagSpecification.1.Tag.1.Value=a%20team\
         &TagSpecification.1.Tag.2.Key=provisioner%3Aregion&TagSpecification.1.Tag.2.Value=r1"
    );
    assert_eq!(
        form(&delete_security_group("sg-1")),
        "Action=DeleteSecurityGroup&GroupId=sg-1"
    );
    assert_eq!(
        form(&create_tags("sg-1", TAGS)),
        "Action=CreateTags&ResourceId.1=sg-1&Tag.1.Key=owner&Tag.1.Value=a%20team\
         &Tag.2.Key=provisioner%3Aregion&Tag.2.Value=r1"
    );
}

#[test]
fn rules_are_named_with_all_that_is_known_of_them() {
    let everything = IpPermission {
        ip_protocol: Some("-1".into()),
        ip_ranges: all_kinds().ip_ranges[1..].to_vec(),
        ..IpPermission::default()
    };
    let permissions = "&GroupId=sg-1&IpPermissions.1.IpProtocol=tcp\
         &IpPermissions.1.FromPort=5432&IpPermissions.1.ToPort=5433\
         &IpPermissions.1.Groups.1.Description=the%20cluster%27s%20nodes\
         &IpPermissions.1.Groups.1.UserId=111122223333&IpPermissions.1.Groups.1.GroupId=sg-a\
         &IpPermissions.1.IpRanges.1.Description=a%20b&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0%2F8\
         &IpPermissions.1.IpRanges.2.CidrIp=0.0.0.0%2F0\
         &IpPermissions.1.Ipv6Ranges.1.CidrIpv6=%3A%3A%2F0\
         &IpPermissions.1.PrefixListIds.1.PrefixListId=pl-1\
         &IpPermissions.2.IpProtocol=-1&IpPermissions.2.IpRanges.1.CidrIp=0.0.0.0%2F0";
    let rules = [all_kinds(), everything];
    for (call, action) in [
        (
            authorize_ingress("sg-1", &rules),
            "AuthorizeSecurityGroupIngress",
        ),
        (revoke_ingress("sg-1", &rules), "RevokeSecurityGroupIngress"),
        (revoke_egress("sg-1", &rules), "RevokeSecurityGroupEgress"),
    ] {
        assert_eq!(form(&call), format!("Action={action}{permissions}"));
        assert!(call.read.is_none());
    }
}

#[test]
fn groups_are_read_with_their_rules_and_tags() {
    let answer = r#"<?xml version="1.0" encoding="UTF-8"?>
        <DescribeSecurityGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
          <requestId>1c</requestId>
          <securityGroupInfo>
            <item>
              <ownerId>111122223333</ownerId><groupId>sg-db</groupId><groupName>r1-db</groupName>
              <groupDescription>Who</groupDescription><vpcId>vpc-1</vpcId>
              <securityGroupArn>arn</securityGroupArn>
              <ipPermissions>
                <item>
                  <ipProtocol>tcp</ipProtocol><fromPort>5432</fromPort><toPort>5433</toPort>
                  <groups><item>
                    <userId>111122223333</userId><groupId>sg-a</groupId>
                    <description>the cluster's nodes</description>
                  </item></groups>
                  <ipRanges>
                    <item><cidrIp>10.0.0.0/8</cidrIp><description>a b</description></item>
                    <item><cidrIp>0.0.0.0/0</cidrIp></item>
                  </ipRanges>
                  <ipv6Ranges><item><cidrIpv6>::/0</cidrIpv6></item></ipv6Ranges>
                  <prefixListIds><item><prefixListId>pl-1</prefixListId></item></prefixListIds>
                </item>
              </ipPermissions>
              <ipPermissionsEgress>
                <item><ipProtocol>-1</ipProtocol><groups/><ipRanges/><ipv6Ranges/><prefixListIds/></item>
              </ipPermissionsEgress>
              <tagSet><item><key>provisioner:region</key><value>r1</value></item></tagSet>
            </item>
            <item><groupId>sg-2</groupId><tagSet/></item>
          </securityGroupInfo>
          <nextToken>more</nextToken>
        </DescribeSecurityGroupsResponse>"#;
    let page = read(&describe_security_group("sg-db"), answer);
    assert_eq!(page.next.as_deref(), Some("more"));
    let group = Ec2SecurityGroup {
        group_id: Some("sg-db".into()),
        group_name: Some("r1-db".into()),
        vpc_id: Some("vpc-1".into()),
        ip_permissions: vec![all_kinds()],
        ip_permissions_egress: vec![IpPermission {
            ip_protocol: Some("-1".into()),
            ..IpPermission::default()
        }],
        tags: vec![("provisioner:region".into(), "r1".into())],
    };
    let bare = Ec2SecurityGroup {
        group_id: Some("sg-2".into()),
        ..Ec2SecurityGroup::default()
    };
    assert_eq!(page.items, [group, bare]);
}

#[test]
fn nothing_found_is_an_empty_list() {
    for answer in ["<R/>", "<R><securityGroupInfo/><nextToken/></R>"] {
        let page = read(&describe_security_groups(&[]), answer);
        assert_eq!((page.items, page.next), (vec![], None));
    }
    assert_eq!(read(&describe_subnets("subnet-1"), "<R/>"), []);
}

#[test]
fn subnets_are_read() {
    let subnets = "<R><subnetSet><item><vpcId>vpc-1</vpcId>\
         <availabilityZone>eu-west-1a</availabilityZone></item></subnetSet></R>";
    let subnets = read(&describe_subnets("subnet-1"), subnets);
    let subnet = Subnet {
        vpc_id: Some("vpc-1".into()),
        availability_zone: Some("eu-west-1a".into()),
    };
    assert_eq!(subnets, [subnet]);
}

#[test]
fn a_port_that_is_none_is_an_error() {
    let answer = "<R><securityGroupInfo><item><ipPermissions><item><fromPort>x</fromPort></item>\
         </ipPermissions></item></securityGroupInfo></R>";
    let read = describe_security_group("sg-1").read.unwrap();
    assert!(read(&Element::parse(answer.as_bytes()).unwrap()).is_err());
}
