//! What is known of agents, in PostgreSQL. Whoever writes of an agent keeps its consumer first, as its removal does.

use std::collections::HashMap;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::PgConnection;

use super::super::StoreError;
use super::super::presence::{
    ConnectionEvent, LISTENING_GAP, Presence, PresenceStore, RENUMBERED, REPORTS_MISSED_AFTER,
    ReportedPresence,
};
use super::super::sql::presence::{
    LISTENED_UNTIL, LISTENING_SINCE, NOTE_LISTENING, cells, note_missed, presence, put_connection,
    put_report, select_presence,
};
use super::super::sql::rows::{self, micros};
use super::failure::driver;
use super::text::storable;
use super::{PostgresStore, Use, Written};

impl PresenceStore for PostgresStore {
    async fn put_report(&self, report: ReportedPresence) -> Result<bool, StoreError> {
        self.write(Use::Delivery, "keep the report of an agent", move |c| {
            Box::pin(put(c, report))
        })
        .await
    }

    async fn put_connection(
        &self,
        consumer: &ConsumerName,
        event: ConnectionEvent,
    ) -> Result<bool, StoreError> {
        let consumer = consumer.clone();
        self.write(
            Use::Delivery,
            "keep what the broker tells of an agent",
            move |c| Box::pin(connection(c, consumer, event)),
        )
        .await
    }

    async fn presence(&self, consumer: &ConsumerName) -> Result<Option<Presence>, StoreError> {
        let consumer = consumer.clone();
        self.read(Use::Api, READ, |c| Box::pin(one(c, consumer)))
            .await
    }

    async fn presences_of(
        &self,
        consumers: Vec<ConsumerName>,
    ) -> Result<HashMap<String, Presence>, StoreError> {
        self.read(Use::Search, READ, |c| Box::pin(of(c, consumers)))
            .await
    }

    async fn presences(
        &self,
        after: Option<ConsumerName>,
        limit: u32,
    ) -> Result<Vec<Presence>, StoreError> {
        self.read(Use::Search, READ, move |c| Box::pin(page(c, after, limit)))
            .await
    }

    async fn note_listening(&self, at: Timestamp) -> Result<(), StoreError> {
        self.write(Use::Delivery, LISTENING, move |c| {
            Box::pin(listening(c, at))
        })
        .await
    }

    async fn listening_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(Use::Api, LISTENING, move |c| Box::pin(since(c, now)))
            .await
    }
}

async fn put(
    connection: &mut PgConnection,
    reported: ReportedPresence,
) -> Result<Written<bool>, StoreError> {
    let cells = cells(&reported);
    let done = sqlx::query(put_report!("FOR KEY SHARE"))
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
    connection: &mut PgConnection,
    consumer: ConsumerName,
    event: ConnectionEvent,
) -> Result<Written<bool>, StoreError> {
    let done = sqlx::query(put_connection!("FOR KEY SHARE"))
        .bind(consumer.as_str())
        .bind(storable(&event.client_id))
        .bind(event.connected)
        .bind(event.version)
        .bind(micros(event.at))
        .bind(micros(event.heard_at))
        .bind(event.reason.as_deref().map(storable))
        .bind(RENUMBERED.as_micros() as i64)
        .execute(connection)
        .await
        .map_err(driver("keep what the broker tells of an agent"))?;
    Ok(Written::of(done.rows_affected() > 0))
}

pub(super) async fn one(
    connection: &mut PgConnection,
    consumer: ConsumerName,
) -> Result<Option<Presence>, StoreError> {
    let row = sqlx::query(select_presence!("p.refusals, ", "c.name = $1"))
        .bind(consumer.as_str())
        .fetch_optional(connection)
        .await
        .map_err(driver(READ))?;
    row.map(|row| presence(&row, true)).transpose()
}

async fn of(
    connection: &mut PgConnection,
    consumers: Vec<ConsumerName>,
) -> Result<HashMap<String, Presence>, StoreError> {
    let names: Vec<&str> = consumers.iter().map(ConsumerName::as_str).collect();
    let rows = sqlx::query(select_presence!("", "c.name = ANY($1)"))
        .bind(names)
        .fetch_all(connection)
        .await
        .map_err(driver(READ))?;
    rows.iter()
        .map(|row| presence(row, false).map(|one| (one.consumer.to_string(), one)))
        .collect()
}

async fn page(
    connection: &mut PgConnection,
    after: Option<ConsumerName>,
    limit: u32,
) -> Result<Vec<Presence>, StoreError> {
    let rows = sqlx::query(select_presence!("", "c.name > $1 ORDER BY c.name LIMIT $2"))
        .bind(after.as_ref().map_or("", ConsumerName::as_str))
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await
        .map_err(driver(READ))?;
    rows.iter().map(|row| presence(row, false)).collect()
}

async fn listening(
    connection: &mut PgConnection,
    at: Timestamp,
) -> Result<Written<()>, StoreError> {
    sqlx::query(NOTE_LISTENING)
        .bind(micros(at))
        .bind(micros(at - LISTENING_GAP))
        .bind(micros(at + LISTENING_GAP))
        .execute(&mut *connection)
        .await
        .map_err(driver(LISTENING))?;
    // What another process is just writing of is left to it.
    sqlx::query(note_missed!("FOR UPDATE OF p SKIP LOCKED"))
        .bind(micros(at))
        .bind(micros(at - REPORTS_MISSED_AFTER))
        .execute(connection)
        .await
        .map_err(driver(LISTENING))?;
    Ok(Written::of(()))
}

pub(super) async fn since(
    connection: &mut PgConnection,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let since: Option<i64> = sqlx::query_scalar(LISTENING_SINCE)
        .bind(micros(now - LISTENING_GAP))
        .fetch_optional(connection)
        .await
        .map_err(driver(LISTENING))?;
    since.map(|since| rows::at(since, "listening")).transpose()
}

pub(super) async fn until(connection: &mut PgConnection) -> Result<Option<Timestamp>, StoreError> {
    let until: Option<i64> = sqlx::query_scalar(LISTENED_UNTIL)
        .fetch_optional(connection)
        .await
        .map_err(driver(LISTENING))?;
    until.map(|until| rows::at(until, "listening")).transpose()
}

const READ: &str = "read what is known of agents";
const LISTENING: &str = "note that agents are heard";
