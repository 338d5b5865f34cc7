//! Sources on several bridges that share a database: any of them takes a publication, and any tells its streams.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::api::config_map;
use tests::measure::sources::{latency, publish, streams};
use tests::postgres::Server;
use tests::source::{Source, work};

use crate::{builder, of, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_on_one_bridge_tells_what_was_published_on_another() -> Result<()> {
    let server = Server::shared();
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let mut region = builder("sources-several")
        .replicas(files.path(), 2)
        .start()
        .await?;
    let logs = region.test_dir.path().to_owned();
    let listener = Source::of(&mut region.replicas[0], "shared", &logs.join("bridge")).await?;
    let publisher = Source::of(&mut region.bridge, "shared", &logs).await?;
    let mut watch = listener.follow(&["watch", "cluster1"]).await?;
    watch
        .line("the stream", |line| line["stream"] == "open")
        .await?;
    let made = work("w1", &json!({}), &[config_map("a", "one")]);
    publisher.done(&["create", "cluster1", &made]).await?;
    watch
        .line("the status", |line| {
            of(line, "w1") && line["conditions"]["Applied"] == "True"
        })
        .await?;

    // Two at once through two bridges are one.
    let made = work("w2", &json!({}), &[config_map("b", "one")]);
    let create = ["create", "cluster1", made.as_str()];
    let rivals = tokio::try_join!(publisher.tried(&create), listener.tried(&create))?;
    for answer in [&rivals.0, &rivals.1] {
        // One may have been so late that it found the other's.
        ensure!(
            answer.get("error").is_none() || answer["is"] == "exists",
            "{answer}"
        );
    }
    ensure!(rivals.0.get("error").is_none() || rivals.1.get("error").is_none());

    // The one that took everything goes; the other has it and goes on.
    region.bridge.kill()?;
    listener.done(&["delete", "cluster1", "w1"]).await?;
    let gone = watch
        .line("its end", |line| {
            of(line, "w1") && line["event"] == "DELETED"
        })
        .await?;
    ensure!(!text(&gone, "uid").is_empty());
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_benchmark_of_sources_runs() -> Result<()> {
    let mut region = builder("sources-bench").start().await?;
    region.api().await?.create_consumer("nobody").await?;
    ensure!(publish(&mut region, "nobody", 10, 2, 3_000).await? > 0.0);
    let (before, with) = streams(&mut region, 120).await?;
    ensure!(before.resident > 0 && with.peak >= before.resident);
    let found = latency(&mut region, 3).await?;
    ensure!(found.median > 0.0 && found.p99 >= found.median);
    region.passed();
    Ok(())
}
