//! The engines: each opens an empty store, with what must outlive it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use server_bridge::store::postgres::{CredentialFiles, PostgresConfig, PostgresStore, TlsMode};
use server_bridge::store::sqlite::SqliteStore;
use server_bridge::store::{Location, Store};
use tempfile::TempDir;

#[expect(unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../tests/src/ports.rs"]
mod ports;
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

/// On a server that takes nobody without TLS, and as many connections as RDS's smallest class.
pub(crate) async fn rds() -> (PostgresStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (server, authority) = demanding();
    let mut config = fresh(server, &directory);
    config.tls = TlsMode::VerifyFull;
    config.root_cert = Some(authority.clone());
    (PostgresStore::open(config).await.unwrap(), directory)
}

/// The server of [`rds`], and the authority of its certificate.
fn demanding() -> &'static (Server, PathBuf) {
    static SHARED: OnceLock<(Server, PathBuf)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let server = Server::start(&["max_connections=80"]).unwrap();
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = server.file("data/server.crt", &own.cert.pem()).unwrap();
        let key = own.signing_key.serialize_pem();
        server.file("data/server.key", &key).unwrap();
        let known = "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        server.file("data/pg_hba.conf", known).unwrap();
        for text in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
            server.sql("postgres", text).unwrap();
        }
        // Each look is a process, which is pause enough.
        let until = Instant::now() + PATIENCE;
        while server.sql("postgres", "SHOW ssl").unwrap() != "on" {
            assert!(Instant::now() < until, "TLS within {PATIENCE:?}");
        }
        (server, certificate)
    })
}

/// How to open a database that nobody else has.
pub(crate) fn fresh(server: &Server, directory: &TempDir) -> PostgresConfig {
    let database = server.database().unwrap();
    server.mount(directory.path(), &database).unwrap();
    let mut config = PostgresConfig::new(CredentialFiles::mounted(directory.path()));
    config.tls = TlsMode::Disable;
    config
}

/// The place for whoever does not wait for the end of a bridge there.
pub(crate) fn hasty(location: &Location) -> Location {
    let mut location = location.clone();
    if let Location::Postgres(config) = &mut location {
        config.limits.ending = Duration::ZERO;
    }
    location
}

/// Waits until a store calls itself ready: a server with other things to do may be late once.
pub(crate) async fn ready(store: &impl Store) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = store.ping().await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
