//! The way up: which statuses are taken.

use link::order::SequenceId;
use server_bridge::store::{Json, StatusOutcome, StatusUpdate, Store};

use crate::{at, bundle, content, name, version, with_consumers};

pub(crate) fn status(id: &str, consumer: &str, number: i64, step: u16) -> StatusUpdate {
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
    let stored = version(1);
    assert_eq!(
        apply(status("b", "c1", 0, 0)).await.unwrap(),
        StatusOutcome::StaleVersion { stored }
    );
    assert_eq!(
        store.status_hashes_of(&name("c1")).await.unwrap(),
        [("b".into(), None)]
    );
    store
        .record_published("b", version(1), false, at(2))
        .await
        .unwrap();
    assert_eq!(
        apply(status("b", "c1", 1, 5)).await.unwrap(),
        StatusOutcome::Stored
    );
    // A report proves arrival: nothing is left to send.
    assert!(
        store
            .pending_heads(&name("c1"), 1)
            .await
            .unwrap()
            .is_empty()
    );
    for step in [5, 4] {
        let outcome = apply(status("b", "c1", 1, step)).await.unwrap();
        assert!(
            matches!(outcome, StatusOutcome::StaleSequence { .. }),
            "{outcome:?}"
        );
    }
    let mut foreign = status("b", "c1", 1, 9);
    foreign.sequence_id = SequenceId::from_parts(at(100), 2, 9);
    let outcome = apply(foreign).await.unwrap();
    assert!(matches!(outcome, StatusOutcome::StaleSequence { .. }));
    let mut deleted = status("b", "c1", 1, 6);
    deleted.deleted = true;
    assert_eq!(
        apply(deleted.clone()).await.unwrap(),
        StatusOutcome::NotDeleting
    );
    let mut late = deleted.clone();
    late.sequence_id = SequenceId::from_parts(at(100), 1, 5);
    let outcome = apply(late).await.unwrap();
    assert!(matches!(outcome, StatusOutcome::StaleSequence { .. }));
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

pub(crate) async fn a_newer_version_and_an_agent_on_another_node_are_heard(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let stored = async |update| store.apply_status(update).await.unwrap();
    assert_eq!(stored(status("b", "c1", 1, 9)).await, StatusOutcome::Stored);
    let mut other_node = status("b", "c1", 1, 0);
    other_node.sequence_id = SequenceId::from_parts(at(101), 7, 0);
    assert_eq!(stored(other_node).await, StatusOutcome::Stored);
    let outcome = stored(status("b", "c1", 1, 10)).await;
    assert!(matches!(outcome, StatusOutcome::StaleSequence { .. }));
    store
        .update_bundle("b", None, None, content("two"), None, at(2))
        .await
        .unwrap();
    // Whatever was said of an older version, and by a clock that was right or not.
    assert_eq!(stored(status("b", "c1", 2, 1)).await, StatusOutcome::Stored);
    let outcome = stored(status("b", "c1", 2, 1)).await;
    assert!(matches!(outcome, StatusOutcome::StaleSequence { .. }));
}

pub(crate) async fn a_status_from_the_future_gives_way_and_never_holds_up_a_deletion(
    store: impl Store,
) {
    with_consumers(&store, &["c1"]).await;
    let stored = async |update| store.apply_status(update).await.unwrap();
    let future = |step| {
        let mut future = status("b", "c1", 1, step);
        future.sequence_id = i64::MAX.to_string().parse().unwrap();
        future
    };
    for _ in 0..2 {
        store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
        assert_eq!(stored(future(0)).await, StatusOutcome::Stored);
        let mut honest = status("b", "c1", 1, 0);
        honest.sequence_id = SequenceId::from_parts(at(101), 1, 0);
        honest.at = at(101);
        assert_eq!(stored(honest).await, StatusOutcome::Stored);
        assert_eq!(stored(future(1)).await, StatusOutcome::Stored);
        store.mark_deleting("b", at(102)).await.unwrap();
        let mut deleted = future(2);
        deleted.deleted = true;
        assert_eq!(stored(deleted).await, StatusOutcome::Deleted);
    }
}

pub(crate) async fn a_sign_of_life_after_a_deletion_is_told_from_a_late_word(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    let stored = async |update| store.apply_status(update).await.unwrap();
    for id in ["b", "live"] {
        store.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
    }
    store.mark_deleting("b", at(2)).await.unwrap();
    let deleted = |step| {
        let mut deleted = status("b", "c1", 1, step);
        deleted.deleted = true;
        deleted
    };
    assert_eq!(stored(deleted(3)).await, StatusOutcome::Deleted);
    for late in [status("b", "c1", 1, 2), status("b", "c2", 1, 9), deleted(3)] {
        assert_eq!(stored(late).await, StatusOutcome::UnknownBundle);
    }
    let alive = status("b", "c1", 1, 5);
    assert_eq!(stored(alive.clone()).await, StatusOutcome::DeletedHere);
    // Deleted there once more: what it said before is no sign of life any more.
    assert_eq!(stored(deleted(6)).await, StatusOutcome::UnknownBundle);
    assert_eq!(stored(alive).await, StatusOutcome::UnknownBundle);

    let ask = vec!["b".to_owned(), "live".into(), "unheard".into()];
    let gone = async |consumer, ids| {
        let gone = store.gone(&name(consumer), ids).await.unwrap();
        let mut gone: Vec<_> = gone.into_iter().map(|g| (g.id, g.deleted_here)).collect();
        gone.sort_unstable();
        gone
    };
    assert_eq!(
        gone("c1", ask.clone()).await,
        [("b".into(), true), ("unheard".into(), false)]
    );
    // Another consumer's: it knows none of them and deleted none.
    assert!(gone("c2", ask.clone()).await.iter().all(|(_, here)| !here));
    store.create_bundle(bundle("b", "c1"), at(9)).await.unwrap();
    assert_eq!(gone("c1", ask).await, [("unheard".into(), false)]);

    store.mark_deleting("live", at(10)).await.unwrap();
    let mut last = status("live", "c1", 1, 1);
    last.deleted = true;
    assert_eq!(stored(last).await, StatusOutcome::Deleted);
    for (before, forgotten) in [(100, 0), (101, 1), (102, 0)] {
        assert_eq!(store.prune_tombstones(at(before)).await.unwrap(), forgotten);
    }
    assert_eq!(store.tombstone("live").await.unwrap(), None);
}

pub(crate) async fn a_newer_version_on_the_cluster_is_shown_until_it_is_passed(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let apply = |update| store.apply_status(update);
    let shown = || async { store.get_bundle("b").await.unwrap().unwrap() };
    assert_eq!(
        apply(status("b", "c1", 1, 3)).await.unwrap(),
        StatusOutcome::Stored
    );
    let stored = version(1);
    // A late word about an earlier bundle of the same id.
    let late = apply(status("b", "c1", 7, 2)).await.unwrap();
    assert_eq!(late, StatusOutcome::StaleVersion { stored });
    let ahead = apply(status("b", "c1", 7, 4)).await.unwrap();
    assert_eq!(ahead, StatusOutcome::Ahead { stored });
    let bundle = shown().await;
    assert_eq!(bundle.version, version(1));
    let status_now = bundle.status.unwrap();
    assert_eq!(status_now.version, version(7));
    let text = status_now.payload.as_str();
    assert!(
        text.contains("NewerVersionHeld") && text.contains("version 7"),
        "{text}"
    );
    let failure = bundle.ledger.unwrap()[0].failure.clone().unwrap();
    assert!(failure.contains("version 7"), "{failure}");
    // Asked for again with the next resync, when the versions may have met.
    assert_eq!(
        store.status_hashes_of(&name("c1")).await.unwrap(),
        [("b".into(), None)]
    );
    let changed = content("two");
    store
        .update_bundle("b", None, None, changed, None, at(2))
        .await
        .unwrap();
    // It proves no arrival of what this store has to send.
    assert_eq!(store.pending_heads(&name("c1"), 1).await.unwrap().len(), 1);
    assert_eq!(
        apply(status("b", "c1", 2, 5)).await.unwrap(),
        StatusOutcome::Stored
    );
    assert_eq!(shown().await.status.unwrap().version, version(2));
    // Nor does a status under the same number, as long as nothing was sent under it.
    assert_eq!(store.pending_heads(&name("c1"), 1).await.unwrap().len(), 1);
    store
        .record_published("b", version(2), false, at(3))
        .await
        .unwrap();
    assert_eq!(
        apply(status("b", "c1", 2, 6)).await.unwrap(),
        StatusOutcome::Stored
    );
    let pending = store.pending_heads(&name("c1"), 1).await.unwrap();
    assert!(pending.is_empty());
}

pub(crate) async fn an_id_used_again_for_another_consumer_mixes_nothing(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    let of = |consumer: &str, sequence: u16, deleted: bool| StatusUpdate {
        deleted,
        ..status("b", consumer, 1, sequence)
    };
    let ends = async |consumer: &str, sequence: u16| {
        store.mark_deleting("b", at(2)).await.unwrap();
        let confirmed = of(consumer, sequence, true);
        let outcome = store.apply_status(confirmed).await.unwrap();
        assert_eq!(outcome, StatusOutcome::Deleted);
    };
    let deleted_here = async |consumer: &str| {
        let gone = store.gone(&name(consumer), vec!["b".into()]).await.unwrap();
        gone.first().is_some_and(|gone| gone.deleted_here)
    };
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    ends("c1", 9).await;
    // The ids of the other's agent have their own order.
    store.create_bundle(bundle("b", "c2"), at(3)).await.unwrap();
    let outcome = store.apply_status(of("c2", 1, false)).await.unwrap();
    assert_eq!(outcome, StatusOutcome::Stored);
    // What the first one deleted is not forgotten: should it come back there, it is deleted again.
    assert!(deleted_here("c1").await);
    let late = store.apply_status(of("c1", 8, false)).await.unwrap();
    assert!(
        matches!(late, StatusOutcome::WrongConsumer { .. }),
        "{late:?}"
    );
    let back = store.apply_status(of("c1", 10, false)).await.unwrap();
    assert_eq!(back, StatusOutcome::DeletedHere);
    ends("c2", 2).await;
    assert!(deleted_here("c1").await && deleted_here("c2").await);
    // And of two in turn.
    store.create_bundle(bundle("b", "c1"), at(4)).await.unwrap();
    ends("c1", 11).await;
    assert!(deleted_here("c1").await && deleted_here("c2").await);
}
