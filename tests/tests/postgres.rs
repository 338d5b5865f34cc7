//! The bridge on PostgreSQL, as processes and over TLS.

#[path = "postgres/tls.rs"]
mod tls;

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use tests::api::{Api, Change, config_map};
use tests::postgres::Server;
use tests::region::{Builder, Kind};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_region_outlives_its_bridge_and_its_database_server() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let mut region = Builder::new("postgres-region", Kind::Sandbox)
        .postgres(files.path())
        .start()
        .await?;
    let api = region.api().await?;
    let change = Change::create("cluster1", vec![config_map("a", "here")]);
    let first = api.create_bundle(&change).await?.id;
    applied(&api, &first).await?;

    region.bridge.kill()?;
    region.bridge.restart()?;
    let api = region.api().await?;
    let page = api.bundles("").await?;
    ensure!(page.items.len() == 1 && page.items[0].id == first);
    applied(&api, &first).await?;

    server.stop()?;
    let said = region
        .bridge
        .unready("the server cannot be reached")
        .await?;
    ensure!(said.contains("store"), "{said}");
    let body = json!({"consumer_name": "cluster1", "manifests": [config_map("lost", "here")]});
    let answer = api
        .raw(Method::POST, "/resource-bundles", Some(&body))
        .await?;
    ensure!(answer.0 == 503, "{answer:?}");
    server.launch(&[])?;
    region.ready().await?;
    let change = Change::create("cluster1", vec![config_map("b", "here")]);
    let second = api.create_bundle(&change).await?.id;
    applied(&api, &second).await?;
    ensure!(api.bundles("").await?.items.len() == 2);
    let log = region.bridge.process().output();
    ensure!(!log.contains(tests::postgres::PASSWORD), "{log}");
    region.passed();
    Ok(())
}

async fn applied(api: &Api, id: &str) -> Result<()> {
    let what = format!("`{id}` to be applied");
    wait_for(&what, PATIENCE, async || match api.bundle(id).await {
        Ok(Some(bundle)) if bundle.is("Applied") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);
