//! `provisioner cost`. Asks nobody: prices come from a dated file.

use link::error::{Failure, Hint};

use super::{print, print_json};
use crate::args::{CostArgs, GlobalArgs};
use crate::context;
use crate::cost::{Load, Prices, PricesError, estimate};

/// A file of prices could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read prices from `{path}`")]
struct ReadError {
    path: String,
    #[source]
    source: std::io::Error,
}

pub(crate) fn run(global: &GlobalArgs, args: &CostArgs) -> Result<(), Failure> {
    let region = context::read(global)?;
    let mut prices = Prices::built_in().map_err(wrong)?;
    if let Some(path) = &args.prices {
        let text = std::fs::read_to_string(path).map_err(|source| {
            let path = path.display().to_string();
            Failure::usage(ReadError { path, source })
        })?;
        prices = prices.with(Prices::parse(&text).map_err(wrong)?);
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

fn wrong(error: PricesError) -> Failure {
    let hint = error.hint();
    Failure::usage(error).with_hint(hint)
}
