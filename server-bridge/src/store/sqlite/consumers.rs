//! Consumers in SQLite.

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::{SqliteConnection, SqliteExecutor, SqlitePool};

use super::super::agents::{Activity, refuse_if_alive};
use super::super::sql::Written;
use super::super::{Consumer, Labels, NewConsumer, RemovedConsumer, StoreError};
use super::reports;
use super::rows::{self, driver, get, micros, truncated};

pub(super) async fn create(
    connection: &mut SqliteConnection,
    new: NewConsumer,
    now: Timestamp,
) -> Result<Written<Consumer>, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO consumers (id, name, labels, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)",
    )
    .bind(&new.id)
    .bind(new.name.as_str())
    .bind(text(&new.labels))
    .bind(micros(now))
    .execute(connection)
    .await;
    match inserted {
        Ok(_) => Ok(Written {
            value: Consumer {
                id: new.id,
                name: new.name,
                labels: new.labels,
                created_at: truncated(now),
                updated_at: truncated(now),
                last_seen_at: None,
            },
            hint: None,
        }),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            let by_id = error.message().contains("consumers.id");
            Err(StoreError::ConsumerExists {
                consumer: if by_id { new.id } else { new.name.into() },
            })
        }
        Err(error) => Err(driver("store a consumer")(error)),
    }
}

pub(super) async fn by_id(
    executor: impl SqliteExecutor<'_>,
    id: &str,
) -> Result<Option<Consumer>, StoreError> {
    let row = sqlx::query("SELECT * FROM consumers WHERE id = ?1")
        .bind(id)
        .fetch_optional(executor)
        .await
        .map_err(driver("read a consumer"))?;
    row.as_ref().map(rows::consumer).transpose()
}

pub(super) async fn by_name(
    executor: impl SqliteExecutor<'_>,
    name: &ConsumerName,
) -> Result<Option<Consumer>, StoreError> {
    let row = sqlx::query("SELECT * FROM consumers WHERE name = ?1")
        .bind(name.as_str())
        .fetch_optional(executor)
        .await
        .map_err(driver("read a consumer"))?;
    row.as_ref().map(rows::consumer).transpose()
}

pub(super) async fn names(pool: &SqlitePool) -> Result<Vec<ConsumerName>, StoreError> {
    let rows = sqlx::query("SELECT name FROM consumers ORDER BY name")
        .fetch_all(pool)
        .await
        .map_err(driver("read the names of consumers"))?;
    rows.iter()
        .map(|row| rows::consumer_name(row, "name", "consumers"))
        .collect()
}

pub(super) async fn set_labels(
    connection: &mut SqliteConnection,
    id: String,
    labels: Labels,
    now: Timestamp,
) -> Result<Written<Consumer>, StoreError> {
    let row =
        sqlx::query("UPDATE consumers SET labels = ?2, updated_at = ?3 WHERE id = ?1 RETURNING *")
            .bind(&id)
            .bind(text(&labels))
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
    connection: &mut SqliteConnection,
    id: String,
) -> Result<Written<()>, StoreError> {
    let row = sqlx::query(
        "SELECT c.name, (SELECT COUNT(*) FROM bundles b WHERE b.consumer_name = c.name) AS bundles \
         FROM consumers c WHERE c.id = ?1",
    )
    .bind(&id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read a consumer"))?;
    let Some(row) = row else {
        return Err(StoreError::ConsumerNotFound { consumer: id });
    };
    let bundles: i64 = get(&row, "bundles")?;
    if bundles > 0 {
        return Err(StoreError::ConsumerInUse {
            name: rows::consumer_name(&row, "name", &id)?,
            bundles: bundles.unsigned_abs(),
        });
    }
    sqlx::query("DELETE FROM consumers WHERE id = ?1")
        .bind(&id)
        .execute(connection)
        .await
        .map_err(driver("delete a consumer"))?;
    Ok(Written::of(()))
}

/// Removes a consumer with all that is kept of it. The rows of a bundle go with it.
pub(super) async fn remove(
    connection: &mut SqliteConnection,
    id: String,
    unseen_since: Option<Timestamp>,
    now: Timestamp,
) -> Result<Written<RemovedConsumer>, StoreError> {
    let row = sqlx::query(
        "SELECT c.name, c.last_seen_at, (SELECT COUNT(*) FROM bundles b WHERE b.consumer_name = c.name) AS bundles, \
           EXISTS (SELECT 1 FROM bundles b JOIN statuses s ON s.bundle_key = b.key WHERE b.consumer_name = c.name) \
             AS reported \
         FROM consumers c WHERE c.id = ?1",
    )
    .bind(&id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(driver("read a consumer"))?;
    let Some(row) = row else {
        return Err(StoreError::ConsumerNotFound { consumer: id });
    };
    let name = rows::consumer_name(&row, "name", &id)?;
    let last_seen_at = rows::optional_time(&row, "last_seen_at", &id)?;
    let bundles: i64 = get(&row, "bundles")?;
    let bundles = bundles.unsigned_abs();
    let signs = Activity {
        last_seen_at,
        bundles,
        reported: get(&row, "reported")?,
    };
    refuse_if_alive(&name, signs, unseen_since)?;
    reports::leave_all(connection, name.as_str(), now).await?;
    for statement in [
        "DELETE FROM bundles WHERE consumer_name = ?1",
        "DELETE FROM orphans WHERE consumer_name = ?1",
        "DELETE FROM resync_lists WHERE consumer_name = ?1",
        "DELETE FROM tombstones WHERE consumer_name = ?1",
        "DELETE FROM doubts WHERE consumer_name = ?1",
        "DELETE FROM consumers WHERE name = ?1",
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
            bundles,
            last_seen_at,
        },
        hint: None,
    })
}

pub(super) async fn ensure(
    connection: &mut SqliteConnection,
    consumers: Vec<NewConsumer>,
    now: Timestamp,
) -> Result<Written<u64>, StoreError> {
    let mut created = 0;
    for new in consumers {
        let done = sqlx::query(
            "INSERT INTO consumers (id, name, labels, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(&new.id)
        .bind(new.name.as_str())
        .bind(text(&new.labels))
        .bind(micros(now))
        .execute(&mut *connection)
        .await
        .map_err(|error| match error {
            sqlx::Error::Database(error) if error.is_unique_violation() => {
                StoreError::ConsumerExists {
                    consumer: new.id.clone(),
                }
            }
            error => driver("store a consumer")(error),
        })?;
        created += done.rows_affected();
    }
    Ok(Written::of(created))
}

fn text(labels: &Labels) -> String {
    // A map of strings always has a JSON form.
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".to_owned())
}
