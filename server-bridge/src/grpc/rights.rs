//! The rights of a stream's caller, re-evaluated while the stream is open: rules can be withdrawn, its certificate can expire
//! or lose its CA, and a stream may last as long as its connection.
//!
//! **Contract:** where nobody can tell now, what was said last stays in force: an API that is away ends no stream.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use link::id::ConsumerName;
use tokio::time::sleep;
use tracing::debug;

use crate::callers::{Access, Action, Caller, Connection, Denied, Mechanism, Scope, Verb};
use crate::store::SourceName;

/// The rights of one stream.
#[derive(Debug)]
pub(super) struct StreamRights {
    access: Access,
    connection: Connection,
    caller: Caller,
    source: SourceName,
    scope: Mutex<Scope>,
}

// === impl StreamRights ===

impl StreamRights {
    /// Of a caller who may hear of this source.
    ///
    /// # Errors
    /// It may not, or nobody can tell.
    pub(super) async fn new(
        access: Access,
        connection: Connection,
        caller: Caller,
        source: SourceName,
    ) -> Result<Self, Denied> {
        let scope = Mutex::new(ask(&access, &caller, &source).await?);
        Ok(Self {
            access,
            connection,
            caller,
            source,
            scope,
        })
    }

    /// Whether it may hear of this source's bundles for this consumer, by what was said last.
    pub(super) fn permit(&self, source: &SourceName, consumer: &ConsumerName) -> bool {
        let scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        scope.permits(source, consumer)
    }

    /// Asks again and again, with `pause` in between, until the caller may hear nothing of the source any more, or its
    /// certificate is none any more.
    pub(super) async fn withdrawn(&self, pause: Duration) -> Denied {
        loop {
            sleep(pause).await;
            // A token is not asked for again: Go clients read theirs once.
            if self.caller.by == Mechanism::Certificate
                && let Err(denied @ Denied::Unauthenticated(_)) =
                    self.access.authenticate(&self.connection, None).await
            {
                return denied;
            }
            match ask(&self.access, &self.caller, &self.source).await {
                Ok(scope) => {
                    *self.scope.lock().unwrap_or_else(PoisonError::into_inner) = scope;
                }
                Err(Denied::Unavailable(why)) => {
                    debug!(why, "What a stream's caller may hear cannot be asked now");
                }
                Err(denied) => return denied,
            }
        }
    }
}

async fn ask(access: &Access, caller: &Caller, source: &SourceName) -> Result<Scope, Denied> {
    let action = Action {
        verb: Verb::Subscribe,
        source: Some(source.clone()),
        consumer: None,
    };
    access.allow(caller, &action).await?;
    access.scope(caller, Verb::Subscribe).await
}
