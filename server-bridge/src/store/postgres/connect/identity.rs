//! Checks after every new connection that it leads to the same database: behind the same name there may be another server
//! that took over and lags, a restored backup, or tables of another source. Open connections stay where they are. If the
//! database is another one, the pool is replaced; if opening would refuse it, it is not used at all.

use link::error::Hint as _;
use link::error::chain;
use link::id::SourceId;
use sqlx::Connection as _;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::super::credentials::Credentials;
use super::super::limits::PING_ANSWER;
use super::super::migrate;
use super::super::session::options;
use super::{CLOSING, Connections, DatabaseIdentity, PgPool, connect, lock, pool};
use crate::store::OpenError;

/// Compares after every new connection, several that are made together at once, until `stop` is done.
pub(in super::super) async fn watch(connections: Connections, stop: CancellationToken) {
    let every = connections.limits().ping;
    let work = async {
        // Nobody makes a connection while none is used, and whoever watched before may have died then.
        if lock(&connections.barred).is_some() {
            connections.made.notify_one();
        }
        loop {
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
            // What was compared a moment ago is the same still.
            sleep(every).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

// === impl Connections ===

impl Connections {
    /// The tables are this source's, and must be wherever the connections lead.
    pub(in super::super) fn assigned(&self, source: &SourceId) {
        *lock(&self.source) = Some(source.clone());
    }

    /// Compares the place of the database with the recorded one as at opening, where a new epoch begins if it is another,
    /// and with the one that this process found last: another replica may have begun that epoch.
    async fn compare(&self) -> Result<(), OpenError> {
        let asked = self.signing_in().await;
        let prepared = self.prepare(&asked).await;
        // Held for as long as the verdict is applied: it says nothing of where the credentials lead by then.
        let current = self.lock();
        if current.is_elsewhere(&asked) {
            return Ok(());
        }
        match prepared {
            Ok(found) => {
                let why = found.moved_from(&lock(&self.found));
                if let Some(why) = why {
                    let pool = self.made_anew(&current)?;
                    warn!(why, "Connections to the former database are not used again");
                    self.replace(pool, found);
                } else {
                    let mut known = lock(&self.found);
                    *known = found.completed(known.clone());
                }
                *lock(&self.barred) = None;
                Ok(())
            }
            Err(refused) => {
                if bars(&refused) {
                    self.bar(&refused);
                }
                Err(refused)
            }
        }
    }

    async fn prepare(&self, credentials: &Credentials) -> Result<DatabaseIdentity, OpenError> {
        let source = lock(&self.source).clone();
        let mut connection = connect(&self.config, credentials).await?;
        let prepared = migrate::prepare(&mut connection, &self.config, source.as_ref()).await;
        if prepared.is_ok() {
            // It may be another machine's clock. The next look at it is soon.
            let _ = timeout(PING_ANSWER, self.time.see(&mut connection)).await;
        }
        let _ = timeout(PING_ANSWER, connection.close()).await;
        prepared
    }

    /// Tries what was read and uses it for new connections. Where it leads to another database, that one gets its tables
    /// first, and the connections to the old one are not used again.
    pub(super) async fn follow(&self, found: Credentials) -> Result<(), OpenError> {
        if found.is_elsewhere(&self.lock()) {
            let place = self.prepare(&found).await?;
            let pool = self.made_anew(&found)?;
            let mut current = self.lock();
            *current = found.clone();
            *lock(&self.barred) = None;
            self.replace(pool, place);
        } else {
            let connection = connect(&self.config, &found).await?;
            let fresh = options(&self.config, &found)?;
            {
                // Under one lock: connections that are made anew meanwhile get these too, or are those that do.
                let mut current = self.lock();
                self.pool().set_connect_options(fresh);
                *current = found.clone();
            }
            let _ = timeout(PING_ANSWER, connection.close()).await;
        }
        info!(
            database = found.place(),
            "New connections use the new credentials"
        );
        Ok(())
    }

    fn made_anew(&self, credentials: &Credentials) -> Result<PgPool, OpenError> {
        pool(
            &self.config,
            credentials,
            &self.suspected,
            &self.refused,
            &self.made,
        )
    }

    /// Uses these connections, which lead there, and those of before not again.
    fn replace(&self, pool: PgPool, found: DatabaseIdentity) {
        *lock(&self.found) = found;
        let former = std::mem::replace(&mut *lock(&self.pool), pool);
        self.moved.send_replace(());
        tokio::spawn(async move { timeout(CLOSING, former.close()).await });
    }

    fn bar(&self, refused: &OpenError) {
        let mut barred = lock(&self.barred);
        let reason = chain(refused);
        if barred.as_ref() != Some(&reason) {
            let hint = refused.hint();
            error!(hint, "The database is not used any more: {reason}");
            *barred = Some(reason);
        }
    }
}

/// Whether what was found there would be misread or is not ours, so that nothing must be read or written.
fn bars(refused: &OpenError) -> bool {
    matches!(
        refused,
        OpenError::OtherSource { .. }
            | OpenError::Copying
            | OpenError::Newer { .. }
            | OpenError::Foreign { .. }
            | OpenError::Schema { .. }
    )
}
