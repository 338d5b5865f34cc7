use super::*;
use crate::digest::sha256_hex;

fn full() -> Work {
    Work {
        head: Head {
            id: "55c61e54-a3f6-563d-9fec-b1fe297bdfdb".into(),
            version: Version::new(7).unwrap(),
            source: "maestro".into(),
            metadata: Some(r#"{"name":"ü\n","labels":{"team":"a"}}"#.into()),
            log_tracing: Some("{}".into()),
            deleting_since: Some("2026-08-01T10:00:00.123456789Z".parse().unwrap()),
            received_at: Some("2026-08-01T09:00:00Z".parse().unwrap()),
            content: sha256_hex(b"x"),
            rejected: Some("no".into()),
        },
        payload:
            r#"{"manifests":[{"a":null,"b":1}],"executer":{"subject":{"type":"ServiceAccount"}}}"#
                .into(),
    }
}

fn bare(id: &str) -> Work {
    Work {
        head: Head {
            id: id.into(),
            version: Version::FIRST,
            source: String::new(),
            metadata: None,
            log_tracing: None,
            deleting_since: None,
            received_at: None,
            content: String::new(),
            rejected: None,
        },
        payload: Vec::new().into(),
    }
}

fn consumer() -> ConsumerName {
    ConsumerName::new("cluster1").unwrap()
}

fn object(work: &Work) -> Value {
    let spec = spec_of(&work.payload).unwrap();
    json!(created(&work.head, spec.as_ref(), &consumer()))
}

fn read(object: Value) -> Result<Stored, Unreadable> {
    serde_json::from_value::<WorkObject>(object)
        .unwrap()
        .stored()
}

// The part of RFC 6902 that `changed` uses, strict about parents and removals as an API server is.
fn patch(object: &mut Value, steps: &[Value]) {
    for step in steps {
        let path = step["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        match step["op"].as_str().unwrap() {
            "add" => drop(parent.insert(key, step["value"].clone())),
            _ => assert!(parent.remove(&key).is_some()),
        }
    }
}

#[test]
fn a_work_comes_back_as_it_was_put() {
    for work in [full(), bare("a.b"), bare("Not A Name"), bare("")] {
        let stored = read(object(&work)).unwrap();
        assert_eq!(stored.work.head, work.head);
        assert_eq!(stored.record, None);
        let json = |payload: &[u8]| serde_json::from_slice::<Spec>(payload).ok();
        assert_eq!(json(&stored.work.payload), json(&work.payload));
        assert_eq!(stored.work.payload.is_empty(), work.payload.is_empty());
    }
}

#[test]
fn a_newer_version_leaves_nothing_of_the_older_one() {
    let mut older = full();
    older.payload = r#"{"manifests":[],"deleteOption":{"propagationPolicy":"Orphan"}}"#.into();
    let newer = Work {
        payload: r#"{"manifests":[]}"#.into(),
        ..bare(older.head.id.as_str())
    };
    for (from, to) in [
        (&older, &newer),
        (&newer, &older),
        (&bare(older.head.id.as_str()), &older),
    ] {
        let mut patched = object(from);
        let spec = spec_of(&to.payload).unwrap();
        patch(
            &mut patched,
            &changed(&to.head, &consumer(), Content::Given(spec.as_ref())),
        );
        assert_eq!(patched, object(to));
    }
}

#[test]
fn a_change_without_spec_keeps_the_one_that_is_there() {
    let (older, mut newer) = (full(), bare(full().head.id.as_str()));
    newer.head.rejected = Some("why".into());
    let mut object = object(&older);
    patch(
        &mut object,
        &changed(&newer.head, &consumer(), Content::Kept(None)),
    );
    let stored = read(object).unwrap();
    assert_eq!(stored.work.head, newer.head);
    assert_eq!(
        serde_json::from_slice::<Value>(&stored.work.payload).unwrap(),
        serde_json::from_slice::<Value>(&older.payload).unwrap()
    );
}

#[test]
fn no_payload_is_not_a_payload_without_manifests() {
    let mut work = bare("a");
    assert!(read(object(&work)).unwrap().work.payload.is_empty());
    work.payload = r#"{"manifests":[]}"#.into();
    assert_eq!(
        &*read(object(&work)).unwrap().work.payload,
        br#"{"manifests":[]}"#
    );
}

#[test]
fn a_status_comes_back_with_its_hash_and_its_times() {
    let status: Status = serde_json::from_value(json!({
        "conditions": [{"type": "Applied", "status": "True", "observedGeneration": 1,
            "lastTransitionTime": "2026-08-01T10:00:02Z", "reason": "R", "message": "m"}],
        "resourceStatus": [{"resourceMeta": {"kind": "ConfigMap"}, "conditions": [],
            "statusFeedback": {"values": [{"name": "n", "fieldValue": {"type": "Integer", "integer": 2}}]}}],
    }))
    .unwrap();
    let record = StatusRecord {
        version: Version::FIRST,
        hash: status_hash(&status),
        status,
        acknowledged: false,
        applied_at: Some("2026-08-01T10:00:02.5Z".parse().unwrap()),
    };
    let mut object = object(&full());
    object["status"] = status_document(&record, None)["status"].clone();
    assert_eq!(
        object["status"]["resourceStatus"]["manifests"][0]["resourceMeta"]["kind"],
        "ConfigMap"
    );
    let listed: ListedWork = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(listed.reported(), Some((Version::FIRST, &*record.hash)));
    assert_eq!(read(object.clone()).unwrap().record, Some(record));
    object["status"] = json!({"conditions": "broken"});
    assert_eq!(read(object).unwrap().record, None);
}

#[test]
fn what_somebody_broke_is_named() {
    let broken = |key: &str, value: Value| {
        let mut object = object(&full());
        object["metadata"]["annotations"][key] = value;
        read(object).unwrap_err().to_string()
    };
    assert_eq!(
        broken(crd::GENERATION, json!("new")),
        "annotation `cloudevents.open-cluster-management.io/generation` is `new`"
    );
    assert_eq!(
        broken(crd::ID, json!("other")),
        "work `other` belongs under another name"
    );
    assert!(broken(RECEIVED_AT, json!("noon")).contains("received-at"));
}

#[test]
fn any_value_but_false_pauses_and_is_the_reason() {
    let reason = |value: &str| {
        let metadata = ObjectMeta {
            annotations: Some([(crd::PAUSED.into(), value.into())].into()),
            ..ObjectMeta::default()
        };
        paused(&metadata, "ManifestWork `n/a`")
    };
    assert_eq!(reason("false"), None);
    assert_eq!(
        reason("maintenance").as_deref(),
        Some(
            "paused by annotation work.open-cluster-management.io/paused on ManifestWork `n/a`: maintenance"
        )
    );
    assert!(reason("").is_some());
    assert_eq!(paused(&ObjectMeta::default(), "x"), None);
}
