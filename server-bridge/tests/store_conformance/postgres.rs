//! What only PostgreSQL has: several processes on one database, a server that goes away, tables that others made, and
//! passwords that change.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use server_bridge::store::postgres::{PostgresConfig, PostgresStore};
use server_bridge::store::{FailureClass, StoreError};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::engines::{Server, fresh};

mod agents;
mod clocks;
mod iam;
mod leases;
mod notifier;
mod opening;
mod outages;
mod queue;
mod replicas;
mod reports;
mod restores;
mod rotation;
mod sharing;
mod upgrades;

/// A database of its own, and how to open it.
struct Place {
    config: PostgresConfig,
    database: String,
    server: &'static Server,
    files: TempDir,
}

impl Place {
    fn new() -> Self {
        let server = Server::shared();
        let files = tempfile::tempdir().unwrap();
        let config = fresh(server, &files);
        let database = std::fs::read_to_string(&config.files.name).unwrap();
        Self {
            config,
            database,
            server,
            files,
        }
    }

    /// One whose bridges wait for locks longer than a test on a busy machine holds them.
    fn patient() -> Self {
        let mut place = Self::new();
        let limits = &mut place.config.limits;
        (limits.lock, limits.statement, limits.answer) = (LONG, LONG, LONG);
        limits.acquire = LONG;
        place
    }

    async fn open(&self) -> PostgresStore {
        PostgresStore::open(self.config.clone()).await.unwrap()
    }

    fn dump(&self) -> PathBuf {
        self.files.path().join("dump.sql")
    }

    fn sql(&self, text: &str) -> String {
        self.server.sql(&self.database, text).unwrap()
    }

    /// Keeps everybody from the bundles until the value is dropped.
    async fn locked(&self) -> Locked<'_> {
        let (server, database) = (self.server, self.database.clone());
        std::thread::spawn(move || {
            let lock =
                "BEGIN; LOCK TABLE bridge.bundles IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)";
            // It is ended by the guard, or by a deadlock with the index that is built beside all others: then it begins again.
            while let Err(error) = server.sql(&database, lock) {
                if !error.to_string().contains("deadlock detected") {
                    return;
                }
            }
        });
        let held = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' \
             AND relation = 'bridge.bundles'::regclass";
        until("the lock to be held", async || self.sql(held) == "1").await;
        Locked(self)
    }

    /// Keeps bridges from changing the tables, and from comparing the database, until the value is dropped.
    async fn turn(&self) -> Locked<'_> {
        let (server, database) = (self.server, self.database.clone());
        std::thread::spawn(move || {
            let turn = "SET application_name = 'the test'; \
                 SELECT pg_advisory_lock(hashtextextended('server-bridge bridge', 0)), pg_sleep(600)";
            // It is ended by the guard.
            let _ = server.sql(&database, turn);
        });
        let held = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'the test' \
             AND datname = current_database() AND wait_event = 'PgSleep'";
        until("the turn to be taken", async || self.sql(held) == "1").await;
        Locked(self)
    }

    /// Sessions that wait for a lock, but for the store's work in the background.
    fn waiting(&self) -> String {
        self.sql(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock' \
             AND application_name NOT IN ('server-bridge index', 'server-bridge progress')",
            self.database
        ))
    }

    fn end_sessions(&self, which: &str) {
        self.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' \
             AND pid <> pg_backend_pid() AND {which}",
            self.database
        ));
    }
}

struct Locked<'p>(&'p Place);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.end_sessions("query LIKE '%pg_sleep%'");
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} within {PATIENCE:?}");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// It will be repeated, and nothing is acknowledged for it.
fn passing(error: &StoreError, class: FailureClass) {
    assert_eq!(error.class(), Some(class), "{error:?}");
    assert!(error.is_retryable() && !error.is_refusal(), "{error:?}");
}

const PATIENCE: Duration = Duration::from_secs(60);

const LONG: Duration = Duration::from_secs(90);

// A look is a program that connects: many at once would be the load.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
