//! A server without a free byte.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use link::error::chain;
use link::id::ConsumerName;
use server_bridge::store::postgres::{CredentialFiles, PostgresConfig, PostgresStore, TlsMode};
use server_bridge::store::{
    Content, FailureClass, Json, Labels, NewBundle, NewConsumer, SourceName, Store as _, StoreError,
};
use tests::postgres::Server;
use tests::tmpfs::Tmpfs;
use tests::wait::wait_for;

async fn create(store: &PostgresStore, id: String) -> Result<(), StoreError> {
    // Text that compression does not make smaller.
    let text: String = (0..2000)
        .map(|_| uuid::Uuid::new_v4().to_string())
        .collect();
    let new = NewBundle {
        name: id.clone(),
        id,
        source: SourceName::default(),
        consumer_name: ConsumerName::new("c1").expect("a name"),
        metadata: None,
        origin: None,
        content: Content {
            manifests: Json::from_value(&serde_json::json!([text])),
            delete_option: None,
            manifest_configs: None,
            executer: None,
        },
    };
    store
        .create_bundle(new, Timestamp::UNIX_EPOCH)
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_takes_nothing_until_a_bundle_fits_again() -> Result<()> {
    let server = Server::start(&[])?;
    let place = server.directory("small")?;
    let Some(disk) = Tmpfs::mount(&place, 64 * 1024)? else {
        return Ok(());
    };
    server.directory("small")?;
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", place.display());
    server.sql("postgres", &space)?;
    server.sql("postgres", "CREATE DATABASE bundles TABLESPACE small")?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), "bundles")?;
    let mut config = PostgresConfig::new(CredentialFiles::mounted(files.path()));
    config.tls = TlsMode::Disable;
    let store = PostgresStore::open(config).await?;
    let consumer = NewConsumer {
        id: "c1".into(),
        name: ConsumerName::new("c1")?,
        labels: Labels::new(),
    };
    store
        .create_consumer(consumer, Timestamp::UNIX_EPOCH)
        .await?;
    disk.fill()?;
    let mut kept = 0;
    let error = loop {
        match create(&store, format!("b{kept}")).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        ensure!(kept < 100, "no end of the disk");
    };
    ensure!(
        error.class() == Some(FailureClass::Full) && error.is_retryable(),
        "{error:?}"
    );
    let said = store
        .ping()
        .await
        .err()
        .map(|error| chain(&error))
        .unwrap_or_default();
    ensure!(said.contains("No space left"), "{said}");
    disk.free()?;
    wait_for("room", PATIENCE, async || {
        store.ping().await.map_err(|error| chain(&error))
    })
    .await?;
    create(&store, "after".into()).await?;
    let there = store.versions_of(&ConsumerName::new("c1")?).await?;
    ensure!(there.len() == kept + 1, "{} of {kept}", there.len());
    store.close().await;
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(30);
