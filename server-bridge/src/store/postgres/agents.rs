//! What is kept of what agents say, in PostgreSQL. One process at a time adds a part to the lists of a consumer, so that
//! whoever adds the last missing part sees all of them. Nobody holds a connection while waiting for that.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::PgConnection;

use super::super::StoreError;
use super::super::agents::{
    AgentStore, Doubts, Orphan, PartOutcome, RemovedConsumer, ResyncPart, SEEN_EVERY, admitted,
    to_text,
};
use super::super::sql::agents as sql;
use super::super::sql::rows::{self, micros};
use super::failure::driver;
use super::{PostgresStore, Use, Written, consumers, history};

mod parts;

use parts::{add_part, forget, prune};

impl AgentStore for PostgresStore {
    async fn add_resync_part(
        &self,
        part: ResyncPart,
        at: Timestamp,
    ) -> Result<PartOutcome, StoreError> {
        const OPERATION: &str = "keep a part of a resync";
        let held: Arc<str> = to_text(&part.held).into();
        // Its text stands for it.
        let part = ResyncPart {
            held: Vec::new(),
            ..part
        };
        self.in_turn(OPERATION, || {
            let (part, held) = (part.clone(), held.clone());
            self.write(Use::Delivery, OPERATION, move |c| {
                Box::pin(add_part(c, part, held, at))
            })
        })
        .await
    }

    async fn forget_resync(&self, consumer: &ConsumerName, list: &str) -> Result<(), StoreError> {
        const OPERATION: &str = "forget an answered resync";
        self.in_turn(OPERATION, || {
            let (consumer, list) = (consumer.clone(), list.to_owned());
            self.write(Use::Delivery, OPERATION, move |c| {
                Box::pin(forget(c, consumer, list))
            })
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

    async fn note_foreign_work(
        &self,
        consumer: &ConsumerName,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let consumer = consumer.clone();
        self.write(Use::Delivery, "note what a consumer holds", move |c| {
            Box::pin(history::note_foreign_work(c, consumer, at))
        })
        .await
    }

    async fn forget_foreign_works(
        &self,
        consumer: &ConsumerName,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let consumer = consumer.clone();
        self.write(
            Use::Delivery,
            "note that a consumer holds what is known",
            move |c| Box::pin(history::forget_foreign_works(c, consumer, until)),
        )
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
        now: Timestamp,
    ) -> Result<RemovedConsumer, StoreError> {
        let id = id.to_owned();
        let span = self.limits().of_removal();
        self.write_within(span, Use::Api, "remove a consumer", move |c| {
            Box::pin(async move {
                span.set(c).await?;
                consumers::remove(c, id, unseen_since, now).await
            })
        })
        .await
    }
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
    let there: Vec<String> = sqlx::query_scalar(sql::ORPHAN_IDS)
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
    Ok(Written::and_maybe_send(
        refused,
        (!added.is_empty()).then_some(consumer),
    ))
}

async fn orphans(
    connection: &mut PgConnection,
    consumer: ConsumerName,
    limit: u32,
) -> Result<Vec<(i64, Orphan)>, StoreError> {
    let rows = sqlx::query(sql::ORPHANS)
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
         AND (last_seen_at IS NULL OR last_seen_at <= $3 OR last_seen_at > $4) FOR NO KEY UPDATE SKIP LOCKED)",
    )
    .bind(names)
    .bind(micros(at))
    .bind(micros(at - SEEN_EVERY))
    .bind(micros(at + SEEN_EVERY))
    .execute(connection)
    .await
    .map_err(driver("note which consumers were heard"))?;
    Ok(DONE)
}

const DONE: Written<()> = Written::of(());
