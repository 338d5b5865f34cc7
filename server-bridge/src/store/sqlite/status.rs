//! Statuses in SQLite: the order of checks of the way up, and what remains of a deleted bundle.

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::{Json, StatusOutcome, StatusUpdate, StoreError, Tombstone};
use super::rows::{self, consumer_name, driver, get, micros, sequence, time, version};
use super::writer::Written;

pub(super) async fn apply(
    connection: &mut SqliteConnection,
    update: StatusUpdate,
) -> Result<Written<StatusOutcome>, StoreError> {
    let outcome = check_and_apply(connection, update).await?;
    Ok(Written {
        value: outcome,
        hint: None,
    })
}

pub(super) async fn hashes(
    pool: &SqlitePool,
    consumer: &ConsumerName,
) -> Result<Vec<(String, Option<String>)>, StoreError> {
    sqlx::query_as(
        "SELECT b.id, s.hash FROM bundles b LEFT JOIN statuses s ON s.bundle_key = b.key \
         WHERE b.consumer_name = ?1 ORDER BY b.key",
    )
    .bind(consumer.as_str())
    .fetch_all(pool)
    .await
    .map_err(driver("read the status hashes of a consumer"))
}

pub(super) async fn tombstone(
    pool: &SqlitePool,
    id: &str,
) -> Result<Option<Tombstone>, StoreError> {
    let row = sqlx::query(
        "SELECT bundle_id, consumer_name, version, removed_at FROM tombstones WHERE bundle_id = ?1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
    .map_err(driver("read what is remembered of a bundle"))?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Tombstone {
        bundle_id: get(&row, "bundle_id")?,
        consumer: consumer_name(&row, "consumer_name", id)?,
        version: version(&row, "version", id)?,
        removed_at: time(&row, "removed_at", id)?,
    }))
}

pub(super) async fn prune_tombstones(
    connection: &mut SqliteConnection,
    before: Timestamp,
) -> Result<Written<u64>, StoreError> {
    let done = sqlx::query("DELETE FROM tombstones WHERE removed_at < ?1")
        .bind(micros(before))
        .execute(connection)
        .await
        .map_err(driver("forget bundles deleted long ago"))?;
    Ok(Written {
        value: done.rows_affected(),
        hint: None,
    })
}

async fn check_and_apply(
    connection: &mut SqliteConnection,
    update: StatusUpdate,
) -> Result<StatusOutcome, StoreError> {
    let id = update.bundle_id.as_str();
    let row = sqlx::query(
        "SELECT key, consumer_name, version, deleted_at, status_sequence FROM bundles WHERE id = ?1",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read the bundle of a status"))?;
    let Some(row) = row else {
        return Ok(StatusOutcome::UnknownBundle);
    };
    let expected = consumer_name(&row, "consumer_name", id)?;
    if expected != update.consumer {
        return Ok(StatusOutcome::WrongConsumer { expected });
    }
    let deleting = rows::optional_time(&row, "deleted_at", id)?.is_some();
    if update.deleted && !deleting {
        return Ok(StatusOutcome::NotDeleting);
    }
    let stored = version(&row, "version", id)?;
    if update.version != stored {
        return Ok(StatusOutcome::StaleVersion { stored });
    }
    if let Some(stored) = sequence(&row, id)? {
        match update.sequence_id.is_newer_than(Some(stored)) {
            Ok(true) => {}
            Ok(false) => return Ok(StatusOutcome::StaleSequence { stored }),
            Err(_) => return Ok(StatusOutcome::ForeignSequence { stored }),
        }
    }
    let key: i64 = get(&row, "key")?;
    if update.deleted {
        remove(connection, key, &update).await?;
        return Ok(StatusOutcome::Deleted);
    }
    store(connection, key, deleting, &update).await?;
    Ok(StatusOutcome::Stored)
}

async fn store(
    connection: &mut SqliteConnection,
    key: i64,
    deleting: bool,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO statuses (bundle_key, version, hash, payload, metadata, stored_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (bundle_key) DO UPDATE SET version = excluded.version, \
         hash = excluded.hash, payload = excluded.payload, metadata = excluded.metadata, \
         stored_at = excluded.stored_at",
    )
    .bind(key)
    .bind(update.version.get())
    .bind(&update.status_hash)
    .bind(update.payload.as_str())
    .bind(update.metadata.as_ref().map(Json::as_str))
    .bind(micros(update.at))
    .execute(&mut *connection)
    .await
    .map_err(driver("store a status"))?;
    // Who reports on a version holds it, whatever became of the broker's acknowledgement.
    sqlx::query(
        "UPDATE bundles SET status_sequence = ?2, acked_version = MAX(acked_version, ?3), \
         unsent = CASE WHEN deleted_at IS NULL THEN version > MAX(acked_version, ?3) ELSE deletion_acked = 0 END \
         WHERE key = ?1",
    )
    .bind(key)
    .bind(update.sequence_id.to_string())
    .bind(update.version.get())
    .execute(&mut *connection)
    .await
    .map_err(driver("note the order of a status"))?;
    sqlx::query(
        "UPDATE ledger SET received_at = COALESCE(received_at, ?4), applied_at = COALESCE(applied_at, ?5), \
         reported_at = COALESCE(reported_at, ?6) WHERE bundle_key = ?1 AND version = ?2 AND deletion = ?3",
    )
    .bind(key)
    .bind(update.version.get())
    .bind(deleting)
    .bind(update.received_at.map(micros))
    .bind(update.applied_at.map(micros))
    .bind(micros(update.at))
    .execute(connection)
    .await
    .map_err(driver("note a report in the ledger"))?;
    Ok(())
}

async fn remove(
    connection: &mut SqliteConnection,
    key: i64,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO tombstones (bundle_id, consumer_name, version, status_sequence, removed_at) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(&update.bundle_id)
    .bind(update.consumer.as_str())
    .bind(update.version.get())
    .bind(update.sequence_id.to_string())
    .bind(micros(update.at))
    .execute(&mut *connection)
    .await
    .map_err(driver("remember a deleted bundle"))?;
    sqlx::query("DELETE FROM bundles WHERE key = ?1")
        .bind(key)
        .execute(connection)
        .await
        .map_err(driver("remove a deleted bundle"))?;
    Ok(())
}
