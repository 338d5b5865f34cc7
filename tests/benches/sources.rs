//! Sources by gRPC, with the Go client: how fast bundles are published, how soon a status is on a stream, and what memory
//! streams take. SQLite or PostgreSQL store, sandbox broker without quotas.
//!
//! `[BENCH_STORE=postgres] cargo bench -p tests --bench sources [-- publish latency streams]`

use anyhow::Result;
use tests::measure::database::Store;
use tests::measure::load_data::{BIG, SMALL};
use tests::measure::path::Rates;
use tests::measure::sources::{latency, publish, streams};
use tests::measure::{self, say, wanted};
use tests::region::{BrokerKind, Region, RegionBuilder};

#[tokio::main]
async fn main() -> Result<()> {
    let mut store = Store::of_environment()?;
    measure::begin(&format!("sources: gRPC, {}, no quotas", store.name()))?;
    if wanted("publish") {
        for bytes in [SMALL, BIG] {
            let mut region = region(&mut store).await?;
            region.api().await?.create_consumer("nobody").await?;
            for callers in [1, 8] {
                let rate = publish(&mut region, "nobody", PUBLISHED, callers, bytes).await?;
                let goal = if bytes == SMALL { 940 } else { 500 };
                say(&format!(
                    "publish {bytes} B, {callers} caller(s) on one connection: {rate:.0}/s (goal >= {goal}/s)"
                ));
            }
            region.passed();
        }
    }
    if wanted("latency") {
        let mut region = region(&mut store).await?;
        let found = latency(&mut region, TRIES).await?;
        say(&format!(
            "publish -> status on a stream, scripted agent, {TRIES} tries: p50 {:.1} ms, p99 {:.1} ms",
            found.median * 1e3,
            found.p99 * 1e3
        ));
        region.passed();
    }
    if wanted("streams") {
        let mut region = region(&mut store).await?;
        let (before, after) = streams(&mut region, STREAMS).await?;
        say(&format!(
            "memory of the bridge: {before}, with {STREAMS} streams {after}"
        ));
        region.passed();
    }
    say(&format!("load average afterwards {}", measure::load()));
    Ok(())
}

async fn region(store: &mut Store) -> Result<Region> {
    let builder = store.region(RegionBuilder::new("bench-sources", BrokerKind::Sandbox))?;
    Rates::Unlimited.region(builder).await
}

const PUBLISHED: usize = 2_000;
const TRIES: usize = 200;
const STREAMS: usize = 1_000;
