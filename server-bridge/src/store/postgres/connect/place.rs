//! Whether the connections lead to the database they led to: behind the same name there may be another server, which took
//! over and lags, a restored backup, or tables that are another source's. A connection that is open stays where it is, so
//! it is asked again whenever a new one was made.

use link::error::Hint as _;
use link::error::chain;
use link::id::SourceId;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::super::migrate;
use super::{Connections, PAUSE, PING_ANSWER, connect, lock};
use crate::store::OpenError;

/// Compares after every new connection, several that are made together at once, until `stop` is done.
pub(in super::super) async fn watch(connections: Connections, stop: CancellationToken) {
    let every = connections.limits().ping;
    let work = async {
        loop {
            // What was opened or compared a moment ago is the same still.
            sleep(every).await;
            connections.made.notified().await;
            while let Err(error) = connections.compare().await {
                // Nobody is let in sooner for asking more often.
                if matches!(error, OpenError::Denied(_) | OpenError::TokenDenied { .. }) {
                    lock(&connections.refused).failed(connections.lock().clone());
                }
                connections.say(
                    "Could not tell yet whether this is the same database as before",
                    &error,
                );
                sleep(every).await;
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

// === impl Connections ===

impl Connections {
    /// The tables are this source's, and must be wherever the connections lead.
    pub(in super::super) fn claimed(&self, source: &SourceId) {
        *lock(&self.source) = Some(source.clone());
    }

    /// Compares the place of the database with the recorded one as at opening, where a new epoch begins if it is another.
    /// Tables of another source are not used while they are found there.
    async fn compare(&self) -> Result<(), OpenError> {
        let compared = timeout(self.config.limits.patience, self.prepare()).await;
        let compared = compared.unwrap_or(Err(OpenError::Unreachable(sqlx::Error::PoolTimedOut)));
        match &compared {
            Ok(()) => *lock(&self.barred) = None,
            Err(refused @ OpenError::OtherSource { .. }) => {
                let mut barred = lock(&self.barred);
                if barred.is_none() {
                    let (refused, hint) = (chain(refused), refused.hint());
                    error!(hint, "The database is not used any more: {refused}");
                    *barred = Some(refused);
                }
            }
            Err(_) => {}
        }
        compared
    }

    async fn prepare(&self) -> Result<(), OpenError> {
        while !self.may_sign_in() {
            sleep(PAUSE).await;
        }
        let (current, source) = (self.lock().clone(), lock(&self.source).clone());
        let mut connection = connect(&self.config, &current).await?;
        let prepared = migrate::prepare(&mut connection, &self.config, source.as_ref()).await;
        let _ = timeout(PING_ANSWER, sqlx::Connection::close(connection)).await;
        prepared
    }
}
