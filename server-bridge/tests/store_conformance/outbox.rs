//! The way down: what needs sending.

use server_bridge::store::{AgentVersion, Hint, Store};
use tokio::sync::broadcast::Receiver;

use crate::{at, bundle, content, name, version, with_consumers};

async fn pending_ids(store: &impl Store, consumer: &str) -> Vec<(String, i32, bool)> {
    let pending = store.pending_heads(&name(consumer), 100).await.unwrap();
    pending
        .into_iter()
        .map(|p| (p.id, p.version.get(), p.deleting_since.is_some()))
        .collect()
}

/// The next hint that says something: an engine may say that somebody needs looking for whenever it cannot know better.
pub(crate) async fn next(changes: &mut Receiver<Hint>) -> Hint {
    loop {
        match changes.recv().await.unwrap() {
            Hint::Somebody => {}
            hint => return hint,
        }
    }
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
    assert_eq!(next(&mut changes).await, Hint::Consumer(name("c1")));
    assert_eq!(
        store.consumers_with_pending().await.unwrap(),
        [name("c1"), name("c2")]
    );
    // A changed bundle goes to the end: oldest change first.
    store
        .update_bundle("a", None, None, content("two"), None, at(2))
        .await
        .unwrap();
    assert_eq!(
        pending_ids(&store, "c1").await,
        [("b".into(), 1, false), ("a".into(), 2, false)]
    );
    assert_eq!(store.pending_heads(&name("c1"), 1).await.unwrap().len(), 1);
    let ids = vec!["a".to_owned(), "b".into(), "c".into(), "none".into()];
    let bodies = store.pending(&name("c1"), ids).await.unwrap();
    assert_eq!(bodies.len(), 2, "of this consumer, and pending");
    assert!(bodies[0].first);
    assert_eq!(bodies[0].payload, "{\"manifests\":[{\"data\":\"one\"}]}");
    let heads = store.pending_heads(&name("c1"), 2).await.unwrap();
    assert_eq!(heads[0].bytes, 16 + 24, "manifests and metadata");

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

    // What a deletion does not carry is not read.
    store.mark_deleting("b", at(10)).await.unwrap();
    let heads = store.pending_heads(&name("c1"), 1).await.unwrap();
    let bodies = store.pending(&name("c1"), vec!["b".into()]).await.unwrap();
    assert_eq!((heads[0].bytes, bodies[0].payload.len()), (24, 0));
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
    let held = |id: &str, number| AgentVersion {
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
    let again = ask.clone();
    assert_eq!(store.request_resend(&name("c1"), ask).await.unwrap(), 2);
    // Asked once more, there is nothing to put back.
    assert_eq!(store.request_resend(&name("c1"), again).await.unwrap(), 0);
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

pub(crate) async fn a_bundle_is_sent_again_with_its_reason_unless_it_is_being_deleted(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2"]).await;
    store.create_bundle(bundle("a", "c1"), at(1)).await.unwrap();
    store
        .record_published("a", version(1), false, at(2))
        .await
        .unwrap();
    store
        .record_broker_acked("a", version(1), false, true, at(3))
        .await
        .unwrap();
    let again = async |consumer, id| {
        let consumer = name(consumer);
        store.send_again(&consumer, id, "gone there", at(4)).await
    };
    assert!(!again("c2", "a").await.unwrap());
    assert!(!again("c1", "none").await.unwrap());
    assert!(pending_ids(&store, "c1").await.is_empty());
    let mut changes = store.changes();
    assert!(again("c1", "a").await.unwrap());
    assert_eq!(next(&mut changes).await, Hint::Consumer(name("c1")));
    assert_eq!(pending_ids(&store, "c1").await, [("a".into(), 1, false)]);
    let stored = store.get_bundle("a").await.unwrap().unwrap();
    let entry = &stored.ledger.unwrap()[0];
    assert_eq!(entry.failure.as_deref(), Some("gone there"));
    assert_eq!((entry.failed_at, entry.acked_at), (Some(at(4)), None));
    // The acknowledgement of the first publication is no proof any more.
    store
        .record_broker_acked("a", version(1), false, true, at(5))
        .await
        .unwrap();
    assert_eq!(pending_ids(&store, "c1").await.len(), 1);
    store.mark_deleting("a", at(6)).await.unwrap();
    assert!(!again("c1", "a").await.unwrap());
}

pub(crate) async fn ids_that_nothing_can_have_are_unknown(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("a", "c1"), at(1)).await.unwrap();
    let c1 = name("c1");
    let odd = "a\0".to_owned();
    assert!(store.get_bundle(&odd).await.unwrap().is_none());
    assert!(store.get_consumer(&odd).await.unwrap().is_none());
    assert!(store.tombstone(&odd).await.unwrap().is_none());
    let ids = vec![odd.clone(), "a".to_owned()];
    assert_eq!(store.pending(&c1, ids.clone()).await.unwrap().len(), 1);
    let gone = store.gone(&c1, ids).await.unwrap();
    assert_eq!(gone.len(), 1);
    assert_eq!(
        (gone[0].id.as_str(), gone[0].deleted_here),
        (odd.as_str(), false)
    );
    let held = vec![AgentVersion {
        id: odd.clone(),
        version: version(0),
    }];
    assert_eq!(store.request_resend(&c1, held).await.unwrap(), 0);
    assert!(!store.send_again(&c1, &odd, "", at(2)).await.unwrap());
    store
        .record_publish_failed("a", version(1), false, "no\0t", at(2))
        .await
        .unwrap();
    store
        .record_broker_acked(&odd, version(1), false, true, at(2))
        .await
        .unwrap();
}
