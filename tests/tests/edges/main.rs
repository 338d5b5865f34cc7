//! At the limit and one past it: sizes, disks without a free byte, processes without a free descriptor, databases that
//! are somewhere else. What cannot be done is said where a person reads it, nothing is acknowledged for it, and
//! everything else goes on.

mod database;
mod descriptors;
mod disk;
mod files;
mod sizes;

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::api::{Api, Change, config_map};
use tests::region::Region;
use tests::wait::{patient, wait_for};

/// Creates a bundle of one object and waits until it is applied: so much of a region goes on.
async fn goes_on(region: &mut Region, consumer: &str, name: &str) -> Result<String> {
    let api = region.api().await?;
    let change = Change::create(consumer, vec![config_map(name, "here")]);
    let id = api.create_bundle(&change).await?.id;
    applied(&api, &id, 1).await?;
    Ok(id)
}

/// Waits until this version of a bundle is applied and said to be.
async fn applied(api: &Api, id: &str, version: i64) -> Result<()> {
    let what = format!("version {version} of `{id}` to be applied");
    wait_for(&what, PATIENCE, async || match api.bundle(id).await {
        Ok(Some(bundle)) if bundle.observed_version() == version && bundle.is("Applied") => Ok(()),
        Ok(Some(bundle)) => Err(format!(
            "version {}, {} {}",
            bundle.version,
            bundle.status,
            bundle.rest.get("ledger").unwrap_or(&Value::Null)
        )),
        other => Err(format!("{other:?}")),
    })
    .await?;
    Ok(())
}

/// Waits until a bundle is gone.
async fn gone(api: &Api, id: &str) -> Result<()> {
    let what = format!("`{id}` to be gone");
    wait_for(&what, PATIENCE, async || match api.bundle(id).await {
        Ok(None) => Ok(()),
        Ok(Some(bundle)) => Err(bundle.status.to_string()),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    Ok(())
}

/// Waits until the ledger of a bundle says why it could not be sent, and gives the reason.
async fn failure(api: &Api, id: &str) -> Result<String> {
    let reason = wait_for("a reason in the ledger", PATIENCE, async || {
        let bundle = api.bundle(id).await?.context("it is there")?;
        let ledger = bundle.rest.get("ledger").and_then(Value::as_array);
        let reasons = ledger.into_iter().flatten();
        let mut reasons = reasons.filter_map(|entry| entry["failure"].as_str());
        let reason = reasons.next().with_context(|| format!("{bundle:?}"))?;
        anyhow::Ok(reason.to_owned())
    })
    .await?;
    Ok(reason)
}

/// Asks for `/livez` within a time in which a kubelet would not lose its patience.
async fn lives(region: &mut Region) -> Result<()> {
    let url = format!("{}/livez", region.bridge.listening().await?.admin);
    let client = reqwest::Client::builder().timeout(patient(LIVES)).build()?;
    client.get(url).send().await?.error_for_status()?;
    Ok(())
}

// For a debug build on a busy machine; what is waited for takes a second, or one step of a backoff.
const PATIENCE: Duration = Duration::from_secs(60);
const LIVES: Duration = Duration::from_secs(5);
