//! The bridge on PostgreSQL, as processes and over TLS.

#[path = "postgres/disk.rs"]
mod disk;
#[path = "postgres/notifications.rs"]
mod notifications;
#[path = "postgres/tls.rs"]
mod tls;
#[path = "postgres/verbs.rs"]
mod verbs;

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use server_bridge::store::Store as _;
use server_bridge::store::postgres::{CredentialFiles, PostgresConfig, PostgresStore, TlsMode};
use tests::api::{Api, Change, config_map};
use tests::postgres::Server;
use tests::proxy::RetargetableProxy;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::{patient, timeout, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_region_outlives_its_bridge_and_its_database_server() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let mut region = RegionBuilder::new("postgres-region", BrokerKind::Sandbox)
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

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_waits_for_its_database_stops_when_it_is_told_to() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let mut region = RegionBuilder::new("postgres-away", BrokerKind::Sandbox)
        .postgres(files.path())
        .start()
        .await?;
    server.stop()?;
    for signal in ["TERM", "INT"] {
        region.bridge.kill()?;
        region.bridge.restart()?;
        region.bridge.listening().await?;
        let process = region.bridge.process();
        process.signal(signal)?;
        let status = process.exited(Duration::from_secs(5)).await?;
        ensure!(status.success(), "{status}: {}", process.output());
    }
    region.passed();
    Ok(())
}

/// As after a failover: nobody closed the old connections, and the name leads elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_nobody_closed_are_given_up_within_seconds() -> Result<()> {
    let (server, files, proxy) = behind_a_proxy().await?;
    let port = files.path().join("db.port");
    let mut config = PostgresConfig::new(CredentialFiles::mounted(files.path()));
    config.tls = TlsMode::Disable;
    config.limits.answer = Duration::from_secs(4);
    let store = PostgresStore::open(config).await?;
    // All connections are used and idle again.
    let everybody = async || {
        let reads = (0..16).map(|_| store.consumer_names());
        futures_util::future::try_join_all(reads).await
    };
    everybody().await?;
    proxy.stall();
    let began = tokio::time::Instant::now();
    std::fs::write(&port, server.port().to_string())?;
    wait_for(
        "everybody to be answered",
        PATIENCE,
        async || match timeout(Duration::from_secs(1), everybody()).await {
            Ok(Ok(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    store.ping().await?;
    let took = began.elapsed();
    ensure!(took < patient(Duration::from_secs(20)), "{took:?}");
    store.close().await;
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

/// A database whose files lead to it through a proxy that a test can stall.
async fn behind_a_proxy() -> Result<(Server, tempfile::TempDir, RetargetableProxy)> {
    let server = Server::start(&[])?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let proxy = RetargetableProxy::start(([127, 0, 0, 1], server.port()).into()).await?;
    let port = proxy.address().port().to_string();
    std::fs::write(files.path().join("db.port"), port)?;
    Ok((server, files, proxy))
}
