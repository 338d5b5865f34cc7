//! What sources cost a bridge: publications by gRPC, the way of a status to a stream, and streams that stand open. The Go
//! client publishes and measures, so that HTTP/2 is as its users have it.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Memory;
use crate::go::{SOURCE_TOPIC, answering};
use crate::measure;
use crate::region::Region;
use crate::source::Source;

/// Seconds that statuses took from the call of Publish to their event on a stream of the same source.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// The middle one.
    pub median: f64,
    /// Of the slowest in a hundred.
    pub p99: f64,
}

/// Publications per second of `count` bundles of `bytes` by so many callers on one connection; nobody is connected for
/// their consumer, which must be registered.
///
/// # Errors
/// When the bridge refuses one.
pub async fn publish(
    region: &mut Region,
    consumer: &str,
    count: usize,
    callers: usize,
    bytes: usize,
) -> Result<f64> {
    let go = source(region, "bench-publish").await?;
    let numbers = [count, callers, bytes].map(|number| number.to_string());
    let [count, callers, bytes] = &numbers;
    let told = go.done(&["flood", count, callers, bytes, consumer]).await?;
    number(&told, "rate")
}

/// How long statuses of `cluster1` take, one bundle after the other; a scripted agent answers at once. The region's own is
/// killed.
///
/// # Errors
/// When one does not come.
pub async fn latency(region: &mut Region, count: usize) -> Result<Latency> {
    region.agent("cluster1")?.service.kill()?;
    let peer = region.peer("scripted", &[SOURCE_TOPIC])?;
    anyhow::ensure!(
        peer.session.ready().await,
        "the scripted agent is connected"
    );
    let _answering = answering(peer);
    let go = source(region, "bench-latency").await?;
    let told = go
        .done(&["latency", &count.to_string(), "cluster1"])
        .await?;
    Ok(Latency {
        median: number(&told, "p50")?,
        p99: number(&told, "p99")?,
    })
}

/// Memory of the bridge before and while `count` streams of as many sources stand open, a hundred on each connection.
///
/// # Errors
/// When one is refused.
pub async fn streams(region: &mut Region, count: usize) -> Result<(Memory, Memory)> {
    let before = measure::memory(region.bridge.process().id())?;
    let go = source(region, "bench-streams").await?;
    let mut open = go.follow(&["streams", &count.to_string()]).await?;
    open.line("the streams", |line| line.get("streams").is_some())
        .await?;
    Ok((before, measure::memory(region.bridge.process().id())?))
}

async fn source(region: &mut Region, name: &str) -> Result<Source> {
    let logs = region.test_dir.path().to_owned();
    Source::of(&mut region.bridge, name, &logs).await
}

fn number(line: &Value, key: &str) -> Result<f64> {
    line[key]
        .as_f64()
        .with_context(|| format!("`{key}` of {line}"))
}
