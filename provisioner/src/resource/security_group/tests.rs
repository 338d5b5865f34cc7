use aws_sdk_ec2::types::{IpRange, Ipv6Range, UserIdGroupPair};

use super::super::{Owner, compare};
use super::*;

fn group() -> SecurityGroup {
    let source = |id: &str, why: &str| (id.to_owned(), why.to_owned());
    SecurityGroup {
        scope: Scope::Region,
        name: "r1-maestro-db".into(),
        tags: Tags::new("r1", &BTreeMap::new()),
        vpc: "vpc-1".into(),
        sources: BTreeMap::from([
            source("sg-a", "the cluster's nodes"),
            source("sg-b", "bastion"),
        ]),
    }
}

fn permission(protocol: &str, port: i32) -> aws_sdk_ec2::types::builders::IpPermissionBuilder {
    IpPermission::builder()
        .ip_protocol(protocol)
        .from_port(port)
        .to_port(port)
}

fn pair(id: &str) -> UserIdGroupPair {
    UserIdGroupPair::builder()
        .group_id(id)
        .user_id("111122223333")
        .description("by Terraform")
        .build()
}

fn everything() -> IpPermission {
    let range = IpRange::builder().cidr_ip("0.0.0.0/0").build();
    IpPermission::builder()
        .ip_protocol("-1")
        .ip_ranges(range)
        .build()
}

fn live() -> aws_sdk_ec2::types::builders::SecurityGroupBuilder {
    let both = permission("tcp", 5432)
        .user_id_group_pairs(pair("sg-a"))
        .user_id_group_pairs(pair("sg-b"));
    let mark = Tag::builder().key("provisioner:region").value("r1").build();
    Live::builder()
        .group_id("sg-db")
        .ip_permissions(both.build())
        .tags(mark)
}

#[test]
fn both_sources_in_one_permission_are_as_they_should_be() {
    let observed = group().observed(&live().build());
    let wanted = group().wanted(&Cloud::default(), &Facts::default());
    assert!(wanted.keys().eq(observed.attributes.keys()));
    assert_eq!(compare(&wanted, &observed.attributes), (vec![], vec![]));
    assert_eq!(observed.owner, Owner::Ours);
    assert_eq!(observed.facts.security_group.as_deref(), Some("sg-db"));
}

#[test]
fn everything_else_that_is_open_shows() {
    let range = Ipv6Range::builder().cidr_ipv6("::/0").build();
    let live = live()
        .ip_permissions(
            permission("tcp", 22)
                .user_id_group_pairs(pair("sg-a"))
                .build(),
        )
        .ip_permissions(permission("tcp", 5432).ipv6_ranges(range).build())
        .ip_permissions_egress(everything())
        .build();
    let observed = group().observed(&live);
    assert_eq!(
        observed.attributes["ingress"],
        json!({ "sg-a": "22/tcp, 5432/tcp", "sg-b": "5432/tcp", "::/0": "5432/tcp" })
    );
    assert_eq!(observed.attributes["egress"], json!({ "0.0.0.0/0": "all" }));
}

#[test]
fn only_what_is_missing_is_opened_with_its_reason() {
    let live = [permission("tcp", 5432)
        .user_id_group_pairs(pair("sg-b"))
        .build()];
    let missing = rules::missing(&group().sources, &live);
    assert_eq!(missing.len(), 1);
    let pair = &missing[0].user_id_group_pairs()[0];
    assert_eq!(pair.group_id(), Some("sg-a"));
    assert_eq!(pair.description(), Some("the cluster-s nodes"));
    assert_eq!(rules::surplus(&group().sources, &live), []);
}

#[test]
fn a_source_with_another_port_is_opened_and_the_other_port_closed() {
    let live = [permission("tcp", 22)
        .user_id_group_pairs(pair("sg-a"))
        .build()];
    assert_eq!(rules::missing(&group().sources, &live).len(), 2);
    let surplus = rules::surplus(&group().sources, &live);
    assert_eq!(surplus.len(), 1);
    assert_eq!(surplus[0].from_port(), Some(22));
    assert_eq!(surplus[0].user_id_group_pairs(), [pair("sg-a")]);
}

#[test]
fn what_aws_lets_out_is_closed_quietly() {
    assert_eq!(
        rules::surplus(&BTreeMap::new(), &[everything()]),
        [everything()]
    );
    let difference = Difference {
        attribute: "egress".into(),
        have: json!({ "0.0.0.0/0": "all" }),
        want: json!({}),
    };
    assert_eq!(group().change(&difference), Change::Quiet);
}

#[test]
fn cutting_off_a_stranger_is_told() {
    let difference = |have| Difference {
        attribute: "ingress".into(),
        have,
        want: json!({}),
    };
    let stranger = difference(json!({ "sg-x": "5432/tcp" }));
    assert!(matches!(group().change(&stranger), Change::Disrupts(_)));
    let fewer = difference(json!({ "sg-a": "5432/tcp" }));
    assert_eq!(group().change(&fewer), Change::Quiet);
}
