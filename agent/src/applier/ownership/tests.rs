use link::bundle::manifest::ObjectRef;
use serde_json::json;

use super::*;
use crate::applier::key;

fn object(namespace: &str) -> ObjectRef {
    ObjectRef::of(&json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "namespace": namespace},
    }))
}

fn share(namespace: &str, uid: Option<&str>, since: u64) -> Share {
    let object = object(namespace);
    Share {
        key: key(&object),
        held: HeldObject {
            uid: uid.map(Into::into),
            ..HeldObject::from(&object)
        },
        content: None,
        since,
    }
}

fn record(owner: &str, objects: Vec<Share>) -> Record {
    Record {
        owner: Some(owner.into()),
        objects,
    }
}

/// The kind turns out to have no namespaces.
fn without_namespace(old: &Share) -> Share {
    share("", old.held.uid.as_deref(), old.since)
}

#[test]
fn shares_that_turn_out_to_be_in_one_object_become_one() {
    let mut ownership = Ownership::default();
    let owner = WorkId::from("w");
    let both = vec![share("stray", Some("u"), 3), share("", None, 5)];
    ownership.take(record("w", both));
    ownership.rekey(&owner, without_namespace);
    let expected = record("w", vec![share("", Some("u"), 3)]);
    assert_eq!(ownership.record(&owner), Some(&expected));
    assert!(ownership.owners(&key(&object("stray"))).is_empty());

    let claim = Claim {
        object: object(""),
        content: None,
    };
    let claimed = ownership.claim(&owner, &[(key(&claim.object), claim)]);
    assert!(claimed.stale.is_empty(), "{claimed:?}");
}

#[test]
fn works_meet_in_an_object_once_it_is_known_to_be_one() {
    let mut ownership = Ownership::default();
    ownership.take(record("a", vec![share("stray", None, 1)]));
    ownership.take(record("b", vec![share("", None, 2)]));
    ownership.rekey(&"a".into(), without_namespace);
    let owners = ownership.owners(&key(&object("")));
    assert_eq!(owners, [WorkId::from("b"), WorkId::from("a")]);
    ownership.release(&"a".into(), &key(&object("")));
    let left = ownership.owners(&key(&object("")));
    assert_eq!(left, [WorkId::from("b")]);
}

#[test]
fn a_held_object_is_found_by_its_coordinates_and_its_namesakes_by_their_name() {
    let mut ownership = Ownership::default();
    let owner = WorkId::from("w");
    let mut project = share("", Some("u"), 1);
    project.held.kind = "Project".into();
    project.key = key(&project.held.object());
    let namespace = share("", Some("u"), 1);
    ownership.take(record("w", vec![project.clone(), namespace.clone()]));
    let renewed = HeldObject {
        uid: None,
        ..namespace.held.clone()
    };
    assert_eq!(ownership.key_of(&owner, &renewed), Some(&*namespace.key));
    assert_eq!(ownership.namesakes(&owner, &namespace.key), [project.held]);
    let elsewhere = share("elsewhere", None, 1).held;
    assert_eq!(ownership.key_of(&owner, &elsewhere), None);
}
