//! Credentials that change while everything goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use link::id::SourceId;
use server_bridge::store::postgres::PostgresStore;
use server_bridge::store::{NewConsumer, Store};
use tokio::task::JoinSet;

use super::{Place, until};
use crate::{at, name, with_consumers};

/// A database whose owner is a role that two users are members of.
fn alternating() -> (Place, [String; 2]) {
    let mut place = Place::new();
    let owner = format!("{}_owner", place.database);
    let users = [format!("{owner}_1"), format!("{owner}_2")];
    place.sql(&format!("CREATE ROLE {owner}"));
    for user in &users {
        place.sql(&format!(
            "CREATE ROLE {user} LOGIN PASSWORD 'first' IN ROLE {owner}"
        ));
    }
    place.sql(&format!("CREATE SCHEMA bridge AUTHORIZATION {owner}"));
    std::fs::write(&place.config.files.password, "first").unwrap();
    std::fs::write(&place.config.files.user, &users[0]).unwrap();
    place.config.limits.look = Duration::from_millis(50);
    // So that new connections are made all the time.
    place.config.limits.lifetime = Duration::from_millis(20);
    // The files are torn for as long as a loaded machine takes.
    place.config.limits.acquire = Duration::from_secs(30);
    (place, users)
}

/// Callers without a pause; says how many requests went well, and stops at the first that does not.
pub(super) struct Load {
    tasks: JoinSet<()>,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    pub(super) async fn start(store: &PostgresStore) -> Self {
        with_consumers(store, &["c1"]).await;
        let (done, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            let (store, done, stop) = (store.clone(), done.clone(), stop.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    with_consumers(&store, &["c1"]).await;
                    store.pending_heads(&name("c1"), 10).await.unwrap();
                    assert!(store.get_consumer("id-c1").await.unwrap().is_some());
                    store.prune_tombstones(at(0)).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { tasks, done, stop }
    }

    pub(super) async fn goes_on(&mut self) {
        let before = self.done.load(Ordering::Relaxed);
        until("the load to go on", async || {
            if let Some(ended) = self.tasks.try_join_next() {
                ended.unwrap();
            }
            self.done.load(Ordering::Relaxed) >= before + 10
        })
        .await;
    }

    pub(super) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_that_alternate_and_files_that_do_not_fit_meanwhile_fail_no_request() {
    let (place, users) = alternating();
    let store = place.open().await;
    let mut load = Load::start(&store).await;
    for round in 1..=6 {
        let (old, new) = (&users[(round + 1) % 2], &users[round % 2]);
        let secret = format!("secret {round}");
        place.sql(&format!("ALTER ROLE {new} LOGIN PASSWORD '{secret}'"));
        std::fs::write(&place.config.files.user, new).unwrap();
        // Torn for as long as it takes: the new user, and the password of the old one.
        load.goes_on().await;
        std::fs::write(&place.config.files.password, &secret).unwrap();
        let of_old = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{old}'");
        until("the old user to be out of use", async || {
            place.sql(&of_old) == "0"
        })
        .await;
        place.sql(&format!("ALTER ROLE {old} NOLOGIN"));
        load.goes_on().await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_changes_before_its_file_fails_no_request() {
    let (place, users) = alternating();
    let store = place.open().await;
    let mut load = Load::start(&store).await;
    for round in 1..=3 {
        let secret = format!("secret {round}");
        place.sql(&format!("ALTER ROLE {} PASSWORD '{secret}'", users[0]));
        let sessions = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'",
            users[0]
        );
        until("nobody to be let in", async || place.sql(&sessions) == "0").await;
        std::fs::write(&place.config.files.password, &secret).unwrap();
        load.goes_on().await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_elsewhere_is_followed_whole_and_the_tables_are_made_there() {
    let mut place = Place::new();
    place.config.limits.look = Duration::from_millis(50);
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    let other = place.server.database().unwrap();
    std::fs::write(&place.config.files.name, &other).unwrap();
    until("the other database to be used", async || {
        store.consumer_names().await.unwrap().is_empty()
    })
    .await;
    // Nothing goes to the old one any more, however many connections were open.
    for number in 0..20 {
        let new = NewConsumer {
            id: format!("id-{number}"),
            name: name(&format!("n{number}")),
            labels: Default::default(),
        };
        store.create_consumer(new, at(1)).await.unwrap();
    }
    let count = "SELECT count(*) FROM bridge.consumers";
    assert_eq!(place.server.sql(&other, count).unwrap(), "20");
    assert_eq!(place.sql(count), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_source_are_not_followed_to() {
    let mut place = Place::new();
    place.config.limits.look = Duration::from_millis(50);
    let store = place.open().await;
    store.assign_source(&source("ours")).await.unwrap();
    with_consumers(&store, &["c1"]).await;
    let others = Place::new();
    let other = others.open().await;
    other.assign_source(&source("theirs")).await.unwrap();
    other.close().await;
    let looks = || {
        let sessions = format!(
            "SELECT sessions FROM pg_stat_database WHERE datname = '{}'",
            others.database
        );
        place.sql(&sessions).parse::<i64>().unwrap()
    };
    let before = looks();
    std::fs::write(&place.config.files.name, &others.database).unwrap();
    until("it to be looked at", async || looks() >= before + 3).await;
    assert_eq!(store.consumer_names().await.unwrap(), [name("c1")]);
    with_consumers(&store, &["c2"]).await;
    let there = "SELECT (SELECT count(*) FROM bridge.consumers) || (SELECT string_agg(number::text, '') FROM bridge.epochs)";
    assert_eq!(others.sql(there), "01");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_would_be_refused_at_opening_are_used_no_more_behind_the_same_name() {
    let mut place = Place::new();
    place.config.limits.ping = Duration::from_millis(50);
    let store = place.open().await;
    store.assign_source(&source("ours")).await.unwrap();
    let said = async || match store.consumer_names().await {
        Ok(_) => String::new(),
        Err(error) => link::error::chain(&error),
    };
    let become_so = |text: &str| {
        place.sql(text);
        place.end_sessions("application_name = 'server-bridge'");
    };
    let oldest = place.sql("SELECT oldest FROM bridge.compatibility");
    let newer = "INSERT INTO bridge._sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, '', true, '', 0); UPDATE bridge.compatibility SET oldest = 99";
    let known = format!(
        "DELETE FROM bridge._sqlx_migrations WHERE version = 99; UPDATE bridge.compatibility SET oldest = {oldest}"
    );
    // It is another place too, which others have to find out for themselves.
    let elsewhere =
        "UPDATE bridge.epochs SET place = (place::jsonb || '{\"timeline\": \"77\"}')::text";
    let epochs = || place.sql("SELECT count(*) FROM bridge.epochs");
    let looks = || {
        let sessions = format!(
            "SELECT sessions FROM pg_stat_database WHERE datname = '{}'",
            place.database
        );
        let sessions = place.server.sql("postgres", &sessions).unwrap();
        sessions.parse::<i64>().unwrap()
    };
    for (number, (makes, refused, mends)) in (1..).zip([
        (
            "UPDATE bridge.installation SET source = 'theirs'",
            "are those of source `theirs`",
            "UPDATE bridge.installation SET source = 'ours'",
        ),
        (
            "CREATE TABLE bridge.copying ()",
            "holds a copy that is not finished",
            "DROP TABLE bridge.copying",
        ),
        (newer, "is at version 99", &known),
    ]) {
        become_so(makes);
        until("it to be refused", async || said().await.contains(refused)).await;
        // Only now: a comparison that had begun before would take it for its own still.
        place.sql(elsewhere);
        let before = looks();
        until("it to be looked at", async || looks() >= before + 3).await;
        let unready = store.ping().await.unwrap_err();
        assert!(unready.is_retryable() && unready.to_string().contains(refused));
        assert_eq!(
            epochs(),
            number.to_string(),
            "nothing is changed: {refused}"
        );
        become_so(mends);
        until("it to be used again", async || said().await.is_empty()).await;
        assert_eq!(epochs(), (number + 1).to_string());
    }
}

fn source(text: &str) -> SourceId {
    SourceId::new(text).unwrap()
}
