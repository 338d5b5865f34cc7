//! AWS's public price list: one file for each service and region, which anybody may read. Pure.
//!
//! A price is taken from the usage type that bills name (`EU-ConnectionMinutes`), whose first part names the region. Where
//! none or several different prices fit, there is none: never a guess.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::prices::{IotPrices, PricesError, RdsPrices, RegionPrices, SecretsPrices};

/// Where AWS keeps it.
pub const PRICE_LIST: &str = "https://pricing.us-east-1.amazonaws.com";

/// A service as the price list names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// IoT Core.
    Iot,
    /// RDS.
    Rds,
    /// Secrets Manager.
    Secrets,
}

// === impl Offer ===

impl Offer {
    /// The path of a region's file, below [`PRICE_LIST`].
    pub fn path(self, region: &str) -> String {
        let service = match self {
            Self::Iot => "AWSIoT",
            Self::Rds => "AmazonRDS",
            Self::Secrets => "AWSSecretsManager",
        };
        format!("/offers/v1.0/aws/{service}/current/{region}/index.json")
    }

    /// The prices in a region's file, and the day it was published.
    ///
    /// # Errors
    /// [`PricesError`] for anything that is not such a file.
    pub fn read(self, file: &[u8]) -> Result<(RegionPrices, String), PricesError> {
        let file: OfferFile = serde_json::from_slice(file).map_err(|error| PricesError {
            problem: error.to_string(),
        })?;
        let mut prices = RegionPrices::default();
        match self {
            Self::Iot => {
                prices.iot = IotPrices {
                    connection_minutes: file
                        .price(MILLION, |it| it.is_used_as("ConnectionMinutes")),
                    messages: file.price(MILLION, |it| it.is_used_as("Messages")),
                };
            }
            Self::Rds => prices.rds = file.rds(),
            Self::Secrets => {
                prices.secrets = SecretsPrices {
                    secret: file.price(1.0, |it| it.is_used_as("AWSSecretsManager-Secrets")),
                    calls: file.price(10_000.0, |it| it.is_used_as("AWSSecretsManagerAPIRequest")),
                };
            }
        }
        let day = file
            .publication_date
            .get(..10)
            .unwrap_or_default()
            .to_owned();
        Ok((prices, day))
    }
}

// A file of the price list, format `v1.0`, as far as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfferFile {
    publication_date: String,
    products: HashMap<String, Product>,
    terms: Terms,
}

#[derive(Debug, Deserialize)]
struct Product {
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Attributes {
    usagetype: String,
    database_engine: String,
    instance_type: String,
}

#[derive(Debug, Deserialize)]
struct Terms {
    // By SKU, then by an id of the term.
    #[serde(rename = "OnDemand", default)]
    on_demand: HashMap<String, HashMap<String, Term>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    price_dimensions: HashMap<String, PriceDimension>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceDimension {
    begin_range: Option<String>,
    price_per_unit: HashMap<String, String>,
}

// === impl OfferFile ===

impl OfferFile {
    fn rds(&self) -> RdsPrices {
        let postgres = |it: &Attributes| it.database_engine == "PostgreSQL";
        let classes = self.products.values().map(|product| &product.attributes);
        let classes = classes.filter(|it| postgres(it) && it.is_instance());
        let classes: BTreeMap<String, f64> = classes
            .filter_map(|one| {
                let class = &one.instance_type;
                let same = |it: &Attributes| {
                    postgres(it) && it.is_instance() && it.instance_type == *class
                };
                Some((class.clone(), self.price(1.0, same)?))
            })
            .collect();
        RdsPrices {
            storage: self.price(1.0, |it| postgres(it) && it.is_used_as("RDS:GP3-Storage")),
            classes,
        }
    }

    // USD of `units` in the first tier; none unless all that fit agree.
    fn price(&self, units: f64, fits: impl Fn(&Attributes) -> bool) -> Option<f64> {
        let fitting = self.products.iter().filter(|(_, it)| fits(&it.attributes));
        let terms = fitting.filter_map(|(sku, _)| self.terms.on_demand.get(sku));
        let dimensions =
            terms.flat_map(|terms| terms.values().flat_map(|it| it.price_dimensions.values()));
        let first = dimensions.filter(|it| matches!(it.begin_range.as_deref(), None | Some("0")));
        let mut prices = first.map(|it| it.price_per_unit.get("USD")?.parse::<f64>().ok());
        let price = prices.next()??;
        // The list has ten decimals; what a float adds behind them is cut off.
        let price_of_units = (price * units * 1e9).round() / 1e9;
        prices
            .all(|other| other == Some(price))
            .then_some(price_of_units)
    }
}

// === impl Attributes ===

impl Attributes {
    // `EU-ConnectionMinutes` is use of `ConnectionMinutes`; in us-east-1 RDS has no prefix.
    fn is_used_as(&self, what: &str) -> bool {
        self.use_of() == what || self.usagetype == what
    }

