//! Statuses and tombstones in PostgreSQL. [`crate::store::decide`] decides about a status, under a lock on the bundle's row.

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use sqlx::PgConnection;

use super::super::ahead;
use super::super::decide::{StatusDecision, of_earlier};
use super::super::order::capped;
use super::super::progress::WorkConditions;
use super::super::sql::progress::stage;
use super::super::sql::rows::micros;
use super::super::sql::status::{self, ADD_TOMBSTONE, RENEW_TOMBSTONE, TOMBSTONE, known_bundle};
use super::super::{Gone, Json, StatusOutcome, StatusUpdate, StoreError, Tombstone};
use super::Written;
use super::failure::driver;
use super::reports;
use super::text::storable;

/// `None` while somebody else has the bundle, such as the removal of its consumer, which may take long: nobody waits for
/// that with a connection in hand.
pub(super) async fn apply(
    connection: &mut PgConnection,
    update: StatusUpdate,
) -> Result<Written<Option<StatusOutcome>>, StoreError> {
    let id = update.bundle_id.as_str();
    // The strongest lock, because the row may be removed.
    let row = sqlx::query(
        "SELECT key, consumer_name, version, deleted_at, created_at, status_sequence, status_version, \
         status_taken_at FROM bundles WHERE id = $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(storable(id))
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read the bundle of a status"))?;
    let Some(row) = row else {
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM bundles WHERE id = $1)")
            .bind(storable(id))
            .fetch_one(&mut *connection)
            .await
            .map_err(driver("read the bundle of a status"))?;
        return match there {
            true => Ok(Written::of(None)),
            false => Ok(taken(without_bundle(connection, &update).await?)),
        };
    };
    let (key, known) = known_bundle(&row, id)?;
    let stored = known.version;
    let outcome = match known.decide(&update) {
        StatusDecision::Leave(wrong @ StatusOutcome::WrongConsumer { .. }) => {
            let earlier = without_bundle(connection, &update).await?;
            of_earlier(wrong, earlier)
        }
        StatusDecision::Leave(outcome) => outcome,
        StatusDecision::Keep => {
            keep(connection, key, known.deleting, &update).await?;
            StatusOutcome::Stored
        }
        StatusDecision::KeepAhead => {
            keep_ahead(connection, key, stored, &update).await?;
            StatusOutcome::Ahead { stored }
        }
        StatusDecision::Remove => {
            remove(connection, key, &update).await?;
            StatusOutcome::Deleted
        }
    };
    Ok(taken(outcome))
}

pub(super) async fn hashes(
    connection: &mut PgConnection,
    consumer: ConsumerName,
) -> Result<Vec<(String, Option<String>)>, StoreError> {
    sqlx::query_as("SELECT id, status_hash FROM bundles WHERE consumer_name = $1 ORDER BY key")
        .bind(consumer.as_str())
        .fetch_all(connection)
        .await
        .map_err(driver("read the status hashes of a consumer"))
}

pub(super) async fn tombstone(
    connection: &mut PgConnection,
    id: String,
) -> Result<Option<Tombstone>, StoreError> {
    let row = sqlx::query(TOMBSTONE)
        .bind(storable(&id))
        .fetch_optional(connection)
        .await
        .map_err(driver("read what is remembered of a bundle"))?;
    row.as_ref().map(status::tombstone).transpose()
}

pub(super) async fn gone(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    ids: Vec<String>,
) -> Result<Vec<Gone>, StoreError> {
    let asked: Vec<String> = super::outbox::storables(ids.clone());
    // One statement sees one state of the store: an id is not both gone and there.
    let rows: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT j.place, EXISTS (SELECT FROM tombstones t WHERE t.bundle_id = j.id AND t.consumer_name = $2 \
           AND t.removed_at >= (SELECT GREATEST(CASE WHEN number > 1 THEN began_at ELSE 0 END, COALESCE((SELECT behind_at \
             FROM doubts WHERE consumer_name = $2), 0)) FROM epochs ORDER BY number DESC LIMIT 1)) \
         FROM unnest($1::text[]) WITH ORDINALITY AS j (id, place) WHERE NOT EXISTS \
         (SELECT FROM bundles b WHERE b.id = j.id AND b.consumer_name = $2) ORDER BY j.place",
    )
    .bind(asked)
    .bind(consumer.as_str())
    .fetch_all(connection)
    .await
    .map_err(driver("read which bundles are gone"))?;
    let id = |place: i64| ids.get(usize::try_from(place).ok()?.checked_sub(1)?);
    Ok(rows
        .into_iter()
        .filter_map(|(place, deleted_here)| {
            Some(Gone {
                id: id(place)?.clone(),
                deleted_here,
            })
        })
        .collect())
}

