//! Databases that cannot be opened: each says what is wrong and what to do.

use std::path::Path;
use std::time::Duration;

use link::error::{Hint as _, chain};
use server_bridge::store::postgres::{PostgresConfig, PostgresStore, TlsMode};
use server_bridge::store::{Free, Instance, LeaseStore as _, Slot, Store};

use super::upgrades::VALID;
use super::{Place, until};
use crate::{at, bundle, with_consumers};

/// What opening says: the error, and what to do.
async fn refused(config: PostgresConfig) -> String {
    let error = PostgresStore::open(config).await.unwrap_err();
    let hint = error.hint().unwrap_or_default();
    format!("{}; {hint}", chain(&error))
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` in {text}");
    }
}

fn give(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_database_from_being_opened_is_said_with_what_to_do() {
    let mut place = Place::new();
    place.config.limits.patience = Duration::from_millis(300);
    let files = place.config.files.clone();
    let config = || place.config.clone();

    give(&files.password, "wrong");
    says(
        &refused(config()).await,
        &[
            "postgres://postgres@127.0.0.1:",
            "refuses the user or its password",
            "belong together",
        ],
    );
    place
        .server
        .mount(files.user.parent().unwrap(), "none")
        .unwrap();
    says(&refused(config()).await, &["no such database", "`db.name`"]);
    place
        .server
        .mount(files.user.parent().unwrap(), &place.database)
        .unwrap();

    let mut verified = config();
    verified.tls = TlsMode::VerifyFull;
    says(&refused(verified).await, &["offers no TLS", "ssl = on"]);
    give(&files.host, "192.0.2.1");
    says(
        &refused(config()).await,
        &["not on loopback", "--db-rootcert"],
    );
    give(&files.host, "127.0.0.1");
    let mut rooted = config();
    rooted.root_cert = Some(files.host.clone());
    says(
        &refused(rooted).await,
        &["db.host` holds no certificate in PEM"],
    );
    // Nobody listens there, and nobody else can.
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = bound.local_addr().unwrap().port();
    give(&files.port, &port.to_string());
    says(
        &refused(config()).await,
        &["cannot be reached", "refused", "security groups"],
    );
    give(&files.port, &place.server.port().to_string());

    place.sql("CREATE ROLE few LOGIN PASSWORD 'p' CONNECTION LIMIT 0");
    place.sql("CREATE ROLE weak LOGIN PASSWORD 'p'");
    give(&files.password, "p");
    give(&files.user, "few");
    says(
        &refused(config()).await,
        &[
            "every connection of the server is taken",
            "--db-max-open-connections",
        ],
    );
    give(&files.user, "weak");
    says(
        &refused(config()).await,
        &[
            "may not make or change the tables of schema `bridge`",
            "GRANT CREATE",
        ],
    );
    place.sql("CREATE SCHEMA bridge AUTHORIZATION weak");
    place.sql("CREATE TABLE bridge.orders ()");
    says(
        &refused(config()).await,
        &["not the bridge's, such as `orders`", "--db-schema"],
    );
    std::fs::remove_file(&files.user).unwrap();
    says(
        &refused(config()).await,
        &["db.user` cannot be read", "`--db-`"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_and_a_database_in_another_encoding_are_refused() {
    let mut place = Place::new();
    place.config.limits.patience = Duration::ZERO;
    place.sql(&format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        place.database
    ));
    says(
        &refused(place.config.clone()).await,
        &["read-only", "endpoint of the writer"],
    );
    let latin = format!("{}_latin", place.database);
    let make = format!(
        "CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    );
    place.server.sql("postgres", &make).unwrap();
    give(&place.config.files.name, &latin);
    says(
        &refused(place.config.clone()).await,
        &["text is in LATIN1", "UTF-8"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_newer_bridge_are_used_while_it_says_so_and_refused_otherwise() {
    let place = Place::new();
    place.open().await.close().await;
    place.sql("INSERT INTO bridge._sqlx_migrations VALUES (99, 'later', now(), true, '\\x00', 0)");
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    place.sql("UPDATE bridge.compatibility SET oldest = 99");
    says(
        &refused(place.config.clone()).await,
        &[
            "schema `bridge` is at version 99; this bridge knows versions up to ",
            "newer version of the bridge",
        ],
    );
    place.sql("DELETE FROM bridge._sqlx_migrations WHERE version = 99");
    place.sql("UPDATE bridge._sqlx_migrations SET checksum = '\\x00'");
    says(
        &refused(place.config.clone()).await,
        &["up to date", "has been modified", "backup"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_belong_to_whom_the_schema_belongs_whichever_user_makes_them() {
    let place = Place::new();
    let (a, b) = (
        format!("{}_a", place.database),
        format!("{}_b", place.database),
    );
    for role in [&a, &b] {
        place.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'p'"));
    }
    place.sql(&format!("GRANT {a} TO {b}"));
    place.sql(&format!("CREATE SCHEMA bridge AUTHORIZATION {a}"));
    give(&place.config.files.password, "p");
    for user in [&b, &a, &b] {
        give(&place.config.files.user, user);
        let store = place.open().await;
        with_consumers(&store, &["c1"]).await;
        until("readiness", async || store.ping().await.is_ok()).await;
    }
    let owners = place.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'bridge'");
    assert_eq!(owners, a);
}

/// The tables as the version before left them.
fn undone(place: &Place) {
    place.sql(
        "DELETE FROM bridge._sqlx_migrations WHERE version = 7; DROP TABLE bridge.gone_reports; \
         DROP FUNCTION bridge.own_source, bridge.leave_report, bridge.stamp_report CASCADE; \
         ALTER TABLE bridge.statuses DROP COLUMN reported_in; \
         ALTER TABLE bridge.bundles DROP COLUMN source, DROP COLUMN origin, DROP COLUMN origin_version",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_turn_to_change_the_tables_is_named_and_waited_for() {
    let mut place = Place::new();
    place.open().await.close().await;
    let (server, database) = (place.server, place.database.clone());
    let hold = "SET application_name = 'a copy'; \
         SELECT pg_advisory_lock(hashtextextended('server-bridge bridge', 0)), pg_sleep(600)";
    let holding = std::thread::spawn(move || server.sql(&database, hold));
    let held = format!(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted \
         AND application_name = 'a copy' AND datname = '{}'",
        place.database
    );
    until("the lock to be held", async || place.sql(&held) == "1").await;
    place.config.limits.turn = Duration::from_millis(500);
    says(
        &refused(place.config.clone()).await,
        &[
            "another process changes or copies the tables",
            "`a copy` (process ",
            "pg_terminate_backend",
        ],
    );
    place.config.limits.turn = Duration::from_secs(60);
    let config = place.config.clone();
    let waiting = tokio::spawn(async move { PostgresStore::open(config).await });
    until("somebody to wait", async || {
        place.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_try_advisory%' AND datname = current_database()") != "0"
    })
    .await;
    place.end_sessions("application_name = 'a copy'");
    waiting.await.unwrap().unwrap();
    assert!(holding.join().unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_reader_holds_up_a_change_of_the_tables_and_no_bridge_that_runs() {
    let mut place = Place::new();
    let running = place.open().await;
    with_consumers(&running, &["c1"]).await;
    // What builds it may outlive the store for a moment, and would wait for what changes the tables, which waits for it.
    until("the index", async || place.sql(VALID) == "1").await;
    // It would make the change itself when it compares the database. What it would wait for is asked below.
    running.close().await;
    undone(&place);
    let (server, database) = (place.server, place.database.clone());
    let read = "SET application_name = 'pg_dump'; BEGIN; \
         LOCK TABLE bridge.bundles IN ACCESS SHARE MODE; SELECT pg_sleep(600)";
    let reading = std::thread::spawn(move || server.sql(&database, read));
    let held = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'pg_dump' AND relation = 'bridge.bundles'::regclass";
    until("the reader to read", async || place.sql(held) == "1").await;
    place.config.limits.turn = Duration::from_secs(3);
    says(
        &refused(place.config.clone()).await,
        &[
            "could not be changed within 3 s",
            "`pg_dump` (process ",
            "go on meanwhile",
        ],
    );
    // Nothing waits behind a change that was given up.
    place.sql("SET lock_timeout = '100ms'; SELECT count(*) FROM bridge.bundles");
    place.config.limits.turn = Duration::from_secs(60);
    let config = place.config.clone();
    let opening = tokio::spawn(async move { PostgresStore::open(config).await });
    until("the change to wait", async || place.waiting() == "1").await;
    until("it to make way", async || place.waiting() == "0").await;
    place.end_sessions("application_name = 'pg_dump'");
    let store = opening.await.unwrap().unwrap();
    assert_eq!(store.epoch().await.unwrap().number, 1);
    assert!(reading.join().unwrap().is_err());
}

/// What docs/OPERATIONS.md says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_make_tables_uses_those_that_another_one_made() {
    let place = Place::new();
    let (owner, app) = (
        format!("{}_migrator", place.database),
        format!("{}_app", place.database),
    );
    for role in [&owner, &app] {
        place.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'p'"));
    }
    place.sql(&format!("CREATE SCHEMA bridge AUTHORIZATION {owner}"));
    let grants = format!(
        "SET ROLE {owner}; GRANT USAGE ON SCHEMA bridge TO {app}; \
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA bridge \
             GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}; \
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA bridge GRANT USAGE ON SEQUENCES TO {app}"
    );
    place.sql(&grants);
    give(&place.config.files.password, "p");
    give(&place.config.files.user, &owner);
    place.open().await.close().await;
    give(&place.config.files.user, &app);
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    until("readiness", async || store.ping().await.is_ok()).await;
    store.delete_consumer("id-c1").await.unwrap_err();
    let instance = Instance::random();
    let ttl = Duration::from_secs(60);
    let slot = store
        .take_slot(&instance, "app", 8, Free::Unheld, ttl)
        .await
        .unwrap();
    assert_eq!(slot, Slot::Taken(0));
}
