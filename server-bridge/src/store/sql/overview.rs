//! A look at a store, as both engines ask for it and read the answer.

use jiff::Timestamp;

use super::rows::{Cells, time};
use crate::store::StoreError;
use crate::store::overview::{Began, HistorySummary, Holds};

/// How many of the rows that both engines count alike, and when the oldest that was not sent changed; columns are named as
/// [`Holds`] has them.
pub(in crate::store) const COUNTS: &str = "SELECT (SELECT COUNT(*) FROM consumers) AS consumers, \
     (SELECT COUNT(*) FROM bundles) AS bundles, \
     (SELECT COUNT(*) FROM bundles WHERE deleted_at IS NOT NULL) AS deleting, \
     (SELECT COUNT(*) FROM bundles WHERE unsent) AS unsent, \
     (SELECT MIN(updated_at) FROM bundles WHERE unsent) AS oldest, \
     (SELECT COUNT(*) FROM tombstones) AS tombstones";

/// Columns as [`Began`] has them, in both engines.
pub(in crate::store) const EPOCHS: &str =
    "SELECT number, began_at, why FROM epochs ORDER BY number DESC LIMIT 20";

/// Columns as [`HistorySummary`] has them, in both engines.
pub(in crate::store) const UNCONFIRMED: &str = "SELECT COUNT(*) AS unconfirmed, \
     COUNT(DISTINCT consumer_name) AS unconfirmed_consumers FROM bundles \
     WHERE epoch <> (SELECT MAX(number) FROM epochs)";

/// Consumers whose agent has reported of itself.
pub(in crate::store) const REPORTING: &str = "SELECT COUNT(report) AS reporting FROM presence";

/// What rows of [`EPOCHS`] and the one of [`UNCONFIRMED`] tell.
pub(in crate::store) fn past<R: Cells>(
    epochs: &[R],
    unconfirmed: &R,
) -> Result<HistorySummary, StoreError> {
    let began = |row: &R| {
        let number = row.integer("number")?;
        Ok(Began {
            number,
            began_at: time(row, "began_at", &number.to_string())?,
            why: row.text("why")?,
        })
    };
    Ok(HistorySummary {
        epochs: epochs
            .iter()
            .map(began)
            .collect::<Result<_, StoreError>>()?,
        unconfirmed: unconfirmed.integer("unconfirmed")?.unsigned_abs(),
        unconfirmed_consumers: unconfirmed.integer("unconfirmed_consumers")?.unsigned_abs(),
    })
}

/// What a row of [`COUNTS`] tells.
pub(in crate::store) fn holds(row: &impl Cells, now: Timestamp) -> Result<Holds, StoreError> {
    let oldest = row.optional_integer("oldest")?;
    let seconds = |since: i64| (now.as_microsecond() - since).max(0).unsigned_abs() / 1_000_000;
    Ok(Holds {
        consumers: row.integer("consumers")?.unsigned_abs(),
        bundles: row.integer("bundles")?.unsigned_abs(),
        deleting: row.integer("deleting")?.unsigned_abs(),
        unsent: row.integer("unsent")?.unsigned_abs(),
        oldest_unsent_seconds: oldest.map(seconds),
        tombstones: row.integer("tombstones")?.unsigned_abs(),
    })
}
