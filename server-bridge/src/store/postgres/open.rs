//! Opening: credentials, server and tables are checked, then the pool and its background tasks start.

use std::sync::Arc;

use link::supervise::{Restarts, restarting};
use sqlx::Connection as _;
use tokio::sync::broadcast;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::super::{OpenError, StoreError};
use super::config::{MIN_CONNECTIONS, PostgresConfig};
use super::connect::{self, Connections};
use super::health::Health;
use super::notifier::{self, Notifier};
use super::queue::Queue;
use super::{PostgresStore, migrate, progress, search};

impl PostgresStore {
    /// Connects, makes the tables or brings them up to date, and looks after the connections from then on. Any number of
    /// processes may use one schema.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the server and the database.
    pub async fn open(config: PostgresConfig) -> Result<Self, StoreError> {
        Self::open_counting(config, Restarts::unregistered()).await
    }

    /// The same; restarts of its task are counted.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the server and the database.
    pub async fn open_counting(
        config: PostgresConfig,
        restarts: Restarts,
    ) -> Result<Self, StoreError> {
        let failed = |(database, source)| StoreError::Open {
            database,
            source: Arc::new(source),
        };
        let mut config = config;
        config.max_connections = config.max_connections.max(MIN_CONNECTIONS);
        trusted(&config).map_err(|error| failed(("postgres".into(), error)))?;
        let (mut connection, credentials) = connect::first(&config).await.map_err(failed)?;
        let place = credentials.place();
        let prepared = migrate::prepare(&mut connection, &config, None).await;
        let found = prepared.map_err(|error| failed((place.clone(), error)))?;
        let config = Arc::new(config);
        let connections = Connections::new(config.clone(), credentials, found)
            .map_err(|error| failed((place.clone(), error)))?;
        let seen = connections.time().see(&mut connection).await;
        // From here on there is a session that shows whoever wants the tables alone that they are in use: it may look as soon
        // as the lock is free, which goes with this connection.
        connections.begin().await;
        let _ = connection.close().await;
        seen.map_err(|error| failed((place, error.into())))?;
        let (changes, _) = broadcast::channel(CHANGE_HINTS);
        let stop = CancellationToken::new();
        let store = Self {
            queue: Queue::new(config.max_connections, &config.limits),
            connections: connections.clone(),
            health: Health::new(),
            notifier: config.notify.then(|| {
                let every = config.limits.notify_interval;
                Notifier::new(every, config.metrics.clone())
            }),
            notified: CancellationToken::new(),
            changes,
            fence: None,
            closing: stop.clone(),
            _stop: Arc::new(stop.clone().drop_guard()),
        };
        store.listen(restarts.clone(), stop.clone());
        let (watched, counted, until) = (connections.clone(), restarts.clone(), stop.clone());
        tokio::spawn(async move {
            restarting("store-place", &counted, &until, || {
                connect::watch(watched.clone(), until.clone())
            })
            .await;
        });
        let (searched, counted, until) = (connections.clone(), restarts.clone(), stop.clone());
        tokio::spawn(async move {
            restarting("store-index", &counted, &until, || {
                search::tend(searched.clone(), until.clone())
            })
            .await;
        });
        let (read, counted, until) = (connections.clone(), restarts.clone(), stop.clone());
        tokio::spawn(async move {
            restarting("store-statuses", &counted, &until, || {
                progress::tend(read.clone(), until.clone())
            })
            .await;
        });
        tokio::spawn(async move {
            restarting("store-connections", &restarts, &stop, || {
                look_after(connections.clone(), config.clone(), stop.clone())
            })
            .await;
        });
        Ok(store)
    }

    /// Sends and receives notifications from now on, unless they are turned off.
    fn listen(&self, restarts: Restarts, stop: CancellationToken) {
        let notified = self.notified.clone();
        let Some(notifier) = self.notifier.clone() else {
            return notified.cancel();
        };
        let (connections, changes) = (self.connections.clone(), self.changes.clone());
        tokio::spawn(async move {
            restarting("store-listener", &restarts, &stop, || {
                let (notifier, connections) = (notifier.clone(), connections.clone());
                notifier::tend(notifier, connections, changes.clone(), stop.clone())
            })
            .await;
            notified.cancel();
        });
    }
}

/// A file of authorities that cannot be used is found before anything is dialled.
pub(super) fn trusted(config: &PostgresConfig) -> Result<(), OpenError> {
    let Some(file) = &config.root_cert else {
        return Ok(());
    };
    let problem = match link::file::read_text(file, ROOTS_BYTES) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return Ok(()),
        Ok(_) => "holds no certificate in PEM".to_owned(),
        Err(error) => link::error::chain(&error),
    };
    Err(OpenError::Given {
        problem,
        file: file.clone(),
    })
}

/// Follows the files and tries idle connections until `stop` is done.
async fn look_after(
    connections: Connections,
    config: Arc<PostgresConfig>,
    stop: CancellationToken,
) {
    let mut look = interval(config.limits.look);
    let mut ping = interval(config.limits.ping);
    let work = async {
        loop {
            tokio::select! {
                _ = look.tick() => connections.look().await,
                _ = ping.tick() => connections.ping().await,
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

// A listener that falls 1 024 hints behind sweeps anyway; 64 bytes each.
const CHANGE_HINTS: usize = 1024;

// RDS's bundle of all regions has about 170 KB.
const ROOTS_BYTES: u64 = 4 * 1024 * 1024;
