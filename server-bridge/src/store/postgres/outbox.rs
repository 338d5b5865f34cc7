//! The outbox in PostgreSQL. Every decision about a bundle locks its row first
//! (`migrations/postgres/0001_bundles.sql`).

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use sqlx::PgConnection;

use super::super::sql::rows::{self, micros};
use super::super::{AgentVersion, BundleVersion, Fence, PendingBundle, PendingHead, StoreError};
use super::failure::driver;
use super::text::storable;
use super::{Written, replicas};

pub(super) async fn heads(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    limit: u32,
) -> Result<Vec<PendingHead>, StoreError> {
    // `octet_length` reads the length from the row, not the text from beside it.
    let rows = sqlx::query(
        "SELECT b.id, b.version, b.deleted_at, (COALESCE(octet_length(b.metadata), 0) + COALESCE(octet_length(b.origin), 0) \
         + CASE WHEN b.deleted_at IS NULL THEN octet_length(c.manifests) \
             + COALESCE(octet_length(c.delete_option), 0) + COALESCE(octet_length(c.manifest_configs), 0) \
             + COALESCE(octet_length(c.executer), 0) ELSE 0 END)::bigint AS bytes \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key \
         WHERE b.unsent AND b.consumer_name = $1 ORDER BY b.changed LIMIT $2",
    )
    .bind(consumer.as_str())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
    .map_err(driver("read the outbox of a consumer"))?;
    rows.iter().map(rows::pending_head).collect()
}

pub(super) async fn pending(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    ids: Vec<String>,
) -> Result<Vec<PendingBundle>, StoreError> {
    let rows = sqlx::query(
        "SELECT b.id, b.name, b.version, b.deleted_at, b.metadata, b.created_at, b.acked_version, \
         CASE WHEN b.origin_version = b.version THEN b.origin END AS origin, \
         CASE WHEN b.deleted_at IS NULL THEN c.manifests END AS manifests, c.delete_option, \
         c.manifest_configs, c.executer \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key \
         WHERE b.id = ANY($1) AND b.unsent AND b.consumer_name = $2 ORDER BY b.changed",
    )
    .bind(storables(ids))
    .bind(consumer.as_str())
    .fetch_all(connection)
    .await
    .map_err(driver("read bundles of the outbox"))?;
    rows.iter().map(rows::pending_bundle).collect()
}

