//! Which store a benchmark measures: SQLite, or with `BENCH_STORE=postgres` a PostgreSQL server of its own that flushes every
//! commit to the disk, as RDS does.

use anyhow::Result;
use tempfile::TempDir;

use crate::postgres::Server;
use crate::region::RegionBuilder;

/// A PostgreSQL server with a database for each region. Dropping it stops the server.
#[derive(Debug)]
pub struct Database {
    server: Server,
    files: Vec<TempDir>,
}

/// The store of a benchmark.
#[derive(Debug)]
pub struct Store(Option<Database>);

// === impl Database ===

impl Database {
    /// A server with `fsync` and as many connections as the smallest classes of RDS allow.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> Result<Self> {
        Ok(Self {
            server: Server::start(&["max_connections=80", "fsync=on", "shared_buffers=256MB"])?,
            files: Vec::new(),
        })
    }

    /// The same region with so many bridges on an empty database.
    ///
    /// # Errors
    /// When the database cannot be made.
    pub fn region(&mut self, builder: RegionBuilder, bridges: usize) -> Result<RegionBuilder> {
        let files = tempfile::tempdir()?;
        self.server.mount(files.path(), &self.server.database()?)?;
        let builder = builder.replicas(files.path(), bridges);
        self.files.push(files);
        Ok(builder)
    }

    /// Runs SQL in the database of the region made last.
    ///
    /// # Errors
    /// What the server said.
    pub fn sql(&self, text: &str) -> Result<String> {
        let database = format!("test_{}", self.files.len() - 1);
        Ok(self.server.sql(&database, text)?)
    }
}

// === impl Store ===

impl Store {
    /// What the environment asks for.
    ///
    /// # Errors
    /// When the server cannot be started.
    pub fn of_environment() -> Result<Self> {
        Ok(Self(match std::env::var("BENCH_STORE").as_deref() {
            Ok("postgres") => Some(Database::start()?),
            _ => None,
        }))
    }

    /// Its name in a report.
    pub fn name(&self) -> &'static str {
        match self.0 {
            None => "SQLite store",
            Some(_) => "PostgreSQL store, fsync on",
        }
    }

    /// The same region on it.
    ///
    /// # Errors
    /// When a database cannot be made.
    pub fn region(&mut self, builder: RegionBuilder) -> Result<RegionBuilder> {
        match &mut self.0 {
            None => Ok(builder),
            Some(database) => database.region(builder, 1),
        }
    }
}
