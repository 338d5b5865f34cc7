//! Prices by AWS region, from a dated file.

use std::collections::BTreeMap;

use link::error::Hint;
use serde::Deserialize;

/// Prices by AWS region, in USD.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prices {
    /// When they were seen, such as `June 2026`.
    pub seen: String,
    /// Where they are from, as a sentence for the reader of an estimate.
    pub source: String,
    regions: BTreeMap<String, RegionPrices>,
}

/// Prices of one AWS region; what is absent is unknown.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionPrices {
    pub(super) iot: IotPrices,
    pub(super) rds: RdsPrices,
    pub(super) secrets: SecretsPrices,
}

/// Prices of IoT Core in one region.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct IotPrices {
    /// A million minutes.
    pub(super) connection_minutes: Option<f64>,
    /// A million messages of 5 KB.
    pub(super) messages: Option<f64>,
}

/// Prices of PostgreSQL on RDS in one region.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RdsPrices {
    /// A GiB-month of gp3 in one zone.
    pub(super) storage: Option<f64>,
    /// An hour in one zone, by class.
    pub(super) classes: BTreeMap<String, f64>,
}

/// Prices of Secrets Manager in one region.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretsPrices {
    /// A secret a month.
    pub(super) secret: Option<f64>,
    /// 10 000 calls.
    pub(super) calls: Option<f64>,
}

/// Why a file of prices cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read prices: {problem}")]
pub struct PricesError {
    pub(super) problem: String,
}

// === impl Prices ===

impl Prices {
    /// Those that come with this program.
    ///
    /// # Errors
    /// None that a test would not have found.
    pub fn built_in() -> Result<Self, PricesError> {
        Self::parse(BUILT_IN)
    }

    /// Reads prices in the shape of the built-in file.
    ///
    /// # Errors
    /// [`PricesError`] says what does not fit.
    pub fn parse(text: &str) -> Result<Self, PricesError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let prices: Self =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| PricesError {
                problem: error.to_string(),
            })?;
        for (region, prices) in &prices.regions {
            let one = [
                prices.iot.connection_minutes,
                prices.iot.messages,
                prices.rds.storage,
                prices.secrets.secret,
                prices.secrets.calls,
            ];
            let mut all = one
                .into_iter()
                .flatten()
                .chain(prices.rds.classes.values().copied());
            if let Some(price) = all.find(|price| !price.is_finite() || *price < 0.0) {
                let problem = format!("{region} has a price of {price}");
                return Err(PricesError { problem });
            }
        }
        Ok(prices)
    }

    /// The same with the regions of `other` in the place of these, and its date and source.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.seen = other.seen;
        self.source = other.source;
        self.regions.extend(other.regions);
        self
    }

    /// The same with what is known of `newer` in the place of these prices of `region`.
    #[must_use]
    pub fn with_region(mut self, region: &str, newer: RegionPrices) -> Self {
        let prices = self.regions.entry(region.to_owned()).or_default();
        let RegionPrices { iot, rds, secrets } = newer;
        let put = |to: &mut Option<f64>, from: Option<f64>| *to = from.or(*to);
        put(&mut prices.iot.connection_minutes, iot.connection_minutes);
        put(&mut prices.iot.messages, iot.messages);
        put(&mut prices.rds.storage, rds.storage);
        prices.rds.classes.extend(rds.classes);
        put(&mut prices.secrets.secret, secrets.secret);
        put(&mut prices.secrets.calls, secrets.calls);
        self
    }

    /// AWS regions that have prices.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.regions.keys().map(String::as_str)
    }

    pub(super) fn of(&self, region: &str) -> Option<&RegionPrices> {
        self.regions.get(region)
    }
}

impl Hint for PricesError {
    fn hint(&self) -> Option<String> {
        Some("write `seen`, `source` and `regions` as in the built-in prices".into())
    }
}

const BUILT_IN: &str = include_str!("../../data/prices.yaml");
