//! A store that fails: no story, but what is wrong with it, where to look, and the right code.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::postgres::Server;
use tests::region::{BrokerKind, RegionBuilder};
use tests::test_dir::TestDir;
use tests::tmpfs::Tmpfs;
use tests::wait::wait_for;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_stopped_is_told_as_an_error_by_rest_and_by_the_verb() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let mounted = tempfile::tempdir()?;
    server.mount(mounted.path(), &server.database()?)?;
    let mut region = RegionBuilder::new("explain-stopped", BrokerKind::Sandbox)
        .postgres(mounted.path())
        .start()
        .await?;
    let api = region.api().await?;
    let id = post(&api, "cluster1", "a").await?;
    well(&api, &id).await?;
    server.stop()?;
    unknown(&api, &id).await?;
    let flags = [
        "--store",
        "postgres",
        "--mount",
        mounted.path().to_str().unwrap(),
        "--db-sslmode",
        "disable",
    ];
    for subject in [id.as_str(), "cluster1"] {
        let (code, stdout, stderr) = explain(&region, &[&[subject], &flags[..]].concat()).await?;
        ensure!(code == Some(1) && stdout.is_empty(), "{code:?} {stdout}");
        for words in ["the server cannot be reached", "hint: ", "MQ701"] {
            ensure!(stderr.contains(words), "no `{words}` in {stderr}");
        }
        ensure!(!stderr.contains(tests::postgres::PASSWORD), "{stderr}");
    }
    server.launch(&["max_connections=80"])?;
    region.ready().await?;
    well(&api, &id).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_where_it_was_is_no_source_of_stories() -> Result<()> {
    let mut region = RegionBuilder::new("explain-unlinked", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
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
    unknown(&api, &id).await?;
    let (code, stdout, stderr) = verb(&region, &[&id]).await?;
    ensure!(code == Some(1) && stdout.is_empty(), "{code:?} {stdout}");
    for words in ["there is no such file", "bridge.sqlite", "hint: ", "`--db`"] {
        ensure!(stderr.contains(words), "no `{words}` in {stderr}");
    }
    // Another one in its place is read by the verb, and is not what the bridge has.
    std::fs::rename(&kept, &database)?;
    unknown(&api, &id).await?;
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

/// By REST there is no story of the bundle, nor of its consumer, but 503 with words.
async fn unknown(api: &Api, id: &str) -> Result<()> {
    for path in [
        format!("/resource-bundles/{id}/explain"),
        "/consumers/cluster1/explain".to_owned(),
    ] {
        let (status, text) = api.raw(Method::GET, &path, None).await?;
        ensure!(status == 503, "{path}: {status} {text}");
        for words in [
            "maestro-9",
            "the store",
            "is not known without it",
            "/readyz",
            "MQ700",
        ] {
            ensure!(text.contains(words), "{path}: no `{words}` in {text}");
        }
        ensure!(!text.contains("\"waiting\""), "{text}");
    }
    Ok(())
}

const DATABASE_KILOBYTES: u32 = 32 * 1024;
