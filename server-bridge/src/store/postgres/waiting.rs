//! What waits on its way, in PostgreSQL.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::super::StoreError;
use super::super::sql::waiting::{asked_before, heard_before, statement, totals, unsent, waiting};
use super::super::waiting::Waiting;
use super::failure::driver;

pub(super) async fn look(
    connection: &mut PgConnection,
    now: Timestamp,
    known: Vec<i64>,
) -> Result<Waiting, StoreError> {
    let rows = sqlx::query(STATEMENT)
        .bind(asked_before(now))
        .fetch_all(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
    let unsent = sqlx::query(UNSENT)
        .bind(known)
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
    "b.status_version",
    "(SELECT MAX(o.status_taken_at) FROM bundles o WHERE o.consumer_name = w.consumer_name)",
    "$1"
);

const UNSENT: &str = unsent!("= ANY($1)");

const TOTALS: &str = totals!("$1", "$2", "$3");

const LOOK: &str = "look at what waits";
