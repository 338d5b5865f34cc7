//! What somebody does that cannot be undone, as lines of the log with the target `audit`: what was asked for before it is
//! done, and what came of it. At `warn`, so that no usual filter drops them.
//!
//! **Invariant:** once it is asked for, it is done and told of, whether or not the caller stays.

use jiff::Timestamp;
use link::error::chain;
use tracing::warn;

use crate::store::{Consumer, RemovedConsumer, Store, StoreError};

/// Removes a consumer with its bundles ([`crate::store::Heard::remove_consumer`]) and says so. `who` asked for it: the
/// peer's address, or the command line.
///
/// # Errors
/// What the store says.
pub(crate) async fn remove_consumer<S: Store>(
    store: S,
    who: String,
    consumer: Consumer,
    unseen_since: Option<Timestamp>,
    now: Timestamp,
) -> Result<RemovedConsumer, StoreError> {
    let removing = tokio::spawn(async move {
        let name = &consumer.name;
        let confirmed = unseen_since.is_none();
        warn!(target: "audit", who, verb = VERB, consumer = %name, confirmed, "Was asked to remove a consumer with its bundles");
        let done = store.remove_consumer(&consumer.id, unseen_since, now).await;
        match &done {
            Ok(removed) => {
                let last_seen = removed.last_seen_at;
                let last_seen = last_seen.map_or_else(|| "never".to_owned(), |at| at.to_string());
                let bundles = removed.bundles;
                warn!(target: "audit", who, verb = VERB, consumer = %name, bundles, last_seen, "Removed a consumer with its bundles; its cluster keeps what it holds");
            }
            Err(refused) if refused.is_refusal() => {
                warn!(target: "audit", who, verb = VERB, consumer = %name, "Refused to remove a consumer with its bundles: {}", chain(refused));
            }
            Err(failed) => {
                warn!(target: "audit", who, verb = VERB, consumer = %name, "Whether a consumer was removed with its bundles is not known: {}", chain(failed));
            }
        }
        done
    });
    match removing.await {
        Ok(done) => done,
        Err(error) if error.is_panic() => Err(StoreError::Panicked),
        // The process ends.
        Err(_) => Err(StoreError::Closed),
    }
}

const VERB: &str = "consumer remove";

#[cfg(test)]
mod tests;
