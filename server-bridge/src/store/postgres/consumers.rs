//! Consumers in PostgreSQL.

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::PgConnection;

use super::super::agents::{Activity, refuse_if_alive};
use super::super::sql::rows::{self, micros, truncated};
use super::super::{Consumer, Labels, NewConsumer, RemovedConsumer, StoreError};
use super::Written;
use super::failure::driver;
use super::reports;
use super::text::{labels_search, storable};

/// By name: `*` would change under a prepared statement when a newer bridge adds a column.
macro_rules! columns {
    () => {
        "id, name, labels, created_at, updated_at, last_seen_at"
    };
}
pub(super) use columns;

pub(super) async fn create(
    connection: &mut PgConnection,
    new: NewConsumer,
    now: Timestamp,
) -> Result<Written<Consumer>, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO consumers (id, name, labels, search, created_at, updated_at) \
         VALUES ($1, $2, $3, $4::jsonb, $5, $5)",
    )
    .bind(&new.id)
    .bind(new.name.as_str())
    .bind(text(&new.labels))
    .bind(labels_search(&new.labels))
    .bind(micros(now))
    .execute(connection)
    .await;
    let Err(error) = inserted else {
        return Ok(Written {
            value: Consumer {
                id: new.id,
                name: new.name,
                labels: new.labels,
                created_at: truncated(now),
                updated_at: truncated(now),
                last_seen_at: None,
            },
            hint: None,
        });
    };
    let constraint = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::constraint);
    Err(match constraint {
        Some("consumers_pkey") => StoreError::ConsumerExists { consumer: new.id },
        Some("consumers_name_key") => StoreError::ConsumerExists {
            consumer: new.name.into(),
        },
        _ => driver("store a consumer")(error),
    })
}

pub(super) async fn by_id(
    connection: &mut PgConnection,
    id: String,
) -> Result<Option<Consumer>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM consumers WHERE id = $1"
    ))
    .bind(storable(&id))
    .fetch_optional(connection)
    .await
    .map_err(driver("read a consumer"))?;
    row.as_ref().map(rows::consumer).transpose()
}

pub(super) async fn by_name(
    connection: &mut PgConnection,
    name: ConsumerName,
) -> Result<Option<Consumer>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM consumers WHERE name = $1"
    ))
    .bind(name.as_str())
    .fetch_optional(connection)
    .await
    .map_err(driver("read a consumer"))?;
    row.as_ref().map(rows::consumer).transpose()
}

pub(super) async fn names(connection: &mut PgConnection) -> Result<Vec<ConsumerName>, StoreError> {
    let rows = sqlx::query("SELECT name FROM consumers ORDER BY name")
        .fetch_all(connection)
        .await
        .map_err(driver("read the names of consumers"))?;
    rows.iter()
        .map(|row| rows::consumer_name(row, "name", "consumers"))
        .collect()
}

pub(super) async fn set_labels(
    connection: &mut PgConnection,
    id: String,
    labels: Labels,
    now: Timestamp,
) -> Result<Written<Consumer>, StoreError> {
    let row = sqlx::query(
        concat!(
            "UPDATE consumers SET labels = $2, search = $3::jsonb, updated_at = $4 WHERE id = $1 RETURNING ",
            columns!()
        ),
    )
    .bind(storable(&id))
    .bind(text(&labels))
    .bind(labels_search(&labels))
    .bind(micros(now))
    .fetch_optional(connection)
    .await
    .map_err(driver("store the labels of a consumer"))?;
    match row {
        Some(row) => Ok(Written::of(rows::consumer(&row)?)),
        None => Err(StoreError::ConsumerNotFound { consumer: id }),
    }
}

