use region_file::tags::Owner;

use crate::aws::ec2::{Peer, UserIdGroupPair};

use super::super::compare;

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

/// A port for groups.
fn permission(port: i32, groups: &[&str]) -> IpPermission {
    IpPermission {
        ip_protocol: Some("tcp".into()),
        from_port: Some(port),
        to_port: Some(port),
        groups: groups.iter().map(|id| pair(id)).collect(),
        ..IpPermission::default()
    }
}

fn pair(id: &str) -> UserIdGroupPair {
    UserIdGroupPair {
        group_id: Some(id.into()),
        user_id: Some("111122223333".into()),
        description: Some("by Terraform".into()),
        ..UserIdGroupPair::default()
    }
}

fn range(id: &str) -> Peer {
    Peer {
        id: Some(id.into()),
        description: None,
    }
}

fn everything() -> IpPermission {
    IpPermission {
        ip_protocol: Some("-1".into()),
        ip_ranges: vec![range("0.0.0.0/0")],
        ..IpPermission::default()
    }
}

fn live() -> Live {
    Live {
        group_id: Some("sg-db".into()),
        ip_permissions: vec![permission(5432, &["sg-a", "sg-b"])],
        tags: vec![("provisioner:region".into(), "r1".into())],
        ..Live::default()
    }
}

#[test]
fn both_sources_in_one_permission_are_as_they_should_be() {
    let observed = group().observed(&live());
    let wanted = group().wanted(&Cloud::default(), &Facts::default());
    assert!(wanted.keys().eq(observed.attributes.keys()));
    assert_eq!(compare(&wanted, &observed.attributes), (vec![], vec![]));
    assert_eq!(observed.owner, Owner::Ours);
    assert_eq!(observed.facts.security_group.as_deref(), Some("sg-db"));
}

#[test]
fn everything_else_that_is_open_shows() {
    let mut live = live();
    live.ip_permissions.extend([
        permission(22, &["sg-a"]),
        IpPermission {
            ipv6_ranges: vec![range("::/0")],
            ..permission(5432, &[])
        },
    ]);
    live.ip_permissions_egress.push(everything());
    let observed = group().observed(&live);
    assert_eq!(
        observed.attributes["ingress"],
        json!({ "sg-a": "22/tcp, 5432/tcp", "sg-b": "5432/tcp", "::/0": "5432/tcp" })
    );
    assert_eq!(observed.attributes["egress"], json!({ "0.0.0.0/0": "all" }));
}

#[test]
fn only_what_is_missing_is_opened_with_its_reason() {
    let live = [permission(5432, &["sg-b"])];
    let missing = rules::missing(&group().sources, &live);
    assert_eq!(missing.len(), 1);
    let pair = &missing[0].groups[0];
    assert_eq!(pair.group_id.as_deref(), Some("sg-a"));
    assert_eq!(pair.description.as_deref(), Some("the cluster-s nodes"));
    assert_eq!(rules::surplus(&group().sources, &live), []);
}

#[test]
fn a_source_with_another_port_is_opened_and_the_other_port_closed() {
    let live = [permission(22, &["sg-a"])];
    assert_eq!(rules::missing(&group().sources, &live).len(), 2);
    let surplus = rules::surplus(&group().sources, &live);
    assert_eq!(surplus.len(), 1);
    assert_eq!(surplus[0].from_port, Some(22));
    assert_eq!(surplus[0].groups, [pair("sg-a")]);
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
fn cutting_off_an_unknown_group_is_told() {
    let difference = |have| Difference {
        attribute: "ingress".into(),
        have,
        want: json!({}),
    };
    let unknown = difference(json!({ "sg-x": "5432/tcp" }));
    assert!(matches!(group().change(&unknown), Change::Disrupts(_)));
    let fewer = difference(json!({ "sg-a": "5432/tcp" }));
    assert_eq!(group().change(&fewer), Change::Quiet);
}
