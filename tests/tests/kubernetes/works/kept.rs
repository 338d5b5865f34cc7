//! What was committed is there after a restart, as it was.

use std::collections::HashSet;
use std::time::Duration;

use agent::work::{Entry, Objects, Store as _, WorkId};
use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::rig::{Rig, at, bundle, commit, kubectl, read, record, resync_wanted, say, work};

fn entries(store: &Objects) -> Vec<(WorkId, Entry)> {
    let mut entries = store.index().entries();
    entries.iter_mut().for_each(|(_, entry)| entry.epoch = 0);
    entries
}

#[tokio::test]
async fn a_restart_finds_works_statuses_and_acknowledgements() -> Result<()> {
    let rig = Rig::new("restart").await?;
    let store = rig.open().await?;
    // More than a page.
    let mut works: Vec<_> = (0..60)
        .map(|n| work(&format!("w{n}"), 1, &bundle("1")))
        .collect();
    works[1] = work("Not A Name/ü", 1, &bundle("1"));
    works[2] = work("w2", 1, "");
    works[3].head.rejected = Some("no".into());
    works[4].head.metadata = None;
    works[4].head.log_tracing = None;
    commit(&store, &works).await?;
    works[5] = work("w5", 2, &bundle("2"));
    works[6].head.deleting_since = Some(at("2026-08-01T11:00:00Z"));
    commit(&store, &works[5..7]).await?;
    for (n, work) in works.iter().enumerate().skip(10).take(30) {
        let record = record(1, &n.to_string());
        say(&store, work.head.id.as_str(), &record).await?;
        if n % 2 == 0 {
            store.acknowledge(&work.head.id, record).await?;
        }
    }
    store.flush().await?;

    let again = rig.found().await?;
    assert_eq!((again.works, again.unreadable.len()), (60, 0));
    assert_eq!(entries(&again.store), entries(&store));
    for work in &works {
        let (before, after) = (
            store.read(&work.head.id).await?,
            again.store.read(&work.head.id).await?,
        );
        assert_eq!(before, after);
        let after = after.context("a held work")?;
        assert_eq!(after.work.head, work.head);
        assert_eq!(after.work.payload, work.payload, "{}", work.head.id);
    }
    let acknowledged = again
        .store
        .index()
        .entries()
        .iter()
        .filter(|(_, entry)| entry.acknowledged)
        .count();
    assert_eq!(acknowledged, 15);
    let (head, said) = again
        .store
        .reported(&"w11".into())
        .await?
        .context("a status")?;
    assert_eq!((head, said), (works[11].head.clone(), record(1, "11")));
    Ok(())
}

#[tokio::test]
async fn an_acknowledgement_that_was_not_flushed_costs_a_report_only() -> Result<()> {
    let rig = Rig::new("unflushed").await?;
    let store = rig.open().await?;
    commit(&store, &[work("w", 1, &bundle("1"))]).await?;
    let said = record(1, "m");
    say(&store, "w", &said).await?;
    store.acknowledge(&"w".into(), said.clone()).await?;
    let entry = rig
        .open()
        .await?
        .index()
        .entry(&"w".into())
        .context("a held work")?;
    assert_eq!(entry.status_hash.as_deref(), Some(&*said.hash));
    assert!(!entry.acknowledged);
    Ok(())
}

