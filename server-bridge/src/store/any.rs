//! The engine chosen at start, behind the [`Store`] trait, and the location of a store.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use link::clock::Clock;
use link::error::Failure;
use link::id::{ConsumerName, SourceId};
use link::order::Version;
use link::supervise::Restarts;
use prometheus::Registry;
use tokio::sync::broadcast;
use tracing::info;

use super::agents::{AgentStore, Orphan, PartOutcome, RemovedConsumer, ResyncPart};
use super::facts::{BundleFacts, ConsumerFacts, ExplainStore, Found, Wanted};
use super::methods::{
    agent_store_methods, explain_store_methods, presence_store_methods, report_store_methods,
    store_methods,
};
use super::overview::Overview;
use super::postgres::{self, PostgresStore};
use super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::sqlite::{self, SqliteStore};
use super::{
    AgentVersion, Bundle, BundleVersion, ConnectionEvent, Consumer, Content, Doubts, Epoch, Fence,
    Gone, Hint, History, Json, Labels, Load, NewBundle, NewConsumer, Page, PendingBundle,
    PendingHead, Presence, PresenceStore, Raising, Report, ReportCursor, ReportHeads, ReportPage,
    ReportPosition, ReportStore, ReportedPresence, SourceName, StatusOutcome, StatusUpdate, Store,
    StoreError, Tombstone, Waiting,
};

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(Box<postgres::PostgresConfig>),
}

/// A store of either engine. Clones share it.
#[derive(Clone, Debug)]
pub enum AnyStore {
    /// In a file.
    Sqlite(SqliteStore),
    /// At a server.
    Postgres(Box<PostgresStore>),
}

// === impl Location ===

impl Location {
    /// The same place; what its engine counts is registered.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn registered(mut self, registry: &Registry) -> Result<Self, prometheus::Error> {
        if let Self::Postgres(config) = &mut self {
            config.metrics = postgres::NotifyMetrics::register(registry)?;
        }
        Ok(self)
    }

    /// Opens the store that is there, making it as needed; restarts of its tasks are counted.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place.
    pub async fn open(self, restarts: Restarts) -> Result<AnyStore, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => {
                AnyStore::Sqlite(SqliteStore::open_counting(path, restarts).await?)
            }
            Self::Postgres(config) => AnyStore::Postgres(Box::new(
                PostgresStore::open_counting(*config, restarts).await?,
            )),
        })
    }

    /// Looks at the store that is there, without changing it.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place.
    pub async fn overview(&self, now: Timestamp) -> Result<Overview, StoreError> {
        match self {
            Self::Sqlite(file) => sqlite::overview(file, now).await,
            Self::Postgres(config) => postgres::overview(config, now).await,
        }
    }

    /// What `reference` names in the store that is there, without changing it.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place, also where its tables are of another version than this program's.
    pub async fn find(
        &self,
        reference: &str,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<Found, StoreError> {
        match self {
            Self::Sqlite(file) => sqlite::find(file, reference, wanted, now).await,
            Self::Postgres(config) => postgres::find(config, reference, wanted, now).await,
        }
    }

    /// Brings the tables up to date, making them as needed; says where they are. With `build_index` it waits for the index
    /// of searches, which SQLite does not need, and fails when that is not there afterwards.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the place.
    pub async fn migrate(&self, build_index: bool) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(file) => {
                sqlite::Exclusive::open(file, true, false)
                    .await?
                    .close()
                    .await;
                Ok(file.display().to_string())
            }
            Self::Postgres(config) => {
                let mut exclusive = postgres::Exclusive::open(config, false).await?;
                if !build_index {
                    exclusive.complete(config).await;
                } else if !exclusive.build_index(config).await? {
                    info!("Another process builds the index of searches");
                }
                let place = exclusive.place.clone();
                exclusive.close().await;
                Ok(place)
            }
        }
    }
}

// === impl AnyStore ===

impl AnyStore {
    /// Makes what is stored that of a source, if it is nobody's yet; a database that several processes share is used for no
    /// other from then on.
    ///
    /// # Errors
    /// Exit code 2 when it is another's; otherwise the store's.
    pub async fn assign_source(&self, source: &SourceId) -> Result<(), Failure> {
        match self {
            Self::Sqlite(store) => Ok(store.assign_source(source).await?),
            Self::Postgres(store) => store.assign_source(source).await,
        }
    }

    /// The clock by which what is stored is dated: of several bridges on one database, the database's.
    pub fn clock(&self, own: &Clock) -> Clock {
        match self {
            Self::Postgres(store) => store.clock(),
            Self::Sqlite(_) => own.clone(),
        }
    }
}

/// Passes calls on to the engine.
macro_rules! passed_on {
    ($($method:ident($($name:ident: $kind:ty),*) -> $value:ty;)*) => {
        $(async fn $method(&self, $($name: $kind),*) -> Result<$value, StoreError> {
            match self {
                Self::Sqlite(store) => store.$method($($name),*).await,
                Self::Postgres(store) => store.$method($($name),*).await,
            }
        })*
    };
}

impl AgentStore for AnyStore {
    agent_store_methods!(passed_on);
}

impl ExplainStore for AnyStore {
    explain_store_methods!(passed_on);
}

impl PresenceStore for AnyStore {
    presence_store_methods!(passed_on);
}

impl ReportStore for AnyStore {
    report_store_methods!(passed_on);
}

impl Store for AnyStore {
    store_methods!(passed_on);

    fn fenced(&self, fence: Option<Fence>) -> Self {
        match self {
            Self::Sqlite(store) => Self::Sqlite(store.fenced(fence)),
            Self::Postgres(store) => Self::Postgres(Box::new(store.fenced(fence))),
        }
    }

    fn changes(&self) -> broadcast::Receiver<Hint> {
        match self {
            Self::Sqlite(store) => store.changes(),
            Self::Postgres(store) => store.changes(),
        }
    }

    async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}
