//! A PostgreSQL database for the bridges of a test, and the verb that reads it beside them.

use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;
use tests::postgres::Server;

use super::*;

/// A server with one database, and the files that name it.
pub(super) struct Database {
    pub(super) server: Server,
    pub(super) name: String,
    files: TempDir,
}

// === impl Database ===

impl Database {
    pub(super) fn start() -> Result<Self> {
        let server = Server::start(&SETTINGS)?;
        let files = tempfile::tempdir()?;
        let name = server.database()?;
        server.mount(files.path(), &name)?;
        Ok(Self {
            server,
            name,
            files,
        })
    }

    /// Where the files are.
    pub(super) fn mount(&self) -> &Path {
        self.files.path()
    }

    pub(super) fn sql(&self, text: &str) -> Result<String> {
        Ok(self.server.sql(&self.name, text)?)
    }

    /// What the verb says on the tables: its exit code, stdout and stderr.
    pub(super) async fn verb(
        &self,
        region: &Region,
        arguments: &[&str],
    ) -> Result<(Option<i32>, String, String)> {
        let mount = self.mount().to_str().unwrap();
        let store = ["--store", "postgres", "--mount", mount];
        let plain = ["--db-sslmode", "disable"];
        explain(region, &[arguments, &store, &plain].concat()).await
    }

    /// The verb's story as JSON.
    pub(super) async fn story(&self, region: &Region, subject: &str) -> Result<Value> {
        json_of(self.verb(region, &[subject, "--json"]).await?)
    }
}

pub(super) const SETTINGS: [&str; 1] = ["max_connections=80"];
