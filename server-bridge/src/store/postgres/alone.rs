//! One connection for a command that needs the tables for itself.

use std::sync::Arc;

use sqlx::{Connection as _, PgConnection};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::super::StoreError;
use super::config::Config;
use super::failure::driver;
use super::{connect, migrate, open};

/// A connection that holds the lock under which tables are changed: bridges that start wait for its end.
pub(in crate::store) struct Alone {
    pub(in crate::store) connection: PgConnection,
    /// Where it leads, without secrets.
    pub(in crate::store) place: String,
}

// === impl Alone ===

impl Alone {
    /// Connects and brings the tables up to date. With `whole`, they must not be those of an unfinished copy.
    pub(in crate::store) async fn open(config: &Config, whole: bool) -> Result<Self, StoreError> {
        let failed = |(database, source)| StoreError::Open {
            database,
            source: Arc::new(source),
        };
        let config = Config {
            application_name: NAME.into(),
            ..config.clone()
        };
        open::trusted(&config).map_err(|error| failed(("postgres".into(), error)))?;
        let (mut connection, credentials) = connect::first(&config).await.map_err(failed)?;
        let place = format!("{} {}", credentials.place(), config.schema.as_str());
        let prepared = match migrate::prepare(&mut connection, &config, None).await {
            Ok(()) if whole => migrate::whole(&mut connection, &config).await,
            prepared => prepared,
        };
        prepared.map_err(|error| failed((place.clone(), error)))?;
        Ok(Self { connection, place })
    }

    /// Sessions of bridges on this database, of whatever schema: their names say no more. Those behind a pooler are not
    /// seen. The server ends a session a moment after its client has closed it, so those of a bridge that has just stopped
    /// are given [`ENDING`].
    pub(in crate::store) async fn bridges(&mut self) -> Result<u64, StoreError> {
        let until = Instant::now() + ENDING;
        loop {
            let sessions = self.sessions().await?;
            if sessions == 0 || Instant::now() >= until {
                return Ok(sessions);
            }
            sleep(AGAIN).await;
        }
    }

    async fn sessions(&mut self) -> Result<u64, StoreError> {
        // In a transaction the server would show what it has shown before.
        sqlx::query("SELECT pg_stat_clear_snapshot()")
            .execute(&mut self.connection)
            .await
            .map_err(driver("look for sessions of bridges"))?;
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() \
             AND (application_name = 'server-bridge' OR application_name LIKE 'server-bridge %')",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(driver("look for sessions of bridges"))?;
        Ok(count.unsigned_abs())
    }

    pub(in crate::store) async fn close(self) {
        let _ = timeout(connect::PING_ANSWER, self.connection.close()).await;
    }
}

// No name of a bridge.
const NAME: &str = "server-bridge-store";

// The server's process ends within milliseconds; on a machine that is busy with other things later.
const ENDING: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);
