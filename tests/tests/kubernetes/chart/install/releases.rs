//! How a release ends or changes, and what must outlive it.

use anyhow::{Context as _, Result, ensure};

use super::{APPLIED, DEFINITIONS, MANIFEST_WORKS, SPACE, Yard, earlier_chart};
use crate::chart::{AGENT, path};

#[tokio::test(flavor = "multi_thread")]
async fn definitions_and_works_outlive_a_release_however_it_ends() -> Result<()> {
    let yard = Yard::open("chart-releases").await?;
    let chart = path(AGENT);
    uninstalled(&yard, &chart).await.context("uninstall")?;
    yard.clear().await?;
    turned_off(&yard, &chart)
        .await
        .context("installCRDs=false")?;
    yard.clear().await?;
    renamed(&yard, &chart).await.context("another name")?;
    yard.clear().await?;
    of_an_earlier_chart(&yard, &chart)
        .await
        .context("an earlier chart")?;
    yard.passed();
    Ok(())
}

/// Also when it is installed again.
async fn uninstalled(yard: &Yard, chart: &str) -> Result<()> {
    yard.release("install", "agent", chart, &[]).await?;
    let held = yard.works().await?;
    for _ in 0..2 {
        yard.helm(SPACE, &["uninstall", "agent"]).await?;
        ensure!(yard.held().await? == held);
        let installed = yard.release("install", "agent", chart, &[]).await?;
        ensure!(!installed.stdout.contains("left as it is"), "{installed:?}");
        ensure!(yard.held().await? == held);
    }
    Ok(())
}

async fn turned_off(yard: &Yard, chart: &str) -> Result<()> {
    yard.release("install", "agent", chart, &[]).await?;
    let held = yard.works().await?;
    for set in ["installCRDs=false", "installCRDs=false", "installCRDs=true"] {
        yard.release("upgrade", "agent", chart, &[set]).await?;
        ensure!(yard.held().await? == held, "{set}");
    }
    yard.release("upgrade", "agent", chart, &["installCRDs=false"])
        .await?;
    yard.helm(SPACE, &["rollback", "agent"]).await?;
    yard.helm(SPACE, &["uninstall", "agent"]).await?;
    ensure!(yard.held().await? == held);
    // It never was this one's.
    yard.release("install", "agent", chart, &["installCRDs=false"])
        .await?;
    ensure!(yard.held().await? == held);
    Ok(())
}

/// The new one beside the old one, and alone.
async fn renamed(yard: &Yard, chart: &str) -> Result<()> {
    yard.release("install", "agent", chart, &[]).await?;
    let held = yard.works().await?;
    let beside = yard.release("install", "other", chart, &[]).await?;
    for name in DEFINITIONS {
        let words = format!("{name} is not this release's and was left as it is");
        ensure!(beside.stdout.contains(&words), "{beside:?}");
    }
    yard.helm(SPACE, &["uninstall", "agent"]).await?;
    ensure!(yard.held().await? == held);
    yard.release("upgrade", "other", chart, &[]).await?;
    yard.release("upgrade", "other", chart, &["installCRDs=false"])
        .await?;
    yard.helm(SPACE, &["uninstall", "other"]).await?;
    ensure!(yard.held().await? == held);
    Ok(())
}

/// Helm deletes what an upgrade leaves out unless the object itself says that it stays.
async fn of_an_earlier_chart(yard: &Yard, chart: &str) -> Result<()> {
    let earlier = earlier_chart(yard)?;
    yard.release("install", "agent", &earlier, &[]).await?;
    let held = yard.works().await?;
    for definition in [MANIFEST_WORKS, APPLIED] {
        let policy = yard.annotation(definition, POLICY).await?;
        ensure!(policy.is_none(), "{policy:?}");
    }
    for _ in 0..2 {
        yard.release("upgrade", "agent", chart, &["installCRDs=false"])
            .await?;
        ensure!(yard.held().await? == held);
        for definition in DEFINITIONS {
            let policy = yard.annotation(definition, POLICY).await?;
            ensure!(policy.as_deref() == Some("keep"), "{policy:?}");
        }
    }
    yard.helm(SPACE, &["uninstall", "agent"]).await?;
    ensure!(yard.held().await? == held);
    Ok(())
}

const POLICY: &str = "helm.sh/resource-policy";
