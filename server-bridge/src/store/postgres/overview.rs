//! A look at a schema and its server, which changes nothing.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::timeout;

use super::super::StoreError;
use super::super::overview::{COUNTS, Connections, Holds, Overview, Tables};
use super::config::Config;
use super::failure::driver;
use super::{connect, migrate, open};

/// What is there, and how it is reached.
pub(in crate::store) async fn overview(
    config: &Config,
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
        Some(Holds::of(&row.map_err(driver(LOOK))?, now)?)
    };
    let (used, limit): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), current_setting('max_connections')::bigint FROM pg_stat_activity \
         WHERE backend_type = 'client backend'",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(driver(LOOK))?;
    let _ = timeout(connect::PING_ANSWER, connection.close()).await;
    Ok(Overview {
        engine: "postgres",
        place,
        schema,
        holds,
        connections: Some(Connections::of(config, used, limit)),
        notify: Some(config.notify),
    })
}

async fn tables(connection: &mut PgConnection) -> Result<Tables, StoreError> {
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

const LOOK: &str = "look at the database";
