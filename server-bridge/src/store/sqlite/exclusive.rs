//! A single connection for a command that needs the file for itself.

use std::io;
use std::path::Path;
use std::sync::Arc;

use sqlx::{Connection as _, SqliteConnection};

use super::super::{OpenError, StoreError};
use super::files;
use super::lock::Lock;
use super::{open, overview};

/// A connection to a file that no bridge uses.
pub(in crate::store) struct Exclusive {
    pub(in crate::store) connection: SqliteConnection,
    _lock: Option<Lock>,
}

// === impl Exclusive ===

impl Exclusive {
    /// Locks the file, making it when told to, and brings its tables up to date. With `whole`, they must not be those of
    /// an unfinished copy.
    pub(in crate::store) async fn open(
        file: &Path,
        make: bool,
        whole: bool,
    ) -> Result<Self, StoreError> {
        let opened = Self::open_at(file, make, whole).await;
        opened.map_err(|source| StoreError::Open {
            database: file.display().to_string(),
            source: Arc::new(source),
        })
    }

    async fn open_at(file: &Path, make: bool, whole: bool) -> Result<Self, OpenError> {
        if !make && !file.exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such file").into());
        }
        let path = files::prepare(file)?;
        let lock = Lock::take(&path).await?;
        let mut connection = SqliteConnection::connect_with(&open::options(&path)).await?;
        open::migrations().run(&mut connection).await?;
        if whole {
            open::whole(&mut connection).await?;
        }
        Ok(Self {
            connection,
            _lock: Some(lock),
        })
    }

    /// Opens the file for a look, which needs no lock and changes nothing; `None` where there are no tables yet.
    pub(in crate::store) async fn look(file: &Path) -> Result<Option<Self>, StoreError> {
        if !file.exists() {
            return Ok(None);
        }
        let failed = |source: OpenError| StoreError::Open {
            database: file.display().to_string(),
            source: Arc::new(source),
        };
        let connected = overview::connect(file).await;
        let mut connection = connected.map_err(|error| failed(error.into()))?;
        let tables = overview::tables(&mut connection).await?;
        match tables.unreadable() {
            Some(error) => Err(failed(error)),
            None if tables.version == 0 => Ok(None),
            None => Ok(Some(Self {
                connection,
                _lock: None,
            })),
        }
    }

    pub(in crate::store) async fn close(self) {
        // The lock goes last.
        let _ = self.connection.close().await;
    }
}
