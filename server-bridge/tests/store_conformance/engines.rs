//! The engines: each opens an empty store, with what must outlive it.

use server_bridge::store::postgres::{Config, CredentialFiles, PostgresStore};
use server_bridge::store::sqlite::SqliteStore;
use tempfile::TempDir;

#[expect(dead_code, unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../tests/src/postgres.rs"]
mod server;

pub(crate) use server::Server;

pub(crate) async fn sqlite() -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bridge.db");
    (SqliteStore::open(path).await.unwrap(), directory)
}

pub(crate) async fn postgres() -> (PostgresStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = fresh(Server::shared(), &directory);
    (PostgresStore::open(config).await.unwrap(), directory)
}

/// How to open a database that nobody else has.
pub(crate) fn fresh(server: &Server, directory: &TempDir) -> Config {
    let database = server.database().unwrap();
    server.mount(directory.path(), &database).unwrap();
    let mut config = Config::new(CredentialFiles::mounted(directory.path()));
    config.tls = server_bridge::store::postgres::TlsMode::Disable;
    config
}
