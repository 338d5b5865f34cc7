//! Why the store could not do its work.

use std::io;
use std::path::{Path, PathBuf};

use link::error::Hint;

use super::WorkId;
use super::refusal::ApiRefusal;

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the state directory.
    #[error("state directory `{0}` is in use by another process")]
    Locked(PathBuf),
    /// The file system refused.
    #[error("{operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The API server did not do it.
    #[error("{operation} {object}")]
    Api {
        /// What was asked for.
        operation: &'static str,
        /// Of which object: kind, namespace and name.
        object: String,
        /// What it said.
        #[source]
        source: ApiRefusal,
    },
    /// The name of a work is taken by an object that is not this agent's. It concerns no other work.
    #[error("{object} is not this agent's: it is labelled for consumer `{consumer}`")]
    Foreign {
        /// Which work cannot be held.
        id: WorkId,
        /// Which object.
        object: String,
        /// Whose it says it is.
        consumer: String,
    },
}

// === impl StoreError ===

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Locked(_) => Some("give each agent its own `--state-dir`".into()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some(
                "free space on the volume of `--state-dir`; the agent retries by itself".into(),
            ),
            Self::Io { source, .. } if is_out_of_files(source) => Some(
                "raise the limit of open files (`ulimit -n`); the agent retries by itself".into(),
            ),
            Self::Io { .. } => {
                Some("check that `--state-dir` is a writable directory on a local volume".into())
            }
            Self::Api { source, .. } => source.hint(),
            Self::Foreign { .. } => Some(
                "delete the bundle of that consumer, use another id, or give each agent a namespace of its own; what its \
                 name waits for is taken as soon as it is free"
                    .into(),
            ),
        }
    }
}

impl StoreError {
    /// The work that cannot be held because another agent's object has its name, if that is what happened.
    pub fn foreign(&self) -> Option<&WorkId> {
        match self {
            Self::Foreign { id, .. } => Some(id),
            _ => None,
        }
    }

    /// What the API server said, if that is what happened.
    pub(super) fn refusal(&self) -> Option<&ApiRefusal> {
        match self {
            Self::Api { source, .. } => Some(source),
            _ => None,
        }
    }
}

// EMFILE and ENFILE, the same numbers on every Unix.
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Wraps an error of the file system.
pub(super) fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io {
        operation,
        path,
        source,
    }
}
