//! What is kept of what agents say, in SQLite. There is one writer, so that two parts of a list never miss each other.

use std::collections::HashSet;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::StoreError;
use super::super::agents::{
    ALL_BYTES, AgentStore, Doubts, LIST_BYTES, LISTS, Orphan, PartOutcome, RemovedConsumer,
    ResyncPart, SEEN_EVERY, admitted, from_texts, to_text,
};
use super::super::sql::{Written, agents as sql};
use super::outbox::array;
use super::rows::{self, driver, micros};
use super::{SqliteStore, consumers, history};

impl AgentStore for SqliteStore {
    async fn add_resync_part(
        &self,
        part: ResyncPart,
        at: Timestamp,
    ) -> Result<PartOutcome, StoreError> {
        let held = to_text(&part.held);
        self.write(move |c| Box::pin(add_part(c, part, held, at)))
            .await
    }

    async fn forget_resync(&self, consumer: &ConsumerName, list: &str) -> Result<(), StoreError> {
        let (consumer, list) = (consumer.clone(), list.to_owned());
        self.write(move |c| Box::pin(forget(c, consumer, list)))
            .await
    }

    async fn prune_resyncs(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |c| Box::pin(prune(c, before))).await
    }

    async fn add_orphans(
        &self,
        consumer: &ConsumerName,
        works: Vec<Orphan>,
    ) -> Result<u64, StoreError> {
        let consumer = consumer.clone();
        self.write(move |c| Box::pin(add_orphans(c, consumer, works)))
            .await
    }

    async fn orphans(
        &self,
        consumer: &ConsumerName,
        limit: u32,
    ) -> Result<Vec<(i64, Orphan)>, StoreError> {
        let orphans = orphans(&self.readers, consumer, limit).await;
        self.health.noted(orphans)
    }

    async fn remove_orphans(&self, keys: Vec<i64>) -> Result<(), StoreError> {
        self.write(move |c| Box::pin(remove_orphans(c, keys))).await
    }

    async fn doubts(&self, consumer: &ConsumerName) -> Result<Doubts, StoreError> {
        let doubts = history::doubts(&self.readers, consumer).await;
        self.health.noted(doubts)
    }

    async fn note_foreign_work(
        &self,
        consumer: &ConsumerName,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let consumer = consumer.clone();
        self.write(move |c| Box::pin(history::note_foreign_work(c, consumer, at)))
            .await
    }

    async fn forget_foreign_works(
        &self,
        consumer: &ConsumerName,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let consumer = consumer.clone();
        self.write(move |c| Box::pin(history::forget_foreign_works(c, consumer, until)))
            .await
    }

    async fn note_seen(
        &self,
        consumers: Vec<ConsumerName>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |c| Box::pin(note_seen(c, consumers, at)))
            .await
    }

    async fn remove_consumer(
        &self,
        id: &str,
        unseen_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<RemovedConsumer, StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(consumers::remove(c, id, unseen_since, now)))
            .await
    }
}

async fn add_part(
    connection: &mut SqliteConnection,
    part: ResyncPart,
    held: String,
    at: Timestamp,
) -> Result<Written<PartOutcome>, StoreError> {
    const OPERATION: &str = "keep a part of a resync";
    let began = sqlx::query(sql::BEGIN_LIST)
        .bind(part.consumer.as_str())
        .bind(&part.list)
        .bind(micros(part.made_at))
        .bind(micros(at))
        .bind(part.total)
        .execute(&mut *connection)
        .await
        .map_err(driver(OPERATION))?;
    if began.rows_affected() > 0 {
        sqlx::query(
            "DELETE FROM resync_lists WHERE consumer_name = ?1 AND id IN (SELECT id FROM resync_lists \
             WHERE consumer_name = ?1 ORDER BY made_at DESC, began_at DESC, id LIMIT -1 OFFSET ?2)",
        )
        .bind(part.consumer.as_str())
        .bind(LISTS)
        .execute(&mut *connection)
        .await
        .map_err(driver(OPERATION))?;
    }
    let found: Option<(u32, i64)> = sqlx::query_as(
        "SELECT parts, began_at FROM resync_lists WHERE consumer_name = ?1 AND id = ?2",
    )
    .bind(part.consumer.as_str())
    .bind(&part.list)
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver(OPERATION))?;
    let began_at = match found {
        None => return Ok(Written::of(PartOutcome::Superseded)),
        Some((earlier, _)) if earlier != part.total => {
            return Ok(Written::of(PartOutcome::OtherTotal { earlier }));
        }
        Some((_, began_at)) => rows::at(began_at, &part.list)?,
    };
    let added = sqlx::query(
        "INSERT INTO resync_parts (consumer_name, list_id, number, held) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO NOTHING",
    )
    .bind(part.consumer.as_str())
    .bind(&part.list)
    .bind(part.number)
    .bind(&held)
    .execute(&mut *connection)
    .await
    .map_err(driver(OPERATION))?
    .rows_affected();
    let bytes: i64 = sqlx::query_scalar(
        "UPDATE resync_lists SET bytes = bytes + ?3 WHERE consumer_name = ?1 AND id = ?2 RETURNING bytes",
    )
    .bind(part.consumer.as_str())
    .bind(&part.list)
    .bind(if added > 0 { held.len() as i64 } else { 0 })
    .fetch_one(&mut *connection)
    .await
    .map_err(driver(OPERATION))?;
    let bytes = bytes.unsigned_abs();
    if bytes > LIST_BYTES {
        sqlx::query(sql::DROP_LIST)
            .bind(part.consumer.as_str())
            .bind(&part.list)
            .execute(connection)
            .await
            .map_err(driver(OPERATION))?;
        return Ok(Written::of(PartOutcome::TooLong { bytes }));
    }
    let parts: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM resync_parts WHERE consumer_name = ?1 AND list_id = ?2",
    )
    .bind(part.consumer.as_str())
    .bind(&part.list)
    .fetch_one(&mut *connection)
    .await
    .map_err(driver(OPERATION))?;
    if parts < i64::from(part.total) {
        sqlx::query(
            "DELETE FROM resync_lists WHERE (consumer_name, id) IN (SELECT consumer_name, id FROM \
             (SELECT consumer_name, id, SUM(bytes) OVER (ORDER BY began_at DESC, consumer_name, id) AS newer \
              FROM resync_lists) WHERE newer > ?1)",
        )
        .bind(ALL_BYTES as i64)
        .execute(connection)
        .await
        .map_err(driver("forget old parts of resyncs"))?;
        return Ok(Written::of(PartOutcome::Waits));
    }
    let texts: Vec<String> = sqlx::query_scalar(sql::PARTS)
        .bind(part.consumer.as_str())
        .bind(&part.list)
        .fetch_all(connection)
        .await
        .map_err(driver("read the parts of a resync"))?;
    let held = from_texts(&part.list, &texts)?;
    Ok(Written::of(PartOutcome::Whole { held, began_at }))
}

