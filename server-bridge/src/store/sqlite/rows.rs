//! From rows to domain types. What breaks a rule of the store is corruption, with its table, column and row.

use std::sync::Arc;

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::{Bundle, Consumer, Content, Json, LedgerEntry, Status, StoreError};

/// Columns of a bundle: `?1`, `?2`, `?3` say whether content, status and ledger are wanted, so that an
/// unwanted part is never read from disk.
macro_rules! select_bundle {
    ($rest:literal) => {
        concat!(
            "SELECT b.key, b.id, b.name, b.consumer_name, b.version, b.created_at, b.updated_at, b.deleted_at, \
             b.metadata, b.status_sequence, \
             CASE WHEN ?1 THEN c.manifests END AS manifests, \
             CASE WHEN ?1 THEN c.delete_option END AS delete_option, \
             CASE WHEN ?1 THEN c.manifest_configs END AS manifest_configs, \
             CASE WHEN ?1 THEN c.executer END AS executer, \
             s.version AS status_version, CASE WHEN ?2 THEN s.payload END AS status, \
             CASE WHEN ?3 THEN (SELECT json_group_array(json_array(l.version, l.deletion, l.stored_at, \
               l.published_at, l.acked_at, l.matched, l.received_at, l.applied_at, l.reported_at, l.attempts, \
               l.failed_at, l.failure)) FROM ledger l WHERE l.bundle_key = b.key) END AS ledger \
             FROM bundles b JOIN contents c ON c.bundle_key = b.key \
             LEFT JOIN statuses s ON s.bundle_key = b.key ",
            $rest
        )
    };
}
pub(super) use select_bundle;

/// Names the operation a driver error interrupted.
pub(super) fn driver(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| match source {
        sqlx::Error::PoolClosed => StoreError::Closed,
        source => StoreError::Driver {
            operation,
            source: Arc::new(source),
        },
    }
}

/// The time as stored.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The time as a later read will give it.
pub(super) fn truncated(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

pub(super) fn consumer(row: &SqliteRow) -> Result<Consumer, StoreError> {
    let id: String = get(row, "id")?;
    let labels: String = get(row, "labels")?;
    Ok(Consumer {
        name: consumer_name(row, "name", &id)?,
        labels: serde_json::from_str(&labels)
            .map_err(|error| corrupt("consumers.labels", &id, error))?,
        created_at: time(row, "created_at", &id)?,
        updated_at: time(row, "updated_at", &id)?,
        id,
    })
}

pub(super) fn bundle(row: &SqliteRow) -> Result<Bundle, StoreError> {
    let id: String = get(row, "id")?;
    let manifests: Option<String> = get(row, "manifests")?;
    let content = match manifests {
        None => None,
        Some(manifests) => Some(Content {
            manifests: Json::trusted(manifests),
            delete_option: json(row, "delete_option")?,
            manifest_configs: json(row, "manifest_configs")?,
            executer: json(row, "executer")?,
        }),
    };
    let status = match json(row, "status")? {
        None => None,
        Some(payload) => Some(Status {
            version: version(row, "status_version", &id)?,
            sequence_id: sequence(row, &id)?,
            payload,
        }),
    };
    let ledger: Option<String> = get(row, "ledger")?;
    let ledger = match ledger {
        None => None,
        Some(text) => Some(ledger_entries(&text, &id)?),
    };
    Ok(Bundle {
        name: get(row, "name")?,
        consumer_name: consumer_name(row, "consumer_name", &id)?,
        version: version(row, "version", &id)?,
        created_at: time(row, "created_at", &id)?,
        updated_at: time(row, "updated_at", &id)?,
        deleted_at: optional_time(row, "deleted_at", &id)?,
        metadata: json(row, "metadata")?,
        content,
        status,
        ledger,
        id,
    })
}

/// One column, by name.
pub(super) fn get<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(driver("read a stored row"))
}

pub(super) fn json(row: &SqliteRow, column: &'static str) -> Result<Option<Json>, StoreError> {
    let text: Option<String> = get(row, column)?;
    Ok(text.map(Json::trusted))
}

pub(super) fn version(
    row: &SqliteRow,
    column: &'static str,
    key: &str,
) -> Result<Version, StoreError> {
    let number: i64 = get(row, column)?;
    Version::new(number).ok_or_else(|| corrupt("bundles.version", key, number))
}

pub(super) fn consumer_name(
    row: &SqliteRow,
    column: &'static str,
    key: &str,
) -> Result<ConsumerName, StoreError> {
    let name: String = get(row, column)?;
    ConsumerName::new(name).map_err(|error| corrupt("consumers.name", key, error))
}

pub(super) fn sequence(row: &SqliteRow, key: &str) -> Result<Option<SequenceId>, StoreError> {
    let text: Option<String> = get(row, "status_sequence")?;
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error| corrupt("bundles.status_sequence", key, error))
}

pub(super) fn time(
    row: &SqliteRow,
    column: &'static str,
    key: &str,
) -> Result<Timestamp, StoreError> {
    at(get(row, column)?, key)
}

pub(super) fn optional_time(
    row: &SqliteRow,
    column: &'static str,
    key: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let micros: Option<i64> = get(row, column)?;
    micros.map(|micros| at(micros, key)).transpose()
}

/// An error that names the table and column, the row and the rule.
pub(super) fn corrupt(
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

fn at(micros: i64, key: &str) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| corrupt("timestamp", key, error))
}

/// A ledger row in the order of `select_bundle!`.
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
            })
        })
        .collect()
}
