//! The whole path into a real Kubernetes API server: how fast bundles get applied, what each costs the API server,
//! and what an agent costs when nothing happens. SQLite store, sandbox broker, etcd without fsync.
//!
//! `cargo bench -p tests --bench cluster [-- latency burst load idle]`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests::kubernetes::{Audit, AuditEntry, Cluster};
use tests::measure::load_data::{BIG, SMALL, create_many};
use tests::measure::path::{self, Burst, Rates, applied_at, one_by_one};
use tests::measure::{self, Sample, say, wanted};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    measure::begin(
        "cluster: sandbox broker, SQLite store, kube-apiserver and etcd on this machine",
    )?;
    let cluster = Cluster::shared().await?;
    if wanted("latency") {
        latency(cluster).await?;
    }
    if wanted("burst") {
        for rates in [Rates::IotCore, Rates::Unlimited] {
            for bytes in [SMALL, BIG] {
                burst(cluster, rates, bytes).await?;
            }
        }
    }
    if wanted("load") {
        load(cluster).await?;
    }
    if wanted("idle") {
        idle(cluster).await?;
    }
    say(&format!("load average afterwards {}", measure::load()));
    Ok(())
}

/// One bundle at a time into an idle region.
async fn latency(cluster: &Cluster) -> Result<()> {
    for rates in [Rates::IotCore, Rates::Unlimited] {
        let mut region = start("bench-cluster-latency", cluster, rates).await?;
        let times = one_by_one(&region.api().await?, CONSUMER, TRIES).await?;
        say(&format!(
            "idle, {}: POST -> Applied readable, {TRIES} tries: p50 {:.1} ms, p99 {:.1} ms, least {:.1} ms (goal <= 40 ms)",
            rates.name(),
            times.median() * 1e3,
            times.quantile(0.99) * 1e3,
            times.least() * 1e3
        ));
        region.passed();
    }
    Ok(())
}

/// A hundred bundles from one caller as fast as it can, while another polls the list; then all are deleted.
async fn burst(cluster: &Cluster, rates: Rates, bytes: usize) -> Result<()> {
    let audit = cluster.audit().await?;
    let (mut bursts, mut requests) = (Vec::new(), Vec::new());
    let (mut worked, mut deleted) = (Vec::new(), Vec::new());
    let mut resident = Vec::new();
    for _ in 0..BURSTS {
        let mut region = start("bench-cluster-burst", cluster, rates).await?;
        let api = region.api().await?;
        let mark = audit.mark().await?;
        let before = Work::so_far(cluster, &mut region)?;
        bursts.push(path::burst(&api, CONSUMER, BURST, bytes).await?);
        settled(&mut region, BURST).await?;
        worked.push(Work::so_far(cluster, &mut region)?.since(&before));
        let made = of_agent(audit.since(mark).await?);
        requests.push(made.len() as f64 / BURST as f64);
        resident.push(memory(&mut region)?);

        let before = Work::so_far(cluster, &mut region)?;
        for bundle in api.bundles("size=-1").await?.items {
            api.delete_bundle(&bundle.id).await?;
        }
        settled(&mut region, 0).await?;
        deleted.push(Work::so_far(cluster, &mut region)?.since(&before));
        region.passed();
    }
    let Burst {
        average, p99, last, ..
    } = Burst::median(&bursts);
    say(&format!(
        "burst of {BURST} x {bytes} B, {}: POST -> Applied in the list (polled every 0.1 s), medians of {BURSTS}: \
         average {average:.2} s, p99 {p99:.2} s, last {last:.2} s after the first POST; {:.2} API requests per bundle",
        rates.name(),
        Sample::new(requests).median()
    ));
    say(&format!("  agent afterwards: {}", resident.join(", ")));
    say(&format!("  processor time: {}", Work::median(&worked)));
    say(&format!("  of their deletion: {}", Work::median(&deleted)));
    Ok(())
}

/// 600 bundles from empty, half of them small and half big.
async fn load(cluster: &Cluster) -> Result<()> {
    let mut region = start("bench-cluster-load", cluster, Rates::Unlimited).await?;
    let api = region.api().await?;
    let audit = cluster.audit().await?;
    let mark = audit.mark().await?;
    let watching = tokio::spawn(applied_at(api.clone(), LOAD));
    let started = Instant::now();
    create_many(&api, CONSUMER, "load", LOAD, 8, |number| {
        [SMALL, BIG][number % 2]
    })
    .await?;
    let created = started.elapsed();
    let applied = watching.await??;
    let times = Sample::of(applied.values().map(|at| *at - started));
    let made = of_agent(audit.since(mark).await?);
    say(&format!(
        "{LOAD} bundles (half {SMALL} B, half {BIG} B), 8 callers, no quotas: created in {:.2} s, all applied after \
         {:.2} s ({:.0}/s), median after {:.2} s; {:.2} API requests per bundle",
        created.as_secs_f64(),
        times.most(),
        LOAD as f64 / times.most(),
        times.median(),
        made.len() as f64 / LOAD as f64
    ));
    say(&format!("  by kind: {}", by_kind(&made)));
    settled(&mut region, LOAD).await?;
    say(&format!("  agent {}", memory(&mut region)?));
    region.passed();
    Ok(())
}

