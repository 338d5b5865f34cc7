//! What every engine behind the `Store` trait promises. An engine is one line at the end.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::future::Future;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use server_bridge::store::query::{
    BundleColumn, Comparison, Filter, Order, Parts, Query, Subject, Value,
};
use server_bridge::store::{
    Content, Held, Json, Labels, NewBundle, NewConsumer, StatusOutcome, StatusUpdate, Store,
    StoreError,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second).unwrap()
}

fn name(text: &str) -> ConsumerName {
    ConsumerName::new(text).unwrap()
}

fn version(number: i64) -> Version {
    Version::new(number).unwrap()
}

fn content(text: &str) -> Content {
    Content {
        manifests: Json::parse(&format!("[{{\"data\":\"{text}\"}}]")).unwrap(),
        delete_option: None,
        manifest_configs: None,
        executer: None,
    }
}

fn bundle(id: &str, consumer: &str) -> NewBundle {
    NewBundle {
        id: id.to_owned(),
        name: id.to_owned(),
        consumer_name: name(consumer),
        metadata: Some(Json::parse("{\"labels\":{\"app\":\"web\"}}").unwrap()),
        content: content("one"),
    }
}

fn status(id: &str, consumer: &str, number: i64, step: u16) -> StatusUpdate {
    StatusUpdate {
        bundle_id: id.to_owned(),
        consumer: name(consumer),
        version: version(number),
        sequence_id: SequenceId::from_parts(at(100), 1, step),
        status_hash: Some(format!("hash-{step}")),
        payload: Json::parse("{\"conditions\":[]}").unwrap(),
        metadata: None,
        deleted: false,
        received_at: None,
        applied_at: Some(at(90)),
        at: at(100),
    }
}

async fn with_consumers(store: &impl Store, names: &[&str]) {
    let new = names
        .iter()
        .map(|text| NewConsumer {
            id: format!("id-{text}"),
            name: name(text),
            labels: Labels::from([("env".to_owned(), (*text).to_owned())]),
        })
        .collect();
    store.ensure_consumers(new, at(0)).await.unwrap();
}

async fn pending_ids(store: &impl Store, consumer: &str) -> Vec<(String, i32, bool)> {
    let pending = store.pending(&name(consumer), 100).await.unwrap();
    pending
        .into_iter()
        .map(|p| (p.id, p.version.get(), p.deleting_since.is_some()))
        .collect()
}

async fn consumers_live_and_are_protected_by_their_bundles(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    with_consumers(&store, &["c1", "c2"]).await;
    let again = NewConsumer {
        id: "other".into(),
        name: name("c1"),
        labels: Labels::new(),
    };
    let error = store.create_consumer(again, at(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "consumer `c1` already exists");
    let cleared = store
        .update_consumer_labels("id-c1", Labels::new(), at(2))
        .await
        .unwrap();
    assert_eq!((cleared.labels.len(), cleared.updated_at), (0, at(2)));
    assert_eq!(
        store.get_consumer_by_name(&name("c1")).await.unwrap(),
        Some(cleared)
    );
    store
        .create_bundle(bundle("b1", "c1"), at(3))
        .await
        .unwrap();
    let error = store.delete_consumer("id-c1").await.unwrap_err();
    assert!(matches!(
        error,
        StoreError::ConsumerInUse { bundles: 1, .. }
    ));
    store.delete_consumer("id-c2").await.unwrap();
    assert!(store.get_consumer("id-c2").await.unwrap().is_none());
    let error = store
        .create_bundle(bundle("b2", "c2"), at(3))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::ConsumerNotFound { .. }));
}

