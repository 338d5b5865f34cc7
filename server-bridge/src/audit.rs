//! Who changed what, as lines of the log with the target `audit`: one for each change by REST or gRPC ([`changed`]), at
//! `info`; and what cannot be undone (`remove_consumer`): what was asked for before it is done, and what came of it, at
//! `warn`, so that no usual filter drops them.
//!
//! **Invariant:** a removal that is asked for is done and told of, whether or not the caller stays.

use jiff::Timestamp;
use link::error::chain;
use link::id::ConsumerName;
use link::telemetry::clip;
use tracing::{info, warn};

use crate::callers::{Caller, Verb};
use crate::store::{Consumer, RemovedConsumer, SourceName, Store, StoreError};

/// A change that somebody asked for.
#[derive(Clone, Copy, Debug)]
pub struct Change<'c> {
    /// What is done.
    pub verb: Verb,
    /// The kind of object: `bundle` or `consumer`.
    pub kind: &'static str,
    /// The object's id.
    pub id: &'c str,
    /// Whose bundle.
    pub source: Option<&'c SourceName>,
    /// For which cluster.
    pub consumer: Option<&'c ConsumerName>,
    /// The operation it belongs to: `X-Operation-ID` of a REST call, the event's id of a publication; empty if there is
    /// none. Of a long one the beginning is written.
    pub operation: &'c str,
}

/// What came of a change.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'o> {
    /// It is stored.
    Done,
    /// The caller may not, or what is stored forbids it; why.
    Refused(&'o str),
    /// It is not known to be stored; why.
    Failed(&'o str),
}

/// One line about a change.
pub fn changed(caller: &Caller, change: &Change<'_>, outcome: Outcome<'_>) {
    let text = |name: Option<&str>| name.unwrap_or("").to_owned();
    let source = text(change.source.map(SourceName::as_str));
    let consumer = text(change.consumer.map(ConsumerName::as_str));
    let (outcome, reason) = match outcome {
        Outcome::Done => ("done", ""),
        Outcome::Refused(reason) => ("refused", reason),
        Outcome::Failed(reason) => ("failed", reason),
    };
    // As text they are quoted, so that none can pass for other fields.
    let who = clip(&caller.user, NAME_BYTES);
    let id = clip(change.id, NAME_BYTES);
    let operation = clip(change.operation, OPERATION_BYTES);
    let reason = clip(reason, REASON_BYTES);
    info!(
        target: "audit",
        who = &*who,
        by = %caller.by,
        from = %caller.from,
        verb = %change.verb,
        kind = change.kind,
        id = &*id,
        source,
        consumer,
        operation = &*operation,
        outcome,
        reason = &*reason,
        "Change of a {}: {outcome}",
        change.kind,
    );
}

/// Removes a consumer with its bundles ([`crate::store::AgentStore::remove_consumer`]) and says so. `who` asked for it: the
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

// A name of a caller or a reason may be of any length; a log line is read by people.
const NAME_BYTES: usize = 256;
const REASON_BYTES: usize = 400;
const OPERATION_BYTES: usize = 128;

#[cfg(test)]
pub(crate) mod tests;
