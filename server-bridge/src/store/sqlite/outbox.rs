//! The outbox in SQLite.

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::sql::Written;
use super::super::{AgentVersion, BundleVersion, PendingBundle, PendingHead, StoreError};
use super::rows::{self, driver, micros};

pub(super) async fn heads(
    pool: &SqlitePool,
    consumer: &ConsumerName,
    limit: u32,
) -> Result<Vec<PendingHead>, StoreError> {
    // `octet_length` reads the length from the row's header, not the text.
    let rows = sqlx::query(
        "SELECT b.id, b.version, b.deleted_at, COALESCE(octet_length(b.metadata), 0) + COALESCE(octet_length(b.origin), 0) \
         + CASE WHEN b.deleted_at IS NULL THEN octet_length(c.manifests) \
             + COALESCE(octet_length(c.delete_option), 0) + COALESCE(octet_length(c.manifest_configs), 0) \
             + COALESCE(octet_length(c.executer), 0) ELSE 0 END AS bytes \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key \
         WHERE b.unsent = 1 AND b.consumer_name = ?1 ORDER BY b.changed LIMIT ?2",
    )
    .bind(consumer.as_str())
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(driver("read the outbox of a consumer"))?;
    rows.iter().map(rows::pending_head).collect()
}

pub(super) async fn pending(
    pool: &SqlitePool,
    consumer: &ConsumerName,
    ids: Vec<String>,
) -> Result<Vec<PendingBundle>, StoreError> {
    let rows = sqlx::query(
        "SELECT b.id, b.name, b.version, b.deleted_at, b.metadata, b.created_at, b.acked_version, \
         CASE WHEN b.origin_version = b.version THEN b.origin END AS origin, \
         CASE WHEN b.deleted_at IS NULL THEN c.manifests END AS manifests, c.delete_option, \
         c.manifest_configs, c.executer \
         FROM bundles b JOIN contents c ON c.bundle_key = b.key \
         WHERE b.id IN (SELECT value FROM json_each(?1)) AND b.unsent = 1 AND +b.consumer_name = ?2 \
         ORDER BY b.changed",
    )
    .bind(array(&ids))
    .bind(consumer.as_str())
    .fetch_all(pool)
    .await
    .map_err(driver("read bundles of the outbox"))?;
    rows.iter().map(rows::pending_bundle).collect()
}

pub(super) async fn consumers(pool: &SqlitePool) -> Result<Vec<ConsumerName>, StoreError> {
    let rows = sqlx::query(
        "SELECT consumer_name FROM bundles WHERE unsent = 1 UNION SELECT consumer_name FROM orphans ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .map_err(driver("read which consumers have something to send"))?;
    rows.iter()
        .map(|row| rows::consumer_name(row, "consumer_name", "outbox"))
        .collect()
}

pub(super) async fn published(
    connection: &mut SqliteConnection,
    id: String,
    version: Version,
    deletion: bool,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    sqlx::query(
        "UPDATE ledger SET published_at = ?4, attempts = attempts + 1 \
         WHERE bundle_key = (SELECT key FROM bundles WHERE id = ?1) AND version = ?2 AND deletion = ?3",
    )
    .bind(&id)
    .bind(version.get())
    .bind(deletion)
    .bind(micros(at))
    .execute(connection)
    .await
    .map_err(driver("note a publication"))?;
    Ok(Written::of(()))
}

pub(super) async fn acked(
    connection: &mut SqliteConnection,
    id: String,
    version: Version,
    deletion: bool,
    matched: bool,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    let written = Written::of(());
    let noted = sqlx::query(
        "UPDATE ledger SET acked_at = ?4, matched = ?5, failed_at = NULL, failure = NULL \
         WHERE bundle_key = (SELECT key FROM bundles WHERE id = ?1) AND version = ?2 AND deletion = ?3 \
         AND published_at IS NOT NULL",
    )
    .bind(&id)
    .bind(version.get())
    .bind(deletion)
    .bind(micros(at))
    .bind(matched)
    .execute(&mut *connection)
    .await
    .map_err(driver("note an acknowledgement"))?;
    if noted.rows_affected() == 0 {
        // A resend was asked for after that publication: it may have gone past an agent that was not there yet.
        return Ok(written);
    }
    let update = if deletion {
        "UPDATE bundles SET deletion_acked = 1, unsent = 0 \
         WHERE id = ?1 AND version = ?2 AND deleted_at IS NOT NULL"
    } else {
        "UPDATE bundles SET acked_version = MAX(acked_version, ?2), \
         unsent = CASE WHEN deleted_at IS NULL THEN version > MAX(acked_version, ?2) ELSE deletion_acked = 0 END \
         WHERE id = ?1 AND version >= ?2"
    };
    sqlx::query(update)
        .bind(&id)
        .bind(version.get())
        .execute(connection)
        .await
        .map_err(driver("take an acknowledged bundle out of the outbox"))?;
    Ok(written)
}

pub(super) async fn failed(
    connection: &mut SqliteConnection,
    id: String,
    version: Version,
    deletion: bool,
    reason: String,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    sqlx::query(
        "UPDATE ledger SET failed_at = ?4, failure = ?5, published_at = NULL \
         WHERE bundle_key = (SELECT key FROM bundles WHERE id = ?1) AND version = ?2 AND deletion = ?3",
    )
    .bind(&id)
    .bind(version.get())
    .bind(deletion)
    .bind(micros(at))
    .bind(&reason)
    .execute(&mut *connection)
    .await
    .map_err(driver("note a failed publication"))?;
    // An older publication of the same version may have been acknowledged meanwhile, before a resend was asked for.
    sqlx::query(
        "UPDATE bundles SET unsent = 1, acked_version = MIN(acked_version, CASE WHEN ?3 THEN acked_version \
         ELSE ?2 - 1 END), deletion_acked = CASE WHEN ?3 THEN 0 ELSE deletion_acked END \
         WHERE id = ?1 AND version = ?2 AND (deleted_at IS NOT NULL) = ?3",
    )
    .bind(&id)
    .bind(version.get())
    .bind(deletion)
    .execute(connection)
    .await
    .map_err(driver("put a bundle back into the outbox"))?;
    Ok(Written::of(()))
}

pub(super) async fn versions(
    pool: &SqlitePool,
    consumer: &ConsumerName,
) -> Result<Vec<BundleVersion>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, version, deleted_at, created_at FROM bundles WHERE consumer_name = ?1 ORDER BY key",
    )
    .bind(consumer.as_str())
    .fetch_all(pool)
    .await
    .map_err(driver("read the versions of a consumer"))?;
    rows.iter().map(rows::bundle_version).collect()
}

