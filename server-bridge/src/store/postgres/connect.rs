//! The connections of one store: how they follow credentials that change, and how dead ones are noticed.
//!
//! User and password are two files that are replaced one after the other, and only the server knows whether they belong
//! together. So new credentials are tried on a connection of their own, and the pool uses them for new connections only
//! after the server accepted them; open connections stay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use link::error::chain;
use link::id::SourceId;
use link::telemetry::Throttle;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Notify;
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;

use super::super::history::DatabaseIdentity;
use super::super::{OpenError, StoreError};
use super::checkout::Checkout;
use super::clock::DatabaseClock;
use super::config::PostgresConfig;
use super::credentials::Credentials;
use super::failure::{driver, is_denied, opening};
use super::limits::{Limits, PING_ANSWER};
use super::queue::Permit;
use super::refused::RefusedCredentials;
use super::session::{options, session, set};

mod dial;
mod identity;
mod pool;

pub(super) use dial::{connect, first};
pub(super) use identity::watch;
use pool::pool;

/// The connections of one store. Clones share them.
#[derive(Clone)]
pub(super) struct Connections {
    /// Replaced when the credentials lead to another database.
    pool: Arc<Mutex<PgPool>>,
    config: Arc<PostgresConfig>,
    current: Arc<Mutex<Credentials>>,
    /// Locked while the files are read.
    looking: Arc<tokio::sync::Mutex<Look>>,
    /// When a connection last failed; a connection idle since before is pinged before it is used.
    suspected: Suspected,
    /// The credentials the server refused last.
    refused: Arc<Mutex<RefusedCredentials>>,
    /// Changes whenever the database is another one.
    moved: Sender<()>,
    time: DatabaseClock,
    /// Notified of every new connection.
    made: Arc<Notify>,
    /// The source that the tables must belong to.
    source: Arc<Mutex<Option<SourceId>>>,
    /// The database the connections lead to.
    found: Arc<Mutex<DatabaseIdentity>>,
    /// Why the database must not be used, if it must not.
    barred: Arc<Mutex<Option<String>>>,
    /// The channel of notifications.
    channel: Arc<str>,
    said: Arc<Throttle<String>>,
}

type Suspected = Arc<Mutex<Option<Instant>>>;

/// The last look at the files.
#[derive(Default)]
struct Look {
    began: Option<Instant>,
    /// Credentials of another database, followed only if the next read finds them again.
    elsewhere: Option<Credentials>,
    refused: RefusedCredentials,
}

// === impl Connections ===

impl Connections {
    /// Makes the pool; it dials when a connection is needed.
    pub(super) fn new(
        config: Arc<PostgresConfig>,
        credentials: Credentials,
        found: DatabaseIdentity,
    ) -> Result<Self, OpenError> {
        let (suspected, refused) = (Suspected::default(), Arc::default());
        let made = Arc::default();
        let pool = pool(&config, &credentials, &suspected, &refused, &made)?;
        Ok(Self {
            pool: Arc::new(Mutex::new(pool)),
            moved: Sender::new(()),
            channel: channel(config.schema.as_str()),
            time: DatabaseClock::new(config.clock.clone()),
            config,
            current: Arc::new(Mutex::new(credentials)),
            looking: Arc::default(),
            suspected,
            refused,
            made,
            source: Arc::default(),
            found: Arc::new(Mutex::new(found)),
            barred: Arc::default(),
            said: Arc::new(Throttle::new(SAY_EVERY, KINDS)),
        })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Tells when the database is another one.
    pub(super) fn moved(&self) -> Receiver<()> {
        self.moved.subscribe()
    }

    pub(super) fn time(&self) -> &DatabaseClock {
        &self.time
    }

    pub(super) fn schema(&self) -> &str {
        self.config.schema.as_str()
    }

    pub(super) fn channel(&self) -> Arc<str> {
        self.channel.clone()
    }

    /// Makes the first connection, which stays; if it cannot be made, whoever needs one finds out why.
    pub(super) async fn begin(&self) {
        let first = timeout(self.config.limits.acquire, self.pool().acquire()).await;
        if let Ok(Ok(connection)) = first {
            Checkout::new(connection, None).give_back();
        }
    }

    /// Connections to the same place, one at a time, that are not of the pool.
    pub(super) fn lone(&self) -> Result<PgPool, sqlx::Error> {
        let options = options(&self.config, &self.lock())
            .map_err(|error| sqlx::Error::Configuration(Box::new(error)))?;
        let (session, made) = (session(&self.config), self.made.clone());
        Ok(PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.config.limits.acquire)
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(move |connection, _| {
                made.notify_one();
                set(connection, session.clone())
            })
            .connect_lazy_with(options))
    }

    /// A connection, free or new, until `until`, for who has a place. While the server does not let us in, files are read
    /// again.
    pub(super) async fn acquire(
        &self,
        operation: &'static str,
        permit: Permit,
        until: Instant,
    ) -> Result<Checkout, StoreError> {
        if let Some(reason) = lock(&self.barred).clone() {
            return Err(StoreError::Unavailable { reason });
        }
        // Says more than that there was none in time.
        let mut denied = None;
        loop {
            let pool = self.pool();
            // Whoever is not let in is not let in more often by asking more often; servers lock such users out.
            if pool.num_idle() == 0 && !self.may_sign_in() && Instant::now() + PAUSE < until {
                let _ = timeout_at(until, self.look()).await;
                sleep(PAUSE).await;
                continue;
            }
            match timeout_at(until, pool.acquire()).await {
                Ok(Ok(connection)) => return Ok(Checkout::new(connection, Some(permit))),
                Ok(Err(error)) if is_denied(&error) && Instant::now() + PAUSE < until => {
                    lock(&self.refused).failed(self.lock().clone());
                    if let Some(iam) = &self.config.iam {
                        iam.doubt().await;
                    }
                    // Whoever looks goes on for the others.
                    let _ = timeout_at(until, self.look()).await;
                    sleep(PAUSE).await;
                    denied = Some(error);
                }
                // The database is another one by now.
                Ok(Err(sqlx::Error::PoolClosed)) if !self.pool().is_closed() => {}
                Err(_) | Ok(Err(sqlx::Error::PoolTimedOut)) => {
                    return Err(driver(operation)(denied.unwrap_or_else(|| self.none())));
                }
                Ok(Err(error)) => return Err(driver(operation)(error)),
            }
        }
    }

