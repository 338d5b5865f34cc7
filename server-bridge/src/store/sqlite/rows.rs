//! The columns of SQLite's rows; what they mean is [`crate::store::sql::rows`].

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
pub(super) use super::super::sql::rows::{
    at, behind, bundle, bundle_version, consumer, consumer_name, doubts, driver, epoch, micros,
    moment, optional_time, orphan, pending_bundle, pending_head, report, report_head, truncated,
    version,
};

/// Columns of a bundle: `?1`, `?2`, `?3` say whether content, status and ledger are wanted, so that an
/// unwanted part is never read from disk.
macro_rules! select_bundle {
    ($rest:literal) => {
        concat!(
            "SELECT b.key, b.id, b.name, b.source, b.consumer_name, b.version, b.created_at, b.updated_at, \
             b.deleted_at, b.metadata, b.status_sequence, \
             CASE WHEN b.origin_version = b.version THEN b.origin END AS origin, \
             CASE WHEN ?1 THEN c.manifests END AS manifests, \
             CASE WHEN ?1 THEN c.delete_option END AS delete_option, \
             CASE WHEN ?1 THEN c.manifest_configs END AS manifest_configs, \
             CASE WHEN ?1 THEN c.executer END AS executer, \
             s.version AS status_version, CASE WHEN ?2 THEN s.payload END AS status, \
             CASE WHEN ?3 THEN (SELECT json_group_array(json_array(l.version, l.deletion, l.stored_at, \
               l.published_at, l.acked_at, l.matched, l.received_at, l.applied_at, l.reported_at, l.attempts, \
               l.failed_at, l.failure, l.note)) FROM ledger l WHERE l.bundle_key = b.key) END AS ledger \
             FROM bundles b JOIN contents c ON c.bundle_key = b.key \
             LEFT JOIN statuses s ON s.bundle_key = b.key ",
            $rest
        )
    };
}
pub(super) use select_bundle;

/// One column, by name.
pub(super) fn get<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(driver("read a stored row"))
}
