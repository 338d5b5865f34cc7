//! The pool: which connections are pinged before use, and the session settings of new ones.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::super::config::PostgresConfig;
use super::super::credentials::Credentials;
use super::super::limits::PING_ANSWER;
use super::super::refused::RefusedCredentials;
use super::super::session::{options, session, set};
use super::{Suspected, lock};
use crate::store::OpenError;

/// A pool that dials when a connection is needed.
pub(super) fn pool(
    config: &PostgresConfig,
    credentials: &Credentials,
    suspected: &Suspected,
    refused: &Arc<Mutex<RefusedCredentials>>,
    made: &Arc<Notify>,
) -> Result<PgPool, OpenError> {
    let session = session(config);
    let (suspected, refused, made) = (suspected.clone(), refused.clone(), made.clone());
    let options = options(config, credentials)?;
    Ok(PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.limits.acquire)
        .max_lifetime(config.limits.lifetime)
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let failed = *lock(&suspected);
            let suspect = failed.is_some_and(|failed| meta.idle_for > failed.elapsed());
            Box::pin(async move {
                if meta.idle_for < FRESH && !suspect {
                    return Ok(true);
                }
                // What fails here is replaced by a new connection, whoever waits for it.
                match timeout(PING_ANSWER, connection.ping()).await {
                    Ok(answered) => answered.map(|()| true),
                    Err(_) => Err(sqlx::Error::Protocol("no answer to a ping".into())),
                }
            })
        })
        .after_connect(move |connection, _| {
            lock(&refused).passed();
            made.notify_one();
            set(connection, session.clone())
        })
        .connect_lazy_with(options))
}

// A connection that worked a moment ago is not tried before it is used.
const FRESH: Duration = Duration::from_secs(1);
