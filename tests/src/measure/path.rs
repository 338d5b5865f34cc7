//! How long bundles take through a whole region: from a POST to `Applied` readable by REST.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Sample;
use super::load_data::{SMALL, manifest};
use crate::api::{Api, Change};
use crate::region::{Region, RegionBuilder};

/// What broker and sessions allow a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rates {
    /// 100 publishes and 512 KiB a second, enforced by the broker and kept by the sessions.
    IotCore,
    /// Whatever goes.
    Unlimited,
}

/// What a burst came to, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// From a bundle's POST to its status, on average.
    pub average: f64,
    /// From a bundle's POST to its status, of the slowest in a hundred.
    pub p99: f64,
    /// From the first POST to the last status.
    pub last: f64,
    /// Bundles created per second by one caller meanwhile.
    pub creates: f64,
}

// === impl Rates ===

impl Rates {
    /// As a report calls them.
    pub fn name(self) -> &'static str {
        match self {
            Self::IotCore => "IoT Core's quotas",
            Self::Unlimited => "no quotas",
        }
    }

    /// Starts a region with these rates.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub async fn region(self, builder: RegionBuilder) -> Result<Region> {
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

// === impl Burst ===

impl Burst {
    /// The median of each figure.
    pub fn median(bursts: &[Self]) -> Self {
        let of =
            |figure: fn(&Self) -> f64| Sample::new(bursts.iter().map(figure).collect()).median();
        Self {
            average: of(|burst| burst.average),
            p99: of(|burst| burst.p99),
            last: of(|burst| burst.last),
            creates: of(|burst| burst.creates),
        }
    }
}

/// One bundle at a time into an idle region; the first, which opens connections and files, is not counted.
///
/// # Errors
/// When the bridge refuses one.
pub async fn one_by_one(api: &Api, consumer: &str, tries: usize) -> Result<Sample> {
    let mut times = Vec::new();
    for number in 0..=tries {
        let change = Change::create(consumer, vec![manifest(&format!("try-{number}"), SMALL)]);
        let started = Instant::now();
        let created = api.create_bundle(&change).await?;
        loop {
            let bundle = api.bundle(&created.id).await?.context("it is there")?;
            if bundle.observed_version() == 1 && bundle.is("Applied") {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        if number > 0 {
            times.push(started.elapsed());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(Sample::of(times))
}

/// `count` bundles from one caller as fast as it can, while another polls the list.
///
/// # Errors
/// When the bridge refuses one.
pub async fn burst(api: &Api, consumer: &str, count: usize, bytes: usize) -> Result<Burst> {
    let watching = tokio::spawn(applied_at(api.clone(), count));
    let mut posted = HashMap::new();
    let started = Instant::now();
    for number in 0..count {
        let manifests = vec![manifest(&format!("burst-{number}"), bytes)];
        let at = Instant::now();
        let created = api
            .create_bundle(&Change::create(consumer, manifests))
            .await?;
        posted.insert(created.id, at);
    }
    let creates = count as f64 / started.elapsed().as_secs_f64();
    let applied = watching.await??;
    let times = applied
        .iter()
        .filter_map(|(id, at)| posted.get(id).map(|posted| *at - *posted));
    let times = Sample::of(times);
    let end = applied.values().max().context("some were applied")?;
    Ok(Burst {
        average: times.average(),
        p99: times.quantile(0.99),
        last: (*end - started).as_secs_f64(),
        creates,
    })
}

/// When each bundle was first seen applied in the list, which is polled every 0.1 s.
///
/// # Errors
/// When the list cannot be read.
pub async fn applied_at(api: Api, count: usize) -> Result<HashMap<String, Instant>> {
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
