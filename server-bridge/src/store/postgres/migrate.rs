//! The migrations of the schema, and running them.
//!
//! Migrations go forward only and expand first: a bridge of the previous version works with the tables of the next. One that
//! contracts raises `compatibility.oldest` to the migration that a bridge must know. Processes that start together take
//! turns by an advisory lock; tables belong to the owner of the schema, whichever of two alternating users makes them. A
//! running bridge is held up at most for the time a migration waits for the lock on its table ([`LOCK`]). What takes long
//! and is not needed at once, the index of searches, is no migration: it is built concurrently ([`super::search`]).

use std::time::Duration;

use link::id::SourceId;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Executor as _, PgConnection, SqlSafeStr as _};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::super::OpenError;
use super::super::history::DatabaseIdentity;
use super::config::PostgresConfig;
use super::failure::{is_locked, opening};
use super::history;
use super::source;

mod turn;

/// Checks that the server is fit and the tables are whole, makes or changes them as needed, and begins a new epoch if they are
/// in another place; gives the place. With a source they must be its own. Nothing is changed in tables that are refused.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    config: &PostgresConfig,
    source: Option<&SourceId>,
) -> Result<DatabaseIdentity, OpenError> {
    let asked = Asked {
        source,
        whole: true,
    };
    in_time(connection, config, asked).await
}

/// The same for whoever goes on with a copy, whose tables need not be whole.
pub(super) async fn prepare_copy(
    connection: &mut PgConnection,
    config: &PostgresConfig,
) -> Result<DatabaseIdentity, OpenError> {
    let asked = Asked {
        source: None,
        whole: false,
    };
    in_time(connection, config, asked).await
}

/// What the tables must be.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// This source's, if one is given.
    source: Option<&'a SourceId>,
    /// Not those of a copy that was begun and not finished.
    whole: bool,
}

async fn in_time(
    connection: &mut PgConnection,
    config: &PostgresConfig,
    asked: Asked<'_>,
) -> Result<DatabaseIdentity, OpenError> {
    let longest = config.limits.turn + SILENCE;
    match timeout(longest, prepare_patiently(connection, config, asked)).await {
        Ok(prepared) => prepared,
        Err(_) => Err(OpenError::Silent { waited: longest }),
    }
}

async fn prepare_patiently(
    connection: &mut PgConnection,
    config: &PostgresConfig,
    asked: Asked<'_>,
) -> Result<DatabaseIdentity, OpenError> {
    let schema = config.schema.as_str();
    let fault = |error| opening(error, schema, config.root_cert.is_some());
    fit(connection).await.map_err(fault)??;
    let until = Instant::now() + config.limits.turn;
    let taken = turn::take(connection, schema, until).await;
    if let Err(waited_for) = taken.map_err(fault)? {
        let waited = config.limits.turn;
        return Err(OpenError::Changing { waited_for, waited });
    }
    // The lock goes with the connection, which is used for nothing else. What is changed may be much, and a change that
    // waits for its table keeps everybody from it who comes later.
    let patience = format!(
        "SET lock_timeout = {}; SET statement_timeout = {}",
        LOCK.as_millis(),
        CHANGE.as_millis()
    );
    run(connection, &patience).await.map_err(fault)?;
    let mut said = false;
    let place = loop {
        let error = match attempt(connection, schema, asked).await {
            Ok(place) => break place,
            Err(Fault::Open(error)) => return Err(*error),
            Err(Fault::Driver(error)) if is_locked(&error) => error,
            Err(Fault::Driver(error)) => return Err(fault(error)),
        };
        let holders = turn::holders(connection, schema).await.map_err(fault)?;
        if Instant::now() + AGAIN > until {
            return Err(OpenError::Blocked {
                holders,
                waited: config.limits.turn,
                source: error,
            });
        }
        if !said {
            warn!(
                holders,
                "Others use the tables that are to be changed; this is tried again"
            );
            said = true;
        }
        sleep(AGAIN).await;
    };
    let lock = format!("SET lock_timeout = {}", config.limits.lock.as_millis());
    run(connection, &lock).await.map_err(fault)?;
    Ok(place)
}

/// Each change is a transaction of its own: what is done stays done when a later one has to wait.
async fn attempt(
    connection: &mut PgConnection,
    schema: &str,
    asked: Asked<'_>,
) -> Result<DatabaseIdentity, Fault> {
    let behind = is_behind(connection, schema).await?;
    if let Some(source) = asked.source
        && exists(connection, schema, "installation").await?
        && let Some(owner) = source::present(connection).await?
    {
        source::granted(owner, schema, source)?;
    }
    if asked.whole && exists(connection, schema, "copying").await? {
        return Err(OpenError::Copying.into());
    }
    if behind {
        // That the database is another one is not kept back by a change that has to wait.
        if exists(connection, schema, "epochs").await? {
            history::open(connection).await?;
        }
        change(connection, schema).await?;
    }
    if let Some(source) = asked.source {
        let owner = source::owner(connection, source).await?;
        source::granted(owner, schema, source)?;
    }
    // Under the lock too: of processes that open a restored database together one begins the new epoch.
    Ok(history::open(connection).await?)
}

async fn exists(
    connection: &mut PgConnection,
    schema: &str,
    table: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{schema}.{table}"))
        .fetch_one(connection)
        .await
}

enum Fault {
    Driver(sqlx::Error),
    Open(Box<OpenError>),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        Self::Open(Box::new(error))
    }
}