pub(super) async fn prune_tombstones(
    connection: &mut PgConnection,
    before: Timestamp,
) -> Result<Written<u64>, StoreError> {
    // What another process is just forgetting is left to it.
    let done = sqlx::query(
        "DELETE FROM tombstones WHERE (bundle_id, consumer_name) IN \
         (SELECT bundle_id, consumer_name FROM tombstones WHERE removed_at < $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(micros(before))
    .execute(connection)
    .await
    .map_err(driver("forget bundles deleted long ago"))?;
    Ok(Written::of(done.rows_affected()))
}

/// A status of a bundle that is not there.
async fn without_bundle(
    connection: &mut PgConnection,
    update: &StatusUpdate,
) -> Result<StatusOutcome, StoreError> {
    let id = update.bundle_id.as_str();
    let row = sqlx::query(
        "SELECT status_sequence, removed_at, removed_at >= (SELECT GREATEST(CASE WHEN number > 1 THEN began_at ELSE 0 END, COALESCE((SELECT behind_at FROM doubts \
           WHERE consumer_name = $2), 0)) FROM epochs ORDER BY number DESC LIMIT 1) AS counts \
         FROM tombstones WHERE bundle_id = $1 AND consumer_name = $2 FOR UPDATE",
    )
    .bind(storable(id))
    .bind(update.consumer.as_str())
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read what is remembered of a bundle"))?;
    let Some(row) = row else {
        return Ok(StatusOutcome::UnknownBundle);
    };
    let (outcome, renews) = status::remembered(&row, id)?.decide(update);
    if renews {
        sqlx::query(RENEW_TOMBSTONE)
            .bind(storable(id))
            .bind(update.consumer.as_str())
            .bind(capped(update.sequence_id, update.at).to_string())
            .bind(micros(update.at))
            .execute(connection)
            .await
            .map_err(driver("renew what is remembered of a bundle"))?;
    }
    Ok(outcome)
}

/// Stores the status and what it proves. Who reports on a version holds it, whatever became of the broker's
/// acknowledgement; but a version that was never sent from here is one of another history, under the same number: nothing is
/// said of ours.
async fn keep(
    connection: &mut PgConnection,
    key: i64,
    deleting: bool,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    let told = WorkConditions::of(&update.payload, update.version.get().into());
    sqlx::query(concat!(
        "WITH s AS (INSERT INTO statuses (bundle_key, payload, metadata) VALUES ($1, $2, $3) \
             ON CONFLICT (bundle_key) DO UPDATE SET payload = excluded.payload, metadata = excluded.metadata), \
         l AS (UPDATE ledger SET received_at = COALESCE(received_at, $8), applied_at = COALESCE(applied_at, $9), \
             reported_at = COALESCE(reported_at, $7), failed_at = NULL, failure = NULL \
             WHERE bundle_key = $1 AND version = $4 AND deletion = $10), \
         proved AS (SELECT COALESCE(MAX(version), 0) AS sent FROM ledger \
             WHERE bundle_key = $1 AND version = $4 AND NOT deletion AND attempts > 0) \
         UPDATE bundles SET status_version = $4, status_sequence = $5, status_hash = $6, status_taken_at = $7, \
             told_sequence = $5, told_applied = CASE WHEN sent > 0 THEN $11::text END, \
             told_available = CASE WHEN sent > 0 THEN $12::text END, \
             told_since = CASE WHEN status_version = $4 AND told_sequence = status_sequence AND (",
        stage!(),
        ") = $13 \
               THEN told_since ELSE $7 END, \
             acked_version = GREATEST(acked_version, sent), epoch = (SELECT MAX(number) FROM epochs), unsent = CASE WHEN deleted_at IS NULL \
             THEN version > GREATEST(acked_version, sent) ELSE NOT deletion_acked END \
         FROM proved WHERE key = $1",
    ))
    .bind(key)
    .bind(update.payload.as_str())
    .bind(update.metadata.as_ref().map(Json::as_str))
    .bind(i64::from(update.version.get()))
    .bind(update.sequence_id.to_string())
    // One that cannot be stored is like none: the status is asked for again.
    .bind(update.status_hash.as_deref().filter(|hash| !hash.contains('\0')))
    .bind(micros(update.at))
    .bind(update.received_at.map(micros))
    .bind(update.applied_at.map(micros))
    .bind(deleting)
    .bind(told.applied())
    .bind(told.available())
    .bind(told.stage())
    .execute(connection)
    .await
    .map_err(driver("store a status"))?;
    Ok(())
}

/// Keeps the status of a version that this store has never had: it proves no arrival of the stored one, which is said in
/// its place in the ledger. Without the hash it is asked for again whenever statuses are: the versions may have met
/// meanwhile.
async fn keep_ahead(
    connection: &mut PgConnection,
    key: i64,
    stored: Version,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    let held = update.version;
    let payload = ahead::told(&update.payload, held, stored, update.at);
    sqlx::query(
        "WITH s AS (INSERT INTO statuses (bundle_key, payload, metadata) VALUES ($1, $2, $3) \
             ON CONFLICT (bundle_key) DO UPDATE SET payload = excluded.payload, metadata = excluded.metadata), \
         l AS (UPDATE ledger SET failed_at = $6, failure = $8 \
             WHERE bundle_key = $1 AND version = $7 AND NOT deletion) \
         UPDATE bundles SET status_version = $4, status_sequence = $5, status_hash = NULL, status_taken_at = $6, \
             told_sequence = $5, told_applied = NULL, told_available = NULL, told_since = $6 \
         WHERE key = $1",
    )
    .bind(key)
    .bind(payload.as_str())
    .bind(update.metadata.as_ref().map(Json::as_str))
    .bind(i64::from(held.get()))
    .bind(update.sequence_id.to_string())
    .bind(micros(update.at))
    .bind(i64::from(stored.get()))
    .bind(ahead::explained(held, stored))
    .execute(connection)
    .await
    .map_err(driver("store the status of a newer version"))?;
    Ok(())
}

async fn remove(
    connection: &mut PgConnection,
    key: i64,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    sqlx::query(ADD_TOMBSTONE)
        .bind(storable(&update.bundle_id))
        .bind(update.consumer.as_str())
        .bind(i64::from(update.version.get()))
        .bind(capped(update.sequence_id, update.at).to_string())
        .bind(micros(update.at))
        .execute(&mut *connection)
        .await
        .map_err(driver("remember a deleted bundle"))?;
    reports::leave(connection, key, update).await?;
    sqlx::query("DELETE FROM bundles WHERE key = $1")
        .bind(key)
        .execute(connection)
        .await
        .map_err(driver("remove a deleted bundle"))?;
    Ok(())
}

const fn taken(outcome: StatusOutcome) -> Written<Option<StatusOutcome>> {
    Written::of(Some(outcome))
}
