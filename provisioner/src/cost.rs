//! Estimates what a region costs a month: `provisioner cost`. Pure.
//!
//! Quantities follow from the [`Region`] and a [`Load`]; prices from a dated file. What has no price there is
//! unknown and no part of the total, which is then the least it costs: never a guess. A month has 30 days, 43 200 minutes, as in AWS's own examples
//! for IoT Core. Free tiers, taxes, EKS itself, data transfer, logs and KMS keys are not counted.

use std::fmt;

use region_file::{ManagementCluster, Region};
use serde::Serialize;

pub use self::price_list::{Offer, PRICE_LIST};
pub use self::prices::{IotPrices, Prices, PricesError, RdsPrices, RegionPrices, SecretsPrices};

mod price_list;
mod prices;

/// What goes on in a region; the defaults are a small one that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Works on each management cluster.
    pub works_per_cluster: u32,
    /// Bytes of one work with its manifests.
    pub manifest_bytes: u32,
    /// How often a day each work is changed.
    pub changes_per_day: u32,
    /// How often a day each work's status changes.
    pub status_per_day: u32,
}

/// What a region costs a month.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// AWS region.
    pub region: String,
    /// Where the prices are from, and of when.
    pub source: String,
    /// What was assumed to go on.
    pub load: Load,
    /// One by one.
    pub lines: Vec<Line>,
    /// USD a month, of the lines that have a price: the least it costs if some have none. Null when none has.
    pub total: Option<f64>,
    /// Lines that have none.
    pub unknown: Vec<String>,
    /// What else to know.
    pub notes: Vec<String>,
}

/// One thing that costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What.
    pub what: String,
    /// How much of it a month.
    pub quantity: f64,
    /// Of what.
    pub unit: &'static str,
    /// USD a unit; null when unknown.
    pub price: Option<f64>,
    /// USD a month; null when unknown.
    pub monthly: Option<f64>,
}

// === impl Load ===

impl Default for Load {
    /// 50 works of 10 kB a cluster, each changed twice a day, each with 24 changes of status a day.
    fn default() -> Self {
        Self {
            works_per_cluster: 50,
            manifest_bytes: 10_000,
            changes_per_day: 2,
            status_per_day: 24,
        }
    }
}

/// Estimates what a region costs under a load.
pub fn estimate(region: &Region, load: &Load, prices: &Prices) -> Estimate {
    let mut lines = vec![connections(region, prices), messages(region, load, prices)];
    lines.extend(database(region, prices));
    lines.extend(secrets(region, prices));
    // Prices have at most five digits; the sum of a dozen lines loses nothing of a cent.
    let known = lines.iter().filter_map(|line| line.monthly);
    let total = known.reduce(|total, line| total + line);
    let unknown = lines.iter().filter(|line| line.monthly.is_none());
    let unknown: Vec<String> = unknown.map(|line| line.what.clone()).collect();
    Estimate {
        region: region.region.clone(),
        source: prices.source.clone(),
        load: *load,
        notes: notes(region, !unknown.is_empty()),
        unknown,
        lines,
        total: total.map(cents),
    }
}

fn connections(region: &Region, prices: &Prices) -> Line {
    let agents = region.clusters.len();
    let server = usize::from(region.server.connections) * usize::from(region.server.replicas);
    let count = server + agents;
    Line::new(
        format!("IoT Core: connections of the server ({server}) and agents ({agents})"),
        millions(count as u64 * MINUTES),
        "million minutes",
        prices
            .of(&region.region)
            .and_then(|prices| prices.iot.connection_minutes),
    )
}

fn messages(region: &Region, load: &Load, prices: &Prices) -> Line {
    let works = u64::from(load.works_per_cluster) * region.clusters.len() as u64;
    let down = works * u64::from(load.changes_per_day) * units(load.manifest_bytes);
    let up = works * u64::from(load.status_per_day) * units(STATUS_BYTES);
    Line::new(
        format!("IoT Core: messages of {works} works"),
        millions((down + up) * DAYS),
        "million messages of 5 KB",
        prices
            .of(&region.region)
            .and_then(|prices| prices.iot.messages),
    )
}

// A QoS 1 message to one receiver: taken in, given out, and the receiver's acknowledgement, which is one unit
// (docs/IOT-CORE.md §3, Metering).
fn units(bytes: u32) -> u64 {
    let size = u64::from(bytes) + ENVELOPE_BYTES;
    2 * size.div_ceil(UNIT_BYTES) + 1
}

fn database(region: &Region, prices: &Prices) -> [Line; 2] {
    let settings = &region.database;
    let rds = prices.of(&region.region).map(|prices| &prices.rds);
    let zones = if settings.multi_az { 2 } else { 1 };
    let where_ = if settings.multi_az {
        "two zones"
    } else {
        "one zone"
    };
    [
        Line::new(
            format!("RDS: {} in {where_}", settings.instance_class),
            f64::from(HOURS * zones),
            "hours",
            rds.and_then(|rds| rds.classes.get(&settings.instance_class).copied()),
        ),
        Line::new(
            format!("RDS: gp3 storage in {where_}"),
            f64::from(settings.storage * zones),
            "GiB",
            rds.and_then(|rds| rds.storage),
        ),
    ]
}