async fn forget(
    connection: &mut SqliteConnection,
    consumer: ConsumerName,
    list: String,
) -> Result<Written<()>, StoreError> {
    sqlx::query(sql::FORGET_LISTS)
        .bind(consumer.as_str())
        .bind(&list)
        .execute(connection)
        .await
        .map_err(driver("forget an answered resync"))?;
    Ok(DONE)
}

async fn prune(
    connection: &mut SqliteConnection,
    before: Timestamp,
) -> Result<Written<u64>, StoreError> {
    let done = sqlx::query("DELETE FROM resync_lists WHERE began_at < ?1")
        .bind(micros(before))
        .execute(connection)
        .await
        .map_err(driver("forget resyncs whose parts stay away"))?;
    Ok(Written::of(done.rows_affected()))
}

async fn add_orphans(
    connection: &mut SqliteConnection,
    consumer: ConsumerName,
    works: Vec<Orphan>,
) -> Result<Written<u64>, StoreError> {
    let registered: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM consumers WHERE name = ?1)")
            .bind(consumer.as_str())
            .fetch_one(&mut *connection)
            .await
            .map_err(driver("read a consumer"))?;
    let there: Vec<String> = sqlx::query_scalar(sql::ORPHAN_IDS)
        .bind(consumer.as_str())
        .fetch_all(&mut *connection)
        .await
        .map_err(driver("read the works to be deleted"))?;
    let there = HashSet::from_iter(there);
    let (added, refused) = admitted(works, &there, registered);
    let rows: Vec<(&str, i32, bool)> = added
        .iter()
        .map(|work| (work.id.as_str(), work.version.get(), work.deleted_here))
        .collect();
    sqlx::query(
        "INSERT OR REPLACE INTO orphans (consumer_name, bundle_id, version, deleted_here) \
         SELECT ?1, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2) ORDER BY key",
    )
    .bind(consumer.as_str())
    .bind(array(&rows))
    .execute(connection)
    .await
    .map_err(driver("add works to be deleted"))?;
    Ok(Written::and_maybe_send(
        refused,
        (!added.is_empty()).then_some(consumer),
    ))
}

async fn orphans(
    pool: &SqlitePool,
    consumer: &ConsumerName,
    limit: u32,
) -> Result<Vec<(i64, Orphan)>, StoreError> {
    let rows = sqlx::query(sql::ORPHANS)
        .bind(consumer.as_str())
        .bind(limit)
        .fetch_all(pool)
        .await
        .map_err(driver("read the works to be deleted"))?;
    rows.iter().map(rows::orphan).collect()
}

async fn remove_orphans(
    connection: &mut SqliteConnection,
    keys: Vec<i64>,
) -> Result<Written<()>, StoreError> {
    sqlx::query("DELETE FROM orphans WHERE key IN (SELECT value FROM json_each(?1))")
        .bind(array(&keys))
        .execute(connection)
        .await
        .map_err(driver("take works to be deleted out of the outbox"))?;
    Ok(DONE)
}

async fn note_seen(
    connection: &mut SqliteConnection,
    consumers: Vec<ConsumerName>,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    let names: Vec<&str> = consumers.iter().map(ConsumerName::as_str).collect();
    sqlx::query(
        "UPDATE consumers SET last_seen_at = ?2 WHERE name IN (SELECT value FROM json_each(?1)) \
         AND (last_seen_at IS NULL OR last_seen_at <= ?3 OR last_seen_at > ?4)",
    )
    .bind(array(&names))
    .bind(micros(at))
    .bind(micros(at - SEEN_EVERY))
    .bind(micros(at + SEEN_EVERY))
    .execute(connection)
    .await
    .map_err(driver("note which consumers were heard"))?;
    Ok(DONE)
}

const DONE: Written<()> = Written::of(());