    /// A connection of its own for work in the background, by which the server lists it, unless the database is not used.
    pub(super) async fn another(&self, work: &str) -> Result<Option<PgConnection>, OpenError> {
        let credentials = self.signing_in().await;
        if lock(&self.barred).is_some() {
            return Ok(None);
        }
        let mut config = PostgresConfig::clone(&self.config);
        config.application_name = format!("{} {work}", config.application_name);
        connect(&config, &credentials).await.map(Some)
    }

    /// What to sign in with, once that may be tried.
    async fn signing_in(&self) -> Credentials {
        while !self.may_sign_in() {
            sleep(PAUSE).await;
        }
        self.lock().clone()
    }

    /// A failure on such a connection, in words.
    pub(super) fn fault(&self, error: sqlx::Error) -> OpenError {
        opening(error, self.schema(), self.config.root_cert.is_some())
    }

    fn may_sign_in(&self) -> bool {
        let current = self.lock().clone();
        lock(&self.refused).may_try(&current)
    }

    /// A connection failed: the others may have as well.
    pub(super) fn suspect(&self) {
        *lock(&self.suspected) = Some(Instant::now());
    }

    /// Why there was no connection within the time: all are taken, or none can be made.
    pub(super) fn none(&self) -> sqlx::Error {
        if self.pool().size() >= self.config.max_connections {
            return sqlx::Error::PoolTimedOut;
        }
        let waited = self.config.limits.acquire.as_secs_f32();
        sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no connection within {waited} s"),
        ))
    }

    fn pool(&self) -> PgPool {
        lock(&self.pool).clone()
    }

    /// Reads the files and, when they say something new, tries it and uses it from then on.
    pub(super) async fn look(&self) {
        let asked = Instant::now();
        let mut look = self.looking.lock().await;
        // Somebody has looked meanwhile.
        if look.began.is_some_and(|began| began > asked) {
            return;
        }
        look.began = Some(Instant::now());
        let found = match self.config.credentials().await {
            Ok(found) if found == *self.lock() => {
                look.elsewhere = None;
                return;
            }
            Ok(found) => found,
            Err(error) => return self.say("No credentials for new connections", &error),
        };
        // The server tells whether user and password fit each other, and nobody whether host and name do: they are
        // followed when they stay.
        if found.is_elsewhere(&self.lock()) && look.elsewhere.as_ref() != Some(&found) {
            look.elsewhere = Some(found);
            return;
        }
        if !look.refused.may_try(&found) {
            return;
        }
        if let Err(error) = self.follow(found.clone()).await {
            if matches!(error, OpenError::Denied(_) | OpenError::TokenDenied { .. }) {
                look.refused.failed(found);
            }
            self.say("New credentials do not work yet; the old ones stay", &error);
        }
    }

    /// Tries every connection that is idle, one of them by asking what time it is; one that does not answer is closed.
    pub(super) async fn ping(&self) {
        let pool = self.pool();
        let idle = (0..pool.num_idle()).map_while(|_| pool.try_acquire());
        let tried = idle.enumerate().map(|(number, connection)| async move {
            let mut connection = Checkout::new(connection, None);
            // Answers that come together would overwrite each other in any order.
            let asked = async {
                match number {
                    0 => self.time.look(&mut connection).await.map(drop),
                    _ => connection.ping().await,
                }
            };
            match timeout(PING_ANSWER, asked).await {
                Ok(Ok(())) => connection.give_back(),
                Ok(Err(error)) => warn!(%error, "An idle connection to the database is dead"),
                Err(_) => warn!("An idle connection to the database does not answer"),
            }
        });
        join_all(tried).await;
    }

    /// Why no connection can be had, found out by making one.
    pub(super) async fn problem(&self) -> Option<OpenError> {
        let current = self.lock().clone();
        match connect(&self.config, &current).await {
            Ok(connection) => {
                drop(connection);
                None
            }
            // There may be nothing better to show.
            Err(error @ OpenError::TokenDenied { .. }) => {
                Some(self.config.credentials().await.err().unwrap_or(error))
            }
            Err(error) => Some(error),
        }
    }

    /// Waits for what is under way and closes; later calls fail.
    pub(super) async fn close(&self) {
        if timeout(CLOSING, self.pool().close()).await.is_err() {
            warn!("Connections to the database were still in use and are given up");
        }
    }

    pub(super) fn say(&self, what: &'static str, error: &OpenError) {
        let text = chain(error);
        if let Some(more) = self.said.admit(&text, Instant::now()) {
            warn!(error = text, more, "{what}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Credentials> {
        lock(&self.current)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is complete in itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The channel of a schema, which carries the notifications of no other schema.
fn channel(schema: &str) -> Arc<str> {
    format!("{schema}.wake").into()
}

// Between two attempts with credentials that are refused.
const PAUSE: Duration = Duration::from_millis(200);

const CLOSING: Duration = Duration::from_secs(10);

const SAY_EVERY: Duration = Duration::from_secs(60);

// Few problems at a time; each text is a few hundred bytes.
const KINDS: usize = 16;