pub(super) async fn consumers(
    connection: &mut PgConnection,
) -> Result<Vec<ConsumerName>, StoreError> {
    let rows = sqlx::query(
        "SELECT consumer_name FROM bundles WHERE unsent UNION SELECT consumer_name FROM orphans ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .map_err(driver("read which consumers have something to send"))?;
    rows.iter()
        .map(|row| rows::consumer_name(row, "consumer_name", "outbox"))
        .collect()
}

pub(super) async fn published(
    connection: &mut PgConnection,
    fence: Option<Fence>,
    id: String,
    version: Version,
    deletion: bool,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    let Some(key) = lock(connection, &id).await? else {
        return Ok(NOTED);
    };
    replicas::check(connection, fence.as_ref()).await?;
    sqlx::query(
        "UPDATE ledger SET published_at = $4, attempts = attempts + 1 \
         WHERE bundle_key = $1 AND version = $2 AND deletion = $3",
    )
    .bind(key)
    .bind(i64::from(version.get()))
    .bind(deletion)
    .bind(micros(at))
    .execute(connection)
    .await
    .map_err(driver("note a publication"))?;
    Ok(NOTED)
}

/// What notes an acknowledgement, in front of what follows from it.
macro_rules! if_noted {
    ($update:literal) => {
        concat!(
            "WITH noted AS (UPDATE ledger SET acked_at = $4, matched = $5, failed_at = NULL, failure = NULL \
             WHERE bundle_key = $1 AND version = $2 AND deletion = $3 AND published_at IS NOT NULL RETURNING 1) ",
            $update,
            " AND EXISTS (SELECT FROM noted)"
        )
    };
}

pub(super) async fn acked(
    connection: &mut PgConnection,
    fence: Option<Fence>,
    id: String,
    version: Version,
    deletion: bool,
    matched: bool,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    let Some(key) = lock(connection, &id).await? else {
        return Ok(NOTED);
    };
    replicas::check(connection, fence.as_ref()).await?;
    // A publication that is not there any more: a resend was asked for after it, which may have gone past an agent that
    // was not there yet.
    let update = if deletion {
        if_noted!(
            "UPDATE bundles SET deletion_acked = true, unsent = false \
             WHERE key = $1 AND version = $2 AND deleted_at IS NOT NULL"
        )
    } else {
        if_noted!(
            "UPDATE bundles SET acked_version = GREATEST(acked_version, $2), unsent = CASE WHEN deleted_at IS NULL \
             THEN version > GREATEST(acked_version, $2) ELSE NOT deletion_acked END \
             WHERE key = $1 AND version >= $2"
        )
    };
    sqlx::query(update)
        .bind(key)
        .bind(i64::from(version.get()))
        .bind(deletion)
        .bind(micros(at))
        .bind(matched)
        .execute(connection)
        .await
        .map_err(driver("note an acknowledgement"))?;
    Ok(NOTED)
}

pub(super) async fn failed(
    connection: &mut PgConnection,
    fence: Option<Fence>,
    id: String,
    version: Version,
    deletion: bool,
    reason: String,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    let Some(key) = lock(connection, &id).await? else {
        return Ok(NOTED);
    };
    replicas::check(connection, fence.as_ref()).await?;
    // An older publication of the same version may have been acknowledged meanwhile, before a resend was asked for.
    sqlx::query(
        "WITH noted AS (UPDATE ledger SET failed_at = $4, failure = $5, published_at = NULL \
           WHERE bundle_key = $1 AND version = $2 AND deletion = $3) \
         UPDATE bundles SET unsent = true, acked_version = CASE WHEN $3 THEN acked_version \
           ELSE LEAST(acked_version, $2 - 1) END, deletion_acked = CASE WHEN $3 THEN false ELSE deletion_acked END \
         WHERE key = $1 AND version = $2 AND (deleted_at IS NOT NULL) = $3",
    )
    .bind(key)
    .bind(i64::from(version.get()))
    .bind(deletion)
    .bind(micros(at))
    .bind(storable(&reason))
    .execute(connection)
    .await
    .map_err(driver("note a failed publication"))?;
    Ok(NOTED)
}

pub(super) async fn versions(
    connection: &mut PgConnection,
    consumer: ConsumerName,
) -> Result<Vec<BundleVersion>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, version, deleted_at, created_at FROM bundles WHERE consumer_name = $1 ORDER BY key",
    )
    .bind(consumer.as_str())
    .fetch_all(connection)
    .await
    .map_err(driver("read the versions of a consumer"))?;
    rows.iter().map(rows::bundle_version).collect()
}

