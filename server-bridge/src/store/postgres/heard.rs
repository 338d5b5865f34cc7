//! What is kept of what agents say, in PostgreSQL. Parts of one consumer's lists are added one after the other, whichever
//! process takes them: whoever adds the last missing one sees all of them.

use std::collections::HashSet;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::PgConnection;

use super::super::StoreError;
use super::super::heard::{
    ALL_BYTES, Doubts, Heard, LIST_BYTES, LISTS, Orphan, PartOutcome, RemovedConsumer, ResyncPart,
    SEEN_EVERY, admitted, from_texts, to_text,
};
use super::super::sql::rows::{self, micros};
use super::failure::driver;
use super::text::storable;
use super::{PostgresStore, Use, Written, consumers, history};

impl Heard for PostgresStore {
    async fn add_resync_part(
        &self,
        part: ResyncPart,
        at: Timestamp,
    ) -> Result<PartOutcome, StoreError> {
        let held = to_text(&part.held);
        self.write(Use::Delivery, "keep a part of a resync", move |c| {
            Box::pin(add_part(c, part, held, at))
        })
        .await
    }

    async fn forget_resync(&self, consumer: &ConsumerName, list: &str) -> Result<(), StoreError> {
        let (consumer, list) = (consumer.clone(), list.to_owned());
        self.write(Use::Delivery, "forget an answered resync", move |c| {
            Box::pin(forget(c, consumer, list))
        })
        .await
    }

    async fn prune_resyncs(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(
            Use::Delivery,
            "forget resyncs whose parts stay away",
            move |c| Box::pin(prune(c, before)),
        )
        .await
    }

    async fn add_orphans(
        &self,
        consumer: &ConsumerName,
        works: Vec<Orphan>,
    ) -> Result<u64, StoreError> {
        let consumer = consumer.clone();
        self.write(Use::Delivery, "add works to be deleted", move |c| {
            Box::pin(add_orphans(c, consumer, works))
        })
        .await
    }

    async fn orphans(
        &self,
        consumer: &ConsumerName,
        limit: u32,
    ) -> Result<Vec<(i64, Orphan)>, StoreError> {
        let consumer = consumer.clone();
        self.read(Use::Delivery, "read the works to be deleted", move |c| {
            Box::pin(orphans(c, consumer, limit))
        })
        .await
    }

    async fn remove_orphans(&self, keys: Vec<i64>) -> Result<(), StoreError> {
        self.write(
            Use::Delivery,
            "take works to be deleted out of the outbox",
            move |c| Box::pin(remove_orphans(c, keys)),
        )
        .await
    }

    async fn doubts(&self, consumer: &ConsumerName) -> Result<Doubts, StoreError> {
        let consumer = consumer.clone();
        self.read(Use::Delivery, "read what is doubted of a consumer", |c| {
            Box::pin(history::doubts(c, consumer))
        })
        .await
    }

    async fn note_stranger(
        &self,
        consumer: &ConsumerName,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let consumer = consumer.clone();
        self.write(Use::Delivery, "note what a consumer holds", move |c| {
            Box::pin(history::note_stranger(c, consumer, at))
        })
        .await
    }

    async fn note_seen(
        &self,
        consumers: Vec<ConsumerName>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(Use::Delivery, "note which consumers were heard", move |c| {
            Box::pin(note_seen(c, consumers, at))
        })
        .await
    }

    async fn remove_consumer(
        &self,
        id: &str,
        unseen_since: Option<Timestamp>,
    ) -> Result<RemovedConsumer, StoreError> {
        let id = id.to_owned();
        self.write(Use::Api, "remove a consumer", move |c| {
            Box::pin(consumers::remove(c, id, unseen_since))
        })
        .await
    }
}

async fn add_part(
    connection: &mut PgConnection,
    part: ResyncPart,
    held: String,
    at: Timestamp,
) -> Result<Written<PartOutcome>, StoreError> {
    const OPERATION: &str = "keep a part of a resync";
    let list = storable(&part.list);
    in_turn(connection, &part.consumer).await?;
    let began = sqlx::query(
        "INSERT INTO resync_lists (consumer_name, id, made_at, began_at, parts) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT DO NOTHING",
    )
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
    let earlier: Option<i32> = sqlx::query_scalar(
        "SELECT parts FROM resync_lists WHERE consumer_name = $1 AND id = $2 FOR UPDATE",
    )
    .bind(part.consumer.as_str())
    .bind(&list)
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver(OPERATION))?;
    match earlier {
        None => return Ok(said(PartOutcome::Superseded)),
        Some(earlier) if earlier != count(part.total) => {
            let earlier = earlier.unsigned_abs();
            return Ok(said(PartOutcome::OtherTotal { earlier }));
        }
        Some(_) => {}
    }
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
    .bind(&held)
    .fetch_one(&mut *connection)
    .await
    .map_err(driver(OPERATION))?;
    let bytes = bytes.unsigned_abs();
    if bytes > LIST_BYTES {
        sqlx::query("DELETE FROM resync_lists WHERE consumer_name = $1 AND id = $2")
            .bind(part.consumer.as_str())
            .bind(&list)
            .execute(connection)
            .await
            .map_err(driver(OPERATION))?;
        return Ok(said(PartOutcome::TooLong { bytes }));
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
        return Ok(said(PartOutcome::Waits));
    }
    let texts: Vec<String> = sqlx::query_scalar(
        "SELECT held FROM resync_parts WHERE consumer_name = $1 AND list_id = $2 ORDER BY number",
    )
    .bind(part.consumer.as_str())
    .bind(&list)
    .fetch_all(connection)
    .await
    .map_err(driver("read the parts of a resync"))?;
    Ok(said(PartOutcome::Whole(from_texts(&part.list, &texts)?)))
}