async fn versions_rise_only_with_content_and_only_from_the_latest(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    let created = store
        .create_bundle(bundle("b1", "c1"), at(1))
        .await
        .unwrap();
    assert_eq!(store.get_bundle("b1").await.unwrap(), Some(created.clone()));
    for (id, bundle_name) in [("b1", "x"), ("x", "b1")] {
        let mut twin = bundle(id, "c1");
        twin.name = bundle_name.to_owned();
        let error = store.create_bundle(twin, at(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::BundleExists { value, .. } if value == "b1"));
    }
    let metadata = created.metadata.clone();
    let same = store
        .update_bundle(
            "b1",
            Some(version(1)),
            metadata.clone(),
            content("one"),
            at(2),
        )
        .await
        .unwrap();
    assert_eq!((same.version, same.updated_at), (version(1), at(1)));
    let changed = store
        .update_bundle(
            "b1",
            Some(version(1)),
            metadata.clone(),
            content("two"),
            at(2),
        )
        .await
        .unwrap();
    assert_eq!(changed.version, version(2));
    let error = store
        .update_bundle(
            "b1",
            Some(version(1)),
            metadata.clone(),
            content("three"),
            at(3),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::VersionConflict { latest, .. } if latest == version(2)));
    for number in 3..=25 {
        let next = content(&number.to_string());
        store
            .update_bundle("b1", None, None, next, at(number))
            .await
            .unwrap();
    }
    let ledger = store
        .get_bundle("b1")
        .await
        .unwrap()
        .unwrap()
        .ledger
        .unwrap();
    let versions: Vec<i32> = ledger.iter().map(|entry| entry.version.get()).collect();
    assert_eq!(versions, (16..=25).collect::<Vec<i32>>());
    store.mark_deleting("b1", at(30)).await.unwrap();
    store.mark_deleting("b1", at(31)).await.unwrap();
    let deleting = store.get_bundle("b1").await.unwrap().unwrap();
    assert_eq!(
        (deleting.deleted_at, deleting.version),
        (Some(at(30)), version(25))
    );
    let error = store
        .update_bundle("b1", None, None, content("late"), at(32))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::BundleDeleting { .. }));
    let error = store.mark_deleting("none", at(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::BundleNotFound { .. }));
}

async fn the_outbox_holds_what_the_broker_has_not_acknowledged(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    let mut changes = store.changes();
    for (id, consumer) in [("a", "c1"), ("b", "c1"), ("c", "c2")] {
        store
            .create_bundle(bundle(id, consumer), at(1))
            .await
            .unwrap();
    }
    assert_eq!(changes.recv().await.unwrap(), name("c1"));
    assert_eq!(
        store.consumers_with_pending().await.unwrap(),
        [name("c1"), name("c2")]
    );
    // A changed bundle goes to the end: oldest change first.
    store
        .update_bundle("a", None, None, content("two"), at(2))
        .await
        .unwrap();
    assert_eq!(
        pending_ids(&store, "c1").await,
        [("b".into(), 1, false), ("a".into(), 2, false)]
    );
    let first = &store.pending(&name("c1"), 1).await.unwrap()[0];
    assert!(first.first);
    assert_eq!(first.payload, "{\"manifests\":[{\"data\":\"one\"}]}");

    // Only an acknowledgement of a noted publication counts, and only for its version.
    store
        .record_broker_acked("a", version(2), false, true, at(3))
        .await
        .unwrap();
    store
        .record_published("a", version(1), false, at(3))
        .await
        .unwrap();
    store
        .record_broker_acked("a", version(1), false, true, at(3))
        .await
        .unwrap();
    assert_eq!(pending_ids(&store, "c1").await.len(), 2);
    store
        .record_published("a", version(2), false, at(4))
        .await
        .unwrap();
    store
        .record_broker_acked("a", version(2), false, false, at(5))
        .await
        .unwrap();
    assert_eq!(pending_ids(&store, "c1").await, [("b".into(), 1, false)]);
    let ledger = store
        .get_bundle("a")
        .await
        .unwrap()
        .unwrap()
        .ledger
        .unwrap();
    assert_eq!(
        (ledger[1].published_at, ledger[1].acked_at),
        (Some(at(4)), Some(at(5)))
    );
    assert_eq!((ledger[1].matched, ledger[1].attempts), (Some(false), 1));

    // A failure is noted and keeps the bundle in the outbox.
    store
        .record_published("b", version(1), false, at(6))
        .await
        .unwrap();
    store
        .record_publish_failed("b", version(1), false, "not authorized", at(7))
        .await
        .unwrap();
    let ledger = store
        .get_bundle("b")
        .await
        .unwrap()
        .unwrap()
        .ledger
        .unwrap();
    assert_eq!(ledger[0].failure.as_deref(), Some("not authorized"));
    assert_eq!(pending_ids(&store, "c1").await, [("b".into(), 1, false)]);

    // A deletion needs sending of its own.
    store.mark_deleting("a", at(8)).await.unwrap();
    assert!(
        pending_ids(&store, "c1")
            .await
            .contains(&("a".into(), 2, true))
    );
    store
        .record_published("a", version(2), true, at(9))
        .await
        .unwrap();
    store
        .record_broker_acked("a", version(2), true, true, at(9))
        .await
        .unwrap();
    assert_eq!(pending_ids(&store, "c1").await, [("b".into(), 1, false)]);
}