pub(super) async fn resend(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    held: Vec<AgentVersion>,
) -> Result<Written<u64>, StoreError> {
    let (ids, versions): (Vec<_>, Vec<_>) = held
        .into_iter()
        .map(|held| (held.id, i64::from(held.version.get())))
        .unzip();
    let ids = storables(ids);
    // Those that may have to go once more, each with the version that is held, and those that are held exactly.
    let locked: Vec<(i64, i64, bool, bool)> = sqlx::query_as(
        "SELECT b.key, h.version, b.deleted_at IS NOT NULL OR b.version > h.version, b.version = h.version \
         FROM bundles b JOIN unnest($1::text[], $2::bigint[]) AS h (id, version) \
         ON b.id = h.id WHERE b.consumer_name = $3 AND (b.deleted_at IS NOT NULL OR b.version > h.version \
         OR (b.version = h.version AND b.epoch <> (SELECT MAX(number) FROM epochs))) \
         ORDER BY b.key FOR NO KEY UPDATE OF b",
    )
    .bind(ids)
    .bind(versions)
    .bind(consumer.as_str())
    .fetch_all(&mut *connection)
    .await
    .map_err(driver("find what an agent holds in an older version"))?;
    let exact: Vec<i64> = locked.iter().filter(|row| row.3).map(|row| row.0).collect();
    if !exact.is_empty() {
        sqlx::query(
            "UPDATE bundles SET epoch = (SELECT MAX(number) FROM epochs) WHERE key = ANY($1)",
        )
        .bind(exact)
        .execute(&mut *connection)
        .await
        .map_err(driver("note which versions an agent holds"))?;
    }
    let locked: Vec<(i64, i64)> = locked
        .into_iter()
        .filter(|row| row.2)
        .map(|row| (row.0, row.1))
        .collect();
    if locked.is_empty() {
        return Ok(Written::of(0));
    }
    let (keys, versions): (Vec<_>, Vec<_>) = locked.into_iter().unzip();
    let again: i64 = sqlx::query_scalar(
        "WITH again AS (UPDATE bundles b SET acked_version = LEAST(h.version, b.version), deletion_acked = false, \
             unsent = true FROM unnest($1::bigint[], $2::bigint[]) AS h (key, version) WHERE b.key = h.key \
             AND (NOT b.unsent OR (b.deleted_at IS NULL AND b.acked_version > LEAST(h.version, b.version)) \
               OR EXISTS (SELECT FROM ledger l WHERE l.bundle_key = b.key AND l.published_at IS NOT NULL \
                          AND l.version = b.version AND l.deletion = (b.deleted_at IS NOT NULL))) \
             RETURNING b.key, b.version), \
         forgotten AS (UPDATE ledger l SET published_at = NULL FROM again a \
             WHERE l.bundle_key = a.key AND (l.deletion OR l.version = a.version)) \
         SELECT COUNT(*) FROM again",
    )
    .bind(keys)
    .bind(versions)
    .fetch_one(connection)
    .await
    .map_err(driver("put bundles back into the outbox"))?;
    Ok(Written::and_maybe_send(
        again.unsigned_abs(),
        (again > 0).then_some(consumer),
    ))
}

pub(super) async fn send_again(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    id: String,
    reason: String,
    at: Timestamp,
) -> Result<Written<bool>, StoreError> {
    let found: Option<(i64, i64)> = sqlx::query_as(
        "UPDATE bundles SET unsent = true, acked_version = LEAST(acked_version, version - 1) \
         WHERE id = $1 AND consumer_name = $2 AND deleted_at IS NULL RETURNING key, version",
    )
    .bind(storable(&id))
    .bind(consumer.as_str())
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("put a bundle back into the outbox"))?;
    let Some((key, version)) = found else {
        return Ok(Written::of(false));
    };
    // Its story begins again: what was received and applied is not there any more.
    sqlx::query(
        "UPDATE ledger SET published_at = NULL, acked_at = NULL, matched = NULL, received_at = NULL, \
         applied_at = NULL, reported_at = NULL, failed_at = $3, failure = $4 \
         WHERE bundle_key = $1 AND version = $2 AND NOT deletion",
    )
    .bind(key)
    .bind(version)
    .bind(micros(at))
    .bind(storable(&reason))
    .execute(connection)
    .await
    .map_err(driver("note in the ledger why a bundle is sent again"))?;
    Ok(Written::and_send(true, consumer))
}

/// Locks the row of a bundle before anything of it is decided.
async fn lock(connection: &mut PgConnection, id: &str) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("SELECT key FROM bundles WHERE id = $1 FOR NO KEY UPDATE")
        .bind(storable(id))
        .fetch_optional(connection)
        .await
        .map_err(driver("lock a bundle"))
}

pub(super) fn storables(ids: Vec<String>) -> Vec<String> {
    ids.into_iter()
        .map(|id| storable(&id).into_owned())
        .collect()
}

const NOTED: Written<()> = Written::of(());
