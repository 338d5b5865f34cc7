//! What `explain` asks for, as SQL: the statements, one of which differs in where the version of a status is, and what their
//! rows tell.

use super::rows::{self, Cells, optional_time, time};
use crate::store::facts::{
    Ahead, BundleFacts, KnownNames, LaneFacts, LaneOwner, LeaseFacts, RaisedVersion,
};
use crate::store::{Bucket, Bundle, StoreError};

/// Which bundle is meant, and where it stands among others.
pub(in crate::store) struct Place {
    pub(in crate::store) key: i64,
    pub(in crate::store) id: String,
    standing: Standing,
}

/// What is known of a bundle without its consumer.
pub(in crate::store) struct OwnFacts {
    pub(in crate::store) bundle: Bundle,
    standing: Standing,
}

/// The facts of [`BundleFacts`] that are of one bundle among others.
struct Standing {
    unsent: bool,
    ahead: Ahead,
    unconfirmed: bool,
}

// === impl Place ===

impl Place {
    /// With the bundle that stands there.
    pub(in crate::store) fn of(self, bundle: Bundle) -> OwnFacts {
        OwnFacts {
            bundle,
            standing: self.standing,
        }
    }
}

// === impl OwnFacts ===

impl OwnFacts {
    /// With its consumer's lane.
    pub(in crate::store) fn on(self, lane: LaneFacts) -> BundleFacts {
        BundleFacts {
            bundle: self.bundle,
            unsent: self.standing.unsent,
            ahead: self.standing.ahead,
            unconfirmed: self.standing.unconfirmed,
            lane,
        }
    }
}

pub(in crate::store) fn read_place(row: &impl Cells) -> Result<Place, StoreError> {
    let (all, of_source) = (row.integer("ahead")?, row.integer("ahead_of_source")?);
    Ok(Place {
        key: row.integer("key")?,
        id: row.text("id")?,
        standing: Standing {
            unsent: row.flag("unsent")?,
            ahead: Ahead {
                of_source: of_source.unsigned_abs(),
                of_others: Some(all.abs_diff(of_source)),
            },
            unconfirmed: row.flag("unconfirmed")?,
        },
    })
}

/// The rows of [`RAISED`].
pub(in crate::store) fn read_raised(rows: &[impl Cells]) -> Result<Vec<RaisedVersion>, StoreError> {
    rows.iter().map(raised).collect()
}

fn raised(row: &impl Cells) -> Result<RaisedVersion, StoreError> {
    let id = row.text("id")?;
    Ok(RaisedVersion {
        version: rows::version(row, "version", &id)?,
        at: time(row, "stored_at", &id)?,
        note: row.optional_text("note")?.unwrap_or_default(),
        id,
    })
}

/// The rows of [`NEWEST_BUNDLES`], of each the id and the name, once where both are the same, and names of consumers.
pub(in crate::store) fn known_names(
    bundles: &[impl Cells],
    consumers: Vec<String>,
) -> Result<KnownNames, StoreError> {
    let mut names = Vec::with_capacity(2 * bundles.len());
    for row in bundles {
        names.extend([row.text("id")?, row.text("name")?]);
    }
    names.dedup();
    Ok(KnownNames {
        bundles: names,
        consumers,
    })
}

/// The lease of a bucket, from the one row of PostgreSQL's `LEASE`.
pub(in crate::store) fn read_lease(
    row: &impl Cells,
    bucket: Bucket,
) -> Result<LeaseFacts, StoreError> {
    let key = bucket.to_string();
    let owner = match optional_time(row, "until", &key)? {
        None => None,
        Some(until) => Some(LaneOwner {
            name: row.text("name")?,
            slot: u16::try_from(row.integer("slot")?).unwrap_or_default(),
            until,
            expired: row.flag("expired")?,
        }),
    };
    Ok(LeaseFacts {
        bucket: bucket.number(),
        term: row.integer("term")?,
        owner,
        replicas: row.integer("replicas")?.unsigned_abs(),
    })
}

/// Where the bundle stands that has this id, or else this name.
pub(in crate::store) const PLACE: &str = "SELECT t.key, t.id, t.unsent, \
     (SELECT COUNT(*) FROM bundles o WHERE o.consumer_name = t.consumer_name AND o.unsent AND o.changed < t.changed) AS ahead, \
     (SELECT COUNT(*) FROM bundles o WHERE o.consumer_name = t.consumer_name AND o.unsent AND o.changed < t.changed \
      AND o.source = t.source) AS ahead_of_source, \
     t.epoch <> (SELECT MAX(number) FROM epochs) AS unconfirmed \
     FROM bundles t WHERE t.id = $1 OR t.name = $1 ORDER BY CASE WHEN t.id = $1 THEN 0 ELSE 1 END LIMIT 1";

/// The id of the bundle with the name `$1`.
pub(in crate::store) const NAMED: &str = "SELECT id FROM bundles WHERE name = $1";

/// The newest `$2` versions of bundles of `$1` that were raised; the text is the beginning of the note that
/// [`crate::store::history::plan`] makes.
pub(in crate::store) const RAISED: &str = "SELECT b.id, l.version, l.stored_at, l.note \
     FROM bundles b JOIN ledger l ON l.bundle_key = b.key \
     WHERE b.consumer_name = $1 AND l.note LIKE 'the cluster held version %' ORDER BY l.stored_at DESC, b.key LIMIT $2";

/// Ids and names of the newest `$1` bundles, for [`known_names`].
pub(in crate::store) const NEWEST_BUNDLES: &str =
    "SELECT id, name FROM bundles ORDER BY key DESC LIMIT $1";

/// Names of the newest `$1` consumers.
pub(in crate::store) const NEWEST_CONSUMERS: &str =
    "SELECT name FROM consumers ORDER BY created_at DESC LIMIT $1";

/// Of each step the bundle of consumer `$1` that has waited longest; parameters of [`super::progress`] are those of the
/// engine.
macro_rules! oldest {
    ($version:expr, $later:literal) => {
        concat!(
            "SELECT w.id FROM (SELECT v.id, v.since, ROW_NUMBER() OVER (PARTITION BY v.step ORDER BY v.since, v.key) AS place \
             FROM (SELECT t.key, t.id, ",
            $crate::store::sql::progress::waiting_for!($version),
            " AS step, ",
            $crate::store::sql::progress::waiting_since!($version, $later),
            " AS since FROM bundles t WHERE t.consumer_name = $1) v WHERE v.step IS NOT NULL) w \
             WHERE w.place = 1 ORDER BY w.since"
        )
    };
}
pub(in crate::store) use oldest;