async fn a_resend_outlives_acknowledgements_of_older_publications(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    for id in ["a", "b", "gone"] {
        store.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
        store
            .record_published(id, version(1), false, at(2))
            .await
            .unwrap();
    }
    store.mark_deleting("gone", at(2)).await.unwrap();
    for id in ["b", "gone"] {
        store
            .record_broker_acked(id, version(1), false, false, at(3))
            .await
            .unwrap();
    }
    store
        .record_published("gone", version(1), true, at(3))
        .await
        .unwrap();
    store
        .record_broker_acked("gone", version(1), true, false, at(3))
        .await
        .unwrap();
    let held = |id: &str, number| Held {
        id: id.to_owned(),
        version: version(number),
    };
    let ask = vec![
        held("a", 0),
        held("b", 1),
        held("gone", 1),
        held("unknown", 1),
    ];
    assert_eq!(
        store
            .request_resend(&name("c2"), ask.clone())
            .await
            .unwrap(),
        0
    );
    assert_eq!(store.request_resend(&name("c1"), ask).await.unwrap(), 2);
    // The publication of `a` before the resend went past an absent agent; its late acknowledgement is no proof.
    store
        .record_broker_acked("a", version(1), false, false, at(5))
        .await
        .unwrap();
    assert_eq!(
        pending_ids(&store, "c1").await,
        [("a".into(), 1, false), ("gone".into(), 1, true)]
    );
    store
        .record_published("a", version(1), false, at(6))
        .await
        .unwrap();
    store
        .record_broker_acked("a", version(1), false, true, at(7))
        .await
        .unwrap();
    assert_eq!(pending_ids(&store, "c1").await, [("gone".into(), 1, true)]);
}

async fn statuses_are_taken_only_in_order_and_from_their_consumer(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let apply = |update| store.apply_status(update);
    assert_eq!(
        apply(status("x", "c1", 1, 0)).await.unwrap(),
        StatusOutcome::UnknownBundle
    );
    let expected = name("c1");
    assert_eq!(
        apply(status("b", "c2", 1, 0)).await.unwrap(),
        StatusOutcome::WrongConsumer { expected }
    );
    for number in [0, 2] {
        let stored = version(1);
        assert_eq!(
            apply(status("b", "c1", number, 0)).await.unwrap(),
            StatusOutcome::StaleVersion { stored }
        );
    }
    assert_eq!(
        store.status_hashes_of(&name("c1")).await.unwrap(),
        [("b".into(), None)]
    );
    assert_eq!(
        apply(status("b", "c1", 1, 5)).await.unwrap(),
        StatusOutcome::Stored
    );
    // A report proves arrival: nothing is left to send.
    assert!(pending_ids(&store, "c1").await.is_empty());
    for step in [5, 4] {
        let outcome = apply(status("b", "c1", 1, step)).await.unwrap();
        assert!(
            matches!(outcome, StatusOutcome::StaleSequence { .. }),
            "{outcome:?}"
        );
    }
    let mut foreign = status("b", "c1", 1, 9);
    foreign.sequence_id = SequenceId::from_parts(at(200), 2, 0);
    let outcome = apply(foreign).await.unwrap();
    assert!(matches!(outcome, StatusOutcome::ForeignSequence { .. }));
    let mut deleted = status("b", "c1", 1, 6);
    deleted.deleted = true;
    assert_eq!(
        apply(deleted.clone()).await.unwrap(),
        StatusOutcome::NotDeleting
    );
    let stored = store.get_bundle("b").await.unwrap().unwrap();
    assert_eq!(
        stored.status.unwrap().sequence_id,
        Some(status("b", "c1", 1, 5).sequence_id)
    );
    assert_eq!(stored.ledger.unwrap()[0].applied_at, Some(at(90)));
    let hash = Some("hash-5".to_owned());
    assert_eq!(
        store.status_hashes_of(&name("c1")).await.unwrap(),
        [("b".into(), hash)]
    );

    store.mark_deleting("b", at(2)).await.unwrap();
    assert_eq!(
        apply(deleted.clone()).await.unwrap(),
        StatusOutcome::Deleted
    );
    assert_eq!(
        apply(deleted.clone()).await.unwrap(),
        StatusOutcome::UnknownBundle
    );
    assert!(store.get_bundle("b").await.unwrap().is_none());
    let tombstone = store.tombstone("b").await.unwrap().unwrap();
    assert_eq!(
        (tombstone.version, tombstone.removed_at),
        (version(1), at(100))
    );

    // The same id again does not take a status of its earlier life.
    store.create_bundle(bundle("b", "c1"), at(3)).await.unwrap();
    assert!(store.tombstone("b").await.unwrap().is_none());
    let outcome = apply(status("b", "c1", 1, 6)).await.unwrap();
    assert!(matches!(outcome, StatusOutcome::StaleSequence { .. }));
    assert_eq!(
        apply(status("b", "c1", 1, 7)).await.unwrap(),
        StatusOutcome::Stored
    );
}

