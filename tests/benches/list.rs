//! Lists of 6 000 bundles by REST: all at once, page by page, and the first page; with the bridge's memory.
//!
//! `[BENCH_STORE=postgres] cargo bench -p tests --bench list`

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::measure::database::Store;
use tests::measure::load_data::{BIG, SMALL, create_many};
use tests::measure::{self, Sample, say};
use tests::region::{BrokerKind, RegionBuilder};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    let mut store = Store::of_environment()?;
    measure::begin(&format!(
        "list: {}, half of the bundles 3 KB, half 49 KB",
        store.name()
    ))?;
    let free = ["--broker-rates", "unlimited"];
    let builder =
        store.region(RegionBuilder::new("bench-list", BrokerKind::Sandbox).without_quotas())?;
    let mut region = builder.bridge_args(free).start().await?;
    let api = region.api().await?;
    api.create_consumer("nobody").await?;
    create_many(&api, "nobody", "list", BUNDLES, 8, |number| {
        [SMALL, BIG][number % 2]
    })
    .await?;
    // Until the last is published, so that nothing else goes on while lists are read.
    loop {
        let page = region.bridge.metrics().await?;
        // The sandbox acks what nobody listens to like everything else, as IoT Core does; mosquitto says `unmatched`.
        let sent = page.count("bridge_spec_events_total", &[]);
        if sent >= BUNDLES as u64 {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let listening = region.bridge.listening().await?;
    let base = listening.api.context("the bridge has an API")?;
    let bundles = format!("{base}/api/maestro/v1/resource-bundles");
    let process = region.bridge.process().id();
    let before = measure::memory(process)?;
    let http = reqwest::Client::new();
    for (what, query, rounds) in [
        ("first page of 100", "page=1&size=100", 20),
        ("last page of 100", "page=60&size=100", 20),
        ("all", "size=-1", 5),
    ] {
        let (mut times, mut size) = (Vec::new(), 0);
        for _ in 0..rounds {
            let started = Instant::now();
            size = drain(&http, &format!("{bundles}?{query}")).await?;
            times.push(started.elapsed());
        }
        print(what, &Sample::of(times), size);
    }
    let (mut times, mut size) = (Vec::new(), 0);
    for _ in 0..3 {
        let started = Instant::now();
        size = 0;
        for page in 1..=BUNDLES / 100 {
            size += drain(&http, &format!("{bundles}?page={page}&size=100")).await?;
        }
        times.push(started.elapsed());
    }
    print("all in pages of 100", &Sample::of(times), size);
    say(&format!(
        "bridge memory: {before} before, {} after",
        measure::memory(process)?
    ));
    say(&format!("load average afterwards {}", measure::load()));
    region.passed();
    Ok(())
}

fn print(what: &str, times: &Sample, size: usize) {
    say(&format!(
        "{what}: median {:.1} ms, {:.1}-{:.1} ms, {:.1} MB",
        times.median() * 1e3,
        times.least() * 1e3,
        times.most() * 1e3,
        size as f64 / 1e6
    ));
}

/// Reads an answer to its end and forgets it: the client's parser is not what is measured.
async fn drain(http: &reqwest::Client, url: &str) -> Result<usize> {
    let mut answer = http.get(url).send().await?;
    ensure!(answer.status().is_success(), "{url}: {}", answer.status());
    let mut size = 0;
    while let Some(chunk) = answer.chunk().await? {
        size += chunk.len();
    }
    Ok(size)
}

const BUNDLES: usize = 6_000;
