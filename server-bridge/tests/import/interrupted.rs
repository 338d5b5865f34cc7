//! An import that ends half-way has written nothing, and goes through when it is repeated.

use std::process::Stdio;
use std::time::Duration;

use link::error::chain;
use server_bridge::store::Store as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::maestro::{ENGINES, Maestro, database};
use crate::open;
use crate::proxy::{HalfWay, Then};

// Of the 2 000 bundles, about half.
const BYTES: usize = 2 * 1024 * 1024;

async fn is_empty(maestro: &Maestro, engine: &str) -> bool {
    let store = open(&maestro.store(engine)).await;
    let empty = store.consumer_names().await.unwrap().is_empty();
    store.close().await;
    empty
}

#[tokio::test]
async fn a_database_that_goes_away_in_the_middle_leaves_the_store_as_it_was() {
    for engine in ENGINES {
        let maestro = Maestro::filled(2000);
        let way = HalfWay::to(maestro.server.port(), BYTES, Then::Close).await;
        let mut import = maestro.import(engine);
        import.from = database(&maestro.url(way.port), &maestro.password());
        let error = import.run().await.unwrap_err();
        assert!(
            chain(&error).starts_with("read Maestro's bundles: "),
            "{}",
            chain(&error)
        );
        assert!(is_empty(&maestro, engine).await, "{engine}");
        assert_eq!(
            maestro.import(engine).run().await.unwrap().bundles.added,
            2000
        );
    }
}

#[tokio::test]
async fn an_import_that_is_killed_has_written_nothing_and_goes_through_when_it_is_repeated() {
    for engine in ENGINES {
        let maestro = Maestro::filled(2000);
        let way = HalfWay::to(maestro.server.port(), BYTES, Then::Silence).await;
        let command = |port: u16| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_server-bridge"));
            let store = match engine {
                "sqlite" => format!("sqlite:{}", maestro.file("bridge.db").display()),
                _ => "postgres".to_owned(),
            };
            command.args([
                "import",
                "maestro",
                "--json",
                "--store",
                &store,
                "--db-sslmode",
                "disable",
            ]);
            command.args(["--from", &maestro.url(port), "--from-password-file"]);
            command
                .arg(maestro.password())
                .arg("--mount")
                .arg(maestro.file(""));
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command.kill_on_drop(true);
            command
        };
        let mut killed = command(way.port).spawn().unwrap();
        timeout(PATIENCE, way.reached()).await.unwrap();
        killed.kill().await.unwrap();
        // Maestro's tables are as they were, and nobody holds them.
        assert_eq!(maestro.sql("SELECT COUNT(*) FROM resources"), "2000");
        let done = timeout(PATIENCE, command(maestro.server.port()).output());
        let done = done.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["bundles"]["added"], 2000, "{report}");
        assert_eq!(report["bundles"]["present"], 0, "{report}");
        assert!(!is_empty(&maestro, engine).await);
    }
}

const PATIENCE: Duration = Duration::from_secs(120);
