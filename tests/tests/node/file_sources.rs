//! Every way in which a chart gets its files, from one release to its end.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::node::{ChartFixture, FileSource, Node, selector};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_gets_its_files_every_way_follows_them_and_goes_again() -> Result<()> {
    every_way("agent", "agent-ways").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_gets_its_files_every_way_follows_them_and_goes_again() -> Result<()> {
    every_way("server-bridge", "server-ways").await
}

/// Under a name that is that of its namespace too.
async fn every_way(chart: &str, name: &str) -> Result<()> {
    let node = Node::shared().await?;
    let fixture = ChartFixture::start(node, name).await?;
    for source in [FileSource::Existing, FileSource::External, FileSource::Csi] {
        give(&fixture, chart, name, source).await?;
        fixture.install(chart, name, source).await?;
        // With what its pod has, a check of the chart gets as far as the broker.
        node.helm(&["test", chart, "--namespace", name]).await?;
        let before = fixture.connected(chart, None).await?;
        give(&fixture, chart, name, source).await?;
        fixture.connected(chart, Some(&before)).await?;
    }
    node.helm(&["uninstall", chart, "--namespace", name, "--wait"])
        .await?;
    let own = selector(chart);
    let kinds = "pods,deployments,statefulsets,services,configmaps,secrets,serviceaccounts,\
                 secretproviderclasses,externalsecrets,secretstores,networkpolicies,poddisruptionbudgets";
    let left = [
        "get",
        kinds,
        "--namespace",
        name,
        "--selector",
        &own,
        "--output=name",
    ];
    // What a release owns goes at once, what that owns a moment later.
    wait_for("the end of a release", PATIENCE, async || {
        let left = node.kubectl(&left).await?;
        ensure!(left.trim().is_empty(), "{left}");
        anyhow::Ok(())
    })
    .await?;
    let kept: &[&str] = match chart {
        "agent" => &[
            "get",
            "crds",
            "manifestworks.work.open-cluster-management.io",
            "appliedmanifestworks.work.open-cluster-management.io",
        ],
        _ => &["get", "pvc", "data-server-bridge-0", "--namespace", name],
    };
    node.kubectl(kept).await?;
    let wide = ["get", "clusterroles,clusterrolebindings", "--output=name"];
    let wide = node.kubectl(&wide).await?;
    ensure!(!wide.contains(name), "{wide}");
    Ok(())
}

async fn give(
    fixture: &ChartFixture<'_>,
    chart: &str,
    namespace: &str,
    source: FileSource,
) -> Result<()> {
    match source {
        FileSource::Existing => fixture.hand_over(chart, namespace).await,
        FileSource::Csi | FileSource::External => fixture.provide(chart).await,
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
