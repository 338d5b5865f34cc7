//! What waits on its way, in SQLite.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::super::StoreError;
use super::super::sql::waiting::{asked_before, heard_before, statement, totals, unsent, waiting};
use super::super::waiting::Waiting;
use super::rows::driver;

pub(super) async fn look(
    connection: &mut SqliteConnection,
    now: Timestamp,
    known: Vec<i64>,
) -> Result<Waiting, StoreError> {
    let rows = sqlx::query(STATEMENT)
        .bind(asked_before(now))
        .fetch_all(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
    let unsent = sqlx::query(UNSENT)
        .bind(serde_json::json!(known).to_string())
        .fetch_all(&mut *connection)
        .await;
    let [first, second, third] = heard_before(now);
    let totals = sqlx::query(TOTALS)
        .bind(first)
        .bind(second)
        .bind(third)
        .fetch_one(connection)
        .await;
    waiting(
        &rows,
        &unsent.map_err(driver(LOOK))?,
        &totals.map_err(driver(LOOK))?,
    )
}

const STATEMENT: &str = statement!(
    "(SELECT s.version FROM statuses s WHERE s.bundle_key = b.key)",
    "(SELECT MAX(s.stored_at) FROM bundles o JOIN statuses s ON s.bundle_key = o.key \
      WHERE o.consumer_name = w.consumer_name)",
    "?1"
);

const UNSENT: &str = unsent!("IN (SELECT value FROM json_each(?1))");

const TOTALS: &str = totals!("?1", "?2", "?3");

const LOOK: &str = "look at what waits";
