//! Bridges whose databases are older than their agents: an older dump was restored, an older file put back, everything was
//! lost and posted again. Agents converge to what the database holds, nothing is deleted that nobody deleted, and the
//! ledger tells what happened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::api::{Api, Bundle, Change, config_map};
use tests::fleet::files;
use tests::postgres::Server;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::wait::wait_for;

#[path = "history/go.rs"]
mod go;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_what_an_older_file_holds_that_was_put_back() -> Result<()> {
    let mut region = RegionBuilder::new("history-file", BrokerKind::Sandbox)
        .start()
        .await?;
    post(&mut region, ID, "one").await?;
    post(&mut region, "other", "kept").await?;
    applied(&mut region, ID, 1).await?;
    applied(&mut region, "other", 1).await?;
    let backup = region.test_dir.dir("backup")?;
    region.bridge.kill()?;
    let kept = database(&region)?;
    for file in &kept {
        std::fs::copy(file, backup.join(name(file)))?;
    }
    region.bridge.restart()?;
    for version in [1, 2] {
        change(&mut region, ID, version, &format!("lost {version}")).await?;
    }
    post(&mut region, "later", "lost too").await?;
    applied(&mut region, ID, 3).await?;
    applied(&mut region, "later", 1).await?;

    region.bridge.kill()?;
    for file in database(&region)? {
        std::fs::remove_file(file)?;
    }
    for file in &kept {
        std::fs::copy(backup.join(name(file)), file)?;
    }
    region.bridge.restart()?;
    // Without anybody's doing: what the database holds is what the cluster gets, under a version above its own.
    let bundle = applied(&mut region, ID, 4).await?;
    ensure!(
        note(&bundle).contains("held version 3 while this database was at 1"),
        "{bundle:?}"
    );
    ensure!(value(&region, ID)? == "one");
    ensure!(value(&region, "other")? == "kept");
    ensure!(value(&region, "later")? == "lost too", "nobody deleted it");
    let process = region.bridge.process();
    // The agent's list, which confirms the others, may come after its status.
    let answered = |text: &str| {
        text.split_once("A new epoch of the database begins")
            .is_some_and(|(_, after)| after.contains("Answered a resync"))
    };
    process
        .output_until("the list in the new epoch", PATIENCE, answered)
        .await?;
    let page = region.bridge.metrics().await?;
    ensure!(page.count("bridge_raises_total", &[("outcome", "raised")]) == 1);
    // Life goes on, one version after the other: the agent has said that it holds these.
    change(&mut region, ID, 4, "two").await?;
    applied(&mut region, ID, 5).await?;
    change(&mut region, "other", 1, "changed").await?;
    applied(&mut region, "other", 2).await?;
    // And a start without a restore is none.
    region.bridge.kill()?;
    region.bridge.restart()?;
    change(&mut region, ID, 5, "three").await?;
    applied(&mut region, ID, 6).await?;
    ensure!(value(&region, ID)? == "three");
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_what_is_posted_again_into_an_empty_database() -> Result<()> {
    let mut region = RegionBuilder::new("history-lost", BrokerKind::Sandbox)
        .start()
        .await?;
    post(&mut region, ID, "one").await?;
    post(&mut region, "forgotten", "stays").await?;
    change(&mut region, ID, 1, "two").await?;
    applied(&mut region, ID, 2).await?;
    applied(&mut region, "forgotten", 1).await?;
    region.bridge.kill()?;
    for file in database(&region)? {
        std::fs::remove_file(file)?;
    }
    region.bridge.restart()?;
    post(&mut region, ID, "anew").await?;
    applied(&mut region, ID, 3).await?;
    ensure!(value(&region, ID)? == "anew");
    ensure!(value(&region, "forgotten")? == "stays");
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_what_an_older_dump_holds_and_what_is_deleted_after_it() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let mounted = tempfile::tempdir()?;
    let database = server.database()?;
    server.mount(mounted.path(), &database)?;
    let mut region = RegionBuilder::new("history-dump", BrokerKind::Sandbox)
        .postgres(mounted.path())
        .start()
        .await?;
    post(&mut region, ID, "one").await?;
    post(&mut region, "leaving", "goes").await?;
    applied(&mut region, ID, 1).await?;
    applied(&mut region, "leaving", 1).await?;
    let dump = mounted.path().join("dump.sql");
    server.dump(&database, &dump)?;
    for id in [ID, "leaving"] {
        for version in [1, 2] {
            change(&mut region, id, version, &format!("lost {version}")).await?;
        }
        applied(&mut region, id, 3).await?;
    }
    region.bridge.kill()?;
    region.agent("cluster1")?.service.kill()?;
    server.sql(&database, "DROP SCHEMA bridge CASCADE")?;
    server.restore(&database, &dump)?;
    region.bridge.restart()?;
    // Nobody knows yet what the cluster holds: the change keeps a distance, whatever the caller's version, and a deletion
    // is one of whatever there is.
    region.api().await?.delete_bundle("leaving").await?;
    let changed = change(&mut region, ID, 1, "new").await?;
    let jumped = changed.version;
    ensure!((1_001..2_001).contains(&jumped), "{changed:?}");
    ensure!(note(&changed).contains("restored or moved"), "{changed:?}");
    region.agent("cluster1")?.service.restart()?;
    applied(&mut region, ID, jumped).await?;
    ensure!(value(&region, ID)? == "new");
    let api = region.api().await?;
    wait_for("the deletion", PATIENCE, async || {
        match api.bundle("leaving").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    ensure!(
        region.agents["cluster1"]
            .applied(&config_map("leaving", ""))?
            .is_none()
    );
    change(&mut region, ID, jumped, "newer").await?;
    applied(&mut region, ID, jumped + 1).await?;
    let epochs = server.sql(&database, "SELECT count(*) FROM bridge.epochs")?;
    ensure!(epochs == "2", "{epochs}");
    region.passed();
    Ok(())
}

async fn post(region: &mut Region, id: &str, text: &str) -> Result<()> {
    let api = region.api().await?;
    let body = json!({"id": id, "consumer_name": "cluster1", "manifests": [config_map(id, text)]});
    let answer = api
        .raw(Method::POST, "/resource-bundles", Some(&body))
        .await?;
    ensure!(answer.0 == 201, "{answer:?}");
    Ok(())
}

async fn change(region: &mut Region, id: &str, version: i64, text: &str) -> Result<Bundle> {
    let api = region.api().await?;
    let change = Change::of(version, vec![config_map(id, text)]);
    Ok(api.change_bundle(id, &change).await?)
}

/// Waits until a bundle has this version and its agent says that it applied it.
async fn applied(region: &mut Region, id: &str, version: i64) -> Result<Bundle> {
    let api = region.api().await?;
    applied_to(&api, id, version).await
}

async fn applied_to(api: &Api, id: &str, version: i64) -> Result<Bundle> {
    let applied = wait_for("the bundle to be applied", PATIENCE, async || {
        match api.bundle(id).await {
            Ok(Some(bundle))
                if bundle.version == version
                    && bundle.observed_version() == version
                    && bundle.is("Applied") =>
            {
                Ok(bundle)
            }
            other => Err(format!("`{id}` at {version}: {other:?}")),
        }
    });
    Ok(applied.await?)
}

/// What the ledger says about the last version.
fn note(bundle: &Bundle) -> String {
    let entries = bundle.rest.get("ledger").and_then(Value::as_array);
    let last = entries.and_then(|entries| entries.last());
    let note = last.and_then(|last| last["note"].as_str());
    note.unwrap_or_default().to_owned()
}

/// What the cluster has of a bundle.
fn value(region: &Region, id: &str) -> Result<String> {
    let object = region.agents["cluster1"]
        .applied(&config_map(id, ""))?
        .unwrap_or_default();
    Ok(object["data"]["value"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// The files of the bridge's database.
fn database(region: &Region) -> Result<Vec<PathBuf>> {
    let files = files(&region.test_dir.dir("bridge")?)?.into_iter();
    Ok(files
        .filter(|file| file.to_string_lossy().contains("bridge.sqlite"))
        .collect())
}

fn name(file: &Path) -> &Path {
    file.file_name().map_or(file, Path::new)
}

const ID: &str = "bundle-0";
const PATIENCE: Duration = Duration::from_secs(60);
