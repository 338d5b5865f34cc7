//! Two processes that hear parts of one list, and a consumer that is removed under their hands.

use std::time::Duration;

use server_bridge::store::{AgentStore, FailureClass, Orphan, PartOutcome, Store, StoreError};
use tokio::task::JoinSet;

use super::{Place, until, within};
use crate::agents::{held, part};
use crate::status::status;
use crate::{at, bundle, content, name, version, with_consumers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_processes_that_add_the_last_parts_at_once_one_is_given_the_list() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    for round in 0..30 {
        let list = format!("r{round}");
        let (one, two) = tokio::join!(
            stores[0].add_resync_part(part("c1", &list, 1, 2), at(round)),
            stores[1].add_resync_part(part("c1", &list, 2, 2), at(round)),
        );
        let whole = PartOutcome::Whole {
            held: vec![held(1), held(2)],
            began_at: at(round),
        };
        let outcomes = [one.unwrap(), two.unwrap()];
        let given = outcomes.iter().filter(|outcome| **outcome == whole);
        assert_eq!(given.count(), 1, "{outcomes:?}");
        stores[0].forget_resync(&name("c1"), &list).await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*) FROM bridge.resync_parts"), "0");
}

/// Does something in a session of its own, which stays until it is ended.
fn aside(place: &Place, text: String) -> std::thread::JoinHandle<()> {
    let (server, database) = (place.server, place.database.clone());
    std::thread::spawn(move || {
        // Some of them are ended.
        let _ = server.sql(&database, &text);
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_wait_for_another_process_hold_no_connection() {
    let mut place = Place::patient();
    place.config.max_connections = 4;
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    let other = aside(
        &place,
        "SELECT pg_advisory_lock(hashtextextended('server-bridge resync c1', 0)), pg_sleep(600)"
            .into(),
    );
    let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    until("the other process", async || place.sql(held) == "1").await;
    let mut parts = JoinSet::new();
    for number in 1..=8 {
        let store = store.clone();
        parts.spawn(async move {
            store
                .add_resync_part(part("c1", "r", number, 8), at(1))
                .await
        });
    }
    let tried = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%advisory_xact_lock%' \
         AND datname = current_database() AND pid <> pg_backend_pid()";
    until("the parts to be tried", async || place.sql(tried) == "t").await;
    for _ in 0..20 {
        let names = within("names", store.consumer_names()).await;
        assert_eq!(names.unwrap(), [name("c1")]);
    }
    place.end_sessions("query LIKE '%pg_sleep%'");
    other.join().unwrap();
    let outcomes = within("the parts", parts.join_all()).await;
    let whole = |outcome: &Result<_, _>| matches!(outcome, Ok(PartOutcome::Whole { .. }));
    assert_eq!(outcomes.iter().filter(|outcome| whole(outcome)).count(), 1);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_that_wait_for_the_removal_of_their_consumer_hold_no_connection() {
    let mut place = Place::patient();
    place.config.max_connections = 4;
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    // As the removal does, which may take two minutes.
    let other = aside(
        &place,
        "BEGIN; SELECT FROM bridge.bundles FOR UPDATE; SELECT pg_sleep(600)".into(),
    );
    let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    until("the removal", async || place.sql(held) == "1").await;
    let mut statuses = JoinSet::new();
    for step in 1..=8 {
        let store = store.clone();
        statuses.spawn(async move { store.apply_status(status("b", "c1", 1, step)).await });
    }
    let tried = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%FROM bundles WHERE id = $1%' \
         AND datname = current_database() AND pid <> pg_backend_pid()";
    until("the statuses to be tried", async || place.sql(tried) == "t").await;
    for _ in 0..20 {
        let names = within("names", store.consumer_names()).await;
        assert_eq!(names.unwrap(), [name("c1")]);
    }
    assert_eq!(place.waiting(), "0");
    place.end_sessions("query LIKE '%pg_sleep%'");
    other.join().unwrap();
    let outcomes = within("the statuses", statuses.join_all()).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let bundle = store.get_bundle("b").await.unwrap().unwrap();
    assert!(bundle.status.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_whose_list_is_forgotten_under_its_hands_begins_it_again() {
    let place = Place::patient();
    let store = place.open().await;
    let first = store.add_resync_part(part("c1", "r", 1, 2), at(1));
    assert_eq!(first.await.unwrap(), PartOutcome::Waits);
    let gate = aside(&place, "SELECT pg_advisory_lock(1), pg_sleep(600)".into());
    let locked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = 1 \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until("the gate", async || place.sql(locked) == "1").await;
    let pruning = aside(
        &place,
        "BEGIN; DELETE FROM bridge.resync_lists; SELECT pg_advisory_xact_lock(1); COMMIT".into(),
    );
    until("the list to be deleted", async || place.waiting() == "1").await;
    let adding = {
        let store = store.clone();
        tokio::spawn(async move { store.add_resync_part(part("c1", "r", 2, 2), at(2)).await })
    };
    until("the part to wait for that", async || place.waiting() == "2").await;
    place.end_sessions("query LIKE '%pg_sleep%'");
    let added = within("the part", adding).await.unwrap();
    assert_eq!(added.unwrap(), PartOutcome::Waits);
    gate.join().unwrap();
    pruning.join().unwrap();
    let last = store.add_resync_part(part("c1", "r", 1, 2), at(3));
    let whole = PartOutcome::Whole {
        held: vec![held(1), held(2)],
        began_at: at(2),
    };
    assert_eq!(last.await.unwrap(), whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_has_a_limit_of_its_own_and_delivery_and_readiness_go_on_meanwhile() {
    let mut place = Place::new();
    // A read takes far less even on a busy machine, and a row far longer.
    place.config.limits.statement = Duration::from_secs(6);
    place.config.limits.answer = Duration::from_secs(8);
    place.config.limits.removal = Duration::from_secs(60);
    let store = place.open().await;
    with_consumers(&store, &["c1", "c2"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    // Each row takes longer than a statement of most operations may.
    place.sql(
        "CREATE FUNCTION bridge.slow() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_sleep(15); RETURN OLD; END'; \
         CREATE TRIGGER slow BEFORE DELETE ON bridge.contents FOR EACH ROW EXECUTE FUNCTION bridge.slow()",
    );
    let removing = {
        let store = store.clone();
        tokio::spawn(async move { store.remove_consumer("id-c1", None, at(900)).await })
    };
    let slow = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    until("the removal", async || place.sql(slow) == "1").await;
    until("readiness", async || store.ping().await.is_ok()).await;
    let works = vec![Orphan {
        id: "o".into(),
        version: version(1),
        deleted_here: true,
    }];
    assert_eq!(store.add_orphans(&name("c2"), works).await.unwrap(), 0);
    assert!(!removing.is_finished(), "it was waited for");
    let removed = within("the removal", removing).await.unwrap();
    assert_eq!(removed.unwrap().bundles, 1);
    // The limit of its own is one.
    assert_eq!(place.sql("SELECT count(*) FROM bridge.bundles"), "0");
    place.config.limits.removal = Duration::from_secs(1);
    let store = place.open().await;
    let again = store.create_bundle(bundle("b", "c2"), at(1));
    again.await.unwrap();
    let error = store
        .remove_consumer("id-c2", None, at(900))
        .await
        .unwrap_err();
    assert_eq!(error.class(), Some(FailureClass::Interrupted), "{error:?}");
    assert_eq!(place.sql("SELECT count(*) FROM bridge.bundles"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_is_removed_whole_while_everybody_works_on_it_and_nothing_deadlocks() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let c1 = name("c1");
    for round in 0..8 {
        with_consumers(&stores[0], &["c1"]).await;
        let ids: Vec<String> = (0..20).map(|number| format!("b{number}")).collect();
        for id in &ids {
            stores[0]
                .create_bundle(bundle(id, "c1"), at(1))
                .await
                .unwrap();
        }
        let mut tasks = JoinSet::new();
        for task in 0..4 {
            let (store, c1) = (stores[task % 2].clone(), c1.clone());
            tasks.spawn(async move {
                for number in 0..10 {
                    let id = format!("b{}", (number * 7 + task) % 20);
                    let missing = |error: &StoreError| {
                        matches!(
                            error,
                            StoreError::BundleNotFound { .. }
                                | StoreError::ConsumerNotFound { .. }
                                | StoreError::BundleExists { .. }
                        )
                    };
                    let changed = store.update_bundle(
                        &id,
                        None,
                        None,
                        content(&format!("{task}{number}")),
                        None,
                        at(2),
                    );
                    changed
                        .await
                        .err()
                        .filter(|e| !missing(e))
                        .map_or(Ok(()), Err)?;
                    let new = bundle(&format!("n{task}{number}"), "c1");
                    let made = store.create_bundle(new, at(2));
                    made.await
                        .err()
                        .filter(|e| !missing(e))
                        .map_or(Ok(()), Err)?;
                    let works = ["o1", "o2"].map(|id| Orphan {
                        id: id.into(),
                        version: version(1),
                        deleted_here: false,
                    });
                    store.add_orphans(&c1, works.into()).await?;
                    let keys = store.orphans(&c1, 9).await?;
                    let keys = keys.into_iter().map(|(key, _)| key).collect();
                    store.remove_orphans(keys).await?;
                    store
                        .note_seen(vec![c1.clone()], at(60 * number as i64))
                        .await?;
                }
                Ok::<_, StoreError>(())
            });
        }
        stores[round % 2]
            .remove_consumer("id-c1", None, at(900))
            .await
            .unwrap();
        for done in tasks.join_all().await {
            done.unwrap();
        }
        let left = "SELECT (SELECT count(*) FROM bridge.bundles) + (SELECT count(*) FROM bridge.contents) \
             + (SELECT count(*) FROM bridge.ledger) + (SELECT count(*) FROM bridge.orphans)";
        assert_eq!(place.sql(left), "0");
    }
}
