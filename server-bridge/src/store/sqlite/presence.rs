//! What is known of agents, in SQLite.

use std::collections::HashMap;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::super::StoreError;
use super::super::presence::{
    ConnectionEvent, LISTENING_GAP, Presence, PresenceStore, RENUMBERED, REPORTS_MISSED_AFTER,
    ReportedPresence,
};
use super::super::sql::Written;
use super::super::sql::presence::{
    LISTENED_UNTIL, LISTENING_SINCE, NOTE_LISTENING, cells, note_missed, presence, put_connection,
    put_report, select_presence,
};
use super::SqliteStore;
use super::outbox::array;
use super::rows::{self, driver, micros};

impl PresenceStore for SqliteStore {
    async fn put_report(&self, report: ReportedPresence) -> Result<bool, StoreError> {
        self.write(move |c| Box::pin(put(c, report))).await
    }

    async fn put_connection(
        &self,
        consumer: &ConsumerName,
        event: ConnectionEvent,
    ) -> Result<bool, StoreError> {
        let consumer = consumer.clone();
        self.write(move |c| Box::pin(connection(c, consumer, event)))
            .await
    }

    async fn presence(&self, consumer: &ConsumerName) -> Result<Option<Presence>, StoreError> {
        let found = one(self.reading()?, consumer).await;
        self.health.noted(found)
    }

    async fn presences_of(
        &self,
        consumers: Vec<ConsumerName>,
    ) -> Result<HashMap<String, Presence>, StoreError> {
        let read = self.searches.run(READ, move |c| {
            Box::pin(async move { of(c, &consumers).await })
        });
        self.health.noted(read.await)
    }

    async fn presences(
        &self,
        after: Option<ConsumerName>,
        limit: u32,
    ) -> Result<Vec<Presence>, StoreError> {
        let read = self
            .searches
            .run(READ, move |c| Box::pin(page(c, after, limit)));
        self.health.noted(read.await)
    }

    async fn note_listening(&self, at: Timestamp) -> Result<(), StoreError> {
        self.write(move |c| Box::pin(listening(c, at))).await
    }

    async fn listening_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let found = since(self.reading()?, now).await;
        self.health.noted(found)
    }
}

async fn put(
    connection: &mut SqliteConnection,
    reported: ReportedPresence,
) -> Result<Written<bool>, StoreError> {
    let cells = cells(&reported);
    let done = sqlx::query(put_report!(""))
        .bind(reported.consumer.as_str())
        .bind(&cells.report)
        .bind(&cells.refusals)
        .bind(cells.refusal_count)
        .bind(cells.made_at)
        .bind(cells.at)
        .bind(cells.settled)
        .execute(connection)
        .await
        .map_err(driver("keep the report of an agent"))?;
    Ok(Written::of(done.rows_affected() > 0))
}

async fn connection(
    connection: &mut SqliteConnection,
    consumer: ConsumerName,
    event: ConnectionEvent,
) -> Result<Written<bool>, StoreError> {
    let done = sqlx::query(put_connection!(""))
        .bind(consumer.as_str())
        .bind(&event.client_id)
        .bind(event.connected)
        .bind(event.version)
        .bind(micros(event.at))
        .bind(micros(event.heard_at))
        .bind(&event.reason)
        .bind(RENUMBERED.as_micros() as i64)
        .execute(connection)
        .await
        .map_err(driver("keep what the broker tells of an agent"))?;
    Ok(Written::of(done.rows_affected() > 0))
}

pub(super) async fn one(
    executor: impl SqliteExecutor<'_>,
    consumer: &ConsumerName,
) -> Result<Option<Presence>, StoreError> {
    let row = sqlx::query(select_presence!("p.refusals, ", "c.name = $1"))
        .bind(consumer.as_str())
        .fetch_optional(executor)
        .await
        .map_err(driver(READ))?;
    row.map(|row| presence(&row, true)).transpose()
}

async fn of(
    connection: &mut SqliteConnection,
    consumers: &[ConsumerName],
) -> Result<HashMap<String, Presence>, StoreError> {
    let names: Vec<&str> = consumers.iter().map(ConsumerName::as_str).collect();
    let rows = sqlx::query(select_presence!(
        "",
        "c.name IN (SELECT value FROM json_each($1))"
    ))
    .bind(array(&names))
    .fetch_all(connection)
    .await
    .map_err(driver(READ))?;
    rows.iter()
        .map(|row| presence(row, false).map(|one| (one.consumer.to_string(), one)))
        .collect()
}

async fn page(
    connection: &mut SqliteConnection,
    after: Option<ConsumerName>,
    limit: u32,
) -> Result<Vec<Presence>, StoreError> {
    let rows = sqlx::query(select_presence!("", "c.name > $1 ORDER BY c.name LIMIT $2"))
        .bind(after.as_ref().map_or("", ConsumerName::as_str))
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(driver(READ))?;
    rows.iter().map(|row| presence(row, false)).collect()
}

async fn listening(
    connection: &mut SqliteConnection,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    sqlx::query(NOTE_LISTENING)
        .bind(micros(at))
        .bind(micros(at - LISTENING_GAP))
        .bind(micros(at + LISTENING_GAP))
        .execute(&mut *connection)
        .await
        .map_err(driver(LISTENING))?;
    sqlx::query(note_missed!(""))
        .bind(micros(at))
        .bind(micros(at - REPORTS_MISSED_AFTER))
        .execute(connection)
        .await
        .map_err(driver(LISTENING))?;
    Ok(Written::of(()))
}

pub(super) async fn since(
    executor: impl SqliteExecutor<'_>,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let since: Option<i64> = sqlx::query_scalar(LISTENING_SINCE)
        .bind(micros(now - LISTENING_GAP))
        .fetch_optional(executor)
        .await
        .map_err(driver(LISTENING))?;
    since.map(|since| rows::at(since, "listening")).transpose()
}

pub(super) async fn until(
    executor: impl SqliteExecutor<'_>,
) -> Result<Option<Timestamp>, StoreError> {
    let until: Option<i64> = sqlx::query_scalar(LISTENED_UNTIL)
        .fetch_optional(executor)
        .await
        .map_err(driver(LISTENING))?;
    until.map(|until| rows::at(until, "listening")).transpose()
}

const READ: &str = "read what is known of agents";
const LISTENING: &str = "note that agents are heard";
