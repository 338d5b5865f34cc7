//! Bundles in SQLite: creation, new versions, deletion requests.

use jiff::Timestamp;
use link::order::Version;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::super::bundle::BundleChange;
use super::super::decide::Next;
use super::super::sql::Written;
use super::super::sql::status::update_context;
use super::super::{Bundle, Json, NewBundle, StoreError};
use super::history;
use super::rows::{self, consumer_name, driver, get, micros, select_bundle, truncated, version};

pub(super) async fn create(
    connection: &mut SqliteConnection,
    new: NewBundle,
    now: Timestamp,
) -> Result<Written<Bundle>, StoreError> {
    let key: Result<i64, sqlx::Error> = sqlx::query_scalar(
        "INSERT INTO bundles (id, name, consumer_name, version, created_at, updated_at, metadata, source, origin, \
         origin_version, changed, unsent, epoch, status_sequence) VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6, ?7, 1, \
         (SELECT COALESCE(MAX(changed), 0) + 1 FROM bundles), 1, (SELECT MAX(number) FROM epochs), \
         (SELECT status_sequence FROM tombstones WHERE bundle_id = ?1 AND consumer_name = ?3)) RETURNING key",
    )
    .bind(&new.id)
    .bind(&new.name)
    .bind(new.consumer_name.as_str())
    .bind(micros(now))
    .bind(new.metadata.as_ref().map(Json::as_str))
    .bind(new.source.as_str())
    .bind(new.origin.as_ref().map(Json::as_str))
    .fetch_one(&mut *connection)
    .await;
    let key = match key {
        Ok(key) => key,
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            return Err(StoreError::ConsumerNotFound {
                consumer: new.consumer_name.into(),
            });
        }
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            return Err(if error.message().contains("bundles.name") {
                StoreError::BundleExists {
                    field: "name",
                    value: new.name,
                }
            } else {
                StoreError::BundleExists {
                    field: "id",
                    value: new.id,
                }
            });
        }
        Err(error) => return Err(driver("store a bundle")(error)),
    };
    sqlx::query(
        "INSERT INTO contents (bundle_key, manifests, delete_option, manifest_configs, executer) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(key)
    .bind(new.content.manifests.as_str())
    .bind(new.content.delete_option.as_ref().map(Json::as_str))
    .bind(new.content.manifest_configs.as_ref().map(Json::as_str))
    .bind(new.content.executer.as_ref().map(Json::as_str))
    .execute(&mut *connection)
    .await
    .map_err(driver("store the content of a bundle"))?;
    enter(connection, key, (Version::FIRST, None), false, now).await?;
    sqlx::query("DELETE FROM tombstones WHERE bundle_id = ?1 AND consumer_name = ?2")
        .bind(&new.id)
        .bind(new.consumer_name.as_str())
        .execute(&mut *connection)
        .await
        .map_err(driver("forget an earlier bundle of the same id"))?;
    let consumer = new.consumer_name.clone();
    Ok(Written::and_send(new.stored(truncated(now)), consumer))
}

pub(super) async fn by_id(
    executor: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<Bundle>, StoreError> {
    let row = sqlx::query(select_bundle!("WHERE b.id = ?4"))
        .bind(true)
        .bind(true)
        .bind(true)
        .bind(id)
        .fetch_optional(executor)
        .await
        .map_err(driver("read a bundle"))?;
    row.as_ref().map(rows::bundle).transpose()
}

pub(super) async fn update(
    connection: &mut SqliteConnection,
    id: String,
    expected: Option<Version>,
    new: BundleChange,
    now: Timestamp,
) -> Result<Written<Bundle>, StoreError> {
    let row = sqlx::query(
        "SELECT b.key, b.version, b.deleted_at, b.consumer_name, (b.metadata IS ?2 AND c.manifests IS ?3 \
         AND c.delete_option IS ?4 AND c.manifest_configs IS ?5 AND c.executer IS ?6) AS same, \
         b.epoch = (SELECT MAX(number) FROM epochs) AS known, \
         (SELECT id FROM epochs ORDER BY number DESC LIMIT 1) AS epoch_id \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key WHERE b.id = ?1",
    )
    .bind(&id)
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
            let key: i64 = get(&row, "key")?;
            replace(connection, key, next, new, now).await?;
            Some(consumer_name(&row, "consumer_name", &id)?)
        }
    };
    let value = by_id(&mut *connection, &id)
        .await?
        .ok_or(StoreError::BundleNotFound { id })?;
    Ok(Written::and_maybe_send(value, hint))
}

pub(super) async fn mark_deleting(
    connection: &mut SqliteConnection,
    id: String,
    now: Timestamp,
) -> Result<Written<()>, StoreError> {
    let row =
        sqlx::query("SELECT key, version, deleted_at, consumer_name FROM bundles WHERE id = ?1")
            .bind(&id)
            .fetch_optional(&mut *connection)
            .await
            .map_err(driver("read a bundle"))?;
    let Some(row) = row else {
        return Err(StoreError::BundleNotFound { id });
    };
    if get::<Option<i64>>(&row, "deleted_at")?.is_some() {
        return Ok(Written::of(()));
    }
    let key: i64 = get(&row, "key")?;
    sqlx::query(
        "UPDATE bundles SET deleted_at = ?2, updated_at = ?2, deletion_acked = 0, unsent = 1, \
         changed = (SELECT MAX(changed) + 1 FROM bundles) WHERE key = ?1",
    )
    .bind(key)
    .bind(micros(now))
    .execute(&mut *connection)
    .await
    .map_err(driver("mark a bundle as being deleted"))?;
    let latest = version(&row, "version", &id)?;
    enter(connection, key, (latest, None), true, now).await?;
    Ok(Written::and_send(
        (),
        consumer_name(&row, "consumer_name", &id)?,
    ))
}

async fn replace(
    connection: &mut SqliteConnection,
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
        "UPDATE bundles SET version = ?2, updated_at = ?3, metadata = ?4, origin = ?5, origin_version = ?2, unsent = 1, \
         epoch = (SELECT MAX(number) FROM epochs), changed = (SELECT MAX(changed) + 1 FROM bundles) WHERE key = ?1",
    )
    .bind(key)
    .bind(next.version.get())
    .bind(micros(now))
    .bind(metadata.as_ref().map(Json::as_str))
    .bind(origin.as_ref().map(Json::as_str))
    .execute(&mut *connection)
    .await
    .map_err(driver("store the next version of a bundle"))?;
    sqlx::query(
        "UPDATE contents SET manifests = ?2, delete_option = ?3, manifest_configs = ?4, executer = ?5 \
         WHERE bundle_key = ?1",
    )
    .bind(key)
    .bind(content.manifests.as_str())
    .bind(content.delete_option.as_ref().map(Json::as_str))
    .bind(content.manifest_configs.as_ref().map(Json::as_str))
    .bind(content.executer.as_ref().map(Json::as_str))
    .execute(&mut *connection)
    .await
    .map_err(driver("store the content of a bundle"))?;
    history::forget(connection, &[key]).await?;
    let made = (next.version, next.jumped.as_deref());
    enter(connection, key, made, false, now).await
}

/// Opens the ledger of a version, or of the deletion.
async fn enter(
    connection: &mut SqliteConnection,
    key: i64,
    (version, note): (Version, Option<&str>),
    deletion: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO ledger (bundle_key, version, deletion, stored_at, note) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(key)
    .bind(version.get())
    .bind(deletion)
    .bind(micros(now))
    .bind(note)
    .execute(connection)
    .await
    .map_err(driver("open a ledger entry"))?;
    Ok(())
}
