//! A single connection for a command that needs the tables for itself.

use std::sync::Arc;

use link::id::SourceId;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::super::StoreError;
use super::config::PostgresConfig;
use super::failure::driver;
use super::limits::PING_ANSWER;
use super::{connect, migrate, open, overview, search, source};

/// A connection that holds the lock under which tables are changed: bridges that start wait for its end.
pub(in crate::store) struct Exclusive {
    pub(in crate::store) connection: PgConnection,
    /// Where it leads, without secrets.
    pub(in crate::store) place: String,
    /// How long bridges that have just stopped are waited for.
    ending: Duration,
}

/// Signs of bridges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Bridges {
    /// Sessions on this database, of whatever schema: their names say no more. Those behind a pooler are not seen.
    pub(in crate::store) sessions: u64,
    /// Slots of this schema that are held: a bridge renews its own every few seconds.
    pub(in crate::store) slots: u64,
}

// === impl Exclusive ===

impl Exclusive {
    /// Connects and brings the tables up to date. With `whole`, they must not be those of an unfinished copy.
    pub(in crate::store) async fn open(
        config: &PostgresConfig,
        whole: bool,
    ) -> Result<Self, StoreError> {
        let failed = |(database, source)| StoreError::Open {
            database,
            source: Arc::new(source),
        };
        let config = PostgresConfig {
            application_name: NAME.into(),
            ..config.clone()
        };
        open::trusted(&config).map_err(|error| failed(("postgres".into(), error)))?;
        let (mut connection, credentials) = connect::first(&config).await.map_err(failed)?;
        let place = format!("{} {}", credentials.place(), config.schema.as_str());
        let prepared = if whole {
            migrate::prepare(&mut connection, &config, None).await
        } else {
            migrate::prepare_copy(&mut connection, &config).await
        };
        prepared.map_err(|error| failed((place.clone(), error)))?;
        Ok(Self {
            connection,
            place,
            ending: config.limits.ending,
        })
    }

    /// Connects for a look, which needs no lock; `None` where there are no tables yet.
    pub(in crate::store) async fn look(
        config: &PostgresConfig,
    ) -> Result<Option<Self>, StoreError> {
        let failed = |(database, source)| StoreError::Open {
            database,
            source: Arc::new(source),
        };
        let config = PostgresConfig {
            application_name: NAME.into(),
            ..config.clone()
        };
        open::trusted(&config).map_err(|error| failed(("postgres".into(), error)))?;
        let credentials = config.credentials().await;
        let credentials = credentials.map_err(|error| failed(("postgres".into(), error)))?;
        let place = format!("{} {}", credentials.place(), config.schema.as_str());
        let connected = connect::connect(&config, &credentials).await;
        let mut connection = connected.map_err(|error| failed((place.clone(), error)))?;
        let tables = overview::tables(&mut connection).await?;
        match tables.unreadable() {
            Some(error) => Err(failed((place, error))),
            None if tables.version == 0 => Ok(None),
            None => Ok(Some(Self {
                connection,
                place,
                ending: config.limits.ending,
            })),
        }
    }

    /// Makes the tables those of a source, if they are nobody's yet. Whose they are.
    pub(in crate::store) async fn assign_source(
        &mut self,
        source: &SourceId,
    ) -> Result<String, StoreError> {
        let owner = source::owner(&mut self.connection, source).await;
        owner.map_err(driver("look whose the tables are"))
    }

    /// Whose the tables are, if they are somebody's yet.
    pub(in crate::store) async fn owner(&mut self) -> Result<Option<String>, StoreError> {
        let owner = source::present(&mut self.connection).await;
        owner.map_err(driver("look whose the tables are"))
    }

    /// Builds what is not needed at once, where that takes moments.
    pub(in crate::store) async fn complete(&mut self, config: &PostgresConfig) {
        search::briefly(&mut self.connection, config.schema.as_str()).await;
    }

    /// Builds the index of searches, however long that takes; whether it is there, because another process may build it.
    pub(in crate::store) async fn build_index(
        &mut self,
        config: &PostgresConfig,
    ) -> Result<bool, StoreError> {
        let failed = |error| driver("build the index of searches")(error);
        // Whoever waits for the tables need not wait for this.
        sqlx::query("SELECT pg_advisory_unlock_all()")
            .execute(&mut self.connection)
            .await
            .map_err(failed)?;
        let built = search::patiently(&mut self.connection, config.schema.as_str()).await;
        built.map_err(failed)
    }

    /// What tells that bridges use the database. The server ends a session a moment after its client has closed it, so those
    /// of a bridge that has just stopped are waited for.
    pub(in crate::store) async fn bridges(&mut self) -> Result<Bridges, StoreError> {
        let until = Instant::now() + self.ending;
        loop {
            let found = self.found().await?;
            if found == Bridges::default() || Instant::now() >= until {
                return Ok(found);
            }
            sleep(AGAIN).await;
        }
    }

    async fn found(&mut self) -> Result<Bridges, StoreError> {
        // In a transaction the server would show what it has shown before.
        sqlx::query("SELECT pg_stat_clear_snapshot()")
            .execute(&mut self.connection)
            .await
            .map_err(driver("look for sessions of bridges"))?;
        // `now()` is as old as what a transaction sees of the slots.
        let (sessions, slots): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND pid <> pg_backend_pid() \
               AND (application_name = 'server-bridge' OR application_name LIKE 'server-bridge %')), \
             (SELECT COUNT(*) FROM replicas WHERE expires_at > now())",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(driver("look for sessions of bridges"))?;
        Ok(Bridges {
            sessions: sessions.unsigned_abs(),
            slots: slots.unsigned_abs(),
        })
    }

    pub(in crate::store) async fn close(self) {
        let _ = timeout(PING_ANSWER, self.connection.close()).await;
    }
}

// No name of a bridge.
const NAME: &str = "server-bridge-store";

const AGAIN: Duration = Duration::from_millis(50);
