//! One connection outside the pool, and how long the first one is retried.

use link::error::chain;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::{Duration, Instant, sleep, timeout};
use tracing::warn;

use super::super::config::PostgresConfig;
use super::super::credentials::Credentials;
use super::super::failure::{opening, worth_waiting};
use super::super::refused;
use super::super::session::{options, session, set};
use crate::store::OpenError;

/// The first connection: tried again while a server starts, has no connection left, or half of the files is new.
pub(in super::super) async fn first(
    config: &PostgresConfig,
) -> Result<(PgConnection, Credentials), (String, OpenError)> {
    let began = Instant::now();
    let mut said = false;
    loop {
        let (place, error) = match config.credentials().await {
            Ok(credentials) => match connect(config, &credentials).await {
                Ok(connection) => return Ok((connection, credentials)),
                Err(error) => (credentials.place(), error),
            },
            Err(error) => ("postgres".to_owned(), error),
        };
        if began.elapsed() + AGAIN > worth_waiting(&error, config.limits.patience) {
            return Err((place, error));
        }
        if !said {
            warn!(
                database = place,
                error = chain(&error),
                "The database cannot be opened yet"
            );
            said = true;
        }
        sleep(match error {
            OpenError::Denied(_) | OpenError::TokenDenied { .. } => refused::HOLD,
            _ => AGAIN,
        })
        .await;
    }
}

/// One connection outside the pool, with the session settings of all.
pub(in super::super) async fn connect(
    config: &PostgresConfig,
    credentials: &Credentials,
) -> Result<PgConnection, OpenError> {
    let fault = |error| {
        let error = opening(error, config.schema.as_str(), config.root_cert.is_some());
        match (error, &config.iam) {
            (OpenError::Denied(source), Some(iam)) => OpenError::TokenDenied {
                region: iam.region_of(&credentials.host).unwrap_or_default(),
                source,
            },
            (error, _) => error,
        }
    };
    let options = options(config, credentials)?;
    let dial = async {
        let mut connection = options.connect().await?;
        set(&mut connection, session(config)).await?;
        Ok(connection)
    };
    match timeout(config.limits.acquire, dial).await {
        Ok(connected) => connected.map_err(fault),
        Err(_) => Err(fault(sqlx::Error::PoolTimedOut)),
    }
}

// Between two attempts to open.
const AGAIN: Duration = Duration::from_millis(500);
