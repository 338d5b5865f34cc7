//! What a store holds and how it is reached, for an operator: read only, also while bridges run.
//!
//! One struct for both engines; what an engine does not have is absent.

use jiff::Timestamp;
use serde::Serialize;

use super::postgres::Config;
use super::sql::rows::Cells;
use super::{Location, StoreError};

/// What a store holds, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// `postgres` or `sqlite`.
    pub engine: &'static str,
    /// The file; or user, host, port, database and schema.
    pub place: String,
    /// The state of the tables.
    pub schema: Tables,
    /// What they hold; absent while there are none.
    pub holds: Option<Holds>,
    /// Connections of the server; absent for a file.
    pub connections: Option<Connections>,
    /// What is remembered of the store's past; absent while there are no tables for it.
    pub history: Option<Past>,
    /// Who shares the store, by slot; absent for a file.
    pub replicas: Option<Vec<Member>>,
    /// Whether replicas with these flags ring each other; absent for a file.
    pub notify: Option<bool>,
}

/// The state of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tables {
    /// The newest change made to them; 0 when there are none.
    pub version: i64,
    /// The newest change this program knows.
    pub known: i64,
    /// Whether they are as this program makes them.
    pub current: bool,
    /// Whether a copy into them is not finished.
    pub copying: bool,
}

/// How much there is of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holds {
    /// Registered consumers.
    pub consumers: u64,
    /// Bundles, those being deleted too.
    pub bundles: u64,
    /// Bundles being deleted.
    pub deleting: u64,
    /// Bundles of which the broker has not acknowledged the newest version, or the deletion.
    pub unsent: u64,
    /// For how long the oldest of those has waited, by its last change, in seconds.
    pub oldest_unsent_seconds: Option<u64>,
    /// Deletions that are remembered.
    pub tombstones: u64,
}

/// What is remembered of the store's past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Past {
    /// The last epochs, the present one first.
    pub epochs: Vec<Began>,
    /// Bundles that no agent has confirmed in the present epoch.
    pub unconfirmed: u64,
    /// Consumers with such a bundle.
    pub unconfirmed_consumers: u64,
}

/// An epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Began {
    /// From 1, one more for each.
    pub number: i64,
    /// When it began.
    pub began_at: Timestamp,
    /// Why.
    pub why: String,
}

/// A bridge among others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Which of the numbered client ids it connects under.
    pub slot: u64,
    /// What people know it by.
    pub name: String,
    /// How many of the 256 buckets of consumers it sends to.
    pub buckets: u64,
    /// Whether it has not renewed its lease in time.
    pub expired: bool,
}

/// Connections of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// In use now, by everybody.
    pub used: u64,
    /// At most, of everybody.
    pub limit: u64,
    /// At most, of a bridge with these flags, the one for rings included.
    pub each: u32,
}

// === impl Location ===

impl Location {
    /// Looks at the store that is there, without changing it.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place.
    pub async fn overview(&self, now: Timestamp) -> Result<Overview, StoreError> {
        match self {
            Self::Sqlite(file) => super::sqlite::overview(file, now).await,
            Self::Postgres(config) => super::postgres::overview(config, now).await,
        }
    }

    /// Brings the tables up to date, making them as needed; says where they are. With `build_index` it waits for the index
    /// of searches, which SQLite does not need, and fails when that is not there afterwards.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place.
    pub async fn migrate(&self, build_index: bool) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(file) => {
                super::sqlite::Alone::open(file, true, false)
                    .await?
                    .close()
                    .await;
                Ok(file.display().to_string())
            }
            Self::Postgres(config) => {
                let mut alone = super::postgres::Alone::open(config, false).await?;
                if !build_index {
                    alone.complete(config).await;
                } else if !alone.build_index(config).await? {
                    tracing::info!("Another process builds the index of searches");
                }
                let place = alone.place.clone();
                alone.close().await;
                Ok(place)
            }
        }
    }
}

// === impl Connections ===

impl Connections {
    pub(super) fn of(config: &Config, used: i64, limit: i64) -> Self {
        Self {
            used: used.unsigned_abs(),
            limit: limit.unsigned_abs(),
            each: config.max_connections + u32::from(config.notify),
        }
    }
}

/// How many of the rows that both engines count alike, and when the oldest that was not sent changed; columns are named as
/// [`Holds`] has them.
pub(super) const COUNTS: &str = "SELECT (SELECT COUNT(*) FROM consumers) AS consumers, \
     (SELECT COUNT(*) FROM bundles) AS bundles, \
     (SELECT COUNT(*) FROM bundles WHERE deleted_at IS NOT NULL) AS deleting, \
     (SELECT COUNT(*) FROM bundles WHERE unsent) AS unsent, \
     (SELECT MIN(updated_at) FROM bundles WHERE unsent) AS oldest, \
     (SELECT COUNT(*) FROM tombstones) AS tombstones";

/// Columns as [`Began`] has them, in both engines.
pub(super) const EPOCHS: &str =
    "SELECT number, began_at, why FROM epochs ORDER BY number DESC LIMIT 20";

/// Columns as [`Past`] has them, in both engines.
pub(super) const UNCONFIRMED: &str = "SELECT COUNT(*) AS unconfirmed, \
     COUNT(DISTINCT consumer_name) AS unconfirmed_consumers FROM bundles \
     WHERE epoch <> (SELECT MAX(number) FROM epochs)";

impl Past {
    /// From rows of [`EPOCHS`] and the one of [`UNCONFIRMED`].
    pub(super) fn of<R: Cells>(epochs: &[R], unconfirmed: &R) -> Result<Self, StoreError> {
        let began = |row: &R| {
            let number = row.integer("number")?;
            let at = Timestamp::from_microsecond(row.integer("began_at")?);
            Ok(Began {
                number,
                began_at: at.map_err(|error| StoreError::Corrupt {
                    object: "epochs.began_at",
                    key: number.to_string(),
                    problem: error.to_string(),
                })?,
                why: row.text("why")?,
            })
        };
        Ok(Self {
            epochs: epochs
                .iter()
                .map(began)
                .collect::<Result<_, StoreError>>()?,
            unconfirmed: unconfirmed.integer("unconfirmed")?.unsigned_abs(),
            unconfirmed_consumers: unconfirmed.integer("unconfirmed_consumers")?.unsigned_abs(),
        })
    }
}

impl Holds {
    /// From a row of [`COUNTS`].
    pub(super) fn of(row: &impl Cells, now: Timestamp) -> Result<Self, StoreError> {
        let oldest = row.optional_integer("oldest")?;
        let seconds = |since: i64| (now.as_microsecond() - since).max(0).unsigned_abs() / 1_000_000;
        Ok(Self {
            consumers: row.integer("consumers")?.unsigned_abs(),
            bundles: row.integer("bundles")?.unsigned_abs(),
            deleting: row.integer("deleting")?.unsigned_abs(),
            unsent: row.integer("unsent")?.unsigned_abs(),
            oldest_unsent_seconds: oldest.map(seconds),
            tombstones: row.integer("tombstones")?.unsigned_abs(),
        })
    }
}
