//! Statuses and tombstones in SQLite. [`crate::store::decide`] decides about a status.

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use sqlx::{SqliteConnection, SqliteExecutor, SqlitePool};

use super::super::ahead;
use super::super::decide::{KnownBundle, StatusDecision, of_earlier};
use super::super::order::capped;
use super::super::progress::WorkConditions;
use super::super::sql::Written;
use super::super::sql::progress::stage;
use super::super::sql::status::{self, ADD_TOMBSTONE, RENEW_TOMBSTONE, TOMBSTONE, known_bundle};
use super::super::{Gone, Json, StatusOutcome, StatusUpdate, StoreError, Tombstone};
use super::outbox::array;
use super::reports;
use super::rows::{driver, micros};

pub(super) async fn apply(
    connection: &mut SqliteConnection,
    update: StatusUpdate,
) -> Result<Written<StatusOutcome>, StoreError> {
    let outcome = check_and_apply(connection, update).await?;
    Ok(Written::of(outcome))
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
    executor: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<Tombstone>, StoreError> {
    let row = sqlx::query(TOMBSTONE)
        .bind(id)
        .fetch_optional(executor)
        .await
        .map_err(driver("read what is remembered of a bundle"))?;
    row.as_ref().map(status::tombstone).transpose()
}

pub(super) async fn gone(
    pool: &SqlitePool,
    consumer: &ConsumerName,
    ids: Vec<String>,
) -> Result<Vec<Gone>, StoreError> {
    // One statement sees one state of the store: an id is not both gone and there.
    let rows: Vec<(String, bool)> = sqlx::query_as(
        "SELECT j.value, EXISTS (SELECT 1 FROM tombstones t WHERE t.bundle_id = j.value AND t.consumer_name = ?2 \
           AND t.removed_at >= (SELECT MAX(CASE WHEN number > 1 THEN began_at ELSE 0 END, COALESCE((SELECT behind_at \
             FROM doubts WHERE consumer_name = ?2), 0)) FROM epochs ORDER BY number DESC LIMIT 1)) \
         FROM json_each(?1) j WHERE NOT EXISTS \
         (SELECT 1 FROM bundles b WHERE b.id = j.value AND +b.consumer_name = ?2)",
    )
    .bind(array(&ids))
    .bind(consumer.as_str())
    .fetch_all(pool)
    .await
    .map_err(driver("read which bundles are gone"))?;
    Ok(rows
        .into_iter()
        .map(|(id, deleted_here)| Gone { id, deleted_here })
        .collect())
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
    Ok(Written::of(done.rows_affected()))
}

async fn check_and_apply(
    connection: &mut SqliteConnection,
    update: StatusUpdate,
) -> Result<StatusOutcome, StoreError> {
    let id = update.bundle_id.as_str();
    let row = sqlx::query(
        "SELECT b.key, b.consumer_name, b.version, b.deleted_at, b.created_at, b.status_sequence, \
         s.version AS status_version, s.stored_at AS status_taken_at \
         FROM bundles b LEFT JOIN statuses s ON s.bundle_key = b.key WHERE b.id = ?1",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read the bundle of a status"))?;
    let Some(row) = row else {
        return without_bundle(connection, &update).await;
    };
    let (key, known) = known_bundle(&row, id)?;
    let stored = known.version;
    match known.decide(&update) {
        StatusDecision::Leave(wrong @ StatusOutcome::WrongConsumer { .. }) => {
            let earlier = without_bundle(connection, &update).await?;
            Ok(of_earlier(wrong, earlier))
        }
        StatusDecision::Leave(outcome) => Ok(outcome),
        StatusDecision::Keep => {
            store(connection, key, &known, &update).await?;
            Ok(StatusOutcome::Stored)
        }
        StatusDecision::KeepAhead => {
            store_ahead(connection, key, stored, &update).await?;
            Ok(StatusOutcome::Ahead { stored })
        }
        StatusDecision::Remove => {
            remove(connection, key, &update).await?;
            Ok(StatusOutcome::Deleted)
        }
    }
}

/// A status of a bundle that is not there.
async fn without_bundle(
    connection: &mut SqliteConnection,
    update: &StatusUpdate,
) -> Result<StatusOutcome, StoreError> {
    let id = update.bundle_id.as_str();
    let row = sqlx::query(
        "SELECT status_sequence, removed_at, removed_at >= (SELECT MAX(CASE WHEN number > 1 THEN began_at ELSE 0 END, COALESCE((SELECT behind_at FROM doubts \
           WHERE consumer_name = ?2), 0)) FROM epochs ORDER BY number DESC LIMIT 1) AS counts \
         FROM tombstones WHERE bundle_id = ?1 AND consumer_name = ?2",
    )
    .bind(id)
    .bind(update.consumer.as_str())
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read what is remembered of a bundle"))?;
    let Some(row) = row else {
        return Ok(StatusOutcome::UnknownBundle);
    };
    let (outcome, renews) = status::remembered(&row, id)?.decide(update);
    if !renews {
        return Ok(outcome);
    }
    sqlx::query(RENEW_TOMBSTONE)
        .bind(id)
        .bind(update.consumer.as_str())
        .bind(capped(update.sequence_id, update.at).to_string())
        .bind(micros(update.at))
        .execute(connection)
        .await
        .map_err(driver("renew what is remembered of a bundle"))?;
    Ok(outcome)
}

/// Keeps what is shown of the bundle from here on.
async fn keep(
    connection: &mut SqliteConnection,
    key: i64,
    payload: &Json,
    hash: Option<&str>,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    let number = reports::next(connection).await?;
    sqlx::query(
        "INSERT INTO statuses (bundle_key, version, hash, payload, metadata, stored_at, reported) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (bundle_key) DO UPDATE SET version = excluded.version, \
         hash = excluded.hash, payload = excluded.payload, metadata = excluded.metadata, \
         stored_at = excluded.stored_at, reported = excluded.reported",
    )
    .bind(key)
    .bind(update.version.get())
    .bind(hash)
    .bind(payload.as_str())
    .bind(update.metadata.as_ref().map(Json::as_str))
    .bind(micros(update.at))
    .bind(number)
    .execute(connection)
    .await
    .map_err(driver("store a status"))?;
    Ok(())
}

/// Keeps the status of a version that this store has never had: it proves no arrival of the stored one, which is said in
/// its place in the ledger.
async fn store_ahead(
    connection: &mut SqliteConnection,
    key: i64,
    stored: Version,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    let held = update.version;
    let payload = ahead::told(&update.payload, held, stored, update.at);
    // Without the hash it is asked for again whenever statuses are: the versions may have met meanwhile.
    keep(connection, key, &payload, None, update).await?;
    sqlx::query(
        "UPDATE bundles SET status_sequence = ?2, told_sequence = ?2, told_applied = NULL, told_available = NULL, \
         told_since = ?3 WHERE key = ?1",
    )
        .bind(key)
        .bind(update.sequence_id.to_string())
        .bind(micros(update.at))
        .execute(&mut *connection)
        .await
        .map_err(driver("note the order of a status"))?;
    sqlx::query(
        "UPDATE ledger SET failed_at = ?3, failure = ?4 WHERE bundle_key = ?1 AND version = ?2 AND deletion = 0",
    )
    .bind(key)
    .bind(stored.get())
    .bind(micros(update.at))
    .bind(ahead::explained(held, stored))
    .execute(connection)
    .await
    .map_err(driver("note in the ledger that a cluster holds a newer version"))?;
    Ok(())
}

async fn store(
    connection: &mut SqliteConnection,
    key: i64,
    known: &KnownBundle,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    keep(
        connection,
        key,
        &update.payload,
        update.status_hash.as_deref(),
        update,
    )
    .await?;
    // Who reports on a version holds it, whatever became of the broker's acknowledgement; but a version that was never
    // sent from here is one of another history, under the same number: nothing is said of ours.
    let told = WorkConditions::of(&update.payload, update.version.get().into());
    sqlx::query(concat!(
        "UPDATE bundles SET status_sequence = ?2, told_sequence = ?2, \
         told_applied = CASE WHEN sent > 0 THEN ?4 END, told_available = CASE WHEN sent > 0 THEN ?5 END, \
         told_since = CASE WHEN ?6 AND told_sequence = status_sequence AND (",
        stage!(),
        ") = ?7 THEN told_since ELSE ?8 END, acked_version = MAX(acked_version, sent), \
         epoch = (SELECT MAX(number) FROM epochs), \
         unsent = CASE WHEN deleted_at IS NULL THEN version > MAX(acked_version, sent) ELSE deletion_acked = 0 END \
         FROM (SELECT COALESCE(MAX(version), 0) AS sent FROM ledger \
               WHERE bundle_key = ?1 AND version = ?3 AND deletion = 0 AND attempts > 0) \
         WHERE key = ?1",
    ))
    .bind(key)
    .bind(update.sequence_id.to_string())
    .bind(update.version.get())
    .bind(told.applied())
    .bind(told.available())
    .bind(known.described == Some(update.version.get().into()))
    .bind(told.stage())
    .bind(micros(update.at))
    .execute(&mut *connection)
    .await
    .map_err(driver("note the order of a status"))?;
    sqlx::query(
        "UPDATE ledger SET received_at = COALESCE(received_at, ?4), applied_at = COALESCE(applied_at, ?5), \
         reported_at = COALESCE(reported_at, ?6), failed_at = NULL, failure = NULL WHERE bundle_key = ?1 AND version = ?2 AND deletion = ?3",
    )
    .bind(key)
    .bind(update.version.get())
    .bind(known.deleting)
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
    sqlx::query(ADD_TOMBSTONE)
        .bind(&update.bundle_id)
        .bind(update.consumer.as_str())
        .bind(update.version.get())
        .bind(capped(update.sequence_id, update.at).to_string())
        .bind(micros(update.at))
        .execute(&mut *connection)
        .await
        .map_err(driver("remember a deleted bundle"))?;
    reports::leave(connection, key, update).await?;
    sqlx::query("DELETE FROM bundles WHERE key = ?1")
        .bind(key)
        .execute(connection)
        .await
        .map_err(driver("remove a deleted bundle"))?;
    Ok(())
}
