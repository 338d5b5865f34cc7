//! Errors of the store.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use link::error::Hint;
use link::id::ConsumerName;
use link::order::Version;

use super::bucket::Bucket;

mod class;
mod open;

pub use class::FailureClass;
pub use open::OpenError;

/// A refusal or a failure of the store. Refusals leave everything as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No consumer has this id or name.
    #[error("consumer `{consumer}` does not exist")]
    ConsumerNotFound {
        /// The id or name asked for.
        consumer: String,
    },
    /// Another consumer has this name or id.
    #[error("consumer `{consumer}` already exists")]
    ConsumerExists {
        /// The name or id that is taken.
        consumer: String,
    },
    /// Bundles still name this consumer.
    #[error("consumer `{name}` still has {bundles} resource bundles")]
    ConsumerInUse {
        /// The consumer.
        name: ConsumerName,
        /// How many bundles it has.
        bundles: u64,
    },
    /// It has bundles, and its agent was heard in the last day, or some time that nobody noted.
    #[error("consumer `{name}` may be alive: its agent was heard {}", heard(*last_seen_at))]
    ConsumerSeen {
        /// The consumer.
        name: ConsumerName,
        /// When it was heard last, if that was noted.
        last_seen_at: Option<Timestamp>,
    },
    /// No bundle has this id.
    #[error("resource bundle `{id}` does not exist")]
    BundleNotFound {
        /// The id asked for.
        id: String,
    },
    /// Another bundle has this id or name.
    #[error("a resource bundle with {field} `{value}` already exists")]
    BundleExists {
        /// `id` or `name`.
        field: &'static str,
        /// The value that is taken.
        value: String,
    },
    /// The caller changed another version than the stored one.
    #[error("the resource version is not the latest, the latest version: {latest}")]
    VersionConflict {
        /// The bundle.
        id: String,
        /// The version the caller started from.
        expected: Version,
        /// The stored version.
        latest: Version,
    },
    /// A bundle that is being deleted takes no changes.
    #[error("resource bundle `{id}` is being deleted")]
    BundleDeleting {
        /// The bundle.
        id: String,
    },
    /// The version reached the protocol's int32 ceiling.
    #[error(
        "resource bundle `{id}` cannot change any more: its version is at the protocol's ceiling"
    )]
    VersionExhausted {
        /// The bundle.
        id: String,
    },
    /// The lease under which this was to be written is not its owner's any more.
    #[error("bucket {bucket} was given up or taken over since its term {term}")]
    Fenced {
        /// The bucket.
        bucket: Bucket,
        /// The term that is over.
        term: i64,
    },
    /// Reports are asked for behind a position of another history of the store.
    #[error("the position in the order of reports is of another history of the database")]
    PositionLost,
    /// Stored data breaks a rule of the store; needs a person.
    #[error("stored {object} `{key}` is corrupt: {problem}")]
    Corrupt {
        /// Table and column.
        object: &'static str,
        /// The row.
        key: String,
        /// The rule it breaks.
        problem: String,
    },
    /// The database could not be opened or migrated.
    #[error("open database `{database}`")]
    Open {
        /// The file, or where the server is.
        database: String,
        /// What went wrong.
        #[source]
        source: Arc<OpenError>,
    },
    /// The database failed.
    #[error("{operation}")]
    Driver {
        /// What was being done.
        operation: &'static str,
        /// The driver's error.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// The store takes no writes at present, or cannot say what became of this one.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// What is wrong with it.
        reason: String,
    },
    /// A query was stopped because it took too long, or found no reader within that time.
    #[error("{operation}: not done within {} s", limit.as_secs())]
    Deadline {
        /// What was being done.
        operation: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// More wait for a connection to the database than will get one in time; nothing was begun.
    #[error("{operation}: {waiting} operations wait for the database already")]
    Overloaded {
        /// What was to be done.
        operation: &'static str,
        /// How many wait.
        waiting: usize,
    },
    /// The operation panicked; nothing of it was kept.
    #[error("an operation of the store panicked; nothing of it was kept")]
    Panicked,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

// === impl StoreError ===

impl StoreError {
    /// Whether the same call may succeed later: at once, or when what ails the store has passed or was mended. Only a
    /// refusal, a row that breaks a rule, content that the database does not take, and a panic stay as they are.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Deadline { .. }
            | Self::Overloaded { .. }
            | Self::Closed
            | Self::Open { .. } => true,
            Self::Driver { .. } => self.class() != Some(FailureClass::Content),
            _ => false,
        }
    }

    /// What kind of failure of the database this is; `None` for what is none.
    pub fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Driver { source, .. } => Some(FailureClass::of(source)),
            Self::Closed => Some(FailureClass::Closed),
            Self::Deadline { .. } => Some(FailureClass::Interrupted),
            Self::Overloaded { .. } => Some(FailureClass::Busy),
            Self::Open { .. } => Some(FailureClass::CannotOpen),
            _ => None,
        }
    }

    /// Whether the caller asked for something the store refuses, as opposed to a failure of the store.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Corrupt { .. }
                | Self::Open { .. }
                | Self::Driver { .. }
                | Self::Unavailable { .. }
                | Self::Deadline { .. }
                | Self::Overloaded { .. }
                | Self::Panicked
                | Self::Closed
        )
    }
}

fn heard(last_seen_at: Option<Timestamp>) -> String {
    match last_seen_at {
        Some(at) => format!("at {at}, within the last 24 hours"),
        None => "before that was noted".to_owned(),
    }
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::ConsumerNotFound { .. } => {
                Some("register it with `POST /api/maestro/v1/consumers`".into())
            }
            Self::ConsumerInUse { .. } => {
                Some("delete its resource bundles and wait until its agent confirmed".into())
            }
            Self::ConsumerSeen { name, .. } => Some(format!(
                "if it is to be removed with its bundles all the same, repeat its name with `confirm={name}` (`--confirm {name}`)"
            )),
            Self::VersionConflict { .. } => {
                Some("read the bundle again and repeat the change on its latest version".into())
            }
            Self::Open { source, .. } => source.hint(),
            Self::Corrupt { .. } => {
                Some("restore the database from a backup, or delete the row named".into())
            }
            _ => None,
        }
    }
}
