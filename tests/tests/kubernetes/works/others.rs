//! What others do to works in the cluster, and what the store makes of it.

use agent::applier::Change;
use agent::crd::PAUSED;
use agent::work::Store as _;
use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tests::kubernetes::Cluster;
use tests::test_dir::TestDir;
use tests::wait::wait_for;

use super::rig::{
    PATIENCE, Rig, Watching, at, bundle, commit, install, read, record, resync_wanted, say, work,
};

#[tokio::test]
async fn an_edited_spec_is_looked_at_and_our_own_writes_are_not() -> Result<()> {
    let rig = Rig::new("edited").await?;
    let store = rig.open().await?;
    let mut watching = Watching::of(&store);
    let id = "w".into();
    for version in 1..5 {
        commit(
            &store,
            &[
                work("w", version, &bundle(&version.to_string())),
                work("other", version, ""),
            ],
        )
        .await?;
        say(&store, "w", &record(version, "m")).await?;
    }
    let before = store.index().entry(&id).context("a held work")?;
    rig.merge("w", json!({"spec": {"workload": {"manifests": []}}}))
        .await?;
    watching.about("w").await?;
    let after = store.index().entry(&id).context("a held work")?;
    assert!(after.epoch > before.epoch);
    assert!(
        !store
            .put_status(&id, before.epoch, record(4, "late"))
            .await?
    );
    let stored = read(&store, "w").await?;
    assert_eq!(&*stored.work.payload, br#"{"manifests":[]}"#);
    // One that is read before the watch tells is looked at all the same.
    rig.merge("w", json!({"spec": {"workload": {"manifests": [1]}}}))
        .await?;
    store.reported(&id).await?.context("a status")?;
    watching.about("w").await?;
    let stored = read(&store, "w").await?;
    assert_eq!(&*stored.work.payload, br#"{"manifests":[1]}"#);
    assert_eq!(stored.work.head, work("w", 4, "").head);
    // The source's next version replaces what was edited.
    commit(&store, &[work("w", 5, &bundle("5"))]).await?;
    rig.annotate("other", "example.com/note", "x".into())
        .await?;
    rig.annotate("other", PAUSED, "x".into()).await?;
    watching.about("other").await?;
    assert_eq!(read(&store, "w").await?.work.payload, bundle("5"));
    Ok(())
}

#[tokio::test]
async fn a_work_deleted_in_the_cluster_is_dropped_and_asked_for_again() -> Result<()> {
    let rig = Rig::new("dropped").await?;
    let store = rig.open().await?;
    let mut watching = Watching::of(&store);
    let dropped = |store: &agent::work::Objects| {
        store
            .index()
            .entry(&"w".into())
            .is_some_and(|entry| entry.dropped)
    };
    commit(&store, &[work("w", 1, &bundle("1"))]).await?;
    rig.works().delete("w", &DeleteParams::default()).await?;
    watching.about("w").await?;
    assert!(dropped(&store));
    assert!(dropped(&rig.open().await?), "a restart goes on with it");
    // A new version in between does not bring it back to life.
    commit(&store, &[work("w", 2, &bundle("2"))]).await?;
    assert!(dropped(&store));
    say(&store, "w", &record(2, "m")).await?;
    store.remove(&"w".into()).await?;
    assert_eq!(rig.works().get_opt("w").await?, None);
    assert!(store.index().ids().is_empty());
    assert!(resync_wanted(&store).await);
    commit(&store, &[work("w", 2, &bundle("2"))]).await?;
    assert!(!dropped(&store));
    assert_eq!(read(&store, "w").await?.record, None);
    Ok(())
}

#[tokio::test]
async fn a_new_version_for_an_object_that_is_going_does_not_end_as_live() -> Result<()> {
    let rig = Rig::new("going").await?;
    let (before, store) = (rig.open().await?, rig.open().await?);
    commit(&before, &[work("w", 1, &bundle("1"))]).await?;
    rig.works().delete("w", &DeleteParams::default()).await?;
    // This store did not know the object.
    commit(&store, &[work("w", 2, &bundle("2"))]).await?;
    assert!(
        store
            .index()
            .entry(&"w".into())
            .is_some_and(|entry| entry.dropped)
    );
    Ok(())
}

#[tokio::test]
async fn a_work_that_vanished_is_asked_for_again() -> Result<()> {
    let rig = Rig::new("vanished").await?;
    let store = rig.open().await?;
    commit(
        &store,
        &[
            work("unwatched", 1, ""),
            work("unread", 1, ""),
            work("w", 1, ""),
            work("unlabelled", 1, ""),
        ],
    )
    .await?;
    let vanish = async |name: &str| {
        rig.merge(name, json!({"metadata": {"finalizers": null}}))
            .await?;
        rig.works().delete(name, &DeleteParams::default()).await?;
        anyhow::Ok(())
    };
    vanish("unread").await?;
    let epoch = store
        .index()
        .entry(&"unread".into())
        .context("a held work")?
        .epoch;
    let unread = "unread".into();
    store.put_status(&unread, epoch, record(1, "m")).await?;
    store.write_status(&unread, None).await?;
    assert!(resync_wanted(&store).await);

    vanish("unwatched").await?;
    let _watching = Watching::of(&store);
    assert!(resync_wanted(&store).await, "the listing misses it");
    vanish("w").await?;
    assert!(resync_wanted(&store).await, "the watch tells");
    rig.merge("unlabelled", json!({"metadata": {"labels": null}}))
        .await?;
    assert!(resync_wanted(&store).await);
    assert!(store.index().ids().is_empty());
    // The object that lost its label is still there, and taken back.
    commit(&store, &[work("unlabelled", 1, "")]).await?;
    assert_eq!(rig.open().await?.index().ids(), ["unlabelled".into()]);
    Ok(())
}

#[tokio::test]
async fn an_annotation_pauses_a_work_until_it_is_taken_away() -> Result<()> {
    let rig = Rig::new("paused").await?;
    let store = rig.open().await?;
    let mut watching = Watching::of(&store);
    let paused = |store: &agent::work::Objects| {
        let entry = store.index().entry(&"w".into());
        entry
            .and_then(|entry| entry.paused)
            .map(|why| why.to_string())
    };
    commit(&store, &[work("w", 1, &bundle("1"))]).await?;
    rig.annotate("w", PAUSED, "maintenance".into()).await?;
    watching.about("w").await?;
    let why = format!(
        "paused by annotation {PAUSED} on ManifestWork `{}/w`: maintenance",
        rig.namespace
    );
    assert_eq!(paused(&store), Some(why.clone()));
    commit(&store, &[work("w", 2, &bundle("2"))]).await?;
    assert_eq!(
        paused(&store),
        Some(why.clone()),
        "a new version does not resume it"
    );
    assert_eq!(paused(&rig.open().await?), Some(why));
    for value in [json!("false"), json!("again"), json!(null)] {
        rig.annotate("w", PAUSED, value.clone()).await?;
        watching.about("w").await?;
        assert_eq!(paused(&store).is_some(), value == "again");
    }
    Ok(())
}

#[tokio::test]
async fn an_annotation_on_its_state_pauses_the_agent() -> Result<()> {
    let rig = Rig::new("stopped").await?;
    let store = rig.open().await?;
    let mut watching = Watching::of(&store);
    let annotate = async |value: serde_json::Value| {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {PAUSED: value}}}));
        rig.maps()
            .patch("agent-cluster1-state", &PatchParams::default(), &patch)
            .await
    };
    annotate(json!("true")).await?;
    assert_eq!(watching.next().await?, Change::Everything);
    let why = format!(
        "paused by annotation {PAUSED} on ConfigMap `{}/agent-cluster1-state`: true",
        rig.namespace
    );
    assert_eq!(store.index().paused(), Some(why.clone()));
    // What the agent writes there itself changes nothing.
    store.next_sequence(at("2026-08-01T10:00:00Z")).await?;
    assert_eq!(rig.open().await?.index().paused(), Some(why));
    annotate(json!(null)).await?;
    assert_eq!(watching.next().await?, Change::Everything);
    assert_eq!(store.index().paused(), None);
    // Deleted, it is made again with what it held.
    rig.maps()
        .delete("agent-cluster1-state", &DeleteParams::default())
        .await?;
    store.next_sequence(at("2026-08-01T11:00:00Z")).await?;
    assert!(
        rig.maps()
            .get("agent-cluster1-state")
            .await?
            .data
            .is_some_and(|data| data.contains_key("sequence"))
    );
    Ok(())
}

