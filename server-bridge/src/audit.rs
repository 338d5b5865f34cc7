//! What somebody did that cannot be undone, as a line of the log with the target `audit`.

use std::fmt::Display;

use tracing::info;

use crate::store::RemovedConsumer;

/// A consumer was removed with its bundles. `who` asked for it: the peer's address, or the command line.
pub(crate) fn consumer_removed(who: impl Display, removed: &RemovedConsumer) {
    let last_seen = removed
        .last_seen_at
        .map_or_else(|| "never".to_owned(), |at| at.to_string());
    info!(
        target: "audit",
        %who,
        verb = "consumer remove",
        consumer = %removed.name,
        bundles = removed.bundles,
        last_seen,
        "Removed a consumer with its bundles; its cluster keeps what it holds"
    );
}
