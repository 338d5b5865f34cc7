//! What a start leaves alone because somebody changed its object: taken back, it is what it was, above all in how it is
//! to be deleted.

use agent::work::{Store as _, Work};
use anyhow::{Context as _, Result, ensure};
use link::bundle::Spec;
use serde_json::json;

use super::rig::{Rig, at, bundle, commit, read, record, resync_wanted, say, work};

/// A bundle of one object that stays when the bundle goes.
fn orphaning() -> String {
    let mut bundle: serde_json::Value = serde_json::from_str(&bundle("1")).unwrap_or_default();
    bundle["deleteOption"] = json!({"propagationPolicy": "Orphan"});
    bundle.to_string()
}

fn policy(payload: &[u8]) -> Result<String> {
    let spec: Spec = serde_json::from_slice(payload)?;
    let option = spec.delete_option.context("how to delete")?;
    option.propagation_policy.context("a policy")
}

#[tokio::test]
async fn a_work_that_lost_its_label_while_no_agent_ran_is_held_as_it_was() -> Result<()> {
    let rig = Rig::new("left-label").await?;
    let store = rig.open().await?;
    let before = work("w", 3, &orphaning());
    commit(&store, std::slice::from_ref(&before)).await?;
    say(&store, "w", &record(3, "m")).await?;
    rig.merge("w", json!({"metadata": {"labels": null}}))
        .await?;

    let again = rig.open().await?;
    assert!(again.index().ids().is_empty());
    // As a start does for what it owns and does not know.
    commit(&again, &[Work::awaited("w".into())]).await?;
    for store in [&again, &rig.open().await?] {
        let stored = read(store, "w").await?;
        assert_eq!(stored.work.head, before.head);
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&stored.work.payload)?,
            serde_json::from_str::<serde_json::Value>(&orphaning())?
        );
        let said = stored.record.context("a status")?;
        assert_eq!(said.status, record(3, "m").status);
    }
    Ok(())
}

#[tokio::test]
async fn a_work_that_lost_an_annotation_keeps_its_spec_until_its_source_has_spoken() -> Result<()> {
    let rig = Rig::new("left-note").await?;
    let store = rig.open().await?;
    commit(&store, &[work("w", 1, &orphaning())]).await?;
    rig.annotate("w", SOURCE, json!(null)).await?;

    let again = rig.open().await?;
    assert!(again.index().ids().is_empty());
    commit(&again, &[Work::awaited("w".into())]).await?;
    let stored = read(&again, "w").await?;
    assert!(stored.work.is_awaited());
    assert_eq!(policy(&stored.work.payload)?, "Orphan");
    // Its next word is the end.
    let mut gone = work("w", 2, "");
    gone.head.deleting_since = Some(at("2026-08-01T11:00:00Z"));
    commit(&again, &[gone]).await?;
    for store in [&again, &rig.open().await?] {
        let stored = read(store, "w").await?;
        assert!(stored.work.head.deleting_since.is_some());
        assert_eq!(policy(&stored.work.payload)?, "Orphan");
    }
    // One without an object begins empty.
    commit(&again, &[Work::awaited("new".into())]).await?;
    assert!(
        read(&rig.open().await?, "new")
            .await?
            .work
            .payload
            .is_empty()
    );
    Ok(())
}

#[tokio::test]
async fn a_deletion_or_an_unusable_version_of_what_was_left_alone_empties_nothing() -> Result<()> {
    let rig = Rig::new("left-stray").await?;
    let store = rig.open().await?;
    let ids = ["ends", "unusable"];
    for id in ids {
        commit(&store, &[work(id, 1, &orphaning())]).await?;
        rig.annotate(id, SOURCE, json!(null)).await?;
    }
    let again = rig.open().await?;
    assert!(again.index().ids().is_empty());
    let mut works = ids.map(|id| work(id, 2, ""));
    works[0].head.deleting_since = Some(at("2026-08-01T11:00:00Z"));
    works[1].head.rejected = Some("no".into());
    assert!(again.may_hold(&"ends".into()));
    commit(&again, &works).await?;
    for store in [&again, &rig.open().await?] {
        for work in &works {
            let stored = read(store, work.head.id.as_str()).await?;
            assert_eq!(stored.work.head, work.head);
            assert_eq!(policy(&stored.work.payload)?, "Orphan");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_work_whose_spec_cannot_be_read_is_deleted_all_the_same() -> Result<()> {
    let rig = Rig::new("left-spec").await?;
    let store = rig.open().await?;
    commit(
        &store,
        &[
            work("settings", 1, &orphaning()),
            work("option", 1, &orphaning()),
        ],
    )
    .await?;
    let broken = json!({"spec": {"manifestConfigs": [{"resourceIdentifier": 5}]}});
    rig.merge("settings", broken).await?;
    let broken = json!({"spec": {"deleteOption": {"propagationPolicy": 5}}});
    rig.merge("option", broken).await?;
    let again = rig.open().await?;
    for id in ["settings", "option"] {
        assert!(again.read(&id.into()).await?.is_none());
        assert!(resync_wanted(&again).await);
        let mut gone = work(id, 2, "");
        gone.head.deleting_since = Some(at("2026-08-01T11:00:00Z"));
        commit(&again, &[gone]).await?;
        let stored = read(&again, id).await?;
        ensure!(stored.work.head.deleting_since.is_some(), "{stored:?}");
        if id == "settings" {
            assert_eq!(policy(&stored.work.payload)?, "Orphan");
        }
        again.remove(&id.into()).await?;
        assert_eq!(rig.works().get_opt(id).await?, None);
    }
    Ok(())
}

const SOURCE: &str = "work.open-cluster-management.io/source";
