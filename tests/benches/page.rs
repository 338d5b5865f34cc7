//! How soon the status page of a region with 10 000 clusters is there, in the machine's Chromium without a cache: the first
//! paint, and the first rows of the table.
//!
//! `[BENCH_STORE=postgres] cargo bench -p tests --bench page`

use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::browser::Browser;
use tests::measure::database::Store;
use tests::measure::{self, Sample, say};
use tests::region::{BrokerKind, RegionBuilder};

#[tokio::main]
async fn main() -> Result<()> {
    let mut store = Store::of_environment()?;
    measure::begin(&format!("page: {}, {CLUSTERS} clusters", store.name()))?;
    let builder = RegionBuilder::new("bench-page", BrokerKind::Sandbox).without_quotas();
    let mut region = store
        .region(builder)?
        .registered((1..CLUSTERS).map(|number| format!("edge-{number:05}")))
        .bridge_args(["--broker-rates", "unlimited"])
        .start()
        .await?;
    let browser = Browser::new(&mut region).await?;
    let said = browser.run("paint", &[&ROUNDS.to_string()]).await?;
    let (mut paints, mut rows) = (Vec::new(), Vec::new());
    for line in said.lines() {
        let (first, then) = line.split_once(' ').context("two figures in a line")?;
        paints.push(Duration::from_secs_f64(first.parse::<f64>()? / 1e3));
        rows.push(Duration::from_secs_f64(then.parse::<f64>()? / 1e3));
    }
    for (what, times) in [("first paint", paints), ("first rows", rows)] {
        let times = Sample::of(times);
        say(&format!(
            "{what}: median {:.0} ms, {:.0}-{:.0} ms (goal: first paint < 1000 ms)",
            times.median() * 1e3,
            times.least() * 1e3,
            times.most() * 1e3
        ));
    }
    say(&format!("load average afterwards {}", measure::load()));
    region.passed();
    Ok(())
}

const CLUSTERS: usize = 10_000;
const ROUNDS: usize = 20;
