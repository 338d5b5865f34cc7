//! An agent and a bridge that were both down for a while agree again, whatever happened meanwhile, and no message
//! passes 128 KiB.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use link::event::{Action, decode};
use link::iot::limits::ConnectionLimits;
use serde_json::Value;
use tests::api::config_map;
use tests::fleet::{ExpectedBundle, ExpectedBundles, Writer, files};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::session::Client;
use tests::wait::wait_for;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[path = "resync/removed.rs"]
mod removed;
#[path = "resync/shared.rs"]
mod shared;

#[tokio::test(flavor = "multi_thread")]
async fn without_bundles_both_ends_agree_again() -> Result<()> {
    let seen = agree_again(RegionBuilder::new("resync-0", BrokerKind::Sandbox), 0).await?;
    ensure!(seen.requests > 0 && seen.parts == 0, "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_bundle_both_ends_agree_again() -> Result<()> {
    let seen = agree_again(RegionBuilder::new("resync-1", BrokerKind::Sandbox), 1).await?;
    ensure!(seen.requests > 0 && seen.parts == 0, "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_1001_bundles_both_ends_agree_again_within_iot_core_s_quotas() -> Result<()> {
    agree_again(
        RegionBuilder::new("resync-1001", BrokerKind::Sandbox),
        1_001,
    )
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_3000_bundles_both_ends_agree_again_and_no_message_passes_128_kib() -> Result<()> {
    let builder = RegionBuilder::new("resync-3000", BrokerKind::Sandbox).without_quotas();
    let seen = agree_again(builder, 3_000).await?;
    ensure!(
        seen.parts > 1,
        "a request of 2 500 entries comes in parts: {seen:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_without_its_database_deletes_nothing_on_the_cluster() -> Result<()> {
    let builder = RegionBuilder::new("resync-database-lost", BrokerKind::Sandbox);
    let mut region = lose_the_database(builder).await?;
    region
        .bridge
        .process()
        .line_with("neither knows nor ever deleted", PATIENCE)
        .await?;
    // Nor once another bundle of the consumer is known, and the agent says again what it holds.
    region.agent("cluster1")?.service.restart()?;
    unknown_works(&mut region, 10).await?;
    ensure!(files(&region.agent("cluster1")?.target)?.len() == 6);
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_told_so_deletes_works_it_does_not_know_as_maestro_does() -> Result<()> {
    let builder = RegionBuilder::new("resync-unknown-works", BrokerKind::Sandbox);
    let mut region = lose_the_database(builder.bridge_args(["--delete-unknown-works"])).await?;
    region.agent("cluster1")?.service.restart()?;
    let target = region.agent("cluster1")?.target.clone();
    wait_for(
        "only the known bundle to be left",
        PATIENCE,
        async || match files(&target).map_err(|error| format!("{error:#}"))?.len() {
            1 => Ok(()),
            left => Err(format!("{left} files")),
        },
    )
    .await?;
    region.passed();
    Ok(())
}

/// A region whose agent holds five works of a database that is gone, and one that the new database knows.
async fn lose_the_database(builder: RegionBuilder) -> Result<Region> {
    let mut region = builder.start().await?;
    let writer = writer(&mut region).await?;
    let mut expected = ExpectedBundles::default();
    create(&writer, &mut expected, 0..5).await?;
    expected.reached(&mut region, PATIENCE).await?;
    region.bridge.kill()?;
    for file in files(&region.test_dir.dir("bridge")?)? {
        if file.to_string_lossy().contains("bridge.sqlite") {
            std::fs::remove_file(file)?;
        }
    }
    region.bridge.restart()?;
    unknown_works(&mut region, 5).await?;
    // Work goes on beside what was found.
    let writer = self::writer(&mut region).await?;
    let mut new = ExpectedBundles::default();
    create(&writer, &mut new, 5..6).await?;
    let api = region.api().await?;
    wait_for(
        "the status of the new bundle",
        PATIENCE,
        async || match api.bundle("bundle-5").await {
            Ok(Some(bundle)) if bundle.is("Applied") => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    ensure!(files(&region.agent("cluster1")?.target)?.len() == 6);
    Ok(region)
}

async fn unknown_works(region: &mut Region, least: u64) -> Result<()> {
    wait_for("the count of unknown works", PATIENCE, async || {
        let page = region.bridge.metrics().await;
        let page = page.map_err(|error| format!("{error:#}"))?;
        match page.count("bridge_unknown_works_total", &[]) {
            count if count >= least => Ok(()),
            count => Err(format!("{count}")),
        }
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_bundle_deleted_while_its_agent_was_down_is_removed_from_the_cluster() -> Result<()>
{
    let mut region = RegionBuilder::new("resync-last-bundle", BrokerKind::Sandbox)
        .start()
        .await?;
    let writer = writer(&mut region).await?;
    let mut expected = ExpectedBundles::default();
    create(&writer, &mut expected, 0..1).await?;
    expected.reached(&mut region, PATIENCE).await?;
    region.agent("cluster1")?.service.kill()?;
    writer.delete("bundle-0").await?;
    region.agent("cluster1")?.service.restart()?;
    ExpectedBundles::default()
        .reached(&mut region, PATIENCE)
        .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_gone_is_removed_from_an_agent_restored_from_before() -> Result<()> {
    let mut region = RegionBuilder::new("resync-restored", BrokerKind::Sandbox)
        .start()
        .await?;
    let writer = writer(&mut region).await?;
    let mut expected = ExpectedBundles::default();
    create(&writer, &mut expected, 0..1).await?;
    expected.reached(&mut region, PATIENCE).await?;
    let backup = region.test_dir.dir("backup")?;
    let agent = region.agent("cluster1")?;
    let (state, target) = (agent.state.clone(), agent.target.clone());
    copy(&state, &backup.join("state"))?;
    copy(&target, &backup.join("target"))?;
    writer.delete("bundle-0").await?;
    ExpectedBundles::default()
        .reached(&mut region, PATIENCE)
        .await?;
    region.agent("cluster1")?.service.kill()?;
    for (from, to) in [("state", &state), ("target", &target)] {
        std::fs::remove_dir_all(to)?;
        copy(&backup.join(from), to)?;
    }
    ensure!(files(&target)?.len() == 1);
    region.agent("cluster1")?.service.restart()?;
    wait_for("the removal", PATIENCE, async || match files(&target) {
        Ok(left) if left.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    region.passed();
    Ok(())
}

/// Half of the bundles are known to both; then everything changes while one end or both are away.
async fn agree_again(builder: RegionBuilder, bundles: usize) -> Result<Seen> {
    let mut region = builder.start().await?;
    let over = CancellationToken::new();
    let spy = region.peer("spy", &["maestro/consumers/+/+"])?;
    ensure!(spy.session.ready().await, "the spy subscribes");
    let spy = tokio::spawn(watch(spy, over.clone()));
    let writer = writer(&mut region).await?;
    let mut expected = ExpectedBundles::default();
    create(&writer, &mut expected, 0..bundles.div_ceil(2)).await?;
    expected.reached(&mut region, PATIENCE).await?;

    // The agent is away: bundles come, change and go.
    region.agent("cluster1")?.service.kill()?;
    create(&writer, &mut expected, bundles.div_ceil(2)..bundles).await?;
    change(&writer, &mut expected, 5).await?;
    delete(&writer, &mut expected, 7).await?;
    // Both are away, then the agent works alone: it repairs what somebody removed, and asks a bridge that is not there.
    region.bridge.kill()?;
    let agent = region.agent("cluster1")?;
    let repaired = files(&agent.target)?.into_iter().next();
    if let Some(file) = &repaired {
        std::fs::remove_file(file)?;
    }
    let asked = |text: &str| text.matches("Asked the source").count();
    let before = asked(&agent.service.process().output());
    agent.service.restart()?;
    agent.service.ready().await?;
    wait_for("the agent's repair", PATIENCE, async || match &repaired {
        Some(file) if !file.exists() => Err(format!("`{}` is not there", file.display())),
        _ => Ok(()),
    })
    .await?;
    let process = agent.service.process();
    process
        .output_until("its request to nobody", PATIENCE, |text| {
            asked(text) > before
        })
        .await?;
    region.bridge.restart()?;
    expected.reached(&mut region, LONG).await?;

    // The other way round: the bridge is back first and asks an agent that is not there.
    let writer = self::writer(&mut region).await?;
    region.agent("cluster1")?.service.kill()?;
    change(&writer, &mut expected, 11).await?;
    region.bridge.kill()?;
    region.bridge.restart()?;
    region.bridge.ready().await?;
    region.agent("cluster1")?.service.restart()?;
    expected.reached(&mut region, LONG).await?;

    let page = region.bridge.metrics().await?;
    ensure!(page.count("bridge_spec_events_total", &[("outcome", "limit")]) == 0);
    over.cancel();
    let seen = spy.await??;
    ensure!(
        seen.longest <= ConnectionLimits::IOT_CORE.payload_bytes,
        "{seen:?}"
    );
    region.passed();
    Ok(seen)
}

/// What went over the broker.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    longest: usize,
    // Resync requests of either end, and those that were one part of several.
    requests: usize,
    parts: usize,
}

async fn watch(mut spy: Client, over: CancellationToken) -> Result<Seen> {
    let mut seen = Seen::default();
    while let Some(delivery) = over.run_until_cancelled(spy.inbound.recv()).await.flatten() {
        let message = &delivery.message;
        seen.longest = seen.longest.max(message.payload.len());
        let event = decode(message)?;
        if event.kind.action == Action::ResyncRequest {
            seen.requests += 1;
            seen.parts += usize::from(event.extensions.contains_key("resyncpart"));
        }
        delivery.ack();
    }
    spy.shutdown().await?;
    Ok(seen)
}

async fn writer(region: &mut Region) -> Result<Writer> {
    let (_, api) = watch::channel(region.apis().await?);
    Ok(Writer::new(api))
}

async fn create(
    writer: &Writer,
    expected: &mut ExpectedBundles,
    numbers: std::ops::Range<usize>,
) -> Result<()> {
    stream::iter(numbers.clone())
        .map(|number| async move {
            let id = id(number);
            writer.create(&id, "cluster1", &manifests(&id, 1)).await
        })
        .buffer_unordered(CALLERS)
        .try_collect::<()>()
        .await?;
    for number in numbers {
        let id = id(number);
        let bundle = ExpectedBundle {
            consumer: "cluster1".into(),
            version: 1,
            manifests: manifests(&id, 1),
        };
        expected.0.insert(id, bundle);
    }
    Ok(())
}

/// Changes every n-th.
async fn change(writer: &Writer, expected: &mut ExpectedBundles, every: usize) -> Result<()> {
    stream::iter(expected.0.iter_mut().step_by(every))
        .map(|(id, bundle)| async move {
            bundle.manifests = manifests(id, bundle.version + 1);
            let changed = writer.change(id, bundle.version, &bundle.manifests).await;
            changed.map(|version| bundle.version = version)
        })
        .buffer_unordered(CALLERS)
        .try_collect()
        .await
}

/// Deletes every n-th but the first.
async fn delete(writer: &Writer, expected: &mut ExpectedBundles, every: usize) -> Result<()> {
    let ids: Vec<String> = expected.0.keys().skip(1).step_by(every).cloned().collect();
    for id in &ids {
        writer.delete(id).await?;
        expected.0.remove(id).context("it was expected")?;
    }
    Ok(())
}

fn id(number: usize) -> String {
    format!("bundle-{number}")
}

fn manifests(id: &str, value: i64) -> Vec<Value> {
    vec![config_map(id, &value.to_string())]
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        let copy = to.join(file.strip_prefix(from)?);
        std::fs::create_dir_all(copy.parent().context("a file has a directory")?)?;
        match std::fs::copy(file, copy) {
            // Written aside, and renamed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => drop(copied?),
        }
    }
    Ok(())
}

// As many as the bridge commits together without keeping one waiting for long.
const CALLERS: usize = 16;

const PATIENCE: Duration = Duration::from_secs(60);
// 1 001 bundles at 100 a second each way, or 2 000 of a debug build, on a busy machine.
const LONG: Duration = Duration::from_secs(120);