pub(super) async fn delete(
    connection: &mut PgConnection,
    id: String,
) -> Result<Written<()>, StoreError> {
    // Whoever adds a bundle locks this row too, so from here on their number does not rise.
    let row = sqlx::query("SELECT name FROM consumers WHERE id = $1 FOR UPDATE")
        .bind(storable(&id))
        .fetch_optional(&mut *connection)
        .await
        .map_err(driver("read a consumer"))?;
    let Some(row) = row else {
        return Err(StoreError::ConsumerNotFound { consumer: id });
    };
    let name = rows::consumer_name(&row, "name", &id)?;
    let bundles: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM bundles WHERE consumer_name = $1")
        .bind(name.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(driver("count the bundles of a consumer"))?;
    if bundles > 0 {
        return Err(StoreError::ConsumerInUse {
            name,
            bundles: bundles.unsigned_abs(),
        });
    }
    sqlx::query("DELETE FROM consumers WHERE id = $1")
        .bind(&id)
        .execute(connection)
        .await
        .map_err(driver("delete a consumer"))?;
    Ok(Written::of(()))
}

/// Removes a consumer with all that is kept of it. Its row is locked before those of its bundles: nobody who holds a lock
/// on a bundle asks for one on a consumer, but who adds one, and that one is not there yet.
pub(super) async fn remove(
    connection: &mut PgConnection,
    id: String,
    unseen_since: Option<Timestamp>,
    now: Timestamp,
) -> Result<Written<RemovedConsumer>, StoreError> {
    let row = sqlx::query("SELECT name, last_seen_at FROM consumers WHERE id = $1 FOR UPDATE")
        .bind(storable(&id))
        .fetch_optional(&mut *connection)
        .await
        .map_err(driver("read a consumer"))?;
    let Some(row) = row else {
        return Err(StoreError::ConsumerNotFound { consumer: id });
    };
    let name = rows::consumer_name(&row, "name", &id)?;
    let last_seen_at = rows::optional_time(&row, "last_seen_at", &id)?;
    let bundles: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT key, status_version IS NOT NULL FROM bundles WHERE consumer_name = $1 ORDER BY key FOR UPDATE",
    )
    .bind(name.as_str())
    .fetch_all(&mut *connection)
    .await
    .map_err(driver("lock the bundles of a consumer"))?;
    let signs = Activity {
        last_seen_at,
        bundles: bundles.len() as u64,
        reported: bundles.iter().any(|(_, reported)| *reported),
    };
    refuse_if_alive(&name, signs, unseen_since)?;
    let keys: Vec<i64> = bundles.into_iter().map(|(key, _)| key).collect();
    reports::leave_all(connection, &keys, now).await?;
    // What belongs to a bundle would go with it, but row by row.
    for statement in [
        "DELETE FROM ledger WHERE bundle_key = ANY($1)",
        "DELETE FROM statuses WHERE bundle_key = ANY($1)",
        "DELETE FROM contents WHERE bundle_key = ANY($1)",
        "DELETE FROM bundles WHERE key = ANY($1)",
    ] {
        sqlx::query(statement)
            .bind(&keys)
            .execute(&mut *connection)
            .await
            .map_err(driver("remove the bundles of a consumer"))?;
    }
    for statement in [
        "DELETE FROM orphans WHERE consumer_name = $1",
        "DELETE FROM resync_lists WHERE consumer_name = $1",
        "DELETE FROM tombstones WHERE consumer_name = $1",
        "DELETE FROM doubts WHERE consumer_name = $1",
        "DELETE FROM consumers WHERE name = $1",
    ] {
        sqlx::query(statement)
            .bind(name.as_str())
            .execute(&mut *connection)
            .await
            .map_err(driver("remove a consumer"))?;
    }
    Ok(Written {
        value: RemovedConsumer {
            name,
            bundles: keys.len() as u64,
            last_seen_at,
        },
        hint: None,
    })
}

pub(super) async fn ensure(
    connection: &mut PgConnection,
    mut consumers: Vec<NewConsumer>,
    now: Timestamp,
) -> Result<Written<u64>, StoreError> {
    // In one order, so that processes that start together with the same file do not wait for each other in a circle.
    consumers.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    let column = |of: fn(&NewConsumer) -> String| consumers.iter().map(of).collect::<Vec<_>>();
    let done = sqlx::query(
        "INSERT INTO consumers (id, name, labels, search, created_at, updated_at) \
         SELECT n.id, n.name, n.labels, n.search::jsonb, $5, $5 \
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY \
           AS n (id, name, labels, search, place) ORDER BY n.place \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(column(|new| new.id.clone()))
    .bind(column(|new| new.name.as_str().to_owned()))
    .bind(column(|new| text(&new.labels)))
    .bind(column(|new| labels_search(&new.labels)))
    .bind(micros(now))
    .execute(&mut *connection)
    .await;
    match done {
        Ok(done) => Ok(Written::of(done.rows_affected())),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some("consumers_pkey") => {
            Err(StoreError::ConsumerExists {
                consumer: taken(error.as_ref()).unwrap_or_else(|| "of the list".to_owned()),
            })
        }
        Err(error) => Err(driver("store a consumer")(error)),
    }
}

/// The id in `Key (id)=(…) already exists.`, whatever the language of the words around it.
fn taken(error: &dyn sqlx::error::DatabaseError) -> Option<String> {
    let error = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    let (_, rest) = error.detail()?.split_once(")=(")?;
    rest.rsplit_once(')').map(|(id, _)| id.to_owned())
}

fn text(labels: &Labels) -> String {
    // A map of strings always has a JSON form.
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".to_owned())
}
