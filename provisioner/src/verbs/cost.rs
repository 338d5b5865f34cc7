//! `provisioner cost`. Prices come from a dated file; with `--price-list` from AWS, and from the file what is not there.

use std::collections::BTreeSet;

use link::error::{Failure, Hint};
use region_file::{Region, input};

use super::{print, print_json};
use crate::args::{CostArgs, GlobalArgs};
use crate::aws::public;
use crate::context;
use crate::cost::{Load, Offer, Prices, PricesError, estimate};
use crate::progress::{Progress as _, ProgressLines};

/// A file of prices could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read prices from `{path}`")]
struct ReadError {
    path: String,
    #[source]
    source: std::io::Error,
}

/// The price list cannot be anywhere like this.
#[derive(Debug, thiserror::Error)]
#[error("read the price list from `{base}`: it is no address")]
struct AddressError {
    base: String,
}

pub(crate) async fn run(global: &GlobalArgs, args: &CostArgs) -> Result<(), Failure> {
    if let Some(base) = args.price_list.clone()
        && !public::is_base(&base)
    {
        return Err(Failure::misuse(AddressError { base }));
    }
    let region = context::read(global)?;
    let mut prices = Prices::built_in().map_err(wrong)?;
    if let Some(path) = &args.prices {
        let text = input::read_text(path).map_err(|source| {
            let path = path.display().to_string();
            Failure::misuse(ReadError { path, source })
        })?;
        prices = prices.with(Prices::parse(&text).map_err(wrong)?);
    }
    if let Some(base) = &args.price_list {
        prices = listed(&region, base, prices).await;
    }
    let load = Load {
        works_per_cluster: args.works_per_cluster,
        manifest_bytes: args.manifest_bytes,
        changes_per_day: args.changes_per_day,
        status_per_day: args.status_per_day,
    };
    let estimate = estimate(&region, &load, &prices);
    if args.json {
        return print_json(&estimate);
    }
    print(&estimate.to_string())
}

/// The prices with those of AWS's price list. What cannot be read is a note, and its prices stay those of the file.
async fn listed(region: &Region, base: &str, mut prices: Prices) -> Prices {
    let mut wanted = vec![(Offer::Iot, &region.region), (Offer::Rds, &region.region)];
    let places = region.clusters.iter().map(|cluster| &cluster.region);
    let places: BTreeSet<&String> = places.chain([&region.region]).collect();
    wanted.extend(places.into_iter().map(|place| (Offer::Secrets, place)));
    let mut days = BTreeSet::new();
    for (offer, place) in wanted {
        let path = offer.path(place);
        let read = match public::get(base, &path).await {
            Ok(file) => offer.read(&file).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok((newer, day)) => {
                prices = prices.with_region(place, newer);
                days.insert(day);
            }
            Err(why) => ProgressLines::default().note(&format!(
                "warning: the price list cannot be used, the prices of {} stand in: {why}",
                prices.seen
            )),
        }
    }
    if let (Some(first), Some(last)) = (days.first(), days.last()) {
        let former = prices.source;
        prices.source = format!("AWS's price list of {first} to {last}; what it lacks: {former}");
    }
    prices
}

fn wrong(error: PricesError) -> Failure {
    let hint = error.hint();
    Failure::usage(error).with_hint(hint)
}

// === impl AddressError ===

impl Hint for AddressError {
    fn hint(&self) -> Option<String> {
        Some("write `https://HOST`, or leave it out for AWS's own".into())
    }
}

// === impl ReadError ===

impl Hint for ReadError {
    fn hint(&self) -> Option<String> {
        Some("name a file in the form of the built-in prices with `--prices`".into())
    }
}
