//! The whole path with real processes: from a POST to `Applied` readable by REST, how fast bundles are created, and
//! what memory bridge and agent hold. SQLite or PostgreSQL store, directory target, sandbox broker.
//!
//! `[BENCH_STORE=postgres] cargo bench -p tests --bench region [-- latency burst create memory]`

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::measure::database::Store;
use tests::measure::load_data::{BIG, SMALL, create_many};
use tests::measure::path::{self, Burst, Rates, one_by_one};
use tests::measure::{self, say, wanted};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    let mut store = Store::of_environment()?;
    measure::begin(&format!(
        "region: sandbox broker, {}, directory target",
        store.name()
    ))?;
    if wanted("latency") {
        for rates in [Rates::IotCore, Rates::Unlimited] {
            latency(&mut store, rates).await?;
        }
    }
    if wanted("burst") {
        for rates in [Rates::IotCore, Rates::Unlimited] {
            for bytes in [SMALL, BIG] {
                burst(&mut store, rates, bytes).await?;
            }
        }
    }
    if wanted("create") {
        create(&mut store).await?;
    }
    if wanted("memory") {
        memory(&mut store).await?;
    }
    say(&format!("load average afterwards {}", measure::load()));
    Ok(())
}

/// One bundle at a time into an idle region.
async fn latency(store: &mut Store, rates: Rates) -> Result<()> {
    let mut region = rates.region(builder(store, "bench-latency")?).await?;
    let times = one_by_one(&region.api().await?, CONSUMER, TRIES).await?;
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
async fn burst(store: &mut Store, rates: Rates, bytes: usize) -> Result<()> {
    let mut bursts = Vec::new();
    for _ in 0..BURSTS {
        let mut region = rates.region(builder(store, "bench-burst")?).await?;
        bursts.push(path::burst(&region.api().await?, CONSUMER, BURST, bytes).await?);
        region.passed();
    }
    let Burst {
        average,
        p99,
        last,
        creates,
    } = Burst::median(&bursts);
    say(&format!(
        "burst of {BURST} x {bytes} B, {}: POST -> Applied in the list (polled every 0.1 s), medians of {BURSTS}: \
         average {average:.2} s, p99 {p99:.2} s, last {last:.2} s after the first POST; created at {creates:.0}/s by one \
         caller",
        rates.name(),
    ));
    Ok(())
}

fn builder(store: &mut Store, name: &str) -> Result<RegionBuilder> {
    store.region(RegionBuilder::new(name, BrokerKind::Sandbox))
}

/// Bundles for a consumer whose agent does not exist, published all the while.
async fn create(store: &mut Store) -> Result<()> {
    for rates in [Rates::IotCore, Rates::Unlimited] {
        for bytes in [SMALL, BIG] {
            let mut region = rates.region(builder(store, "bench-create")?).await?;
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
async fn memory(store: &mut Store) -> Result<()> {
    let mut region = Rates::Unlimited
        .region(builder(store, "bench-memory")?)
        .await?;
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
