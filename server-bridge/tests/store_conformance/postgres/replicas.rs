//! Two processes on one database.

use link::id::SourceId;
use server_bridge::store::{AgentVersion, Json, StatusOutcome, StatusUpdate, Store, StoreError};
use tokio::task::JoinSet;

use super::Place;
use crate::{at, bundle, content, name, version, with_consumers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_make_the_tables_once() {
    let place = Place::new();
    let mut opening = JoinSet::new();
    for _ in 0..4 {
        let config = place.config.clone();
        opening.spawn(async { server_bridge::store::postgres::PostgresStore::open(config).await });
    }
    for store in opening.join_all().await {
        with_consumers(&store.unwrap(), &["c1"]).await;
    }
    let made = place.sql("SELECT count(*) FROM bridge._sqlx_migrations");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let changes = std::fs::read_dir(directory).unwrap().count();
    assert_eq!(made, changes.to_string());
    assert_eq!(place.sql("SELECT count(*) FROM bridge.epochs"), "1");
    assert_eq!(place.sql("SELECT count(*) FROM bridge.consumers"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_those_of_the_source_that_came_first_and_another_is_refused_by_name() {
    let place = Place::new();
    let (first, second) = (place.open().await, place.open().await);
    let source = |name: &str| SourceId::new(name).unwrap();
    let (a, b) = (source("a"), source("b"));
    let (one, other) = tokio::join!(first.assign_source(&a), second.assign_source(&a));
    one.unwrap();
    other.unwrap();
    let refused = second.assign_source(&b).await.unwrap_err();
    let hint = refused.hint().unwrap_or_default();
    let said = format!("{refused}; {hint}");
    for words in ["`bridge`", "source `a`", "speaks for `b`", "--db-schema"] {
        assert!(said.contains(words), "{said}");
    }
    first.assign_source(&a).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_once_each_is_kept_or_refused_and_none_is_lost() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    with_consumers(&stores[0], &["c1"]).await;
    stores[0]
        .create_bundle(bundle("b", "c1"), at(0))
        .await
        .unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        let store = stores[task % 2].clone();
        tasks.spawn(async move {
            let mut won = 0;
            for number in 0..15 {
                let latest = store.get_bundle("b").await.unwrap().unwrap().version;
                let next = content(&format!("{task}-{number}"));
                match store
                    .update_bundle("b", Some(latest), None, next, None, at(1))
                    .await
                {
                    Ok(_) => won += 1,
                    Err(StoreError::VersionConflict { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                // What equals the content is compared with the newest, never with what was there before a wait.
                let same = store.update_bundle("b", None, None, content("same"), None, at(1));
                same.await.unwrap();
            }
            won
        });
    }
    let won: i64 = tasks.join_all().await.into_iter().sum();
    assert!(won > 0);
    let shared = stores[0].get_bundle("b").await.unwrap().unwrap();
    let newest = shared.version.get();
    let entries: Vec<i32> = shared
        .ledger
        .unwrap()
        .iter()
        .map(|e| e.version.get())
        .collect();
    assert_eq!(entries, (newest - 9..=newest).collect::<Vec<_>>());
    // Two changes to the same content, one after the other, make one version.
    let racing = stores
        .iter()
        .map(|store| store.update_bundle("b", None, None, content("last"), None, at(2)));
    for changed in futures_util::future::join_all(racing).await {
        assert_eq!(changed.unwrap().version.get(), newest + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_creations_of_one_id_or_name_one_is_refused_by_what_it_shares() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    with_consumers(&stores[0], &["c1"]).await;
    for round in 0..20 {
        let id = format!("b{round}");
        let mut other = bundle(&format!("other{round}"), "c1");
        let field = if round % 2 == 0 {
            other.id.clone_from(&id);
            "id"
        } else {
            other.name.clone_from(&id);
            "name"
        };
        let (one, two) = tokio::join!(
            stores[0].create_bundle(bundle(&id, "c1"), at(1)),
            stores[1].create_bundle(other, at(1)),
        );
        let error = match (one, two) {
            (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
            both => panic!("{both:?}"),
        };
        assert!(
            matches!(&error, StoreError::BundleExists { field: f, value } if *f == field && *value == id),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_is_removed_or_gets_a_bundle_and_never_both() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    for round in 0..20 {
        let consumer = format!("c{round}");
        with_consumers(&stores[0], &[&consumer]).await;
        let id = format!("id-{consumer}");
        let (removed, created) = tokio::join!(
            stores[0].delete_consumer(&id),
            stores[1].create_bundle(bundle(&consumer, &consumer), at(1)),
        );
        match (removed, created) {
            (Ok(()), Err(StoreError::ConsumerNotFound { .. }))
            | (Err(StoreError::ConsumerInUse { bundles: 1, .. }), Ok(_)) => {}
            both => panic!("{both:?}"),
        }
    }
}

fn status(id: &str, step: u16) -> StatusUpdate {
    StatusUpdate {
        bundle_id: id.to_owned(),
        consumer: name("c1"),
        version: version(1),
        sequence_id: link::order::SequenceId::from_parts(at(100), 1, step),
        status_hash: Some(
            format!("hash-{step}\0").replace('\0', if step == 3 { "\0" } else { "" }),
        ),
        payload: Json::parse("{\"conditions\":[]}").unwrap(),
        metadata: None,
        deleted: false,
        received_at: None,
        applied_at: None,
        at: at(100),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_status_that_comes_to_two_is_stored_once_and_the_newest_stays() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    with_consumers(&stores[0], &["c1"]).await;
    stores[0]
        .create_bundle(bundle("b", "c1"), at(1))
        .await
        .unwrap();
    for step in 1..=20 {
        let (one, two) = tokio::join!(
            stores[0].apply_status(status("b", step)),
            stores[1].apply_status(status("b", step)),
        );
        let outcomes = [one.unwrap(), two.unwrap()];
        let stored = outcomes.iter().filter(|o| **o == StatusOutcome::Stored);
        assert_eq!(stored.count(), 1, "{outcomes:?}");
    }
    let mut deletion = status("b", 30);
    deletion.deleted = true;
    stores[0].mark_deleting("b", at(2)).await.unwrap();
    let (one, two) = tokio::join!(
        stores[0].apply_status(deletion.clone()),
        stores[1].apply_status(deletion),
    );
    let outcomes = [one.unwrap(), two.unwrap()];
    assert!(
        outcomes.contains(&StatusOutcome::Deleted)
            && outcomes.contains(&StatusOutcome::UnknownBundle)
    );
    // Made again while it is still remembered: what was said of its earlier life is late, wherever it arrives.
    stores[1]
        .create_bundle(bundle("b", "c1"), at(3))
        .await
        .unwrap();
    let late = stores[0].apply_status(status("b", 29)).await.unwrap();
    assert!(matches!(late, StatusOutcome::StaleSequence { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_at_once_on_the_same_bundles_ends_without_a_deadlock() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    with_consumers(&stores[0], &["c1"]).await;
    let ids: Vec<String> = (0..8).map(|number| format!("b{number}")).collect();
    for id in &ids {
        stores[0]
            .create_bundle(bundle(id, "c1"), at(1))
            .await
            .unwrap();
    }
    let mut tasks = JoinSet::new();
    for task in 0..8_u16 {
        let (store, ids) = (stores[usize::from(task) % 2].clone(), ids.clone());
        tasks.spawn(async move {
            for round in 0..20_u16 {
                let id = &ids[usize::from(task + round) % ids.len()];
                let v1 = version(1);
                store.record_published(id, v1, false, at(2)).await?;
                match task % 4 {
                    0 => {
                        store
                            .record_broker_acked(id, v1, false, true, at(3))
                            .await?;
                    }
                    1 => drop(store.apply_status(status(id, task * 100 + round)).await?),
                    2 => {
                        // In whatever order an agent names them.
                        let mut held: Vec<_> = ids
                            .iter()
                            .map(|id| AgentVersion {
                                id: id.clone(),
                                version: version(0),
                            })
                            .collect();
                        held.rotate_left(usize::from(round) % 8);
                        store.request_resend(&name("c1"), held).await?;
                    }
                    _ => {
                        store
                            .record_publish_failed(id, v1, false, "refused", at(3))
                            .await?;
                        store
                            .send_again(&name("c1"), id, "gone there", at(4))
                            .await?;
                    }
                }
            }
            Ok::<_, StoreError>(())
        });
    }
    for done in tasks.join_all().await {
        done.unwrap();
    }
    // Whatever order they came in, the outbox is what versions and acknowledgements say.
    let wrong =
        place.sql("SELECT count(*) FROM bridge.bundles WHERE unsent <> (version > acked_version)");
    assert_eq!(wrong, "0");
}
