//! Why the store could not do what it was asked.

use std::path::PathBuf;
use std::sync::Arc;

use link::error::Hint;
use link::id::ConsumerName;
use link::order::Version;

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
    #[error("open database `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
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
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// The stage at which opening failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Connecting failed.
    #[error(transparent)]
    Connect(#[from] sqlx::Error),
    /// Bringing the schema up to date failed.
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

// === impl StoreError ===

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Driver { source, .. } => match source.as_ref() {
                // 5 SQLITE_BUSY, 6 SQLITE_LOCKED with their extended codes, 13 SQLITE_FULL.
                sqlx::Error::Database(error) => error
                    .code()
                    .and_then(|code| code.parse::<u32>().ok())
                    .is_some_and(|code| matches!(code & 0xff, 5 | 6 | 13)),
                sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the caller asked for something the store refuses, as opposed to a failure of the store.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Corrupt { .. } | Self::Open { .. } | Self::Driver { .. } | Self::Closed
        )
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
            Self::VersionConflict { .. } => {
                Some("read the bundle again and repeat the change on its latest version".into())
            }
            Self::Open { .. } => {
                Some("check that the directory exists and that this user may write in it".into())
            }
            Self::Corrupt { .. } => {
                Some("restore the database from a backup, or delete the row named".into())
            }
            _ => None,
        }
    }
}
