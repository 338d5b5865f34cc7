//! Two processes that hear parts of one list, and a consumer that is removed under their hands.

use server_bridge::store::{Heard, Orphan, PartOutcome, Store, StoreError};
use tokio::task::JoinSet;

use super::Place;
use crate::heard::{held, part};
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
        let whole = PartOutcome::Whole(vec![held(1), held(2)]);
        let outcomes = [one.unwrap(), two.unwrap()];
        let given = outcomes.iter().filter(|outcome| **outcome == whole);
        assert_eq!(given.count(), 1, "{outcomes:?}");
        stores[0].forget_resync(&name("c1"), &list).await.unwrap();
    }
    assert_eq!(place.sql("SELECT count(*) FROM bridge.resync_parts"), "0");
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
            .remove_consumer("id-c1", None)
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
