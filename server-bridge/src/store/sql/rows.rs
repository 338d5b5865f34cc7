//! From rows to domain types. What breaks a rule of the store is corruption, with its table, column and row.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use sqlx::Row as _;

use super::super::history::Behind;
use super::super::{
    Bundle, BundleVersion, Consumer, Content, Doubts, Epoch, Json, LedgerEntry, Orphan,
    PendingBundle, PendingHead, Report, ReportHead, SourceName, Status, StoreError,
};

/// The cells of a row by the name of their column, whichever engine it comes from.
pub(in crate::store) trait Cells {
    fn text(&self, column: &'static str) -> Result<String, StoreError>;
    fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError>;
    fn integer(&self, column: &'static str) -> Result<i64, StoreError>;
    fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, StoreError>;
    fn flag(&self, column: &'static str) -> Result<bool, StoreError>;
}

macro_rules! cells {
    ($row:ty, $($method:ident -> $kind:ty),*) => {
        impl Cells for $row {
            $(fn $method(&self, column: &'static str) -> Result<$kind, StoreError> {
                self.try_get(column).map_err(driver("read a stored row"))
            })*
        }
    };
    ($row:ty) => {
        cells!($row, text -> String, optional_text -> Option<String>, integer -> i64,
            optional_integer -> Option<i64>, flag -> bool);
    };
}

cells!(sqlx::sqlite::SqliteRow);
cells!(sqlx::postgres::PgRow);

/// Names the operation a driver error interrupted.
pub(in crate::store) fn driver(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| match source {
        sqlx::Error::PoolClosed => StoreError::Closed,
        source => StoreError::Driver {
            operation,
            source: Arc::new(source),
        },
    }
}

/// The time as stored.
pub(in crate::store) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The time as a later read will give it.
pub(in crate::store) fn truncated(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

pub(in crate::store) fn consumer(row: &impl Cells) -> Result<Consumer, StoreError> {
    let id = row.text("id")?;
    let labels = row.text("labels")?;
    Ok(Consumer {
        name: consumer_name(row, "name", &id)?,
        labels: serde_json::from_str(&labels)
            .map_err(|error| corrupt("consumers.labels", &id, error))?,
        created_at: time(row, "created_at", &id)?,
        updated_at: time(row, "updated_at", &id)?,
        last_seen_at: optional_time(row, "last_seen_at", &id)?,
        id,
    })
}

pub(in crate::store) fn bundle(row: &impl Cells) -> Result<Bundle, StoreError> {
    let id = row.text("id")?;
    let status = match json(row, "status")? {
        None => None,
        Some(payload) => Some(Status {
            version: version(row, "status_version", &id)?,
            sequence_id: sequence(row, &id)?,
            payload,
        }),
    };
    let ledger = match row.optional_text("ledger")? {
        None => None,
        Some(text) => Some(ledger_entries(&text, &id)?),
    };
    Ok(Bundle {
        name: row.text("name")?,
        source: source(row, &id)?,
        consumer_name: consumer_name(row, "consumer_name", &id)?,
        version: version(row, "version", &id)?,
        created_at: time(row, "created_at", &id)?,
        updated_at: time(row, "updated_at", &id)?,
        deleted_at: optional_time(row, "deleted_at", &id)?,
        metadata: json(row, "metadata")?,
        origin: json(row, "origin")?,
        content: content(row)?,
        status,
        ledger,
        progress: None,
        id,
    })
}

/// Who published a bundle. While the tables are nobody's, their rows are so too.
pub(in crate::store) fn source(row: &impl Cells, key: &str) -> Result<SourceName, StoreError> {
    match row.optional_text("source")? {
        None => Ok(SourceName::default()),
        Some(name) => SourceName::new(name).map_err(|error| corrupt("bundles.source", key, error)),
    }
}

pub(in crate::store) fn report_head(row: &impl Cells) -> Result<ReportHead, StoreError> {
    let id = row.text("id")?;
    Ok(ReportHead {
        source: source(row, &id)?,
        at: time(row, "at", &id)?,
        gone: row.flag("gone")?,
        id,
    })
}

pub(in crate::store) fn report(row: &impl Cells) -> Result<Report, StoreError> {
    let id = row.text("id")?;
    Ok(Report {
        source: source(row, &id)?,
        consumer_name: consumer_name(row, "consumer_name", &id)?,
        version: version(row, "version", &id)?,
        sequence_id: sequence(row, &id)?,
        status_hash: row.optional_text("status_hash")?,
        metadata: json(row, "metadata")?,
        content: content(row)?,
        payload: Json::trusted(row.text("payload")?),
        at: time(row, "at", &id)?,
        gone: row.flag("gone")?,
        id,
    })
}

/// What a bundle carries, unless it was not asked for.
pub(in crate::store) fn content(row: &impl Cells) -> Result<Option<Content>, StoreError> {
    let Some(manifests) = json(row, "manifests")? else {
        return Ok(None);
    };
    Ok(Some(Content {
        manifests,
        delete_option: json(row, "delete_option")?,
        manifest_configs: json(row, "manifest_configs")?,
        executer: json(row, "executer")?,
    }))
}

pub(in crate::store) fn json(
    row: &impl Cells,
    column: &'static str,
) -> Result<Option<Json>, StoreError> {
    Ok(row.optional_text(column)?.map(Json::trusted))
}

pub(in crate::store) fn version(
    row: &impl Cells,
    column: &'static str,
    key: &str,
) -> Result<Version, StoreError> {
    let number = row.integer(column)?;
    Version::new(number).ok_or_else(|| corrupt("bundles.version", key, number))
}

pub(in crate::store) fn consumer_name(
    row: &impl Cells,
    column: &'static str,
    key: &str,
) -> Result<ConsumerName, StoreError> {
    let name = row.text(column)?;
    ConsumerName::new(name).map_err(|error| corrupt("consumers.name", key, error))
}

pub(in crate::store) fn sequence(
    row: &impl Cells,
    key: &str,
) -> Result<Option<SequenceId>, StoreError> {
    row.optional_text("status_sequence")?
        .map(|text| text.parse())
        .transpose()
        .map_err(|error| corrupt("bundles.status_sequence", key, error))
}

pub(in crate::store) fn time(
    row: &impl Cells,
    column: &'static str,
    key: &str,
) -> Result<Timestamp, StoreError> {
    at(row.integer(column)?, key)
}

pub(in crate::store) fn optional_time(
    row: &impl Cells,
    column: &'static str,
    key: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let micros = row.optional_integer(column)?;
    micros.map(|micros| at(micros, key)).transpose()
}

/// An error that names the table and column, the row and the rule.
pub(in crate::store) fn corrupt(
    object: &'static str,
    key: &str,
    problem: impl std::fmt::Display,
) -> StoreError {
    StoreError::Corrupt {
        object,
        key: key.to_owned(),
        problem: problem.to_string(),
    }
}

pub(in crate::store) fn doubts(row: &impl Cells, key: &str) -> Result<Doubts, StoreError> {
    Ok(Doubts {
        since: optional_time(row, "since", key)?,
        unconfirmed: row.flag("unconfirmed")?,
        foreign_works: row.flag("foreign_works")?,
    })
}

/// A time that may be missing.
pub(in crate::store) fn moment(
    micros: Option<i64>,
    key: &str,
) -> Result<Option<Timestamp>, StoreError> {
    micros.map(|micros| at(micros, key)).transpose()
}

pub(in crate::store) fn at(micros: i64, key: &str) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| corrupt("timestamp", key, error))
}

/// A ledger row in the order of each engine's `select_bundle!`.
type LedgerRow = (
    i64,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    u32,
    Option<i64>,
    Option<String>,
    Option<String>,
);

fn ledger_entries(text: &str, id: &str) -> Result<Vec<LedgerEntry>, StoreError> {
    let rows: Vec<LedgerRow> =
        serde_json::from_str(text).map_err(|error| corrupt("ledger", id, error))?;
    let time = |micros: Option<i64>| micros.map(|micros| at(micros, id)).transpose();
    rows.into_iter()
        .map(|row| {
            Ok(LedgerEntry {
                version: Version::new(row.0).ok_or_else(|| corrupt("ledger.version", id, row.0))?,
                deletion: row.1 != 0,
                stored_at: at(row.2, id)?,
                published_at: time(row.3)?,
                acked_at: time(row.4)?,
                matched: row.5.map(|matched| matched != 0),
                received_at: time(row.6)?,
                applied_at: time(row.7)?,
                reported_at: time(row.8)?,
                attempts: row.9,
                failed_at: time(row.10)?,
                failure: row.11,
                note: row.12,
            })
        })
        .collect()
}

pub(in crate::store) fn pending_head(row: &impl Cells) -> Result<PendingHead, StoreError> {
    let id = row.text("id")?;
    Ok(PendingHead {
        version: version(row, "version", &id)?,
        deleting_since: optional_time(row, "deleted_at", &id)?,
        bytes: row.integer("bytes")?.unsigned_abs(),
        id,
    })
}

pub(in crate::store) fn pending_bundle(row: &impl Cells) -> Result<PendingBundle, StoreError> {
    let id = row.text("id")?;
    Ok(PendingBundle {
        version: version(row, "version", &id)?,
        deleting_since: optional_time(row, "deleted_at", &id)?,
        metadata: json(row, "metadata")?,
        origin: json(row, "origin")?,
        payload: content(row)?.map_or_else(Bytes::new, |content| content.payload()),
        created_at: time(row, "created_at", &id)?,
        first: row.integer("acked_version")? == 0,
        name: row.text("name")?,
        id,
    })
}

pub(in crate::store) fn bundle_version(row: &impl Cells) -> Result<BundleVersion, StoreError> {
    let id = row.text("id")?;
    Ok(BundleVersion {
        created_at: time(row, "created_at", &id)?,
        version: version(row, "version", &id)?,
        deleting_since: optional_time(row, "deleted_at", &id)?,
        id,
    })
}

/// A work to be deleted, with its key.
pub(in crate::store) fn orphan(row: &impl Cells) -> Result<(i64, Orphan), StoreError> {
    let id = row.text("bundle_id")?;
    let orphan = Orphan {
        version: version(row, "version", &id)?,
        deleted_here: row.flag("deleted_here")?,
        id,
    };
    Ok((row.integer("key")?, orphan))
}

pub(in crate::store) fn behind(row: &impl Cells) -> Result<Behind, StoreError> {
    let id = row.text("id")?;
    Ok(Behind {
        key: row.integer("key")?,
        stored: version(row, "version", &id)?,
        held: version(row, "held", &id)?,
        known: row.flag("known")?,
        id,
    })
}

pub(in crate::store) fn epoch(row: &impl Cells) -> Result<Epoch, StoreError> {
    let id = row.text("id")?;
    Ok(Epoch {
        number: row.integer("number")?,
        began_at: time(row, "began_at", &id)?,
        why: row.text("why")?,
        id,
    })
}