#[tokio::test]
async fn a_manifest_is_kept_as_it_is() -> Result<()> {
    let rig = Rig::new("manifest").await?;
    let store = rig.open().await?;
    let manifest = json!({
        "apiVersion": "v1", "kind": "Odd", "metadata": {"name": "odd", "creationTimestamp": null, "odd": {"a": null}},
        "null": null, "empty": {"object": {}, "list": [], "text": ""}, "list": [null, {"a": null}, [null]],
        "numbers": [0, -1, 9_007_199_254_740_993_i64, i64::MAX, i64::MIN, 0.1, -2.5e-7, 1e300],
        "text": "ü 😀 \u{2028} \u{7f} \u{1} \\ \" </script>\r\n\t", "a.b/c~d": {"~1": true}, "": "no key",
    });
    let settings = json!([{"resourceIdentifier": {"group": "", "resource": "odds", "name": "odd", "namespace": ""},
        "updateStrategy": {"type": "CreateOnly"}}]);
    let payload = json!({"manifests": [manifest, null, 1, "text", []], "manifestConfigs": settings,
        "deleteOption": {"propagationPolicy": "SelectivelyOrphans", "selectivelyOrphans": {"orphaningRules": []}},
        "executer": {"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "n", "name": "a"}}}});
    let normalised = json!({"manifests": [{"numbers": [1.0, 1e20, u64::MAX, 9_223_372_036_854_775_808_u64, -0.0, 1e21]}]});
    let works = [
        work("exact", 1, &payload.to_string()),
        work("rounded", 1, &normalised.to_string()),
    ];
    commit(&store, &works).await?;
    let again = rig.open().await?;
    assert_eq!(
        serde_json::from_slice::<Value>(&read(&again, "exact").await?.work.payload)?,
        payload
    );
    for id in ["exact", "rounded"] {
        // What the cache says and what the API server says.
        assert_eq!(read(&store, id).await?, read(&again, id).await?);
    }
    // A newer version leaves nothing of the older one: neither nulls nor settings.
    let newer = work(
        "exact",
        2,
        &json!({"manifests": [{"null": null}]}).to_string(),
    );
    commit(&again, std::slice::from_ref(&newer)).await?;
    assert_eq!(read(&rig.open().await?, "exact").await?.work, newer);
    Ok(())
}

#[tokio::test]
async fn two_commits_at_once_leave_one_version_whole() -> Result<()> {
    let rig = Rig::new("race").await?;
    let (one, two) = (rig.open().await?, rig.open().await?);
    for round in 0..10 {
        let id = format!("w{round}");
        let version = |version| [work(&id, version, &bundle(&version.to_string()))];
        let (first, second) = (version(1), version(2));
        let (a, b) = tokio::join!(commit(&one, &first), commit(&two, &second));
        a.and(b)?;
        let held = read(&rig.open().await?, &id).await?.work;
        ensure!(held == first[0] || held == second[0], "{held:?}");
    }
    // In one store, the versions of one work come one after the other.
    let versions: Vec<_> = (1..=8)
        .map(|version| [work("same", version, &bundle("x"))])
        .collect();
    let commits = versions.iter().map(|version| commit(&one, version));
    futures_util::future::try_join_all(commits).await?;
    let kept = read(&rig.open().await?, "same").await?.work;
    assert_eq!(
        one.index().entry(&"same".into()).map(|entry| entry.version),
        Some(kept.head.version)
    );
    Ok(())
}

#[tokio::test]
async fn a_work_from_before_a_crash_is_taken_over() -> Result<()> {
    let rig = Rig::new("crash").await?;
    let (before, after) = (rig.open().await?, rig.open().await?);
    commit(&before, &[work("w", 1, &bundle("1"))]).await?;
    say(&before, "w", &record(1, "m")).await?;
    // The new process opened before the old one's last write was there, and gets the event again.
    commit(&after, &[work("w", 1, &bundle("1"))]).await?;
    assert_eq!(read(&after, "w").await?, read(&before, "w").await?);
    Ok(())
}

#[tokio::test]
async fn a_commit_that_was_cut_off_is_repeated() -> Result<()> {
    let rig = Rig::new("cut").await?;
    let store = rig.open().await?;
    let mut cut_off = 0;
    for version in 1..=20 {
        let data = bundle(&version.to_string());
        let works: Vec<_> = (0..20)
            .map(|number| work(&format!("w{number}"), version, &data))
            .collect();
        // Wherever it is then: before a request, during one, or at the end.
        let patience = Duration::from_millis(version.unsigned_abs());
        let commit_once = tokio::time::timeout(patience, commit(&store, &works)).await;
        cut_off += usize::from(commit_once.is_err());
        commit(&store, &works).await?;
        for stored in [&store, &rig.open().await?] {
            for work in &works {
                assert_eq!(read(stored, work.head.id.as_str()).await?.work, *work);
            }
        }
    }
    ensure!(cut_off > 0, "every commit was done within a millisecond");
    Ok(())
}

#[tokio::test]
async fn sequence_ids_rise_over_restarts_and_cost_one_write_in_ten_seconds() -> Result<()> {
    let mut rig = Rig::new("sequence").await?;
    rig.client = rig.cluster.client_called("sequence/1").await?;
    let now = at("2026-08-01T10:00:00Z");
    let mut newest = None;
    for start in 0..3 {
        let store = rig.open().await?;
        let mark = rig.cluster.audit().await?.mark().await?;
        let earlier = now - SignedDuration::from_hours(start);
        let many = (0..64).map(|_| store.next_sequence(earlier));
        let ids = futures_util::future::try_join_all(many).await?;
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 64);
        for id in &ids {
            assert_eq!(id.is_newer_than(newest), Ok(true));
        }
        newest = ids
            .iter()
            .copied()
            .max_by_key(|id| id.to_string().parse::<u64>().unwrap_or_default());
        let asked = rig.cluster.audit().await?.since(mark).await?;
        let writes = asked
            .iter()
            .filter(|entry| entry.user_agent == "sequence/1")
            .count();
        // With a clock that went back, each id is its own ceiling.
        ensure!(writes == 1 || start > 0, "{asked:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_last_words_of_an_old_process_do_not_lower_the_ceiling_of_the_new() -> Result<()> {
    let rig = Rig::new("ceiling").await?;
    let (old, new) = (rig.open().await?, rig.open().await?);
    commit(&old, &[work("w", 1, "")]).await?;
    let said = record(1, "m");
    say(&old, "w", &said).await?;
    old.next_sequence(at("2026-08-01T10:00:00Z")).await?;
    let newest = new.next_sequence(at("2026-08-01T12:00:00Z")).await?;
    old.acknowledge(&"w".into(), said).await?;
    old.flush().await?;
    let next = rig
        .open()
        .await?
        .next_sequence(at("2026-08-01T11:00:00Z"))
        .await?;
    assert_eq!(next.is_newer_than(Some(newest)), Ok(true));
    Ok(())
}

#[tokio::test]
async fn a_deleted_work_leaves_nothing() -> Result<()> {
    let rig = Rig::new("deleted").await?;
    let store = rig.open().await?;
    let mut gone = work("gone", 1, &bundle("1"));
    commit(&store, &[gone.clone(), work("stays", 1, &bundle("1"))]).await?;
    store.remove(&"gone".into()).await?;
    assert!(
        rig.works().get_opt("gone").await?.is_some(),
        "it was not to be deleted"
    );

    gone.head.deleting_since = Some(at("2026-08-01T11:00:00Z"));
    gone.head.metadata = None;
    commit(&store, &[gone.clone()]).await?;
    assert_eq!(read(&store, "gone").await?.work.payload, gone.payload);
    store.remove(&"gone".into()).await?;
    assert_eq!(rig.works().get_opt("gone").await?, None);
    assert_eq!(rig.open().await?.index().ids(), ["stays".into()]);

    // Killed between letting go and deleting; and somebody else was quicker.
    commit(&store, &[gone.clone()]).await?;
    rig.merge("gone", json!({"metadata": {"finalizers": null}}))
        .await?;
    let again = rig.open().await?;
    assert!(
        again
            .index()
            .entry(&"gone".into())
            .is_some_and(|entry| entry.deleting)
    );
    again.remove(&"gone".into()).await?;
    assert_eq!(rig.works().get_opt("gone").await?, None);
    store.remove(&"gone".into()).await?;
    assert_eq!(store.index().ids(), ["stays".into()]);
    Ok(())
}

#[tokio::test]
async fn a_work_that_somebody_broke_is_left_alone_and_mended_by_its_source() -> Result<()> {
    let rig = Rig::new("broken").await?;
    let store = rig.open().await?;
    let works = [
        work("a", 1, &bundle("1")),
        work("b", 1, &bundle("1")),
        work("c", 1, &bundle("1")),
    ];
    commit(&store, &works).await?;
    rig.merge("a", json!({"metadata": {"annotations": null}}))
        .await?;
    rig.merge(
        "b",
        json!({"spec": {"deleteOption": {"propagationPolicy": 5}}}),
    )
    .await?;

    let found = rig.found().await?;
    assert_eq!(found.works, 2);
    assert!(
        found.unreadable[0].ends_with(
            "/a`: annotation `cloudevents.open-cluster-management.io/generation` is missing"
        ),
        "{:?}",
        found.unreadable
    );
    let again = found.store;
    assert!(resync_wanted(&again).await);
    assert!(again.read(&"a".into()).await?.is_none());
    assert!(again.read(&"b".into()).await?.is_none());
    assert!(resync_wanted(&again).await);
    assert_eq!(rig.works().list(&Default::default()).await?.items.len(), 3);
    // The answer to the resync.
    commit(&again, &works).await?;
    let mended = rig.found().await?;
    assert_eq!((mended.works, mended.unreadable.len()), (3, 0));
    for work in &works {
        assert_eq!(
            read(&mended.store, work.head.id.as_str()).await?.work,
            *work
        );
    }
    // And while it is held.
    rig.merge("a", json!({"metadata": {"annotations": null}}))
        .await?;
    let newer = work("a", 2, &bundle("2"));
    commit(&again, std::slice::from_ref(&newer)).await?;
    assert_eq!(read(&rig.open().await?, "a").await?.work, newer);
    Ok(())
}

#[tokio::test]
async fn kubectl_shows_how_a_work_fares() -> Result<()> {
    let rig = Rig::new("columns").await?;
    let store = rig.open().await?;
    commit(&store, &[work("w", 7, &bundle("1"))]).await?;
    say(&store, "w", &record(7, "m")).await?;
    let table = rig.kubectl(&["get", "manifestworks"]).await?;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["NAME", "BUNDLE", "APPLIED", "AVAILABLE", "VERSION", "AGE"]
    );
    assert_eq!(rows[1][..4], ["w", "True", "True", "7"]);
    let explained = kubectl(rig.cluster, &["explain", "manifestworks.spec.workload"], "").await?;
    assert!(
        explained.contains("Bare Kubernetes objects."),
        "{explained}"
    );
    let schema = rig
        .kubectl(&[
            "get",
            "crd",
            "-o",
            "jsonpath={.items[*].status.conditions[*].type}",
        ])
        .await?;
    assert!(!schema.contains("NonStructuralSchema"), "{schema}");
    Ok(())
}