pub(super) async fn resend(
    connection: &mut SqliteConnection,
    consumer: ConsumerName,
    held: Vec<AgentVersion>,
) -> Result<Written<u64>, StoreError> {
    let pairs: Vec<(&str, i32)> = held
        .iter()
        .map(|held| (held.id.as_str(), held.version.get()))
        .collect();
    // Exactly what the agent holds is known to be so in this epoch.
    sqlx::query(
        "UPDATE bundles SET epoch = e.present FROM (SELECT json_extract(value, '$[0]') AS id, \
           json_extract(value, '$[1]') AS version FROM json_each(?1)) AS h, \
           (SELECT MAX(number) AS present FROM epochs) AS e \
         WHERE bundles.id = h.id AND +bundles.consumer_name = ?2 AND bundles.version = h.version \
         AND bundles.epoch <> e.present",
    )
    .bind(array(&pairs))
    .bind(consumer.as_str())
    .execute(&mut *connection)
    .await
    .map_err(driver("note which versions an agent holds"))?;
    // The `+` keeps the planner from walking the whole list for every bundle of the consumer (26 s for 5 000).
    let keys: Vec<i64> = sqlx::query_scalar(
        "UPDATE bundles SET acked_version = MIN(h.version, bundles.version), deletion_acked = 0, unsent = 1 \
         FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS version \
               FROM json_each(?1)) AS h \
         WHERE bundles.id = h.id AND +bundles.consumer_name = ?2 \
         AND (bundles.deleted_at IS NOT NULL OR bundles.version > h.version) \
         AND (bundles.unsent = 0 \
              OR (bundles.deleted_at IS NULL AND bundles.acked_version > MIN(h.version, bundles.version)) \
              OR EXISTS (SELECT 1 FROM ledger l WHERE l.bundle_key = bundles.key AND l.published_at IS NOT NULL \
                         AND l.version = bundles.version AND l.deletion = (bundles.deleted_at IS NOT NULL))) \
         RETURNING key",
    )
    .bind(array(&pairs))
    .bind(consumer.as_str())
    .fetch_all(&mut *connection)
    .await
    .map_err(driver("put bundles back into the outbox"))?;
    sqlx::query(
        "UPDATE ledger SET published_at = NULL WHERE bundle_key IN (SELECT value FROM json_each(?1)) \
         AND (deletion = 1 OR version = (SELECT b.version FROM bundles b WHERE b.key = bundle_key))",
    )
    .bind(array(&keys))
    .execute(connection)
    .await
    .map_err(driver("forget publications that did not arrive"))?;
    Ok(Written::and_maybe_send(
        keys.len() as u64,
        (!keys.is_empty()).then_some(consumer),
    ))
}

pub(super) async fn send_again(
    connection: &mut SqliteConnection,
    consumer: ConsumerName,
    id: String,
    reason: String,
    at: Timestamp,
) -> Result<Written<bool>, StoreError> {
    let key: Option<i64> = sqlx::query_scalar(
        "UPDATE bundles SET unsent = 1, acked_version = MIN(acked_version, version - 1) \
         WHERE id = ?1 AND +consumer_name = ?2 AND deleted_at IS NULL RETURNING key",
    )
    .bind(&id)
    .bind(consumer.as_str())
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("put a bundle back into the outbox"))?;
    let Some(key) = key else {
        return Ok(Written::of(false));
    };
    // Its story begins again: what was received and applied is not there any more.
    sqlx::query(
        "UPDATE ledger SET published_at = NULL, acked_at = NULL, matched = NULL, received_at = NULL, \
         applied_at = NULL, reported_at = NULL, failed_at = ?2, failure = ?3 WHERE bundle_key = ?1 \
         AND deletion = 0 AND version = (SELECT b.version FROM bundles b WHERE b.key = bundle_key)",
    )
    .bind(key)
    .bind(micros(at))
    .bind(&reason)
    .execute(connection)
    .await
    .map_err(driver("note in the ledger why a bundle is sent again"))?;
    Ok(Written::and_send(true, consumer))
}

/// A list as one JSON parameter, so that its length does not change the statement.
pub(super) fn array(values: &impl serde::Serialize) -> String {
    // Strings and integers always have a JSON form.
    serde_json::to_string(values).unwrap_or_else(|_| "[]".to_owned())
}
