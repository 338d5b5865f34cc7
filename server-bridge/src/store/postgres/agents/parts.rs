//! Lists in parts, in PostgreSQL: one process at a time adds to those of a consumer.

use std::sync::Arc;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::PgConnection;

use super::super::super::StoreError;
use super::super::super::agents::{
    ALL_BYTES, LIST_BYTES, LISTS, PartOutcome, ResyncPart, from_texts,
};
use super::super::super::sql::agents as sql;
use super::super::super::sql::rows::{self, micros};
use super::super::Written;
use super::super::failure::driver;
use super::super::text::storable;

pub(super) async fn add_part(
    connection: &mut PgConnection,
    part: ResyncPart,
    held: Arc<str>,
    at: Timestamp,
) -> Result<Written<Option<PartOutcome>>, StoreError> {
    if !takes_turn(connection, &part.consumer).await? {
        return Ok(Written::of(None));
    }
    let added = loop {
        if let Some(outcome) = add_to_list(connection, &part, &held, at).await? {
            break outcome;
        }
    };
    Ok(Written::of(Some(added)))
}

/// `None` if the list went between being found and being locked, by age or for room: then it begins again, which only
/// this process can do for this consumer now.
async fn add_to_list(
    connection: &mut PgConnection,
    part: &ResyncPart,
    held: &str,
    at: Timestamp,
) -> Result<Option<PartOutcome>, StoreError> {
    const OPERATION: &str = "keep a part of a resync";
    let list = storable(&part.list);
    let began = sqlx::query(sql::BEGIN_LIST)
        .bind(part.consumer.as_str())
        .bind(&list)
        .bind(micros(part.made_at))
        .bind(micros(at))
        .bind(count(part.total))
        .execute(&mut *connection)
        .await
        .map_err(driver(OPERATION))?;
    if began.rows_affected() > 0 {
        sqlx::query(
            "DELETE FROM resync_lists WHERE consumer_name = $1 AND id IN (SELECT id FROM resync_lists \
             WHERE consumer_name = $1 ORDER BY made_at DESC, began_at DESC, id OFFSET $2)",
        )
        .bind(part.consumer.as_str())
        .bind(i64::from(LISTS))
        .execute(&mut *connection)
        .await
        .map_err(driver(OPERATION))?;
    }
    let found: Option<(i32, i64)> = sqlx::query_as(
        "SELECT parts, began_at FROM resync_lists WHERE consumer_name = $1 AND id = $2 FOR UPDATE",
    )
    .bind(part.consumer.as_str())
    .bind(&list)
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver(OPERATION))?;
    let began_at = match found {
        None if began.rows_affected() == 0 => return Ok(None),
        None => return Ok(Some(PartOutcome::Superseded)),
        Some((earlier, _)) if earlier != count(part.total) => {
            let earlier = earlier.unsigned_abs();
            return Ok(Some(PartOutcome::OtherTotal { earlier }));
        }
        Some((_, began_at)) => rows::at(began_at, &part.list)?,
    };
    let (bytes, parts): (i64, i64) = sqlx::query_as(
        "WITH added AS (INSERT INTO resync_parts (consumer_name, list_id, number, held) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING RETURNING octet_length(held)::bigint AS bytes) \
         UPDATE resync_lists SET bytes = resync_lists.bytes + COALESCE((SELECT bytes FROM added), 0) \
         WHERE consumer_name = $1 AND id = $2 RETURNING bytes, (SELECT COUNT(*) FROM added) \
             + (SELECT COUNT(*) FROM resync_parts WHERE consumer_name = $1 AND list_id = $2)",
    )
    .bind(part.consumer.as_str())
    .bind(&list)
    .bind(count(part.number))
    .bind(held)
    .fetch_one(&mut *connection)
    .await
    .map_err(driver(OPERATION))?;
    let bytes = bytes.unsigned_abs();
    if bytes > LIST_BYTES {
        sqlx::query(sql::DROP_LIST)
            .bind(part.consumer.as_str())
            .bind(&list)
            .execute(connection)
            .await
            .map_err(driver(OPERATION))?;
        return Ok(Some(PartOutcome::TooLong { bytes }));
    }
    if parts < i64::from(part.total) {
        // What another process is at work on is left to it.
        sqlx::query(
            "DELETE FROM resync_lists WHERE (consumer_name, id) IN (SELECT l.consumer_name, l.id FROM resync_lists l \
             JOIN (SELECT consumer_name, id, SUM(bytes) OVER (ORDER BY began_at DESC, consumer_name, id) AS newer \
                   FROM resync_lists) AS o USING (consumer_name, id) WHERE o.newer > $1 FOR UPDATE OF l SKIP LOCKED)",
        )
        .bind(ALL_BYTES as i64)
        .execute(connection)
        .await
        .map_err(driver("forget old parts of resyncs"))?;
        return Ok(Some(PartOutcome::Waits));
    }
    let texts: Vec<String> = sqlx::query_scalar(sql::PARTS)
        .bind(part.consumer.as_str())
        .bind(&list)
        .fetch_all(connection)
        .await
        .map_err(driver("read the parts of a resync"))?;
    let held = from_texts(&part.list, &texts)?;
    Ok(Some(PartOutcome::Whole { held, began_at }))
}

/// Keeps others from the lists of this consumer until the end of this transaction, unless another one is at work on them.
async fn takes_turn(
    connection: &mut PgConnection,
    consumer: &ConsumerName,
) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("server-bridge resync {consumer}"))
        .fetch_one(connection)
        .await
        .map_err(driver("take the turn of a resync"))
}

pub(super) async fn forget(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    list: String,
) -> Result<Written<Option<()>>, StoreError> {
    if !takes_turn(connection, &consumer).await? {
        return Ok(Written::of(None));
    }
    sqlx::query(sql::FORGET_LISTS)
        .bind(consumer.as_str())
        .bind(storable(&list))
        .execute(connection)
        .await
        .map_err(driver("forget an answered resync"))?;
    Ok(Written::of(Some(())))
}

pub(super) async fn prune(
    connection: &mut PgConnection,
    before: Timestamp,
) -> Result<Written<u64>, StoreError> {
    let done = sqlx::query(
        "DELETE FROM resync_lists WHERE (consumer_name, id) IN \
         (SELECT consumer_name, id FROM resync_lists WHERE began_at < $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(micros(before))
    .execute(connection)
    .await
    .map_err(driver("forget resyncs whose parts stay away"))?;
    Ok(Written::of(done.rows_affected()))
}

/// Of parts there are at most 64.
fn count(parts: u32) -> i32 {
    i32::try_from(parts).unwrap_or(i32::MAX)
}
