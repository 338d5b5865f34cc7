//! A store that fails: no story, but what is wrong with it, where to look, and the right code.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::test_dir::TestDir;
use tests::tmpfs::Tmpfs;

use super::database::{Database, SETTINGS};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_stopped_is_told_as_an_error_by_rest_and_by_the_verb() -> Result<()> {
    let database = Database::start()?;
    let mut region = RegionBuilder::new("explain-stopped", BrokerKind::Sandbox)
        .postgres(database.mount())
        .start()
        .await?;
    let api = region.api().await?;
    let id = post(&api, "cluster1", "a").await?;
    well(&api, &id).await?;
    database.server.stop()?;
    unknown(&api, &id, "cluster1").await?;
    for subject in [id.as_str(), "cluster1"] {
        let (code, stdout, stderr) = database.verb(&region, &[subject]).await?;
        ensure!(code == Some(1) && stdout.is_empty(), "{code:?} {stdout}");
        let words = ["the server cannot be reached", "hint: ", "MQ701"];
        has(&stderr, &words)?;
        ensure!(!stderr.contains(tests::postgres::PASSWORD), "{stderr}");
    }
    database.server.launch(&SETTINGS)?;
    region.ready().await?;
    well(&api, &id).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_where_it_was_is_no_source_of_stories() -> Result<()> {
    let (region, api) = start("explain-unlinked").await?;
    let id = post(&api, "cluster1", "a").await?;
    well(&api, &id).await?;
    let database = region.database();
    let kept = database.with_extension("kept");
    std::fs::copy(&database, &kept)?;
    // SQLite reads on in what has no name any more, which nobody will ever read again.
    for suffix in ["", "-wal", "-shm"] {
        let mut file = database.clone().into_os_string();
        file.push(suffix);
        std::fs::remove_file(file)?;
    }
    unknown(&api, &id, "cluster1").await?;
    let (code, stdout, stderr) = verb(&region, &[&id]).await?;
    ensure!(code == Some(1) && stdout.is_empty(), "{code:?} {stdout}");
    let words = ["there is no such file", "bridge.sqlite", "hint: ", "`--db`"];
    has(&stderr, &words)?;
    // SQLite would call a directory a failing disk, and wait for a pipe for ever.
    std::fs::create_dir(&database)?;
    let (code, _, stderr) = verb(&region, &[&id]).await?;
    ensure!(code == Some(1), "{code:?} {stderr}");
    has(
        &stderr,
        &["it is a directory", "bridge.sqlite", "hint: ", "`--db`"],
    )?;
    std::fs::remove_dir(&database)?;
    let made = std::process::Command::new("mkfifo")
        .arg(&database)
        .status()?;
    ensure!(made.success(), "mkfifo: {made}");
    let (code, _, stderr) = verb(&region, &[&id]).await?;
    ensure!(code == Some(1), "{code:?} {stderr}");
    has(&stderr, &["it is a pipe or a device", "hint: "])?;
    std::fs::remove_file(&database)?;
    // Another one in its place is read by the verb, and is not what the bridge has.
    std::fs::rename(&kept, &database)?;
    unknown(&api, &id, "cluster1").await?;
    std::fs::write(
        &database,
        "no database at all, but more than a header has ".repeat(20),
    )?;
    let (code, stdout, stderr) = verb(&region, &[&id]).await?;
    ensure!(code == Some(1) && stdout.is_empty(), "{code:?} {stdout}");
    ensure!(stderr.contains("not a database"), "{stderr}");
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_what_a_bundle_waits_for() -> Result<()> {
    let test_dir = TestDir::new("explain-disk")?;
    let Some(disk) = Tmpfs::mount(test_dir.path(), DATABASE_KILOBYTES)? else {
        test_dir.passed();
        return Ok(());
    };
    let file = disk.path().join("bridge.sqlite");
    let mut region = RegionBuilder::new("explain-full", BrokerKind::Sandbox)
        .database(file.clone())
        .start()
        .await?;
    let api = region.api().await?;
    api.create_consumer("cluster9").await?;
    // Until nothing can be written any more, nothing is sent.
    region.broker.kill().await?;
    region.bridge.unready("broker").await?;
    let mut id = post(&api, "cluster9", "first").await?;
    disk.fill()?;
    wait_for("creates to be refused", PATIENCE, async || {
        let change = json!({"consumer_name": "cluster9", "manifests": [config_map("a", &"x".repeat(4_000))]});
        let answer = api.raw(Method::POST, "/resource-bundles", Some(&change)).await;
        let (status, text) = answer.map_err(|error| error.to_string())?;
        if status == 201 {
            let bundle: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            id = bundle["id"].as_str().unwrap_or_default().to_owned();
        }
        (status >= 500).then_some(()).ok_or(text)
    })
    .await?;
    region.bridge.unready("store").await?;
    region.broker.restart().await?;
    let words = ["this bridge cannot send: store: ", "MQ700"];
    told(&api, &id, "MQ902", &words).await?;
    // Reading needs no space, and beside the bridge nobody knows what it cannot do.
    let flags = [id.as_str(), "--db", file.to_str().unwrap()];
    let (code, stdout, stderr) = explain(&region, &flags).await?;
    ensure!(
        code == Some(0) && stdout.contains("for cluster9, version 1"),
        "{stdout}{stderr}"
    );

    disk.free()?;
    region.bridge.ready().await?;
    told(&api, &id, "MQ905", &["nothing was ever heard"]).await?;
    region.bridge.kill()?;
    drop(disk);
    region.passed();
    test_dir.passed();
    Ok(())
}

const DATABASE_KILOBYTES: u32 = 32 * 1024;