async fn pages_are_filtered_ordered_and_complete(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    for number in 0..40 {
        let consumer = if number % 4 == 0 { "c2" } else { "c1" };
        let new = bundle(&format!("b{number:02}"), consumer);
        store.create_bundle(new, at(number)).await.unwrap();
    }
    let query = |filter, descending, offset, limit| Query {
        filter,
        order: vec![Order {
            column: BundleColumn::Id,
            descending,
        }],
        offset,
        limit,
    };
    let on = |text: &str| {
        Filter::Compare(
            Subject::Column(BundleColumn::ConsumerName),
            Comparison::Equal,
            Value::Text(text.to_owned()),
        )
    };
    let page = store
        .list_bundles(query(Some(on("c1")), true, 2, 20), Parts::LISTED)
        .await
        .unwrap();
    assert_eq!(page.total, 30);
    let rows: Vec<_> = page.rows.try_collect().await.unwrap();
    assert_eq!((rows.len(), rows[0].id.as_str()), (20, "b37"));
    assert!(rows.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert!(rows[0].content.is_some() && rows[0].ledger.is_none());

    let label = |value: &str| {
        Filter::Compare(
            Subject::Label("app".into()),
            Comparison::Equal,
            Value::Text(value.to_owned()),
        )
    };
    for (value, total) in [("web", 40), ("db", 0)] {
        let page = store
            .list_bundles(query(Some(label(value)), false, 0, 0), Parts::LISTED)
            .await
            .unwrap();
        assert_eq!(page.total, total);
        assert!(page.rows.try_collect::<Vec<_>>().await.unwrap().is_empty());
    }
    let none = Parts {
        content: false,
        status: false,
        ledger: true,
    };
    let page = store
        .list_bundles(query(None, false, 0, 1), none)
        .await
        .unwrap();
    let rows: Vec<_> = page.rows.try_collect().await.unwrap();
    assert!(rows[0].content.is_none());
    assert_eq!(rows[0].ledger.as_ref().unwrap().len(), 1);
}

async fn concurrent_writers_neither_lose_nor_mix_their_writes(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store
        .create_bundle(bundle("shared", "c1"), at(0))
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut won = 0;
            for number in 0..25 {
                let id = format!("t{task}-{number}");
                store.create_bundle(bundle(&id, "c1"), at(1)).await.unwrap();
                // A refusal in the same commit must not undo its neighbours.
                assert!(store.create_bundle(bundle(&id, "c1"), at(1)).await.is_err());
                let latest = store.get_bundle("shared").await.unwrap().unwrap().version;
                let next = content(&id);
                won += i32::from(
                    store
                        .update_bundle("shared", Some(latest), None, next, at(2))
                        .await
                        .is_ok(),
                );
            }
            won
        });
    }
    let won: i32 = tasks.join_all().await.into_iter().sum();
    assert_eq!(store.versions_of(&name("c1")).await.unwrap().len(), 201);
    let shared = store.get_bundle("shared").await.unwrap().unwrap();
    assert_eq!(shared.version.get(), won + 1);
}

/// Runs every promise against an engine; `$open` opens an empty store and keeps what must outlive it.
macro_rules! conformance {
    ($engine:ident, $open:expr, [$($promise:ident),* $(,)?]) => {
        mod $engine {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::run($open, super::$promise).await;
            })*
        }
    };
}

async fn run<S: Store, K, F: Future<Output = ()>>(
    open: impl Future<Output = (S, K)>,
    promise: impl FnOnce(S) -> F,
) {
    let (store, _keep) = open.await;
    promise(store).await;
}

async fn open_sqlite() -> (server_bridge::store::sqlite::SqliteStore, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bridge.db");
    let store = server_bridge::store::sqlite::SqliteStore::open(path)
        .await
        .unwrap();
    (store, directory)
}

conformance!(
    sqlite,
    super::open_sqlite(),
    [
        consumers_live_and_are_protected_by_their_bundles,
        versions_rise_only_with_content_and_only_from_the_latest,
        the_outbox_holds_what_the_broker_has_not_acknowledged,
        a_resend_outlives_acknowledgements_of_older_publications,
        statuses_are_taken_only_in_order_and_from_their_consumer,
        pages_are_filtered_ordered_and_complete,
        concurrent_writers_neither_lose_nor_mix_their_writes,
    ]
);