    fn is_instance(&self) -> bool {
        let one = "InstanceUsage:";
        self.usagetype.starts_with(one) || self.use_of().starts_with(one)
    }

    fn use_of(&self) -> &str {
        self.usagetype
            .split_once('-')
            .map_or("", |(_, use_of)| use_of)
    }
}

const MILLION: f64 = 1_000_000.0;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A file with a product for each usage type, engine, class and price.
    fn file(products: &[(&str, &str, &str, &str)]) -> Vec<u8> {
        let (mut listed, mut terms) = (json!({}), json!({}));
        for (number, (usage, engine, class, price)) in products.iter().enumerate() {
            let sku = format!("SKU{number}");
            listed[&sku] = json!({"sku": sku, "attributes": {
                "usagetype": usage, "databaseEngine": engine, "instanceType": class, "servicecode": "x",
            }});
            let dimension = |from: &str, usd: &str| -> Value {
                json!({"unit": "x", "beginRange": from, "pricePerUnit": {"USD": usd}})
            };
            terms[&sku] = json!({format!("{sku}.T"): {"priceDimensions": {
                "1": dimension("0", price), "2": dimension("1000000000", "0.0000000001"),
            }}});
        }
        let file = json!({
            "formatVersion": "v1.0", "publicationDate": "2026-06-05T18:53:43Z",
            "products": listed, "terms": {"OnDemand": terms, "Reserved": {"any": 1}},
        });
        file.to_string().into_bytes()
    }

    #[test]
    fn prices_are_those_of_the_usage_types_in_the_first_tier() {
        let iot = file(&[
            ("APN1-ConnectionMinutes", "", "", "0.0000000960"),
            ("APN1-Messages", "", "", "0.0000012000"),
            ("APN1-LoRaWAN-Messages", "", "", "0.0000023000"),
        ]);
        let (prices, day) = Offer::Iot.read(&iot).unwrap();
        assert_eq!(prices.iot.connection_minutes, Some(0.096));
        assert_eq!(prices.iot.messages, Some(1.2));
        assert_eq!(day, "2026-06-05");
        let secrets = file(&[
            ("EU-AWSSecretsManager-Secrets", "", "", "0.4000000000"),
            ("EU-AWSSecretsManagerAPIRequest", "", "", "0.0000050000"),
        ]);
        let (prices, _) = Offer::Secrets.read(&secrets).unwrap();
        assert_eq!(
            (prices.secrets.secret, prices.secrets.calls),
            (Some(0.4), Some(0.05))
        );
    }

    #[test]
    fn a_class_has_the_price_of_one_zone_and_of_postgresql() {
        for prefix in ["", "EU-"] {
            let usage = |what: &str| format!("{prefix}{what}");
            let (one, two) = (
                usage("InstanceUsage:db.t4g.micro"),
                usage("Multi-AZUsage:db.t4g.micro"),
            );
            let (single, double) = (usage("RDS:GP3-Storage"), usage("RDS:Multi-AZ-GP3-Storage"));
            let rds = file(&[
                (&one, "PostgreSQL", "db.t4g.micro", "0.0170000000"),
                (&one, "MySQL", "db.t4g.micro", "0.0160000000"),
                (&two, "PostgreSQL", "db.t4g.micro", "0.0340000000"),
                (&single, "PostgreSQL", "", "0.1270000000"),
                (&double, "PostgreSQL", "", "0.2540000000"),
            ]);
            let (prices, _) = Offer::Rds.read(&rds).unwrap();
            assert_eq!(
                prices.rds.classes.get("db.t4g.micro"),
                Some(&0.017),
                "{prefix}"
            );
            assert_eq!(prices.rds.storage, Some(0.127), "{prefix}");
        }
    }

    #[test]
    fn prices_that_contradict_each_other_are_no_price() {
        let iot = file(&[
            ("EU-Messages", "", "", "0.000001"),
            ("EU-Messages", "", "", "0.000002"),
        ]);
        let (prices, _) = Offer::Iot.read(&iot).unwrap();
        assert_eq!(prices.iot.messages, None);
        assert!(Offer::Iot.read(b"{}").is_err());
    }
}
