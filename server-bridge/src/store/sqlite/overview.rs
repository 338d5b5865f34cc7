//! A read-only look at a file, which needs no lock.

use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};

use super::super::overview::{Overview, Tables};
use super::super::sql::overview::{COUNTS, EPOCHS, REPORTING, UNCONFIRMED, holds, past};
use super::super::sql::rows::Cells as _;
use super::super::{OpenError, StoreError};
use super::open;
use super::rows::driver;

/// What is there.
pub(in crate::store) async fn overview(
    file: &Path,
    now: Timestamp,
) -> Result<Overview, StoreError> {
    let failed = |source: OpenError| failed_at(file, source);
    is_there(file).map_err(|error| failed(error.into()))?;
    let connected = connect(file).await;
    let mut connection = connected.map_err(|error| failed(error.into()))?;
    let schema = tables(&mut connection).await?;
    let holds = if schema.version == 0 {
        None
    } else {
        let row = sqlx::query(COUNTS).fetch_one(&mut connection).await;
        Some(holds(&row.map_err(driver(LOOK))?, now)?)
    };
    let remembered: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'epochs')")
            .fetch_one(&mut connection)
            .await
            .map_err(driver(LOOK))?;
    let mut history = None;
    if remembered {
        let epochs = sqlx::query(EPOCHS).fetch_all(&mut connection).await;
        let unconfirmed = sqlx::query(UNCONFIRMED).fetch_one(&mut connection).await;
        history = Some(past(
            &epochs.map_err(driver(LOOK))?,
            &unconfirmed.map_err(driver(LOOK))?,
        )?);
    }
    let mut reporting = None;
    if schema.version >= PRESENCE {
        let row = sqlx::query(REPORTING).fetch_one(&mut connection).await;
        let count = row.map_err(driver(LOOK))?.integer("reporting")?;
        reporting = Some(count.unsigned_abs());
    }
    let _ = connection.close().await;
    Ok(Overview {
        engine: "sqlite",
        place: file.display().to_string(),
        schema,
        holds,
        connections: None,
        history,
        reporting,
        replicas: None,
        notify: None,
    })
}

/// Names the file.
pub(super) fn failed_at(file: &Path, source: OpenError) -> StoreError {
    StoreError::Open {
        database: file.display().to_string(),
        source: Arc::new(source),
    }
}

/// Whether there is such a file: SQLite waits for a pipe for ever, and calls a directory a failing disk.
pub(super) fn is_there(file: &Path) -> io::Result<()> {
    let missing = |what| io::Error::new(io::ErrorKind::NotFound, what);
    match std::fs::metadata(file) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(found) if found.is_dir() => Err(missing("it is a directory")),
        Ok(_) => Err(missing("it is a pipe or a device")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(missing("there is no such file"))
        }
        Err(error) => Err(error),
    }
}

/// A connection that can only read, to a file that is there.
pub(super) async fn connect(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .read_only(true);
    SqliteConnection::connect_with(&options).await
}

pub(super) async fn tables(connection: &mut SqliteConnection) -> Result<Tables, StoreError> {
    let known = open::migrations().iter().map(|one| one.version).max();
    let known = known.unwrap_or_default();
    let (there, copying): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'), \
         EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'copying')",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(driver(LOOK))?;
    let mut version: i64 = 0;
    if there {
        version = sqlx::query_scalar(
            "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success",
        )
        .fetch_one(connection)
        .await
        .map_err(driver(LOOK))?;
    }
    Ok(Tables {
        version,
        known,
        current: version == known,
        copying,
    })
}

// The change that made the table.
const PRESENCE: i64 = 9;

const LOOK: &str = "look at the database";
