//! A release of the server goes from one store to the other only when nothing of it runs.

use anyhow::{Result, ensure};
use tests::process::Output;
use tests::wait::wait_for;

use super::super::server::SERVER;
use super::super::{PATIENCE, REGION, path};
use super::ChartCluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_never_runs_two_stores_at_once() -> Result<()> {
    let fixture = ChartCluster::open("chart-stores").await?;
    let chart = path(SERVER);
    let upgrade = async |values: &str| -> Result<Output> {
        let arguments = ["upgrade", "--install", "server", &chart, "--set", REGION];
        let more = ["--create-namespace", "--set", values];
        fixture
            .tried("servers", &[&arguments[..], &more].concat())
            .await
    };
    let went = async |values: &str| -> Result<()> {
        let output = upgrade(values).await?;
        ensure!(output.status.success(), "{values}: {}", output.stderr);
        Ok(())
    };
    let refused = async |values: &str| -> Result<()> {
        let output = upgrade(values).await?;
        ensure!(!output.status.success(), "`{values}` is accepted");
        ensure!(output.stderr.contains("still runs"), "{}", output.stderr);
        Ok(())
    };

    went("store=sqlite").await?;
    refused("store=postgres").await?;
    // Another name, with a volume of its own.
    refused("store=sqlite,nameOverride=east").await?;
    refused("store=postgres,fullnameOverride=east").await?;
    // Again the same, which must not stand in its own way.
    went("store=sqlite").await?;
    went("store=sqlite,replicas=0").await?;
    wait_for("the file's pod to be gone", PATIENCE, async || {
        went("store=postgres").await
    })
    .await?;
    refused("store=sqlite").await?;
    went("store=postgres,replicas=0").await?;
    wait_for("the database's pods to be gone", PATIENCE, async || {
        went("store=sqlite").await
    })
    .await?;
    fixture.passed();
    Ok(())
}
