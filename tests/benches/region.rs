//! The whole path with real processes: from a POST to `Applied` readable by REST, how fast bundles are created, and
//! what memory bridge and agent hold. SQLite store, directory target, sandbox broker.
//!
//! `cargo bench -p tests --bench region [-- latency burst create memory]`

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::api::{Api, Change};
use tests::measure::load_data::{BIG, SMALL, create_many, manifest};
use tests::measure::{self, Sample, say, wanted};
use tests::region::{Builder, Kind, Region};
use tokio::time::{MissedTickBehavior, interval, sleep};

#[tokio::main]
async fn main() -> Result<()> {
    measure::begin("region: sandbox broker, SQLite store, directory target")?;
    if wanted("latency") {
        for rates in [Rates::IotCore, Rates::Unlimited] {
            latency(rates).await?;
        }
    }
    if wanted("burst") {
        for rates in [Rates::IotCore, Rates::Unlimited] {
            for bytes in [SMALL, BIG] {
                burst(rates, bytes).await?;
            }
        }
    }
    if wanted("create") {
        create().await?;
    }
    if wanted("memory") {
        memory().await?;
    }
    say(&format!("load average afterwards {}", measure::load()));
    Ok(())
}

/// What broker and sessions allow a connection.
#[derive(Clone, Copy)]
enum Rates {
    /// 100 publishes and 512 KiB a second, enforced by the broker and kept by the sessions.
    IotCore,
    /// Whatever goes.
    Unlimited,
}

// === impl Rates ===

impl Rates {
    fn name(self) -> &'static str {
        match self {
            Self::IotCore => "IoT Core's quotas",
            Self::Unlimited => "no quotas",
        }
    }

    async fn region(self, name: &str) -> Result<Region> {
        let builder = Builder::new(name, Kind::Sandbox);
        let builder = match self {
            Self::IotCore => builder,
            Self::Unlimited => {
                let free = ["--broker-rates", "unlimited"];
                builder.without_quotas().bridge_args(free).agent_args(free)
            }
        };
        builder.start().await
    }
}

