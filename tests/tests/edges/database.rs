//! A database that is not where it was, or is somebody else's: `/readyz` says it, and no create is answered 201 that a
//! restart would not know.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use tests::api::{Api, config_map};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, RegionBuilder};

use super::{PATIENCE, applied, goes_on, lives};

#[tokio::test(flavor = "multi_thread")]
async fn an_unlinked_database_is_not_ready_and_takes_no_bundle() -> Result<()> {
    let mut region = RegionBuilder::new("edges-unlinked", BrokerKind::Sandbox)
        .start()
        .await?;
    goes_on(&mut region, "cluster1", "a").await?;
    let database = region.database();
    // As a person does who wants to start anew and forgets the process.
    for suffix in ["", "-wal", "-shm"] {
        let mut file = database.clone().into_os_string();
        file.push(suffix);
        std::fs::remove_file(file)?;
    }
    region.bridge.unready("store").await?;
    let api = region.api().await?;
    takes_nothing(&api).await?;
    lives(&mut region).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_replaced_by_another_is_not_ready_and_takes_no_bundle() -> Result<()> {
    let mut region = RegionBuilder::new("edges-replaced", BrokerKind::Sandbox)
        .start()
        .await?;
    goes_on(&mut region, "cluster1", "a").await?;
    let database = region.database();
    let backup = database.with_extension("backup");
    std::fs::copy(&database, &backup)?;
    // As a restore does that does not stop the bridge first.
    std::fs::rename(&backup, &database)?;
    region.bridge.unready("store").await?;
    let api = region.api().await?;
    takes_nothing(&api).await?;
    lives(&mut region).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_bridge_on_one_database_is_refused_with_a_hint_and_the_first_goes_on() -> Result<()>
{
    let mut region = RegionBuilder::new("edges-second", BrokerKind::Sandbox)
        .start()
        .await?;
    let id = goes_on(&mut region, "cluster1", "a").await?;
    let ended = ProcessSpec::binary("server-bridge")?
        .label("second")
        .arg("--mount")
        .arg(region.bridge_mount.directory())
        .arg("--db")
        .arg(region.database())
        .args(["--api-listen", "127.0.0.1:0"])
        .args(["--grpc-listen", "127.0.0.1:0"])
        .args(["--admin-listen", "127.0.0.1:0"])
        .run(region.test_dir.path(), PATIENCE)
        .await?;
    ensure!(
        matches!(ended.status.code(), Some(1 | 2)),
        "{} {}",
        ended.status,
        ended.stderr
    );
    ensure!(ended.stderr.contains("bridge.sqlite"), "{}", ended.stderr);
    ensure!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    // The same client id would have put the first one out.
    goes_on(&mut region, "cluster1", "b").await?;
    let page = region.bridge.metrics().await?;
    ensure!(page.count("mqtt_connections_total", &[]) == 1);
    // Its successor is no second one, however the first ended.
    region.bridge.kill()?;
    region.bridge.restart()?;
    let api = region.api().await?;
    applied(&api, &id, 1).await?;
    goes_on(&mut region, "cluster1", "c").await?;
    region.passed();
    Ok(())
}

async fn takes_nothing(api: &Api) -> Result<()> {
    for number in 0..3 {
        let body = json!({
            "consumer_name": "cluster1",
            "manifests": [config_map(&format!("lost-{number}"), "here")],
        });
        let answer = api
            .raw(Method::POST, "/resource-bundles", Some(&body))
            .await?;
        ensure!(answer.0 >= 500, "{answer:?}");
    }
    Ok(())
}
