//! Dumps that are restored, with the distribution's own programs.

use std::time::Duration;

use server_bridge::store::postgres::PostgresStore;
use server_bridge::store::{JUMP, Store};

use super::upgrades::VALID;
use super::{Place, until};
use crate::{at, bundle, content, version, with_consumers};

/// A place with one bundle in its second version, and a dump of that; then the bundle is changed twice more.
async fn dumped() -> Place {
    let place = Place::new();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    change(&store).await;
    place.server.dump(&place.database, &place.dump()).unwrap();
    change(&store).await;
    assert_eq!(change(&store).await, 4);
    // What builds it may outlive the store for a moment, and would wait for what drops the tables, which waits for it.
    until("the index", async || place.sql(VALID) == "1").await;
    store.close().await;
    place
}

async fn change(store: &PostgresStore) -> i32 {
    let number = store.get_bundle("b").await.unwrap().unwrap().version;
    let text = content(&number.to_string());
    let changed = store
        .update_bundle("b", None, None, text, None, at(2))
        .await;
    changed.unwrap().version.get()
}

/// The store is back at the dump, knows it, and keeps a distance from what its agents may hold.
async fn knows_that_it_is_restored(place: &Place, sign: &str) {
    let opened = [place.open(), place.open(), place.open()];
    let [store, second, third] = futures_util::future::join_all(opened)
        .await
        .try_into()
        .ok()
        .unwrap();
    let history = store.history().await.unwrap();
    let numbers: Vec<_> = history.epochs.iter().map(|epoch| epoch.number).collect();
    assert_eq!(numbers, [2, 1], "one new epoch, however many open it");
    let why = &history.epochs[0].why;
    assert!(why.contains("another place") && why.contains(sign), "{why}");
    assert_eq!(history.unconfirmed, 1);
    let bundle = store.get_bundle("b").await.unwrap().unwrap();
    assert_eq!(bundle.version, version(2));
    let jump = history.epochs[0].jump();
    assert!((JUMP..JUMP + 1_000).contains(&jump));
    assert_eq!(change(&second).await, 2 + jump);
    assert_eq!(change(&third).await, 3 + jump);
    for store in [store, second, third] {
        store.close().await;
    }
    let again = place.open().await;
    assert_eq!(again.epoch().await.unwrap().number, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_restored_into_the_same_database_begins_an_epoch() {
    let place = dumped().await;
    place.sql("DROP SCHEMA bridge CASCADE");
    place
        .server
        .restore(&place.database, &place.dump())
        .unwrap();
    knows_that_it_is_restored(&place, "table was ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_restored_into_another_database_begins_an_epoch() {
    let mut place = dumped().await;
    place.database = place.server.database().unwrap();
    let files = place.config.files.password.parent().unwrap();
    place.server.mount(files, &place.database).unwrap();
    place
        .server
        .restore(&place.database, &place.dump())
        .unwrap();
    knows_that_it_is_restored(&place, "database was ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_ask_for_the_server_s_identity_opens_the_same_place() {
    let place = Place::new();
    place.open().await.close().await;
    let role = format!("{}_plain", place.database);
    place.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'p'"));
    place.sql(&format!("GRANT ALL ON SCHEMA bridge TO {role}"));
    place.sql(&format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA bridge TO {role}"
    ));
    place
        .sql("REVOKE EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() FROM PUBLIC");
    std::fs::write(&place.config.files.user, &role).unwrap();
    std::fs::write(&place.config.files.password, "p").unwrap();
    let store = place.open().await;
    assert_eq!(store.epoch().await.unwrap().number, 1);
    let signs = place.sql("SELECT place FROM bridge.epochs");
    assert!(
        signs.contains("system") && signs.contains("timeline"),
        "what others could read stays: {signs}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_begins_an_epoch_and_replicas_begin_one_together() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    with_consumers(&one, &["c1"]).await;
    for id in ["a", "b"] {
        one.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
    }
    // As if the server had another timeline than when it was opened last.
    place.sql("UPDATE bridge.epochs SET place = (place::jsonb || '{\"timeline\": \"77\"}')::text");
    let third = place.open().await;
    let epoch = third.epoch().await.unwrap();
    assert!(
        epoch.number == 2 && epoch.why.contains("timeline was 77"),
        "{epoch:?}"
    );
    // Those that run know it too, and an agent that is in step makes it harmless.
    assert_eq!(one.epoch().await.unwrap(), epoch);
    assert_eq!(other.history().await.unwrap().unconfirmed, 2);
    let held = |id: &str, number| {
        vec![server_bridge::store::AgentVersion {
            id: id.into(),
            version: version(number),
        }]
    };
    let c1 = crate::name("c1");
    one.request_resend(&c1, held("a", 1)).await.unwrap();
    let changed = other
        .update_bundle("a", None, None, content("two"), None, at(3))
        .await;
    assert_eq!(changed.unwrap().version, version(2));
    // Two that hear of the same newer version at once raise it once.
    let (left, right) = tokio::join!(
        one.raise(&c1, held("b", 7), at(9_999_999)),
        other.raise(&c1, held("b", 7), at(9_999_999)),
    );
    let raised = left.unwrap().bundles.len() + right.unwrap().bundles.len();
    assert_eq!(raised, 1);
    let bundle = other.get_bundle("b").await.unwrap().unwrap();
    assert_eq!(bundle.version, version(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_behind_the_same_name_is_noticed_while_running_with_rings_or_without() {
    for notify in [true, false] {
        let mut place = Place::new();
        place.config.notify = notify;
        place.config.limits.ping = Duration::from_millis(100);
        let store = place.open().await;
        // As a lagging standby that took over.
        let moved =
            "UPDATE bridge.epochs SET place = (place::jsonb || '{\"timeline\": \"77\"}')::text";
        place.sql(moved);
        // Connections to the former server end, and none that was made since.
        let before = sessions(&place);
        place.end_sessions(&format!("pid IN ({before})"));
        until("the new epoch", async || {
            store.epoch().await.is_ok_and(|epoch| epoch.number == 2)
        })
        .await;
        let epoch = store.epoch().await.unwrap();
        assert!(epoch.why.contains("timeline was 77"), "{epoch:?}");
        store.close().await;
    }
}

/// The processes of the server that serve bridges.
fn sessions(place: &Place) -> String {
    place.sql(
        "SELECT string_agg(pid::text, ',') FROM pg_stat_activity \
         WHERE application_name = 'server-bridge' AND datname = current_database()",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_another_place_are_not_used_again_also_where_another_replica_began_the_epoch()
 {
    let mut place = Place::new();
    place.config.limits.ping = Duration::from_millis(100);
    place.config.notify = false;
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    let work = || futures_util::future::join_all((0..8).map(|_| store.consumer_names()));
    // All of them are open.
    let mut former = String::new();
    until("many connections", async || {
        work().await;
        former = sessions(&place);
        former.split(',').count() > 2
    })
    .await;
    place.server.dump(&place.database, &place.dump()).unwrap();
    // Nobody who compares the database meanwhile makes the tables that are missing for a moment.
    let turn = place.turn().await;
    place.sql("ALTER SCHEMA bridge RENAME TO former");
    place
        .server
        .restore(&place.database, &place.dump())
        .unwrap();
    drop(turn);
    let other = place.open().await;
    assert_eq!(other.epoch().await.unwrap().number, 2);
    // Only one of them ends, unless what was looked at meanwhile told; the others would serve for half an hour.
    let (first, rest) = former.split_once(',').unwrap();
    place.end_sessions(&format!("pid = {first}"));
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE pid IN ({rest})");
    until("the former connections to be closed", async || {
        work().await;
        place.sql(&left) == "0"
    })
    .await;
    assert_eq!(store.epoch().await.unwrap().number, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_epochs_belongs_to_the_first_one() {
    let place = Place::new();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    until("the index", async || place.sql(VALID) == "1").await;
    store.close().await;
    // As the bridge of before left it.
    place.sql(
        "DROP TABLE bridge.epochs, bridge.doubts; ALTER TABLE bridge.bundles DROP COLUMN epoch; \
         ALTER TABLE bridge.ledger DROP COLUMN note; DELETE FROM bridge._sqlx_migrations WHERE version = 4",
    );
    let store = place.open().await;
    let history = store.history().await.unwrap();
    assert_eq!((history.epochs.len(), history.unconfirmed), (1, 0));
    assert_eq!(change(&store).await, 2);
    assert_eq!(change(&store).await, 3);
}