/// Waits for whoever else is at work on the lists of this consumer, until the end of this transaction.
async fn in_turn(connection: &mut PgConnection, consumer: &ConsumerName) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("server-bridge resync {consumer}"))
        .execute(connection)
        .await
        .map_err(driver("wait for another part of a resync"))?;
    Ok(())
}

async fn forget(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    list: String,
) -> Result<Written<()>, StoreError> {
    in_turn(connection, &consumer).await?;
    sqlx::query(
        "DELETE FROM resync_lists WHERE consumer_name = $1 AND (id = $2 OR made_at < \
         (SELECT made_at FROM resync_lists WHERE consumer_name = $1 AND id = $2))",
    )
    .bind(consumer.as_str())
    .bind(storable(&list))
    .execute(connection)
    .await
    .map_err(driver("forget an answered resync"))?;
    Ok(DONE)
}

async fn prune(
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
    Ok(said(done.rows_affected()))
}

async fn add_orphans(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    works: Vec<Orphan>,
) -> Result<Written<u64>, StoreError> {
    // It stays registered until this is committed.
    let registered: Option<i64> =
        sqlx::query_scalar("SELECT key FROM consumers WHERE name = $1 FOR KEY SHARE")
            .bind(consumer.as_str())
            .fetch_optional(&mut *connection)
            .await
            .map_err(driver("read a consumer"))?;
    let there: Vec<String> =
        sqlx::query_scalar("SELECT bundle_id FROM orphans WHERE consumer_name = $1")
            .bind(consumer.as_str())
            .fetch_all(&mut *connection)
            .await
            .map_err(driver("read the works to be deleted"))?;
    let there = HashSet::from_iter(there);
    let (added, refused) = admitted(works, &there, registered.is_some());
    let column = |of: fn(&Orphan) -> i64| added.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO orphans (consumer_name, bundle_id, version, deleted_here) \
         SELECT $1, w.id, w.version, w.deleted_here <> 0 FROM unnest($2::text[], $3::bigint[], $4::bigint[]) \
           WITH ORDINALITY AS w (id, version, deleted_here, place) ORDER BY w.place \
         ON CONFLICT (consumer_name, bundle_id) DO UPDATE SET key = DEFAULT, version = excluded.version, \
           deleted_here = excluded.deleted_here",
    )
    .bind(consumer.as_str())
    .bind(added.iter().map(|work| work.id.clone()).collect::<Vec<_>>())
    .bind(column(|work| i64::from(work.version.get())))
    .bind(column(|work| i64::from(work.deleted_here)))
    .execute(connection)
    .await
    .map_err(driver("add works to be deleted"))?;
    Ok(Written {
        value: refused,
        hint: (!added.is_empty()).then_some(consumer),
    })
}

async fn orphans(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    limit: u32,
) -> Result<Vec<(i64, Orphan)>, StoreError> {
    let rows = sqlx::query(
        "SELECT key, bundle_id, version, deleted_here FROM orphans WHERE consumer_name = $1 ORDER BY key LIMIT $2",
    )
    .bind(consumer.as_str())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
    .map_err(driver("read the works to be deleted"))?;
    rows.iter().map(rows::orphan).collect()
}

async fn remove_orphans(
    connection: &mut PgConnection,
    keys: Vec<i64>,
) -> Result<Written<()>, StoreError> {
    // In the order in which they are added.
    sqlx::query(
        "DELETE FROM orphans WHERE key IN (SELECT key FROM orphans WHERE key = ANY($1) \
         ORDER BY consumer_name, bundle_id FOR UPDATE)",
    )
    .bind(keys)
    .execute(connection)
    .await
    .map_err(driver("take works to be deleted out of the outbox"))?;
    Ok(DONE)
}

async fn note_seen(
    connection: &mut PgConnection,
    consumers: Vec<ConsumerName>,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    let names: Vec<&str> = consumers.iter().map(ConsumerName::as_str).collect();
    // What another process is just noting, or changing, is left to it.
    sqlx::query(
        "UPDATE consumers SET last_seen_at = $2 WHERE key IN (SELECT key FROM consumers WHERE name = ANY($1) \
         AND (last_seen_at IS NULL OR last_seen_at <= $3) FOR NO KEY UPDATE SKIP LOCKED)",
    )
    .bind(names)
    .bind(micros(at))
    .bind(micros(at - SEEN_EVERY))
    .execute(connection)
    .await
    .map_err(driver("note which consumers were heard"))?;
    Ok(DONE)
}

/// Of parts there are at most 64.
fn count(parts: u32) -> i32 {
    i32::try_from(parts).unwrap_or(i32::MAX)
}

const fn said<T>(value: T) -> Written<T> {
    Written { value, hint: None }
}

const DONE: Written<()> = said(());
