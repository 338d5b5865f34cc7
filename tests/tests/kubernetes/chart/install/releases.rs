//! How a release ends or changes, and what must outlive it.

use anyhow::{Context as _, Result, ensure};

use super::{APPLIED, ChartCluster, DEFINITIONS, MANIFEST_WORKS, SPACE, earlier_chart};
use crate::chart::{AGENT, path};

#[tokio::test(flavor = "multi_thread")]
async fn definitions_and_works_outlive_a_release_however_it_ends() -> Result<()> {
    let fixture = ChartCluster::open("chart-releases").await?;
    let chart = path(AGENT);
    uninstalled(&fixture, &chart).await.context("uninstall")?;
    fixture.clear().await?;
    turned_off(&fixture, &chart)
        .await
        .context("installCRDs=false")?;
    fixture.clear().await?;
    renamed(&fixture, &chart).await.context("another name")?;
    fixture.clear().await?;
    of_an_earlier_chart(&fixture, &chart)
        .await
        .context("an earlier chart")?;
    fixture.passed();
    Ok(())
}

/// Also when it is installed again.
async fn uninstalled(fixture: &ChartCluster, chart: &str) -> Result<()> {
    fixture.release("install", "agent", chart, &[]).await?;
    let held = fixture.works().await?;
    for _ in 0..2 {
        fixture.helm(SPACE, &["uninstall", "agent"]).await?;
        ensure!(fixture.held().await? == held);
        let installed = fixture.release("install", "agent", chart, &[]).await?;
        ensure!(!installed.stdout.contains("left as it is"), "{installed:?}");
        ensure!(fixture.held().await? == held);
    }
    Ok(())
}

async fn turned_off(fixture: &ChartCluster, chart: &str) -> Result<()> {
    fixture.release("install", "agent", chart, &[]).await?;
    let held = fixture.works().await?;
    for set in ["installCRDs=false", "installCRDs=false", "installCRDs=true"] {
        fixture.release("upgrade", "agent", chart, &[set]).await?;
        ensure!(fixture.held().await? == held, "{set}");
    }
    fixture
        .release("upgrade", "agent", chart, &["installCRDs=false"])
        .await?;
    fixture.helm(SPACE, &["rollback", "agent"]).await?;
    fixture.helm(SPACE, &["uninstall", "agent"]).await?;
    ensure!(fixture.held().await? == held);
    // It never was this one's.
    fixture
        .release("install", "agent", chart, &["installCRDs=false"])
        .await?;
    ensure!(fixture.held().await? == held);
    Ok(())
}

/// The new one beside the old one, and alone.
async fn renamed(fixture: &ChartCluster, chart: &str) -> Result<()> {
    fixture.release("install", "agent", chart, &[]).await?;
    let held = fixture.works().await?;
    let beside = fixture.release("install", "other", chart, &[]).await?;
    for name in DEFINITIONS {
        let words = format!("{name} is not this release's and was left as it is");
        ensure!(beside.stdout.contains(&words), "{beside:?}");
    }
    fixture.helm(SPACE, &["uninstall", "agent"]).await?;
    ensure!(fixture.held().await? == held);
    fixture.release("upgrade", "other", chart, &[]).await?;
    fixture
        .release("upgrade", "other", chart, &["installCRDs=false"])
        .await?;
    fixture.helm(SPACE, &["uninstall", "other"]).await?;
    ensure!(fixture.held().await? == held);
    Ok(())
}

/// Helm deletes what an upgrade leaves out unless the object itself says that it stays.
async fn of_an_earlier_chart(fixture: &ChartCluster, chart: &str) -> Result<()> {
    let earlier = earlier_chart(fixture)?;
    fixture.release("install", "agent", &earlier, &[]).await?;
    let held = fixture.works().await?;
    for definition in [MANIFEST_WORKS, APPLIED] {
        let policy = fixture.annotation(definition, POLICY).await?;
        ensure!(policy.is_none(), "{policy:?}");
    }
    for _ in 0..2 {
        fixture
            .release("upgrade", "agent", chart, &["installCRDs=false"])
            .await?;
        ensure!(fixture.held().await? == held);
        for definition in DEFINITIONS {
            let policy = fixture.annotation(definition, POLICY).await?;
            ensure!(policy.as_deref() == Some("keep"), "{policy:?}");
        }
    }
    fixture.helm(SPACE, &["uninstall", "agent"]).await?;
    ensure!(fixture.held().await? == held);
    Ok(())
}

const POLICY: &str = "helm.sh/resource-policy";