/// What the server must be.
async fn fit(connection: &mut PgConnection) -> Result<Result<(), OpenError>, sqlx::Error> {
    let (version, encoding, read_only): (i32, String, bool) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), \
         pg_is_in_recovery() OR current_setting('transaction_read_only')::bool",
    )
    .fetch_one(connection)
    .await?;
    let unfit = |problem| Ok(Err(OpenError::Unfit { problem }));
    if version < OLDEST_SERVER {
        return unfit(format!("the server is PostgreSQL {}", version / 10_000));
    }
    if encoding != "UTF8" {
        return unfit(format!("the database's text is in {encoding}"));
    }
    Ok(if read_only {
        Err(OpenError::ReadOnly)
    } else {
        Ok(())
    })
}

/// Whether there are changes to be made to what is there, which is ours or nothing.
async fn is_behind(connection: &mut PgConnection, schema: &str) -> Result<bool, Fault> {
    if !become_owner(connection, schema).await? {
        run(connection, &format!("CREATE SCHEMA \"{schema}\"")).await?;
    }
    if exists(connection, schema, HISTORY).await? {
        return Ok(!known(connection, schema).await?);
    }
    let foreign: Option<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
         WHERE nspname = $1 ORDER BY relname LIMIT 1",
    )
    .bind(schema)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(table) = foreign {
        let schema = schema.to_owned();
        return Err(OpenError::Foreign { schema, table }.into());
    }
    Ok(true)
}

async fn change(connection: &mut PgConnection, schema: &str) -> Result<(), Fault> {
    let mut migrator = migrations();
    migrator.set_ignore_missing(true).set_locking(false);
    info!(schema, "Bringing the tables of the database up to date");
    // `run` asks for more than a future that may be spawned can promise.
    match migrator.run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
            Err(error.into())
        }
        Err(source) => Err(OpenError::Schema {
            schema: schema.to_owned(),
            source,
        }
        .into()),
    }
}

/// Whether the tables are as this binary, or a newer one that it can live with, left them.
async fn known(connection: &mut PgConnection, schema: &str) -> Result<bool, Fault> {
    let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT version, checksum FROM {HISTORY} WHERE success ORDER BY version"
    )))
    .fetch_all(&mut *connection)
    .await?;
    let mut missing = false;
    let mut newest = 0;
    for ours in migrations().iter() {
        newest = ours.version;
        match applied.iter().find(|(version, _)| *version == ours.version) {
            Some((_, checksum)) if checksum[..] != ours.checksum[..] => {
                return Err(OpenError::Schema {
                    schema: schema.to_owned(),
                    source: MigrateError::VersionMismatch(ours.version),
                }
                .into());
            }
            Some(_) => {}
            None => missing = true,
        }
    }
    let found = applied.last().map_or(0, |(version, _)| *version);
    if found <= newest {
        return Ok(!missing);
    }
    let oldest: i64 = sqlx::query_scalar("SELECT oldest FROM compatibility")
        .fetch_one(connection)
        .await?;
    if missing || oldest > newest {
        return Err(OpenError::Newer {
            schema: schema.to_owned(),
            found,
            known: newest,
        }
        .into());
    }
    info!(
        schema,
        found, newest, "A newer bridge has changed the tables; this one can use them"
    );
    Ok(true)
}

/// Makes what follows belong to the owner of the schema, where this user is a member of it. Not if there is no such schema.
pub(super) async fn become_owner(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<bool, sqlx::Error> {
    let role: Option<Option<String>> = sqlx::query_scalar(
        "SELECT CASE WHEN current_user <> owner AND pg_has_role(current_user, owner, 'MEMBER') \
         THEN quote_ident(owner) END FROM (SELECT pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE nspname = $1) AS s",
    )
    .bind(schema)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(Some(role)) = &role {
        run(connection, &format!("SET ROLE {role}")).await?;
    }
    Ok(role.is_some())
}

pub(super) async fn run(connection: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    let text = sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned()));
    connection.execute(text).await.map(|_| ())
}

/// In order. What is in it never changes: a database remembers a checksum of each. Number 6 was taken back before a release,
/// and databases of then remember it.
pub(super) fn migrations() -> Migrator {
    let history = [
        (
            1,
            "bundles",
            include_str!("../../../migrations/postgres/0001_bundles.sql"),
        ),
        (
            2,
            "replicas",
            include_str!("../../../migrations/postgres/0002_replicas.sql"),
        ),
        (
            3,
            "resync",
            include_str!("../../../migrations/postgres/0003_resync.sql"),
        ),
        (
            4,
            "epoch",
            include_str!("../../../migrations/postgres/0004_epoch.sql"),
        ),
        (
            5,
            "installation",
            include_str!("../../../migrations/postgres/0005_installation.sql"),
        ),
        (
            7,
            "reports",
            include_str!("../../../migrations/postgres/0007_reports.sql"),
        ),
        (
            8,
            "progress",
            include_str!("../../../migrations/postgres/0008_progress.sql"),
        ),
        (
            9,
            "presence",
            include_str!("../../../migrations/postgres/0009_presence.sql"),
        ),
    ];
    let migrations = history.map(|(version, name, text)| {
        let text = text.into_sql_str();
        Migration::new(version, name.into(), MigrationType::Simple, text, false)
    });
    Migrator::with_migrations(migrations.to_vec())
}

/// For how long a change waits for the lock on its table: bridges of the version before wait behind it, and their statements
/// take up to [`super::Limits::lock`] for it.
const LOCK: Duration = Duration::from_secs(2);

// Between two attempts bridges that run work off what has waited.
const AGAIN: Duration = Duration::from_secs(3);

// A change reads and writes a table whole.
const CHANGE: Duration = Duration::from_secs(120);

// Longer than the server gives a statement: only one that is gone lets it pass.
const SILENCE: Duration = Duration::from_secs(150);

/// The table in which the migrator notes what it did.
pub(super) const HISTORY: &str = "_sqlx_migrations";

// `client_connection_check_interval` came with it.
const OLDEST_SERVER: i32 = 140_000;
