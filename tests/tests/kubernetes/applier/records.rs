//! What works hold is known whatever happens to the agent and to its AppliedManifestWorks.

use super::*;

const GO: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn claims_are_known_after_a_kill_between_claim_and_settle() -> Result<()> {
    let mut bench = Bench::new("killed").await?;
    let both = [
        (bench.map("a", "red"), Strategy::Default),
        (bench.map("b", "red"), Strategy::Default),
    ];
    bench.claim("w", &both).await?;
    bench.apply("w", &both[0].0, &Strategy::Default).await?;
    bench.restart().await?;
    let held = bench.applier.claim(&"w".into(), &[]).await?;
    let names: Vec<&str> = held.iter().map(|held| held.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    for held in &held {
        let released = bench
            .applier
            .release(&"w".into(), held, Release::Remove)
            .await?;
        assert_eq!(released, Released::Gone);
    }
    bench.applier.settle(&"w".into()).await?;
    assert!(bench.maps().get_opt("a").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn under_an_identity_of_our_own_nothing_is_listed_and_everything_goes_all_the_same()
-> Result<()> {
    let mut bench = Bench::new("unlisted").await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    bench.hold("w", &bench.map("b", "red")).await?;
    assert!(bench.maps().get_opt("a").await?.is_none());
    let record = bench.record("w").await?;
    assert!(record.data["status"]["appliedResources"].is_null());
    bench.restart().await?;
    assert_eq!(bench.give_up("w", Release::Remove).await?, Released::Gone);
    assert!(bench.maps().get_opt("b").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn the_status_lists_what_was_applied_with_uids_where_a_go_agent_may_follow() -> Result<()> {
    let mut bench = Bench::new("status").await?;
    // Given as a hash it is the identity of a Go agent.
    bench.agent_id = AgentId::from(bench.agent_id.as_str());
    bench.restart().await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    let uid = bench.maps().get("a").await?.metadata.uid;
    let record = bench.record("w").await?;
    assert_eq!(
        record.data["status"]["appliedResources"],
        json!([{
            "group": "", "version": "v1", "resource": "configmaps",
            "namespace": bench.namespace, "name": "a", "uid": uid,
        }])
    );
    bench.hold("w", &bench.map("b", "red")).await?;
    let record = bench.record("w").await?;
    let applied = &record.data["status"]["appliedResources"];
    assert_eq!(applied.as_array().map(Vec::len), Some(1));
    assert_eq!(applied[0]["name"], "b");
    assert!(bench.maps().get_opt("a").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_id_that_is_no_name_is_found_again() -> Result<()> {
    let mut bench = Bench::new("names").await?;
    let id = "Some/Bundle ü";
    bench.hold(id, &bench.map("a", "red")).await?;
    bench.restart().await?;
    assert_eq!(bench.give_up(id, Release::Remove).await?, Released::Gone);
    Ok(())
}

/// What a Go agent leaves: an AppliedManifestWork with a status, and an object that it owns.
async fn go_agent_held(bench: &Bench) -> Result<String> {
    let record = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
        "metadata": {
            "name": format!("{GO}-{}", bench.namespace),
            "finalizers": ["cluster.open-cluster-management.io/applied-manifest-work-cleanup"],
        },
        "spec": {"hubHash": GO, "agentID": GO, "manifestWorkName": bench.namespace},
    });
    let records = bench.records();
    let record = records
        .create(&PostParams::default(), &serde_json::from_value(record)?)
        .await?;
    let (name, uid) = (record.metadata.name, record.metadata.uid.context("uid")?);
    let mut map = bench.map("a", "red");
    map["data"]["shape"] = json!("round");
    map["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork", "name": name, "uid": uid,
    }]);
    let params = PostParams {
        field_manager: Some("maestro".into()),
        ..PostParams::default()
    };
    let map = bench
        .maps()
        .create(&params, &serde_json::from_value(map)?)
        .await?;
    let status = json!({"status": {
        "appliedResources": [{
            "group": "", "version": "v1", "resource": "configmaps",
            "namespace": bench.namespace, "name": "a", "uid": map.metadata.uid,
        }],
        "evictionStartTime": "2026-08-01T10:00:00Z",
    }});
    let name = name.unwrap_or_default();
    records
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(uid)
}

#[tokio::test]
async fn the_record_of_a_go_agent_is_used_in_place() -> Result<()> {
    let first = Bench::new("adopted").await?;
    let uid = go_agent_held(&first).await?;
    let (client, namespace) = (first.client.clone(), first.namespace.clone());
    let mut bench = Bench::of(client.clone(), client, namespace.clone(), &[GO]).await?;
    bench.hold(&namespace, &bench.map("a", "red")).await?;
    assert_eq!(bench.owners("a").await?, std::slice::from_ref(&uid));
    let map = bench.maps().get("a").await?;
    assert_eq!(map.data["data"], json!({"color": "red"}));

    let record = bench.records().get(&format!("{GO}-{namespace}")).await?;
    assert_eq!(record.metadata.uid.as_ref(), Some(&uid));
    assert_eq!(record.data["spec"]["agentID"], bench.agent_id.as_str());
    assert_eq!(record.data["spec"]["hubHash"], bench.agent_id.as_str());
    assert!(record.data["status"]["evictionStartTime"].is_null());
    let ours = bench.record_name(&namespace);
    assert!(bench.records().get_opt(&ours).await?.is_none());

    // The next start needs no adoption.
    bench.restart().await?;
    let released = bench.give_up(&namespace, Release::Remove).await?;
    assert_eq!(released, Released::Gone);
    Ok(())
}

#[tokio::test]
async fn what_a_go_agent_held_and_the_work_dropped_is_removed() -> Result<()> {
    let first = Bench::new("dropped").await?;
    go_agent_held(&first).await?;
    let (client, namespace) = (first.client.clone(), first.namespace.clone());
    let bench = Bench::of(client.clone(), client, namespace.clone(), &[GO]).await?;
    bench.hold(&namespace, &bench.map("b", "red")).await?;
    assert!(bench.maps().get_opt("a").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn two_records_of_one_work_become_one() -> Result<()> {
    let first = Bench::new("twice").await?;
    let old = go_agent_held(&first).await?;
    let (client, namespace) = (first.client.clone(), first.namespace.clone());
    first.hold(&namespace, &first.map("b", "red")).await?;
    let bench = Bench::of(client.clone(), client, namespace.clone(), &[GO]).await?;
    let both = [
        (bench.map("a", "red"), Strategy::Default),
        (bench.map("b", "red"), Strategy::Default),
    ];
    for outcome in bench.look(&namespace, &both).await? {
        outcome?;
    }
    let owners = bench.owners("a").await?;
    assert_eq!(owners, bench.owners("b").await?);
    assert!(!owners.contains(&old));
    let gone = bench
        .records()
        .get_opt(&format!("{GO}-{namespace}"))
        .await?;
    assert!(gone.is_none());
    Ok(())
}

#[tokio::test]
async fn deleting_a_record_loses_nothing() -> Result<()> {
    let mut bench = Bench::new("deleted").await?;
    bench.watched().await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    let uid = bench.maps().get("a").await?.metadata.uid;
    let old = bench.record_name("w");
    bench
        .records()
        .delete(&old, &DeleteParams::default())
        .await?;
    bench.woken("w").await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    assert!(bench.records().get_opt(&old).await?.is_none());
    assert_eq!(bench.maps().get("a").await?.metadata.uid, uid);
    assert_eq!(bench.owners("a").await?.len(), 1);

    // What came after it is known as well, and gives the object up in the end.
    bench.restart().await?;
    assert_eq!(bench.give_up("w", Release::Remove).await?, Released::Gone);
    Ok(())
}

#[tokio::test]
async fn a_record_that_was_deleted_while_the_agent_was_down_loses_nothing() -> Result<()> {
    let mut bench = Bench::new("down").await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    let uid = bench.maps().get("a").await?.metadata.uid;
    bench.watching.abort();
    bench
        .records()
        .delete(&bench.record_name("w"), &DeleteParams::default())
        .await?;
    bench.restart().await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    assert_eq!(bench.maps().get("a").await?.metadata.uid, uid);
    assert_eq!(bench.give_up("w", Release::Remove).await?, Released::Gone);
    Ok(())
}

#[tokio::test]
async fn a_record_that_was_removed_by_force_is_made_again() -> Result<()> {
    let mut bench = Bench::new("forced").await?;
    bench.watched().await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    let name = bench.record_name("w");
    let records = bench.records();
    records.delete(&name, &DeleteParams::default()).await?;
    edit(&records, &name, json!({"metadata": {"finalizers": null}})).await?;
    bench.woken("w").await?;
    made_again(&bench).await
}

/// Looks until there is a record again that owns the object. The garbage collector may be faster with the object, which
/// is made again then too.
async fn made_again(bench: &Bench) -> Result<()> {
    let looks = async || {
        let applied = bench.hold("w", &bench.map("a", "red")).await;
        applied.map_err(|error| error.to_string())?;
        let owners = bench.owners("a").await.map_err(|error| error.to_string())?;
        let records = bench
            .records()
            .list(&kube::api::ListParams::default())
            .await;
        let records = records.map_err(|error| error.to_string())?.items;
        // One that was seen on its way out has a successor of another name.
        let ours = records
            .into_iter()
            .filter(|record| record.data["spec"]["agentID"] == bench.agent_id.as_str())
            .filter(|record| record.data["spec"]["manifestWorkName"] == "w");
        let uids: Vec<String> = ours.filter_map(|record| record.metadata.uid).collect();
        if uids.len() == 1 && owners == uids {
            Ok(())
        } else {
            Err(format!("{uids:?} own, {owners:?} are named"))
        }
    };
    wait_for("the record to be made again", PATIENCE, looks).await?;
    Ok(())
}

#[tokio::test]
async fn a_record_that_was_removed_while_nobody_watched_is_made_again() -> Result<()> {
    let mut bench = Bench::new("unseen").await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    bench.watching.abort();
    let name = bench.record_name("w");
    let records = bench.records();
    records.delete(&name, &DeleteParams::default()).await?;
    edit(&records, &name, json!({"metadata": {"finalizers": null}})).await?;
    (bench.changes, bench.watching) = watch(&bench.applier);
    bench.woken("w").await?;
    made_again(&bench).await
}

#[tokio::test]
async fn a_record_that_was_replaced_is_used_and_keeps_its_objects() -> Result<()> {
    let bench = Bench::new("swapped").await?;
    bench.hold("w", &bench.map("a", "red")).await?;
    let uid = bench.maps().get("a").await?.metadata.uid;
    bench.watching.abort();
    let (name, records) = (bench.record_name("w"), bench.records());
    let mut same = bench.record("w").await?;
    // Somebody restores it from a backup. A second owner keeps the object from the garbage collector meanwhile.
    let guard = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "default",
        "uid": default_namespace(&bench.client).await?}]);
    let mut both = json!(bench.maps().get("a").await?.metadata.owner_references);
    both.as_array_mut()
        .context("owners")?
        .extend(guard.as_array().cloned().into_iter().flatten());
    bench
        .edit("a", json!({"metadata": {"ownerReferences": both}}))
        .await?;
    records.delete(&name, &DeleteParams::default()).await?;
    edit(&records, &name, json!({"metadata": {"finalizers": null}})).await?;
    same.metadata.resource_version = None;
    same.metadata.uid = None;
    records.create(&PostParams::default(), &same).await?;

    bench.hold("w", &bench.map("a", "blue")).await?;
    let record = bench.record("w").await?.metadata.uid.context("uid")?;
    assert!(bench.owners("a").await?.contains(&record));
    assert_eq!(bench.maps().get("a").await?.metadata.uid, uid);
    assert_eq!(bench.give_up("w", Release::Remove).await?, Released::Gone);
    Ok(())
}

async fn default_namespace(client: &Client) -> Result<String> {
    let namespaces: Api<DynamicObject> = Api::all_with(client.clone(), &kind("", "Namespace"));
    let default = namespaces.get("default").await?;
    default.metadata.uid.context("uid")
}
