//! The way down: what needs sending.

use server_bridge::store::{Held, Store};

use crate::{at, bundle, content, name, version, with_consumers};

async fn pending_ids(store: &impl Store, consumer: &str) -> Vec<(String, i32, bool)> {
    let pending = store.pending(&name(consumer), 100).await.unwrap();
    pending
        .into_iter()
        .map(|p| (p.id, p.version.get(), p.deleting_since.is_some()))
        .collect()
}

pub(crate) async fn the_outbox_holds_what_the_broker_has_not_acknowledged(store: impl Store) {
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

pub(crate) async fn a_resend_outlives_acknowledgements_of_older_publications(store: impl Store) {
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