#[tokio::test]
async fn another_agent_s_works_are_not_touched() -> Result<()> {
    let mut rig = Rig::new("shared").await?;
    let one = rig.open().await?;
    commit(&one, &[work("w", 1, &bundle("1"))]).await?;
    rig.consumer = link::id::ConsumerName::new("cluster2")?;
    let two = rig.open().await?;
    assert!(two.index().ids().is_empty());
    let error = commit(&two, &[work("w", 1, &bundle("2"))])
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is not this agent's: it is labelled for consumer `cluster1`"),
        "{error}"
    );
    commit(&two, &[work("mine", 1, &bundle("2"))]).await?;
    assert_eq!(
        rig.works().get("w").await?.labels()[agent::crd::CONSUMER],
        "cluster1"
    );
    // Once the other agent is done with it, its source is asked.
    let _watching = Watching::of(&two);
    let mut ended = work("w", 1, "");
    ended.head.deleting_since = Some(at("2026-08-01T11:00:00Z"));
    commit(&one, &[ended]).await?;
    one.remove(&"w".into()).await?;
    assert!(resync_wanted(&two).await);
    commit(&two, &[work("w", 1, &bundle("2"))]).await?;
    assert_eq!(read(&two, "w").await?.work.payload, bundle("2"));
    Ok(())
}

