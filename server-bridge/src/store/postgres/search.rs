//! The index of searches by label and name. It is built concurrently: neither reads and writes of bundles nor a start wait
//! for it, and searches work without it. The building itself waits for every older transaction in any table, such as a dump,
//! so it is no migration: one replica at a time builds it after opening, for as long as that takes.

use std::time::Duration;

use link::error::chain;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::OpenError;
use super::connect::Connections;
use super::limits::PING_ANSWER;
use super::migrate;

/// Sees to it that the index is there, in each database that is moved to, until `stop` is done.
pub(super) async fn tend(connections: Connections, stop: CancellationToken) {
    let mut moved = connections.moved();
    let work = async {
        loop {
            let built = match timeout(LONGEST, build(&connections)).await {
                Ok(built) => built,
                Err(_) => Err(OpenError::Silent { waited: LONGEST }),
            };
            let pause = async {
                if let Err(error) = &built {
                    connections.say(
                        "The index of searches is not there yet; they take longer until then",
                        error,
                    );
                }
                match built {
                    // Nor will this user be let later: the owner builds it with `store migrate --build-index`.
                    Ok(true) | Err(OpenError::Privileges { .. }) => std::future::pending().await,
                    Ok(false) | Err(_) => sleep(AGAIN).await,
                }
            };
            tokio::select! {
                () = pause => {}
                moved = moved.changed() => if moved.is_err() { return },
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Builds it on a connection of its own, if it is not there. Not while another replica does, or the database is not to be
/// used.
async fn build(connections: &Connections) -> Result<bool, OpenError> {
    let Some(mut connection) = connections.another("index").await? else {
        return Ok(false);
    };
    let built = ensure(&mut connection, connections.schema(), BUILD).await;
    let built = built.map_err(|error| connections.fault(error));
    let _ = timeout(PING_ANSWER, connection.close()).await;
    built
}

/// Builds it where that takes moments, as on new tables: for bridges whose user may not.
pub(super) async fn briefly(connection: &mut PgConnection, schema: &str) {
    match in_time(connection, schema, BRIEFLY).await {
        Ok(true) => {}
        Ok(false) => info!("Another process builds the index of searches"),
        Err(error) => warn!(
            error = chain(&error),
            "The index of searches is not there yet: bridges go on with it where their user owns the tables, and \
             `store migrate --build-index` waits for it"
        ),
    }
}

/// Builds it, however large the table is and whoever is in the way; whether it is there, because another process may build
/// it.
///
/// # Errors
/// After a quarter of an hour, among others.
pub(super) async fn patiently(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<bool, sqlx::Error> {
    in_time(connection, schema, BUILD).await
}

/// The server ends each of two statements after `longest`: one that lets more pass is gone, which nothing else would tell.
async fn in_time(
    connection: &mut PgConnection,
    schema: &str,
    longest: Duration,
) -> Result<bool, sqlx::Error> {
    let most = 2 * longest + PING_ANSWER;
    match timeout(most, ensure(connection, schema, longest)).await {
        Ok(ensured) => ensured,
        Err(elapsed) => Err(std::io::Error::from(elapsed).into()),
    }
}

async fn ensure(
    connection: &mut PgConnection,
    schema: &str,
    longest: Duration,
) -> Result<bool, sqlx::Error> {
    if valid(connection).await? == Some(true) {
        return Ok(true);
    }
    // The turn goes with the connection, and what this builds then ends with it.
    let turn: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
        .bind(format!("server-bridge index {schema}"))
        .fetch_one(&mut *connection)
        .await?;
    if !turn {
        return Ok(false);
    }
    migrate::become_owner(connection, schema).await?;
    let patience = format!(
        "SET lock_timeout = 0; SET statement_timeout = {}",
        longest.as_millis()
    );
    migrate::run(connection, &patience).await?;
    match valid(connection).await? {
        Some(true) => return Ok(true),
        // It stays behind, unfit for use, where its building ends early.
        Some(false) => {
            migrate::run(connection, "DROP INDEX CONCURRENTLY bundles_by_search").await?;
        }
        None => {}
    }
    migrate::run(connection, INDEX).await?;
    info!("The index of searches is built");
    Ok(true)
}

/// Whether what is there of it can be used.
async fn valid(connection: &mut PgConnection) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('bundles_by_search')",
    )
    .fetch_optional(connection)
    .await
}

// Rows change at every hop and their labels hardly ever, so new entries go to their places at once: no write and no search
// pays for a list of entries that wait.
const INDEX: &str = "CREATE INDEX CONCURRENTLY bundles_by_search ON bundles USING gin (search jsonb_path_ops) \
    WITH (fastupdate = off)";

// A minute for 200 000 bundles; most of it is waiting for others. Meanwhile no bridge of the next version can change this
// table.
const BUILD: Duration = Duration::from_secs(15 * 60);

// New tables take none, and an init container that waits keeps a pod from starting.
const BRIEFLY: Duration = Duration::from_secs(5);

// Longer than the server gives both statements: only one that is gone lets it pass.
const LONGEST: Duration = Duration::from_secs(2 * 15 * 60 + 60);

// Whoever is in the way is so for long.
const AGAIN: Duration = Duration::from_secs(5 * 60);
