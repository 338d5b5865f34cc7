//! More works than fit any channel come and go at the pace of a real API server, without a storm.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use tests::api::config_map;
use tests::fleet::Writer;
use tests::kubernetes::Cluster;
use tests::metrics::MetricsPage;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::test_dir::TestDir;
use tests::wait::wait_for;
use tokio::sync::watch;

use super::connection::ProxiedServer;

#[tokio::test(flavor = "multi_thread")]
async fn eleven_hundred_works_come_and_go_at_the_pace_of_the_cluster() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("volume").await?;
    // The broker that the storm was seen on: it hands out more than the window it was given.
    let mut region = RegionBuilder::new("kubernetes-volume", BrokerKind::Mosquitto)
        .on_cluster(cluster)
        .start()
        .await?;
    let api = region.api().await?;
    let (_address, follow) = watch::channel(vec![api.clone()]);
    let writer = Writer::new(follow);
    let begun = Instant::now();
    each(|id| {
        let (writer, mut manifest) = (&writer, config_map(&id, "here"));
        manifest["metadata"]["namespace"] = namespace.as_str().into();
        async move { writer.create(&id, "cluster1", &[manifest]).await }
    })
    .await?;
    wait_for("every work to be held and reported", COME, async || {
        let page = metrics(&mut region).await?;
        let held = page.count("agent_works", &[]);
        let pending = page.count("agent_status_unacknowledged", &[]);
        ensure!(
            held == WORKS as u64 && pending == 0,
            "{held} of {WORKS} held, {pending} statuses pending"
        );
        anyhow::Ok(())
    })
    .await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &namespace);
    ensure!(own(&maps).await? == WORKS, "held is not applied");
    let come = begun.elapsed();

    let begun = Instant::now();
    each(|id| {
        let writer = &writer;
        async move { writer.delete(&id).await }
    })
    .await?;
    let gone = wait_for("every bundle to go", GONE, async || {
        let left = api.bundles("size=1").await?.total;
        ensure!(left == 0, "{left} of {WORKS} are left");
        anyhow::Ok(())
    })
    .await;
    let page = metrics(&mut region).await?;
    println!(
        "{WORKS} works: there after {come:?}, gone after {:?}; {} received, {} resync requests, {} connections",
        begun.elapsed(),
        page.count("mqtt_received_total", &[]),
        page.count("agent_resync_requests_total", &[]),
        page.count("mqtt_connections_total", &[]),
    );
    gone?;
    ensure!(own(&maps).await? == 0, "objects without a work");
    ensure!(page.count("agent_resync_requests_total", &[]) <= REQUESTS);
    ensure!(page.count("mqtt_received_total", &[]) <= 2 * 2 * WORKS as u64);
    ensure!(page.count("mqtt_connections_total", &[]) == 1);
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_deletions_than_the_window_holds_are_done_once_the_api_server_is_back() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let test_dir = TestDir::new("volume-away")?;
    let proxied = ProxiedServer::open(cluster, &test_dir).await?;
    let namespace = cluster.namespace("volume-away").await?;
    let mut region = RegionBuilder::new("kubernetes-volume-away", BrokerKind::Sandbox)
        .on_cluster_by(&proxied.kubeconfig)
        .agent_args(["--disable-leader-election"])
        .start()
        .await?;
    let api = region.api().await?;
    let (_address, follow) = watch::channel(vec![api.clone()]);
    let writer = Writer::new(follow);
    for number in 0..AWAY {
        let id = format!("{PREFIX}{number}");
        let mut manifest = config_map(&id, "here");
        manifest["metadata"]["namespace"] = namespace.as_str().into();
        writer.create(&id, "cluster1", &[manifest]).await?;
    }
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &namespace);
    wait_for("every object", COME, async || {
        let found = own(&maps).await?;
        ensure!(found == AWAY, "{found} of {AWAY}");
        anyhow::Ok(())
    })
    .await?;
    let before = metrics(&mut region)
        .await?
        .count("mqtt_received_total", &[]);

    proxied.proxy.refuse();
    proxied.proxy.break_all();
    for number in 0..AWAY {
        writer.delete(&format!("{PREFIX}{number}")).await?;
    }
    let agent = &mut region.agent("cluster1")?.service;
    agent.unready("kubernetes").await?;
    wait_for("a window of deletions to arrive", COME, async || {
        let page = agent.metrics().await?;
        let received = page.count("mqtt_received_total", &[]) - before;
        ensure!(received >= WINDOW, "{received} arrived");
        anyhow::Ok(())
    })
    .await?;
    ensure!(api.bundles("size=1").await?.total == AWAY as u64);
    proxied.proxy.pass();
    wait_for("every bundle to go", GONE, async || {
        let left = api.bundles("size=1").await?.total;
        ensure!(left == 0, "{left} of {AWAY} are left");
        anyhow::Ok(())
    })
    .await?;
    ensure!(own(&maps).await? == 0, "objects without a work");
    region.ready().await?;
    let page = metrics(&mut region).await?;
    ensure!(page.count("agent_resync_requests_total", &[]) <= REQUESTS);
    region.passed();
    test_dir.passed();
    Ok(())
}

async fn metrics(region: &mut Region) -> Result<MetricsPage> {
    region.agent("cluster1")?.service.metrics().await
}

/// Objects of bundles, not what Kubernetes puts into every namespace.
async fn own(maps: &Api<ConfigMap>) -> Result<usize> {
    let all = maps.list_metadata(&ListParams::default()).await?.items;
    let names = all.iter().filter_map(|map| map.metadata.name.as_deref());
    Ok(names.filter(|name| name.starts_with(PREFIX)).count())
}

async fn each<F: Future<Output = Result<()>>>(act: impl Fn(String) -> F) -> Result<()> {
    stream::iter(0..WORKS)
        .map(|number| act(format!("{PREFIX}{number}")))
        .buffer_unordered(CALLERS)
        .try_collect()
        .await
}

const WORKS: usize = 1_100;
const CALLERS: usize = 16;
// More than a broker leaves unacknowledged.
const AWAY: usize = 150;
const WINDOW: u64 = 100;
const PREFIX: &str = "volume-";
// Of a whole run: the first connection's, the one a fresh bridge asks for, and one in reserve.
const REQUESTS: u64 = 3;
// A release build applies 70 a second; this is for a debug build beside other tests. A storm has no end.
const COME: Duration = Duration::from_secs(150);
const GONE: Duration = Duration::from_secs(180);
