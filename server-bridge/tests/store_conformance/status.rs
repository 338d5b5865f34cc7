//! The way up: which statuses are taken.

use link::order::SequenceId;
use server_bridge::store::{Json, StatusOutcome, StatusUpdate, Store};

use crate::{at, bundle, name, version, with_consumers};

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

pub(crate) async fn statuses_are_taken_only_in_order_and_from_their_consumer(store: impl Store) {
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
    assert!(store.pending(&name("c1"), 1).await.unwrap().is_empty());
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