/// One bundle at a time into an idle region.
async fn latency(rates: Rates) -> Result<()> {
    let mut region = rates.region("bench-latency").await?;
    let api = region.api().await?;
    let mut times = Vec::new();
    for number in 0..=TRIES {
        let change = Change::create(CONSUMER, vec![manifest(&format!("try-{number}"), SMALL)]);
        let started = Instant::now();
        let created = api.create_bundle(&change).await?;
        loop {
            let bundle = api.bundle(&created.id).await?.context("it is there")?;
            if bundle.observed_version() == 1 && bundle.is("Applied") {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        // The first opens connections and files.
        if number > 0 {
            times.push(started.elapsed());
        }
        sleep(Duration::from_millis(50)).await;
    }
    let times = Sample::of(times);
    say(&format!(
        "idle, {}: POST -> Applied readable, {TRIES} tries: p50 {:.1} ms, p99 {:.1} ms, least {:.1} ms (goal <= 40 ms)",
        rates.name(),
        times.median() * 1e3,
        times.quantile(0.99) * 1e3,
        times.least() * 1e3
    ));
    region.passed();
    Ok(())
}

/// A hundred bundles from one caller as fast as it can, while another polls the list.
async fn burst(rates: Rates, bytes: usize) -> Result<()> {
    let (mut average, mut p99, mut last, mut creates) = (vec![], vec![], vec![], vec![]);
    for _ in 0..BURSTS {
        let mut region = rates.region("bench-burst").await?;
        let api = region.api().await?;
        let watching = tokio::spawn(applied_at(api.clone(), BURST));
        let mut posted = HashMap::new();
        let started = Instant::now();
        for number in 0..BURST {
            let manifests = vec![manifest(&format!("burst-{number}"), bytes)];
            let at = Instant::now();
            let created = api
                .create_bundle(&Change::create(CONSUMER, manifests))
                .await?;
            posted.insert(created.id, at);
        }
        creates.push(BURST as f64 / started.elapsed().as_secs_f64());
        let applied = watching.await??;
        let times = applied
            .iter()
            .filter_map(|(id, at)| posted.get(id).map(|posted| *at - *posted));
        let times = Sample::of(times);
        average.push(times.average());
        p99.push(times.quantile(0.99));
        let end = applied.values().max().context("some were applied")?;
        last.push((*end - started).as_secs_f64());
        region.passed();
    }
    let median = |values: Vec<f64>| Sample::new(values).median();
    say(&format!(
        "burst of {BURST} x {bytes} B, {}: POST -> Applied in the list (polled every 0.1 s), medians of {BURSTS}: \
         average {:.2} s, p99 {:.2} s, last {:.2} s after the first POST; created at {:.0}/s by one caller",
        rates.name(),
        median(average),
        median(p99),
        median(last),
        median(creates)
    ));
    Ok(())
}

/// When each bundle was first seen applied in the list.
async fn applied_at(api: Api, count: usize) -> Result<HashMap<String, Instant>> {
    let mut seen = HashMap::new();
    let mut tick = interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while seen.len() < count {
        tick.tick().await;
        let path = "/resource-bundles?size=-1&fields=id,status";
        let (_, text) = api.raw(reqwest::Method::GET, path, None).await?;
        let at = Instant::now();
        let page: Value = serde_json::from_str(&text)?;
        for item in page["items"].as_array().into_iter().flatten() {
            let id = item["id"].as_str().unwrap_or_default();
            if !seen.contains_key(id) && is_applied(item) {
                seen.insert(id.to_owned(), at);
            }
        }
    }
    Ok(seen)
}

fn is_applied(item: &Value) -> bool {
    item["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Applied" && condition["status"] == "True")
}

/// Bundles for a consumer whose agent does not exist, published all the while.
async fn create() -> Result<()> {
    for rates in [Rates::IotCore, Rates::Unlimited] {
        for bytes in [SMALL, BIG] {
            let mut region = rates.region("bench-create").await?;
            let api = region.api().await?;
            api.create_consumer("nobody").await?;
            for callers in [1, 8] {
                let started = Instant::now();
                let prefix = format!("create-{callers}");
                let count = CREATES;
                create_many(&api, "nobody", &prefix, count, callers, |_| bytes).await?;
                say(&format!(
                    "create {bytes} B, {}, {callers} caller(s), nobody connected: {:.0}/s",
                    rates.name(),
                    count as f64 / started.elapsed().as_secs_f64()
                ));
            }
            region.passed();
        }
    }
    Ok(())
}

/// Resident memory of agent and bridge as bundles add up, half of them small and half big.
async fn memory() -> Result<()> {
    let mut region = Rates::Unlimited.region("bench-memory").await?;
    let api = region.api().await?;
    print_memory(&mut region, 0)?;
    let mut there = 0;
    for count in [205, 600, 6_000] {
        let prefix = format!("memory-{count}");
        create_many(&api, CONSUMER, &prefix, count - there, 8, |number| {
            [SMALL, BIG][number % 2]
        })
        .await?;
        there = count;
        loop {
            let agent = region.agent(CONSUMER)?.service.metrics().await?;
            let works = agent.sum("agent_works", &[]).unwrap_or_default();
            let open = agent
                .sum("agent_status_unacknowledged", &[])
                .unwrap_or_default();
            if works as usize == count && open == 0.0 {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        print_memory(&mut region, count)?;
    }
    region.passed();
    Ok(())
}

fn print_memory(region: &mut Region, bundles: usize) -> Result<()> {
    let bridge = measure::memory(region.bridge.process().id())?;
    let agent = measure::memory(region.agent(CONSUMER)?.service.process().id())?;
    say(&format!(
        "memory with {bundles} bundles: agent {agent}, bridge {bridge}"
    ));
    Ok(())
}

const CONSUMER: &str = "cluster1";
const TRIES: usize = 30;
const BURST: usize = 100;
const BURSTS: usize = 3;
const CREATES: usize = 400;