/// An agent with 205 works to which nothing happens.
async fn idle(cluster: &Cluster) -> Result<()> {
    let mut region = start("bench-cluster-idle", cluster, Rates::Unlimited).await?;
    let api = region.api().await?;
    say(&format!("agent without works: {}", memory(&mut region)?));
    create_many(&api, CONSUMER, "idle", IDLE, 8, |number| {
        [SMALL, BIG][number % 2]
    })
    .await?;
    settled(&mut region, IDLE).await?;
    let audit: Audit = cluster.audit().await?;
    // What the last bundles left to do, such as acknowledgements that are written together.
    sleep(Duration::from_secs(15)).await;
    let mark = audit.mark().await?;
    sleep(WATCHED).await;
    let made = of_agent(audit.since(mark).await?);
    say(&format!(
        "agent with {IDLE} works, idle for {} s: {:.2} API requests a second ({}), {}",
        WATCHED.as_secs(),
        made.len() as f64 / WATCHED.as_secs_f64(),
        by_kind(&made),
        memory(&mut region)?
    ));
    region.passed();
    Ok(())
}

/// Processor time of those who work on a bundle, in seconds.
struct Work {
    of: Vec<(&'static str, f64)>,
}

impl Work {
    fn so_far(cluster: &Cluster, region: &mut Region) -> Result<Self> {
        let agent = region.agent(CONSUMER)?.service.process().id();
        let all = cluster.processes().into_iter().chain([("agent", agent)]);
        let of = all.map(|(name, id)| Ok((name, measure::processor_time(id)?.as_secs_f64())));
        Ok(Self {
            of: of.collect::<Result<_>>()?,
        })
    }

    fn since(self, before: &Self) -> Self {
        let pairs = self.of.into_iter().zip(&before.of);
        Self {
            of: pairs
                .map(|((name, now), (_, then))| (name, now - then))
                .collect(),
        }
    }

    fn median(all: &[Self]) -> String {
        let names = all
            .first()
            .into_iter()
            .flat_map(|work| &work.of)
            .enumerate();
        let words: Vec<String> = names
            .map(|(at, (name, _))| {
                let times = all.iter().map(|work| work.of[at].1).collect();
                format!("{name} {:.2} s", Sample::new(times).median())
            })
            .collect();
        words.join(", ")
    }
}

async fn start(name: &str, cluster: &Cluster, rates: Rates) -> Result<Region> {
    rates
        .region(RegionBuilder::new(name, BrokerKind::Sandbox).on_cluster(cluster))
        .await
}

/// Waits until the agent holds `count` works and has no status left to report.
async fn settled(region: &mut Region, count: usize) -> Result<()> {
    loop {
        let page = region.agent(CONSUMER)?.service.metrics().await?;
        let works = page.sum("agent_works", &[]).unwrap_or_default();
        let open = page.sum("agent_status_unacknowledged", &[]);
        if works as usize == count && open.unwrap_or_default() == 0.0 {
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn memory(region: &mut Region) -> Result<String> {
    let process = region.agent(CONSUMER)?.service.process().id();
    let memory = measure::memory(process).context("the agent runs")?;
    Ok(memory.to_string())
}

fn of_agent(entries: Vec<AuditEntry>) -> Vec<AuditEntry> {
    let mut entries = entries;
    entries.retain(|entry| entry.user_agent.starts_with("agent/"));
    entries
}

fn by_kind(entries: &[AuditEntry]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        let slash = if entry.subresource.is_empty() {
            ""
        } else {
            "/"
        };
        let kind = format!(
            "{} {}{slash}{}",
            entry.verb, entry.resource, entry.subresource
        );
        *counts.entry(kind).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    counts.join(", ")
}

const CONSUMER: &str = "cluster1";
const TRIES: usize = 30;
const BURST: usize = 100;
const BURSTS: usize = 3;
const LOAD: usize = 600;
const IDLE: usize = 205;
const WATCHED: Duration = Duration::from_secs(60);
