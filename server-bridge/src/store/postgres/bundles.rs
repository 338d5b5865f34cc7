//! Bundles in PostgreSQL: creation, new versions, deletion requests.

use jiff::Timestamp;
use link::order::Version;
use sqlx::{PgConnection, PgExecutor};

use super::super::bundle::BundleChange;
use super::super::decide::Next;
use super::super::sql::rows::{self, Cells as _, consumer_name, micros, truncated, version};
use super::super::sql::status::update_context;
use super::super::{Bundle, Json, LEDGER_VERSIONS, NewBundle, StoreError};
use super::Written;
use super::failure::driver;
use super::text::{bundle_search, storable};

/// Columns of a bundle: `$1`, `$2`, `$3` say whether content, status and ledger are wanted, so that an unwanted part is
/// never read from disk.
macro_rules! select_bundle {
    ($rest:literal) => {
        concat!(
            "SELECT b.key, b.id, b.name, b.source, b.consumer_name, b.version, b.created_at, b.updated_at, \
             b.deleted_at, b.metadata, b.status_sequence, b.status_version, \
             CASE WHEN b.origin_version = b.version THEN b.origin END AS origin, \
             CASE WHEN $1 THEN c.manifests END AS manifests, \
             CASE WHEN $1 THEN c.delete_option END AS delete_option, \
             CASE WHEN $1 THEN c.manifest_configs END AS manifest_configs, \
             CASE WHEN $1 THEN c.executer END AS executer, \
             CASE WHEN $2 THEN s.payload END AS status, \
             CASE WHEN $3 THEN COALESCE((SELECT json_agg(json_build_array(l.version, l.deletion::int, l.stored_at, \
               l.published_at, l.acked_at, l.matched::int, l.received_at, l.applied_at, l.reported_at, l.attempts, \
               l.failed_at, l.failure, l.note) ORDER BY l.version, l.deletion) FROM ledger l \
               WHERE l.bundle_key = b.key)::text, '[]') END AS ledger \
             FROM bundles b JOIN contents c ON c.bundle_key = b.key \
             LEFT JOIN statuses s ON s.bundle_key = b.key ",
            $rest
        )
    };
}
pub(super) use select_bundle;

pub(super) async fn create(
    connection: &mut PgConnection,
    new: NewBundle,
    now: Timestamp,
) -> Result<Written<Bundle>, StoreError> {
    let key: Result<i64, sqlx::Error> = sqlx::query_scalar(
        "WITH b AS (INSERT INTO bundles (id, name, consumer_name, version, created_at, updated_at, metadata, search, epoch, \
             source, origin, origin_version) \
           VALUES ($1, $2, $3, 1, $4, $4, $5, $6::jsonb, (SELECT MAX(number) FROM epochs), $11, $12, 1) RETURNING key), \
         c AS (INSERT INTO contents (bundle_key, manifests, delete_option, manifest_configs, executer) \
           SELECT key, $7, $8, $9, $10 FROM b), \
         l AS (INSERT INTO ledger (bundle_key, version, deletion, stored_at) SELECT key, 1, false, $4 FROM b) \
         SELECT key FROM b",
    )
    .bind(&new.id)
    .bind(&new.name)
    .bind(new.consumer_name.as_str())
    .bind(micros(now))
    .bind(new.metadata.as_ref().map(Json::as_str))
    .bind(bundle_search(new.metadata.as_ref()))
    .bind(new.content.manifests.as_str())
    .bind(new.content.delete_option.as_ref().map(Json::as_str))
    .bind(new.content.manifest_configs.as_ref().map(Json::as_str))
    .bind(new.content.executer.as_ref().map(Json::as_str))
    .bind(new.source.as_str())
    .bind(new.origin.as_ref().map(Json::as_str))
    .fetch_one(&mut *connection)
    .await;
    let key = match key {
        Ok(key) => key,
        Err(error) => return Err(refused(error, new)),
    };
    // Only now: while the insertion waited for the end of an earlier bundle of this id, that one left its tombstone.
    sqlx::query(
        "WITH t AS (DELETE FROM tombstones WHERE bundle_id = $1 AND consumer_name = $3 RETURNING status_sequence) \
         UPDATE bundles SET status_sequence = t.status_sequence FROM t WHERE key = $2",
    )
    .bind(&new.id)
    .bind(key)
    .bind(new.consumer_name.as_str())
    .execute(connection)
    .await
    .map_err(driver("forget an earlier bundle of the same id"))?;
    let consumer = new.consumer_name.clone();
    Ok(Written::and_send(new.stored(truncated(now)), consumer))
}

/// Which rule of the tables a new bundle breaks.
fn refused(error: sqlx::Error, new: NewBundle) -> StoreError {
    let constraint = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::constraint);
    match constraint {
        Some("bundles_consumer_name_fkey") => StoreError::ConsumerNotFound {
            consumer: new.consumer_name.into(),
        },
        Some("bundles_name_key") => StoreError::BundleExists {
            field: "name",
            value: new.name,
        },
        Some("bundles_id_key") => StoreError::BundleExists {
            field: "id",
            value: new.id,
        },
        _ => driver("store a bundle")(error),
    }
}

