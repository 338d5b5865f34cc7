//! A manifest goes in at one end, its status comes out at the other: real processes, real certificates, and the same
//! test through both brokers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::api::{Change, config_map};
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_bundle_is_applied_and_its_status_read_back_through_the_sandbox() -> Result<()> {
    a_posted_bundle_is_applied_and_its_status_read_back("data-path-sandbox", BrokerKind::Sandbox)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_bundle_is_applied_and_its_status_read_back_through_mosquitto() -> Result<()> {
    a_posted_bundle_is_applied_and_its_status_read_back(
        "data-path-mosquitto",
        BrokerKind::Mosquitto,
    )
    .await
}

async fn a_posted_bundle_is_applied_and_its_status_read_back(
    test: &str,
    kind: BrokerKind,
) -> Result<()> {
    let mut region = RegionBuilder::new(test, kind).start().await?;
    let api = region.api().await?;
    let created = api
        .create_bundle(&Change::create(
            "cluster1",
            vec![config_map("a", "one"), config_map("b", "one")],
        ))
        .await?;
    assert_eq!(created.version, 1);
    let target = region.agents["cluster1"].target.clone();
    let file = target.join("default/configmap/a.yaml");
    let applied = wait_for("the status of version 1", PATIENCE, async || {
        status_of(&api, &created.id, 1).await
    })
    .await?;
    assert!(applied.is("Applied") && applied.is("Available"));
    assert!(std::fs::read_to_string(&file)?.contains("one"));
    // A changed manifest replaces its file, a dropped one is pruned.
    api.change_bundle(&created.id, &Change::of(1, vec![config_map("a", "two")]))
        .await?;
    wait_for("the status of version 2", PATIENCE, async || {
        status_of(&api, &created.id, 2).await
    })
    .await?;
    assert!(std::fs::read_to_string(&file)?.contains("two"));
    assert!(!target.join("default/configmap/b.yaml").exists());
    // An older writer is told so.
    let stale = api
        .change_bundle(&created.id, &Change::of(1, vec![config_map("a", "three")]))
        .await;
    assert!(
        stale
            .expect_err("an old version is refused")
            .to_string()
            .contains('2')
    );
    // The ledger shows every hop of the version; that of the broker is noted beside what the agent says.
    wait_for("every hop in the ledger", PATIENCE, async || {
        let shown = api.bundle(&created.id).await?;
        let ledger = shown.context("the bundle is there")?.rest["ledger"].clone();
        let entries = ledger.as_array().into_iter().flatten();
        let newest = entries.max_by_key(|entry| entry["version"].as_i64());
        let newest = newest.cloned().unwrap_or_default();
        let hops = [
            "stored_at",
            "published_at",
            "broker_acked_at",
            "applied_at",
            "reported_at",
        ];
        let missing: Vec<_> = hops
            .into_iter()
            .filter(|hop| !newest[hop].is_string())
            .collect();
        ensure!(missing.is_empty(), "{missing:?} in {newest}");
        anyhow::Ok(())
    })
    .await?;
    // Removal is shown as done only once it is.
    api.delete_bundle(&created.id).await?;
    wait_for("the bundle is gone", PATIENCE, async || {
        match api.bundle(&created.id).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    assert!(!file.exists());
    assert_eq!(api.bundles("").await?.total, 0);
    region.test_dir.passed();
    Ok(())
}

async fn status_of(
    api: &tests::api::Api,
    id: &str,
    version: i64,
) -> Result<tests::api::Bundle, String> {
    match api.bundle(id).await {
        Ok(Some(bundle)) if bundle.observed_version() == version && bundle.is("Applied") => {
            Ok(bundle)
        }
        other => Err(format!("{other:?}")),
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
