//! Progress of bundles in PostgreSQL. An older bridge stores statuses without their conditions in columns; each replica
//! looks for such statuses now and then and fills the columns, a few rows at a time and on a connection of its own, skipping
//! rows that another process has locked.

use std::collections::HashMap;
use std::time::Duration;

use link::id::ConsumerName;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::super::progress::{Load, Progress};
use super::super::sql::progress::{self, statements};
use super::super::sql::rows::Cells as _;
use super::super::{OpenError, StoreError};
use super::connect::Connections;
use super::failure::driver;
use super::limits::PING_ANSWER;

statements!(
    "t.status_version",
    "t.status_taken_at",
    "GREATEST",
    " COLLATE \"C\"",
    "= ANY($1)",
    "$1",
    " FOR NO KEY UPDATE OF t SKIP LOCKED"
);

/// Of these rows.
pub(super) async fn of(
    connection: &mut PgConnection,
    keys: &[i64],
) -> Result<HashMap<i64, Progress>, StoreError> {
    let rows = sqlx::query(PROGRESS)
        .bind(keys)
        .fetch_all(connection)
        .await
        .map_err(driver("read how far bundles have come"))?;
    rows.iter()
        .map(|row| Ok((row.integer("key")?, progress::progress(row)?)))
        .collect()
}

pub(super) async fn loads(
    connection: &mut PgConnection,
    consumers: Vec<ConsumerName>,
) -> Result<HashMap<String, Load>, StoreError> {
    let names: Vec<&str> = consumers.iter().map(ConsumerName::as_str).collect();
    let rows = sqlx::query(LOADS)
        .bind(&names)
        .fetch_all(connection)
        .await
        .map_err(driver("count what waits of consumers"))?;
    progress::loads(&rows)
}

/// Looks into statuses that nobody has looked into, until `stop` is done.
pub(super) async fn tend(connections: Connections, stop: CancellationToken) {
    let work = async {
        let mut pause = SOON;
        loop {
            let found = match timeout(LONGEST, pass(&connections)).await {
                Ok(found) => found,
                Err(_) => Err(OpenError::Silent { waited: LONGEST }),
            };
            match found {
                Ok(0) => pause = (pause * 2).min(SELDOM),
                Ok(statuses) => {
                    info!(statuses, "Statuses of before can be searched for now");
                    pause = SOON;
                }
                Err(error) => connections.say(
                    "Statuses that a bridge of the version before stored cannot be searched for yet",
                    &error,
                ),
            }
            sleep(pause).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

/// One look at every bundle; how many statuses it looked into.
async fn pass(connections: &Connections) -> Result<usize, OpenError> {
    let Some(mut connection) = connections.another("progress").await? else {
        return Ok(0);
    };
    let found = read_all(&mut connection).await;
    let found = found.map_err(|error| connections.fault(error));
    let _ = timeout(PING_ANSWER, connection.close()).await;
    found
}

async fn read_all(connection: &mut PgConnection) -> Result<usize, sqlx::Error> {
    let (mut after, mut all) = (0_i64, 0);
    loop {
        let mut batch = connection.begin().await?;
        let rows = sqlx::query(UNREAD)
            .bind(after)
            .fetch_all(&mut *batch)
            .await?;
        let Some(last) = rows.last() else {
            return Ok(all);
        };
        after = sqlx::Row::try_get(last, "key")?;
        let mut columns: (Vec<_>, Vec<_>, Vec<_>, Vec<_>) = Default::default();
        // What cannot be read is corrupt, which whoever reads the bundle is told.
        for one in rows.iter().filter_map(|row| progress::unparsed(row).ok()) {
            let told = one.told();
            columns.0.push(one.key);
            columns.1.push(one.sequence);
            columns.2.push(told.applied());
            columns.3.push(told.available());
        }
        all += columns.0.len();
        sqlx::query(
            "UPDATE bundles b SET told_sequence = n.sequence, told_applied = n.applied, \
               told_available = n.available, told_since = b.status_taken_at \
             FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS n (key, sequence, applied, available) \
             WHERE b.key = n.key AND b.status_sequence = n.sequence",
        )
        .bind(columns.0)
        .bind(columns.1)
        .bind(columns.2)
        .bind(columns.3)
        .execute(&mut *batch)
        .await?;
        batch.commit().await?;
    }
}

/// After something was found, or the store was opened. A pass over 200 000 bundles takes a few tenths of a second.
const SOON: Duration = Duration::from_secs(30);

/// Where nothing is found again and again. What the last bridge of the version before stored stays unknown no longer than
/// this, however late in a rollout it ended.
const SELDOM: Duration = Duration::from_secs(60);

// A statement that the server does not end is one of a server that is gone.
const LONGEST: Duration = Duration::from_secs(15 * 60);
