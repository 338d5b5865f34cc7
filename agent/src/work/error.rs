//! Why the store could not do its work.

use std::io;
use std::path::{Path, PathBuf};

use link::error::Hint;

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
}

// === impl Error ===

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Locked(_) => Some("give each agent its own `--state-dir`".into()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some(
                "free space on the volume of `--state-dir`; the agent retries by itself".into(),
            ),
            Self::Io { .. } => {
                Some("check that `--state-dir` is a writable directory on a local volume".into())
            }
        }
    }
}

/// Wraps what the file system said.
pub(super) fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io {
        operation,
        path,
        source,
    }
}
