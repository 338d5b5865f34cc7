//! Connection options and session settings.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Executor as _, PgConnection};

use super::super::OpenError;
use super::config::{PostgresConfig, TlsMode};
use super::credentials::Credentials;

/// Where and as whom.
pub(super) fn options(
    config: &PostgresConfig,
    credentials: &Credentials,
) -> Result<PgConnectOptions, OpenError> {
    let mode = match config.tls {
        TlsMode::VerifyFull => PgSslMode::VerifyFull,
        TlsMode::Disable if credentials.is_local() => PgSslMode::Disable,
        TlsMode::Disable => return Err(OpenError::Plain),
    };
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&credentials.host)
        .port(credentials.port)
        .username(&credentials.user)
        .password(&credentials.password)
        .database(&credentials.name)
        .application_name(&config.application_name)
        .ssl_mode(mode);
    if let Some(file) = &config.root_cert {
        options = options.ssl_root_cert(file);
    }
    Ok(options)
}

/// What every session of ours runs with, as one text of statements. By `SET` and not as start-up options, which a proxy in
/// between may refuse.
pub(super) fn session(config: &PostgresConfig) -> Arc<str> {
    // Without `jit`: compiling an order by what is derived from several columns takes a second, and running it on 20 000
    // bundles 40 ms.
    let limits = &config.limits;
    format!(
        "SET search_path = \"{}\"; SET statement_timeout = {}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {}; SET client_connection_check_interval = {}; \
         SET tcp_keepalives_idle = {IDLE_SECONDS}; SET tcp_keepalives_interval = {PROBE_SECONDS}; \
         SET tcp_keepalives_count = {PROBES}; \
         SET jit = off; SET synchronous_commit = on; SET standard_conforming_strings = on; \
         SET default_transaction_isolation = 'read committed'",
        config.schema.as_str(),
        limits.statement.as_millis(),
        limits.lock.as_millis(),
        limits.idle_in_transaction.as_millis(),
        // A statement whose caller went away is stopped within this.
        GONE_MILLIS,
    )
    .into()
}

pub(super) fn set(
    connection: &mut PgConnection,
    session: Arc<str>,
) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let text = sqlx::raw_sql(sqlx::AssertSqlSafe(session.to_string()));
        connection.execute(text).await.map(|_| ())
    })
}

const GONE_MILLIS: u32 = 1000;

// A session whose client vanished without a word, and the locks it holds, are gone within half a minute (10 + 3 × 5 s).
const IDLE_SECONDS: u32 = 10;
const PROBE_SECONDS: u32 = 5;
const PROBES: u32 = 3;
