//! Progress of bundles in SQLite. Conditions of statuses that an older bridge stored are filled in once, after opening, a few
//! rows at a time.

use std::collections::HashMap;

use link::id::ConsumerName;
use sqlx::{SqliteConnection, SqliteExecutor};
use tracing::{info, warn};

use super::super::StoreError;
use super::super::progress::{Load, Progress, UnparsedStatus};
use super::super::sql::Written;
use super::super::sql::progress::{self, statements};
use super::super::sql::rows::Cells as _;
use super::SqliteStore;
use super::outbox::array;
use super::rows::driver;

statements!(
    "(SELECT s.version FROM statuses s WHERE s.bundle_key = t.key)",
    "(SELECT s.stored_at FROM statuses s WHERE s.bundle_key = t.key)",
    "MAX",
    "",
    "IN (SELECT value FROM json_each(?1))",
    "?1",
    ""
);

/// Of these rows.
pub(super) async fn of(
    executor: impl SqliteExecutor<'_>,
    keys: &[i64],
) -> Result<HashMap<i64, Progress>, StoreError> {
    let rows = sqlx::query(PROGRESS)
        .bind(array(&keys))
        .fetch_all(executor)
        .await
        .map_err(driver("read how far bundles have come"))?;
    rows.iter()
        .map(|row| Ok((row.integer("key")?, progress::progress(row)?)))
        .collect()
}

pub(super) async fn loads(
    connection: &mut SqliteConnection,
    consumers: &[ConsumerName],
) -> Result<HashMap<String, Load>, StoreError> {
    let names: Vec<&str> = consumers.iter().map(ConsumerName::as_str).collect();
    let rows = sqlx::query(LOADS)
        .bind(array(&names))
        .fetch_all(connection)
        .await
        .map_err(driver("count what waits of consumers"))?;
    progress::loads(&rows)
}

/// Looks into the statuses that nobody has looked into. What cannot be done now is done after the next opening.
pub(super) async fn read_statuses(store: SqliteStore) {
    match store.read_all_statuses().await {
        Ok(0) => {}
        Ok(statuses) => info!(statuses, "Statuses of before can be searched for now"),
        Err(StoreError::Closed) => {}
        Err(error) => warn!(
            error = link::error::chain(&error),
            "Not all statuses of before can be searched for until the bridge is started again"
        ),
    }
}

impl SqliteStore {
    async fn read_all_statuses(&self) -> Result<usize, StoreError> {
        let (mut after, mut all) = (0, 0);
        loop {
            let search = self.searches.run("find statuses to look into", move |c| {
                Box::pin(unparsed(c, after))
            });
            let found = search.await?;
            let Some(last) = found.last() else {
                return Ok(all);
            };
            after = last.key;
            all += found.len();
            self.write(move |c| Box::pin(note(c, found))).await?;
        }
    }
}

async fn unparsed(
    connection: &mut SqliteConnection,
    after: i64,
) -> Result<Vec<UnparsedStatus>, StoreError> {
    let rows = sqlx::query(UNREAD)
        .bind(after)
        .fetch_all(connection)
        .await
        .map_err(driver("find statuses to look into"))?;
    rows.iter().map(progress::unparsed).collect()
}

/// One that was replaced meanwhile was looked into when that came.
async fn note(
    connection: &mut SqliteConnection,
    found: Vec<UnparsedStatus>,
) -> Result<Written<()>, StoreError> {
    let told: Vec<_> = found
        .iter()
        .map(|one| {
            let told = one.told();
            (one.key, &one.sequence, told.applied(), told.available())
        })
        .collect();
    sqlx::query(
        "UPDATE bundles SET told_sequence = n.sequence, told_applied = n.applied, told_available = n.available, \
           told_since = (SELECT s.stored_at FROM statuses s WHERE s.bundle_key = bundles.key) \
         FROM (SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS sequence, \
           json_extract(value, '$[2]') AS applied, json_extract(value, '$[3]') AS available FROM json_each(?1)) AS n \
         WHERE bundles.key = n.key AND bundles.status_sequence = n.sequence",
    )
    .bind(array(&told))
    .execute(connection)
    .await
    .map_err(driver("note what statuses say"))?;
    Ok(Written::of(()))
}
