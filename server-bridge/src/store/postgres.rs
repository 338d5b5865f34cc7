//! The PostgreSQL engine: several processes on one schema, each with a small set of connections.
//!
//! Every decision about a bundle is made under a lock on its row, or by one statement; ids and times come from the caller.
//! A commit is at the server's disk before it is answered (`synchronous_commit`). What fails in between is the caller's to
//! repeat: `StoreError::is_retryable` says when, and every write may be repeated.

use std::fmt;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::sql::Written;
use super::{Fence, Hint};

mod agents;
mod bundles;
mod checkout;
mod clock;
mod config;
mod connect;
mod consumers;
mod credentials;
mod exclusive;
mod facts;
mod failure;
mod filter;
mod health;
mod history;
mod iam;
mod limits;
mod list;
mod metrics;
mod migrate;
mod notifier;
mod open;
mod outbox;
mod overview;
mod presence;
mod progress;
mod queue;
mod refused;
mod replicas;
mod reports;
mod run;
mod search;
mod session;
mod source;
mod status;
mod store;
mod text;
mod waiting;

// What searches look at, for whoever writes rows.
pub(super) use text::{bundle_search, labels_search};

pub use config::{DEFAULT_CONNECTIONS, MIN_CONNECTIONS, PostgresConfig, Schema, TlsMode};
pub use credentials::CredentialFiles;
pub(super) use exclusive::{Bridges, Exclusive};
pub(super) use facts::find;
pub use iam::Iam;
pub use limits::Limits;
pub use metrics::NotifyMetrics;
pub(super) use overview::overview;

/// A store in one schema of a PostgreSQL database. Clones share its connections.
#[derive(Clone)]
pub struct PostgresStore {
    connections: connect::Connections,
    queue: queue::Queue,
    health: health::Health,
    changes: broadcast::Sender<Hint>,
    /// Notifies other replicas, unless that is turned off.
    notifier: Option<notifier::Notifier>,
    /// Cancelled when the last notification is out.
    notified: CancellationToken,
    /// Under which lease publications and what became of them are noted.
    fence: Option<Fence>,
    /// Ends the task that looks after the connections, with the last clone or when the store is closed.
    closing: CancellationToken,
    _stop: Arc<DropGuard>,
}

/// Who reads or writes, and so how many connections it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Delivery, and what agents sent: any but that of upkeep.
    Delivery,
    /// Changes, single rows, and batches whose rows are known, for the API.
    Api,
    /// The search for the rows of a list.
    Search,
    /// The heartbeat, and what holds the replicas together: one that nobody else takes.
    Upkeep,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresStore")
    }
}
