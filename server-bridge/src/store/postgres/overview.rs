//! A read-only look at a schema and its server.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::timeout;

use super::super::StoreError;
use super::super::overview::{ConnectionCounts, HistorySummary, Member, Overview, Tables};
use super::super::sql::overview::{COUNTS, EPOCHS, REPORTING, UNCONFIRMED, holds, past};
use super::super::sql::rows::Cells as _;
use super::config::PostgresConfig;
use super::failure::driver;
use super::limits::PING_ANSWER;
use super::{connect, migrate, open};

/// What is there, and how it is reached.
pub(in crate::store) async fn overview(
    config: &PostgresConfig,
    now: Timestamp,
) -> Result<Overview, StoreError> {
    let failed = |(database, source)| StoreError::Open {
        database,
        source: Arc::new(source),
    };
    open::trusted(config).map_err(|error| failed(("postgres".into(), error)))?;
    let credentials = config.credentials().await;
    let credentials = credentials.map_err(|error| failed(("postgres".into(), error)))?;
    let place = format!("{} {}", credentials.place(), config.schema.as_str());
    let connected = connect::connect(config, &credentials).await;
    let mut connection = connected.map_err(|error| failed((place.clone(), error)))?;
    let schema = tables(&mut connection).await?;
    let holds = if schema.version == 0 {
        None
    } else {
        let row = sqlx::query(COUNTS).fetch_one(&mut connection).await;
        Some(holds(&row.map_err(driver(LOOK))?, now)?)
    };
    let (remembered, members): (bool, bool) = sqlx::query_as(
        "SELECT to_regclass('epochs') IS NOT NULL, to_regclass('replicas') IS NOT NULL",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(driver(LOOK))?;
    let history = match remembered {
        true => Some(history(&mut connection).await?),
        false => None,
    };
    let mut reporting = None;
    if schema.version >= PRESENCE {
        let row = sqlx::query(REPORTING).fetch_one(&mut connection).await;
        let count = row.map_err(driver(LOOK))?.integer("reporting")?;
        reporting = Some(count.unsigned_abs());
    }
    let replicas = match members {
        true => replicas(&mut connection).await?,
        false => Vec::new(),
    };
    // Of sessions of other users only superusers see more than that they are in a database.
    let (used, limit): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), current_setting('max_connections')::bigint FROM pg_stat_activity \
         WHERE datid IS NOT NULL",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(driver(LOOK))?;
    let _ = timeout(PING_ANSWER, connection.close()).await;
    Ok(Overview {
        engine: "postgres",
        place,
        schema,
        holds,
        connections: Some(ConnectionCounts {
            used: used.unsigned_abs(),
            limit: limit.unsigned_abs(),
            each: config.max_connections + u32::from(config.notify),
        }),
        history,
        reporting,
        replicas: Some(replicas),
        notify: Some(config.notify),
    })
}

async fn history(connection: &mut PgConnection) -> Result<HistorySummary, StoreError> {
    let epochs = sqlx::query(EPOCHS).fetch_all(&mut *connection).await;
    let unconfirmed = sqlx::query(UNCONFIRMED).fetch_one(connection).await;
    past(
        &epochs.map_err(driver(LOOK))?,
        &unconfirmed.map_err(driver(LOOK))?,
    )
}

async fn replicas(connection: &mut PgConnection) -> Result<Vec<Member>, StoreError> {
    let rows = sqlx::query(
        "SELECT slot::bigint AS slot, name, expires_at < clock_timestamp() AS expired, \
         (SELECT COUNT(*) FROM bucket_leases b WHERE b.instance = r.instance) AS buckets \
         FROM replicas r ORDER BY slot",
    )
    .fetch_all(connection)
    .await
    .map_err(driver(LOOK))?;
    let member = |row: &PgRow| {
        Ok(Member {
            slot: row.integer("slot")?.unsigned_abs(),
            name: row.text("name")?,
            buckets: row.integer("buckets")?.unsigned_abs(),
            expired: row.flag("expired")?,
        })
    };
    rows.iter().map(member).collect()
}

pub(super) async fn tables(connection: &mut PgConnection) -> Result<Tables, StoreError> {
    let known = migrate::migrations().iter().map(|one| one.version).max();
    let known = known.unwrap_or_default();
    let (there, copying): (bool, bool) =
        sqlx::query_as("SELECT to_regclass($1) IS NOT NULL, to_regclass('copying') IS NOT NULL")
            .bind(migrate::HISTORY)
            .fetch_one(&mut *connection)
            .await
            .map_err(driver(LOOK))?;
    let version: i64 = if there {
        let text = format!(
            "SELECT COALESCE(MAX(version), 0) FROM {} WHERE success",
            migrate::HISTORY
        );
        let version = sqlx::query_scalar(AssertSqlSafe(text));
        version.fetch_one(connection).await.map_err(driver(LOOK))?
    } else {
        0
    };
    Ok(Tables {
        version,
        known,
        current: version == known,
        copying,
    })
}

// The change that made the table.
const PRESENCE: i64 = 9;

const LOOK: &str = "look at the database";
