//! The whole path, once per broker: HTTP → store → MQTT over mutual TLS → agent → files → status → HTTP.

use std::time::Duration;

use anyhow::Result;
use tests::api::{Api, Bundle, Change, config_map};
use tests::region::{Builder, Kind, Region};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_applied_and_its_status_read_back_through_the_sandbox() -> Result<()> {
    round("path-sandbox", Kind::Sandbox).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_applied_and_its_status_read_back_through_mosquitto() -> Result<()> {
    round("path-mosquitto", Kind::Mosquitto).await
}

/// Creates, changes and deletes one bundle, following each step to the files and back.
async fn round(test: &str, kind: Kind) -> Result<()> {
    let mut region = Builder::new(test, kind).start().await?;
    let api = region.api().await?;

    let first = config_map("settings", "one");
    let bundle = api
        .create_bundle(&Change::create(CLUSTER, vec![first]))
        .await?;
    follow(&mut region, &api, &bundle, "one").await?;

    let second = config_map("settings", "two");
    let change = Change::of(bundle.version, vec![second.clone()]);
    let changed = api.change_bundle(&bundle.id, &change).await?;
    assert_eq!(changed.version, bundle.version + 1);
    follow(&mut region, &api, &changed, "two").await?;

    api.delete_bundle(&bundle.id).await?;
    let agent = region.agent(CLUSTER)?;
    wait_for("the file to go", PATIENCE, async || {
        match agent.applied(&second) {
            Ok(None) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await?;
    wait_for("the bundle to go", PATIENCE, async || {
        match api.bundle(&bundle.id).await {
            Ok(None) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await?;
    region.passed();
    Ok(())
}

/// Waits until the file holds `value` and the status speaks of this version.
async fn follow(region: &mut Region, api: &Api, bundle: &Bundle, value: &str) -> Result<()> {
    let manifest = config_map("settings", value);
    let agent = region.agent(CLUSTER)?;
    wait_for("the file", PATIENCE, async || {
        match agent.applied(&manifest) {
            Ok(Some(found)) if found["data"]["value"] == value => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await?;
    wait_for("the status", PATIENCE, async || {
        match api.bundle(&bundle.id).await {
            Ok(Some(found))
                if found.observed_version() == bundle.version && found.is("Applied") =>
            {
                Ok(())
            }
            found => Err(format!("{found:?}")),
        }
    })
    .await?;
    Ok(())
}

const CLUSTER: &str = "cluster1";
const PATIENCE: Duration = Duration::from_secs(30);
