//! What `explain` asks for, as SQL: the statements, which differ in how a parameter is written and where times of statuses
//! are, and what their rows tell.

use super::rows::{self, Cells, optional_time, time};
use crate::store::facts::{LaneOwner, LeaseFacts, RaisedVersion};
use crate::store::{Bucket, StoreError};

/// Where a bundle stands among others.
pub(in crate::store) struct Place {
    pub(in crate::store) key: i64,
    pub(in crate::store) id: String,
    pub(in crate::store) unsent: bool,
    pub(in crate::store) ahead: u64,
    pub(in crate::store) unconfirmed: bool,
}

pub(in crate::store) fn read_place(row: &impl Cells) -> Result<Place, StoreError> {
    Ok(Place {
        key: row.integer("key")?,
        id: row.text("id")?,
        unsent: row.flag("unsent")?,
        ahead: row.integer("ahead")?.unsigned_abs(),
        unconfirmed: row.flag("unconfirmed")?,
    })
}

pub(in crate::store) fn read_raised(row: &impl Cells) -> Result<RaisedVersion, StoreError> {
    let id = row.text("id")?;
    Ok(RaisedVersion {
        version: rows::version(row, "version", &id)?,
        at: time(row, "stored_at", &id)?,
        note: row.optional_text("note")?.unwrap_or_default(),
        id,
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
macro_rules! place {
    ($reference:literal) => {
        concat!(
            "SELECT t.key, t.id, t.unsent, (SELECT COUNT(*) FROM bundles o WHERE o.consumer_name = t.consumer_name \
               AND o.unsent AND o.changed < t.changed) AS ahead, \
             t.epoch <> (SELECT MAX(number) FROM epochs) AS unconfirmed \
             FROM bundles t WHERE t.id = ",
            $reference,
            " OR t.name = ",
            $reference,
            " ORDER BY CASE WHEN t.id = ",
            $reference,
            " THEN 0 ELSE 1 END LIMIT 1"
        )
    };
}
pub(in crate::store) use place;

/// Of each step the bundle of a consumer that has waited longest; parameters of [`super::progress`] are those of the engine.
macro_rules! oldest {
    ($version:expr, $later:literal, $consumer:literal) => {
        concat!(
            "SELECT w.id FROM (SELECT v.id, v.since, ROW_NUMBER() OVER (PARTITION BY v.step ORDER BY v.since, v.key) AS place \
             FROM (SELECT t.key, t.id, ",
            $crate::store::sql::progress::waiting_for!($version),
            " AS step, ",
            $crate::store::sql::progress::waiting_since!($version, $later),
            " AS since FROM bundles t WHERE t.consumer_name = ",
            $consumer,
            ") v WHERE v.step IS NOT NULL) w WHERE w.place = 1 ORDER BY w.since"
        )
    };
}
pub(in crate::store) use oldest;

/// Versions of a consumer's bundles that were raised; the text is the beginning of the note that
/// [`crate::store::history::plan`] makes.
macro_rules! raised {
    ($consumer:literal, $limit:literal) => {
        concat!(
            "SELECT b.id, l.version, l.stored_at, l.note FROM bundles b JOIN ledger l ON l.bundle_key = b.key \
             WHERE b.consumer_name = ",
            $consumer,
            " AND l.note LIKE 'the cluster held version %' ORDER BY l.stored_at DESC, b.key LIMIT ",
            $limit
        )
    };
}
pub(in crate::store) use raised;
