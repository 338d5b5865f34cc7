//! A network that swallows what is rung.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use server_bridge::store::postgres::{CredentialFiles, PostgresConfig, PostgresStore, TlsMode};
use server_bridge::store::{Hint, Store as _};
use tests::wait::{patient, timeout, wait_for};
use tokio::time::Instant;

use super::behind_a_proxy;

/// As after a failover or behind a firewall that forgets: nobody closes the connection, and nothing comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_hears_nothing_any_more_is_found_out_within_twenty_seconds() -> Result<()> {
    let (_server, files, proxy) = behind_a_proxy().await?;
    let mut config = PostgresConfig::new(CredentialFiles::mounted(files.path()));
    config.tls = TlsMode::Disable;
    let metrics = config.metrics.clone();
    let store = PostgresStore::open(config).await?;
    let mut told = store.changes();
    ensure!(told.recv().await? == Hint::Somebody);
    proxy.stall();
    let began = Instant::now();
    wait_for(
        "the silence to be noticed",
        PATIENCE,
        async || match metrics.reconnects() {
            0 => Err("it waits"),
            _ => Ok(()),
        },
    )
    .await?;
    let took = began.elapsed();
    ensure!(took < patient(Duration::from_secs(20)), "{took:?}");
    proxy.break_all();
    proxy.pass();
    let hint = timeout(PATIENCE, told.recv()).await.context("a hint")??;
    ensure!(hint == Hint::Somebody, "{hint:?}");
    store.close().await;
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);