#[tokio::test]
async fn a_watch_goes_on_when_the_api_server_comes_back() -> Result<()> {
    let test_dir = TestDir::new("works-outage")?;
    let mut cluster = Cluster::start(test_dir.path()).await?;
    install(&cluster).await?;
    let namespace = cluster.namespace("outage").await?;
    let client = cluster.client().await?;
    let consumer = link::id::ConsumerName::new("cluster1")?;
    let store = agent::work::Objects::open(client.clone(), &namespace, &consumer)
        .await?
        .store;
    let mut watching = Watching::of(&store);
    let works: kube::Api<agent::crd::ManifestWork> = kube::Api::namespaced(client, &namespace);
    commit(&store, &[work("w", 1, &bundle("1"))]).await?;
    let edit = async |manifests: serde_json::Value| {
        let patch = Patch::Merge(json!({"spec": {"workload": {"manifests": manifests}}}));
        works.patch("w", &PatchParams::default(), &patch).await
    };
    edit(json!([1])).await?;
    watching.about("w").await?;

    cluster.stop_api().await?;
    let error = store
        .commit(vec![work("x", 1, "")].into())
        .await
        .unwrap_err();
    let text = link::error::chain(&error);
    ensure!(
        text.contains("create ManifestWork") && text.contains("the API server cannot be reached"),
        "{text}"
    );
    ensure!(
        link::error::Hint::hint(&error).is_some_and(|hint| hint.contains("/readyz")),
        "{error}"
    );
    cluster.start_api().await?;

    edit(json!([2])).await?;
    watching.about("w").await?;
    wait_for("the held-up commit", PATIENCE, async || {
        commit(&store, &[work("x", 1, "")]).await
    })
    .await?;
    assert_eq!(
        &*read(&store, "w").await?.work.payload,
        br#"{"manifests":[2]}"#
    );
    drop(cluster);
    test_dir.passed();
    Ok(())
}