fn secrets(region: &Region, prices: &Prices) -> Vec<Line> {
    let mut lines = of_secrets(
        "the server",
        REGION_SECRETS,
        u64::from(region.server.replicas),
        region.eks.addons.secrets_store_driver,
        &region.region,
        region,
        prices,
    );
    // Clusters of one AWS region share a price; each region gets its own lines.
    let mut places: Vec<&str> = region
        .clusters
        .iter()
        .map(|cluster| cluster.region.as_str())
        .collect();
    places.sort_unstable();
    places.dedup();
    for place in places {
        let here = |cluster: &&ManagementCluster| cluster.region == place;
        let count = region.clusters.iter().filter(here).count();
        let polled = region
            .clusters
            .iter()
            .filter(here)
            .any(|cluster| cluster.addons.secrets_store_driver);
        let whose = format!("{count} agents in {place}, in their accounts");
        let secrets = CLUSTER_SECRETS * count as u64;
        lines.extend(of_secrets(
            &whose, secrets, 1, polled, place, region, prices,
        ));
    }
    lines
}

fn of_secrets(
    whose: &str,
    count: u64,
    pods: u64,
    polled: bool,
    place: &str,
    region: &Region,
    prices: &Prices,
) -> Vec<Line> {
    let prices = prices.of(place).map(|prices| &prices.secrets);
    let mut lines = vec![Line::new(
        format!("Secrets Manager: secrets of {whose}"),
        count as f64,
        "secrets",
        prices.and_then(|prices| prices.secret),
    )];
    if polled {
        // Each pod looks at each of its secrets once an interval.
        let polls = pods * MINUTES * 60 / region.eks.rotation_poll_interval.as_secs().max(1);
        lines.push(Line::new(
            format!("Secrets Manager: looks of the CSI driver, {whose}"),
            (count * polls) as f64 / 10_000.0,
            "10,000 calls",
            prices.and_then(|prices| prices.calls),
        ));
    }
    lines
}

fn notes(region: &Region, unknown: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if unknown {
        notes.push(
            "read what is unknown from AWS's public price list with `--price-list`, or give a file with `--prices`"
                .into(),
        );
    }
    notes.push(format!(
        "automatic backups ({} days) cost nothing up to the size of the database's storage, beyond it by the GiB",
        region.database.backup_days
    ));
    if region.database.max_storage.is_some() {
        notes.push("storage may grow by itself, and its price with it".into());
    }
    if region.secrets.kms_key.is_some() || region.secrets.management_kms_key.is_some() {
        notes.push("KMS keys of your own cost by the key and by the call".into());
    }
    notes
}

// Quantities are far below 2^52, where a float stops being exact.
fn millions(count: u64) -> f64 {
    count as f64 / 1_000_000.0
}

fn cents(usd: f64) -> f64 {
    (usd * 100.0).round() / 100.0
}

// === impl Line ===

impl Line {
    fn new(what: String, quantity: f64, unit: &'static str, price: Option<f64>) -> Self {
        Self {
            what,
            quantity,
            unit,
            price,
            monthly: price.map(|price| cents(price * quantity)),
        }
    }
}

impl fmt::Display for Estimate {
    /// A table, the total, then what is not in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .lines
            .iter()
            .map(|line| line.what.len())
            .max()
            .unwrap_or(0);
        for line in &self.lines {
            let monthly = match line.monthly {
                None => "unknown".to_owned(),
                // Some of a cent is not nothing.
                Some(usd) if usd < 0.01 && line.quantity > 0.0 && line.price != Some(0.0) => {
                    "< 0.01".to_owned()
                }
                Some(usd) => format!("{usd:.2}"),
            };
            writeln!(
                f,
                "{monthly:>9}  {:width$}  {:.2} {}",
                line.what, line.quantity, line.unit
            )?;
        }
        match (self.total, self.unknown.len()) {
            (None, _) => write!(
                f,
                "{:>9}  USD a month in {}: no price is known",
                "unknown", self.region
            )?,
            (Some(total), 0) => write!(f, "{total:>9.2}  USD a month in {}", self.region)?,
            (Some(total), unknown) => write!(
                f,
                "{total:>9.2}  USD a month in {} at least; unknown: {unknown} of {} prices",
                self.region,
                self.lines.len()
            )?,
        }
        write!(f, "\n{}", self.source)?;
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}"))
    }
}

const DAYS: u64 = 30;
const MINUTES: u64 = DAYS * 24 * 60;
const HOURS: u32 = 30 * 24;

const UNIT_BYTES: u64 = link::iot::limits::METERED_BYTES;
// An allowance, not a measurement: topic, properties of the event, and the frame around the manifests.
const ENVELOPE_BYTES: u64 = 600;
// An allowance too: conditions and feedback of a work with a handful of manifests.
const STATUS_BYTES: u32 = 2_000;

// Certificate, configuration, database, registrations; certificate and configuration.
const REGION_SECRETS: u64 = 4;
const CLUSTER_SECRETS: u64 = 2;

#[cfg(test)]
mod tests;
