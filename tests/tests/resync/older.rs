//! A bridge whose database is older than its agents: it was restored, or moved here.

use std::path::PathBuf;

use tests::api::{Bundle, Change};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_restored_from_before_shows_that_the_cluster_holds_a_newer_version() -> Result<()>
{
    let mut region = Builder::new("resync-older-bridge", Kind::Sandbox)
        .start()
        .await?;
    let writer = writer(&mut region).await?;
    let mut wanted = Wanted::default();
    create(&writer, &mut wanted, 0..1).await?;
    wanted.reached(&mut region, PATIENCE).await?;
    let backup = region.scratch.dir("backup")?;
    region.bridge.kill()?;
    let database = database(&region)?;
    for (file, kept) in database.iter().zip(0..) {
        std::fs::copy(file, backup.join(kept.to_string()))?;
    }
    region.bridge.restart()?;
    let api = region.api().await?;
    let changed = |version: i64| Change {
        version: Some(version),
        manifests: manifests("bundle-0", 10 + version),
        ..Change::default()
    };
    for version in [1, 2] {
        api.change_bundle("bundle-0", &changed(version)).await?;
    }
    shows(&mut region, |bundle| {
        bundle.version == 3 && bundle.observed_version() == 3
    })
    .await?;

    region.bridge.kill()?;
    for file in self::database(&region)? {
        std::fs::remove_file(file)?;
    }
    for (file, kept) in database.iter().zip(0..) {
        std::fs::copy(backup.join(kept.to_string()), file)?;
    }
    region.bridge.restart()?;
    let is_behind = |bundle: &Bundle, version: i64| {
        bundle.version == version
            && bundle.observed_version() == 3
            && bundle.status["conditions"][0]["status"] == "False"
            && bundle.status["conditions"][0]["reason"] == "NewerVersionHeld"
    };
    shows(&mut region, |bundle| is_behind(bundle, 1)).await?;
    // What is still too old is refused by the agent, which says so.
    let api = region.api().await?;
    api.change_bundle("bundle-0", &changed(1)).await?;
    shows(&mut region, |bundle| {
        let message = bundle.status["conditions"][0]["message"].as_str();
        is_behind(bundle, 2)
            && message.is_some_and(|message| message.contains("version 2 of this database"))
    })
    .await?;
    for version in [2, 3] {
        api.change_bundle("bundle-0", &changed(version)).await?;
    }
    shows(&mut region, |bundle| {
        bundle.version == 4 && bundle.observed_version() == 4 && bundle.is("Applied")
    })
    .await?;
    region.passed();
    Ok(())
}

/// The files of the bridge's database.
fn database(region: &Region) -> Result<Vec<PathBuf>> {
    let files = files(&region.scratch.dir("bridge")?)?.into_iter();
    Ok(files
        .filter(|file| file.to_string_lossy().contains("bridge.sqlite"))
        .collect())
}

/// Waits until REST shows the first bundle like this.
async fn shows(region: &mut Region, check: impl Fn(&Bundle) -> bool) -> Result<()> {
    let api = region.api().await?;
    wait_for("the bundle to be shown so", PATIENCE, async || {
        match api.bundle("bundle-0").await {
            Ok(Some(bundle)) if check(&bundle) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}