pub(super) async fn by_id(
    executor: impl PgExecutor<'_>,
    id: &str,
) -> Result<Option<Bundle>, StoreError> {
    let row = sqlx::query(select_bundle!("WHERE b.id = $4"))
        .bind(true)
        .bind(true)
        .bind(true)
        .bind(storable(id))
        .fetch_optional(executor)
        .await
        .map_err(driver("read a bundle"))?;
    row.as_ref().map(rows::bundle).transpose()
}

pub(super) async fn update(
    connection: &mut PgConnection,
    id: String,
    expected: Option<Version>,
    new: BundleChange,
    now: Timestamp,
) -> Result<Written<Bundle>, StoreError> {
    // Both rows are locked: had it waited for the first one only, it would compare with content of before.
    let row = sqlx::query(
        "SELECT b.key, b.version, b.deleted_at, b.consumer_name, (b.metadata IS NOT DISTINCT FROM $2 \
         AND c.manifests = $3 AND c.delete_option IS NOT DISTINCT FROM $4 \
         AND c.manifest_configs IS NOT DISTINCT FROM $5 AND c.executer IS NOT DISTINCT FROM $6) AS same, \
         b.epoch = (SELECT MAX(number) FROM epochs) AS known, \
         (SELECT id FROM epochs ORDER BY number DESC LIMIT 1) AS epoch_id \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key WHERE b.id = $1 FOR NO KEY UPDATE",
    )
    .bind(storable(&id))
    .bind(new.metadata.as_ref().map(Json::as_str))
    .bind(new.content.manifests.as_str())
    .bind(new.content.delete_option.as_ref().map(Json::as_str))
    .bind(new.content.manifest_configs.as_ref().map(Json::as_str))
    .bind(new.content.executer.as_ref().map(Json::as_str))
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read a bundle"))?;
    let Some(row) = row else {
        return Err(StoreError::BundleNotFound { id });
    };
    let held = update_context(&row, &id)?;
    let hint = match held.next(&id, expected)? {
        None => None,
        Some(next) => {
            replace(connection, row.integer("key")?, next, new, now).await?;
            Some(consumer_name(&row, "consumer_name", &id)?)
        }
    };
    let value = by_id(&mut *connection, &id)
        .await?
        .ok_or(StoreError::BundleNotFound { id })?;
    Ok(Written::and_maybe_send(value, hint))
}

async fn replace(
    connection: &mut PgConnection,
    key: i64,
    next: Next,
    new: BundleChange,
    now: Timestamp,
) -> Result<(), StoreError> {
    let BundleChange {
        metadata,
        content,
        origin,
    } = new;
    sqlx::query(
        "WITH b AS (UPDATE bundles SET version = $2, updated_at = $3, metadata = $4, search = $5::jsonb, \
           unsent = true, epoch = (SELECT MAX(number) FROM epochs), changed = nextval('changes'), origin = $12, \
           origin_version = $2 WHERE key = $1), \
         c AS (UPDATE contents SET manifests = $6, delete_option = $7, manifest_configs = $8, executer = $9 \
           WHERE bundle_key = $1), \
         old AS (DELETE FROM ledger WHERE bundle_key = $1 AND version < (SELECT DISTINCT version FROM ledger \
           WHERE bundle_key = $1 ORDER BY version DESC OFFSET $10 LIMIT 1)) \
         INSERT INTO ledger (bundle_key, version, deletion, stored_at, note) VALUES ($1, $2, false, $3, $11)",
    )
    .bind(key)
    .bind(i64::from(next.version.get()))
    .bind(micros(now))
    .bind(metadata.as_ref().map(Json::as_str))
    .bind(bundle_search(metadata.as_ref()))
    .bind(content.manifests.as_str())
    .bind(content.delete_option.as_ref().map(Json::as_str))
    .bind(content.manifest_configs.as_ref().map(Json::as_str))
    .bind(content.executer.as_ref().map(Json::as_str))
    // With the new one as many as are remembered.
    .bind(i64::from(LEDGER_VERSIONS - 2))
    .bind(&next.jumped)
    .bind(origin.as_ref().map(Json::as_str))
    .execute(&mut *connection)
    .await
    .map_err(driver("store the next version of a bundle"))?;
    Ok(())
}

pub(super) async fn mark_deleting(
    connection: &mut PgConnection,
    id: String,
    now: Timestamp,
) -> Result<Written<()>, StoreError> {
    let row = sqlx::query(
        "SELECT key, version, deleted_at, consumer_name FROM bundles WHERE id = $1 FOR NO KEY UPDATE",
    )
    .bind(storable(&id))
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read a bundle"))?;
    let Some(row) = row else {
        return Err(StoreError::BundleNotFound { id });
    };
    if row.optional_integer("deleted_at")?.is_some() {
        return Ok(Written::of(()));
    }
    sqlx::query(
        "WITH b AS (UPDATE bundles SET deleted_at = $3, updated_at = $3, deletion_acked = false, unsent = true, \
           changed = nextval('changes') WHERE key = $1) \
         INSERT INTO ledger (bundle_key, version, deletion, stored_at) VALUES ($1, $2, true, $3)",
    )
    .bind(row.integer("key")?)
    .bind(i64::from(version(&row, "version", &id)?.get()))
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(driver("mark a bundle as being deleted"))?;
    Ok(Written::and_send(
        (),
        consumer_name(&row, "consumer_name", &id)?,
    ))
}
