//! Rules of a security group: who (a group, a range of addresses, a prefix list) and which ports.
//!
//! EC2 puts all peers of one port into one permission. Here every permission has one peer, and a set of rules is an
//! object from peer to ports, such as `{"sg-1": "5432/tcp"}`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::aws::ec2::{IpPermission, UserIdGroupPair};

/// The attribute that the sources of a group make.
pub(super) fn wanted(sources: &BTreeMap<String, String>) -> Value {
    sources
        .keys()
        .map(|source| (source.clone(), json!(ports(&postgres()))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The attribute that live permissions make.
pub(super) fn observed(live: &[IpPermission]) -> Value {
    let mut rules = BTreeMap::<String, Vec<String>>::new();
    for (peer, permission) in single(live) {
        rules.entry(peer).or_default().push(ports(&permission));
    }
    let rules = rules.into_iter().map(|(peer, mut ports)| {
        ports.sort_unstable();
        (peer, Value::from(ports.join(", ")))
    });
    Value::Object(rules.collect())
}

/// What has to be opened. The reasons go with the rules.
pub(super) fn missing(
    sources: &BTreeMap<String, String>,
    live: &[IpPermission],
) -> Vec<IpPermission> {
    let live = single(live);
    let open = |source: &String| {
        live.iter()
            .any(|(peer, permission)| peer == source && ports(permission) == ports(&postgres()))
    };
    let missing = sources.iter().filter(|(source, _)| !open(source));
    missing
        .map(|(source, why)| {
            let pair = UserIdGroupPair {
                group_id: Some(source.clone()),
                description: Some(description(why)),
                ..UserIdGroupPair::default()
            };
            IpPermission {
                groups: vec![pair],
                ..postgres()
            }
        })
        .collect()
}

/// What has to be closed.
pub(super) fn surplus(
    sources: &BTreeMap<String, String>,
    live: &[IpPermission],
) -> Vec<IpPermission> {
    let surplus = single(live).into_iter().filter(|(peer, permission)| {
        !sources.contains_key(peer) || ports(permission) != ports(&postgres())
    });
    surplus.map(|(_, permission)| permission).collect()
}

/// One permission for every peer, as it is: what is closed must be named exactly.
fn single(live: &[IpPermission]) -> Vec<(String, IpPermission)> {
    let mut all = Vec::new();
    for permission in live {
        let mut push = |peer: &Option<String>, put: &dyn Fn(&mut IpPermission)| {
            let mut one = IpPermission {
                ip_protocol: permission.ip_protocol.clone(),
                from_port: permission.from_port,
                to_port: permission.to_port,
                ..IpPermission::default()
            };
            put(&mut one);
            all.push((peer.clone().unwrap_or_default(), one));
        };
        for group in &permission.groups {
            push(&group.group_id, &|one| one.groups.push(group.clone()));
        }
        for range in &permission.ip_ranges {
            push(&range.id, &|one| one.ip_ranges.push(range.clone()));
        }
        for range in &permission.ipv6_ranges {
            push(&range.id, &|one| one.ipv6_ranges.push(range.clone()));
        }
        for list in &permission.prefix_lists {
            push(&list.id, &|one| one.prefix_lists.push(list.clone()));
        }
    }
    all
}

fn postgres() -> IpPermission {
    IpPermission {
        ip_protocol: Some("tcp".to_owned()),
        from_port: Some(PORT),
        to_port: Some(PORT),
        ..IpPermission::default()
    }
}

/// `5432/tcp`, `1-99/udp`, `all`.
fn ports(permission: &IpPermission) -> String {
    let protocol = permission.ip_protocol.as_deref().unwrap_or(ANY);
    match (protocol, permission.from_port, permission.to_port) {
        (ANY, ..) => "all".to_owned(),
        (_, Some(from), Some(to)) if from == to => format!("{from}/{protocol}"),
        (_, Some(from), Some(to)) => format!("{from}-{to}/{protocol}"),
        _ => protocol.to_owned(),
    }
}

/// As EC2 accepts it: other characters become `-`.
fn description(why: &str) -> String {
    let letter = |letter: char| match letter {
        _ if letter.is_ascii_alphanumeric() => letter,
        _ if ALLOWED.contains(letter) => letter,
        _ => '-',
    };
    why.chars().map(letter).take(LONGEST).collect()
}

// PostgreSQL's.
const PORT: i32 = 5432;
// EC2's word for every protocol.
const ANY: &str = "-1";
// Besides letters and digits (EC2 API, `IpRange`).
const ALLOWED: &str = " ._-:/()#,@[]+=&;{}!$*";
// Characters of a rule's description.
const LONGEST: usize = 255;
