//! What is kept of what agents say: lists in parts, orphans, and when a consumer was heard.

use jiff::{SignedDuration, Timestamp};
use link::bundle::resync::HeldVersion;
use server_bridge::store::{
    ALL_BYTES, AgentVersion, Hint, LIST_BYTES, ORPHANS, Orphan, PartOutcome, ResyncPart,
    StatusUpdate, Store, StoreError,
};
use server_bridge::store::{Json, unseen_since};

use crate::{at, bundle, name, version, with_consumers};

pub(crate) fn part(consumer: &str, list: &str, number: u32, total: u32) -> ResyncPart {
    ResyncPart {
        consumer: name(consumer),
        list: list.into(),
        made_at: at(0),
        number,
        total,
        held: vec![held(number)],
    }
}

pub(crate) fn held(number: u32) -> HeldVersion {
    HeldVersion {
        // As much as JSON has to escape.
        resource_id: format!("work \"{number}\"\0\n"),
        resource_version: version(i64::from(number)),
    }
}

/// A part of about so many bytes, made at a second.
fn weighing(consumer: &str, list: &str, number: u32, bytes: u64, second: i64) -> ResyncPart {
    let bytes = usize::try_from(bytes).unwrap();
    ResyncPart {
        made_at: at(second),
        held: vec![HeldVersion {
            resource_id: "x".repeat(bytes - 8),
            resource_version: version(1),
        }],
        ..part(consumer, list, number, 64)
    }
}

fn orphan(id: &str) -> Orphan {
    Orphan {
        id: id.into(),
        version: version(7),
        deleted_here: true,
    }
}

pub(crate) async fn a_list_is_whole_once_all_its_parts_came_in_any_order_and_repeated(
    store: impl Store,
) {
    let whole = PartOutcome::Whole {
        held: vec![held(1), held(2), held(3)],
        began_at: at(1),
    };
    for number in [3, 1, 3, 1] {
        let outcome = store.add_resync_part(part("c1", "r", number, 3), at(1));
        assert_eq!(outcome.await.unwrap(), PartOutcome::Waits);
    }
    // Another consumer's list has the same id.
    let other = store.add_resync_part(part("c2", "r", 2, 3), at(1));
    assert_eq!(other.await.unwrap(), PartOutcome::Waits);
    // Whoever was to answer may be gone: whoever gets the last part again is given the list again, until it is answered.
    for _ in 0..2 {
        let outcome = store.add_resync_part(part("c1", "r", 2, 3), at(2));
        assert_eq!(outcome.await.unwrap(), whole);
    }
    let outcome = store.add_resync_part(part("c1", "r", 1, 3), at(2));
    assert_eq!(outcome.await.unwrap(), whole);
    for _ in 0..2 {
        store.forget_resync(&name("c1"), "r").await.unwrap();
    }
    let late = store.add_resync_part(part("c1", "r", 2, 3), at(3));
    assert_eq!(late.await.unwrap(), PartOutcome::Waits);
    // The other's is untouched, and what parts stay away from is forgotten by age.
    assert_eq!(store.prune_resyncs(at(1)).await.unwrap(), 0);
    assert_eq!(store.prune_resyncs(at(2)).await.unwrap(), 1);
    assert_eq!(store.prune_resyncs(at(4)).await.unwrap(), 1);
}

pub(crate) async fn newer_lists_take_the_place_of_older_ones_and_totals_are_not_believed_twice(
    store: impl Store,
) {
    let made = |list: &str, number, second| ResyncPart {
        made_at: at(second),
        ..part("c1", list, number, 2)
    };
    let add = async |part| store.add_resync_part(part, at(9)).await.unwrap();
    assert_eq!(add(made("first", 1, 1)).await, PartOutcome::Waits);
    assert_eq!(add(made("second", 1, 2)).await, PartOutcome::Waits);
    // Its last part comes after the next one began.
    assert!(matches!(
        add(made("first", 2, 1)).await,
        PartOutcome::Whole { .. }
    ));
    assert_eq!(add(made("third", 1, 3)).await, PartOutcome::Waits);
    assert_eq!(add(made("first", 1, 1)).await, PartOutcome::Superseded);
    let other_total = ResyncPart {
        total: 3,
        ..made("third", 3, 3)
    };
    assert_eq!(
        add(other_total).await,
        PartOutcome::OtherTotal { earlier: 2 }
    );
    assert!(matches!(
        add(made("third", 2, 3)).await,
        PartOutcome::Whole { .. }
    ));
    // With one that is answered the older ones go, and no newer one.
    assert_eq!(add(made("fourth", 1, 4)).await, PartOutcome::Waits);
    store.forget_resync(&name("c1"), "third").await.unwrap();
    assert!(matches!(
        add(made("fourth", 2, 4)).await,
        PartOutcome::Whole { .. }
    ));
    assert_eq!(store.prune_resyncs(at(10)).await.unwrap(), 1);
}

pub(crate) async fn unfinished_lists_are_bounded_each_and_together(store: impl Store) {
    let eighth = LIST_BYTES / 8;
    for number in 1..=8 {
        let part = weighing("c1", "r", number, eighth, 1);
        for _ in 0..2 {
            let outcome = store.add_resync_part(part.clone(), at(1)).await.unwrap();
            assert_eq!(outcome, PartOutcome::Waits);
        }
    }
    let more = store
        .add_resync_part(weighing("c1", "r", 9, 20, 1), at(1))
        .await
        .unwrap();
    assert!(matches!(more, PartOutcome::TooLong { .. }), "{more:?}");
    assert_eq!(store.prune_resyncs(at(2)).await.unwrap(), 0);

    let lists = ALL_BYTES / LIST_BYTES + 1;
    for number in 0..lists {
        let consumer = format!("c{number}");
        let second = i64::try_from(number).unwrap();
        let outcome = store
            .add_resync_part(weighing(&consumer, "r", 1, LIST_BYTES, 1), at(second))
            .await
            .unwrap();
        assert_eq!(outcome, PartOutcome::Waits);
    }
    // The oldest had to go.
    assert_eq!(store.prune_resyncs(at(1)).await.unwrap(), 0);
    assert_eq!(store.prune_resyncs(at(9_999)).await.unwrap(), lists - 1);
}

pub(crate) async fn orphans_wait_in_the_outbox_until_they_are_removed(store: impl Store) {
    let (c1, c2) = (name("c1"), name("c2"));
    with_consumers(&store, &["c1", "c2"]).await;
    let mut hints = store.changes();
    let works = vec![orphan("b"), orphan("a"), orphan(&"x".repeat(254))];
    assert_eq!(store.add_orphans(&c1, works).await.unwrap(), 1);
    // Whoever has just begun to listen looks at everything.
    let mut told = hints.recv().await.unwrap();
    while told == Hint::Somebody {
        told = hints.recv().await.unwrap();
    }
    assert_eq!(told, Hint::Consumer(c1.clone()));
    assert_eq!(
        store.consumers_with_pending().await.unwrap(),
        std::slice::from_ref(&c1)
    );
    assert!(store.orphans(&c2, 9).await.unwrap().is_empty());
    let first = store.orphans(&c1, 1).await.unwrap();
    assert_eq!(first[0].1, orphan("a"));
    // Added again while it is sent, it waits behind the others.
    let again = Orphan {
        version: version(8),
        deleted_here: false,
        ..orphan("a")
    };
    store.add_orphans(&c1, vec![again.clone()]).await.unwrap();
    store.remove_orphans(vec![first[0].0]).await.unwrap();
    let waiting = store.orphans(&c1, 9).await.unwrap();
    let works: Vec<&Orphan> = waiting.iter().map(|(_, work)| work).collect();
    assert_eq!(works, [&orphan("b"), &again]);
    let many = (0..ORPHANS).map(|number| orphan(&format!("o{number}")));
    assert_eq!(store.add_orphans(&c1, many.collect()).await.unwrap(), 2);
    // What is there already needs no room; other consumers have room of their own.
    assert_eq!(store.add_orphans(&c1, vec![again]).await.unwrap(), 0);
    assert_eq!(store.add_orphans(&c2, vec![orphan("b")]).await.unwrap(), 0);
    let keys = |orphans: Vec<(i64, Orphan)>| orphans.into_iter().map(|(key, _)| key).collect();
    let all = store.orphans(&c1, u32::MAX / 2).await.unwrap();
    assert_eq!(all.len() as u64, ORPHANS);
    store.remove_orphans(keys(all)).await.unwrap();
    assert_eq!(store.consumers_with_pending().await.unwrap(), [c2]);
    // Nobody registered this one: what was not deleted here is left alone.
    let unwanted = Orphan {
        deleted_here: false,
        ..orphan("b")
    };
    let works = vec![orphan("a"), unwanted];
    assert_eq!(store.add_orphans(&name("c3"), works).await.unwrap(), 0);
    let waiting = store.orphans(&name("c3"), 9).await.unwrap();
    assert_eq!(waiting.len(), 1);
}

pub(crate) async fn a_consumer_is_noted_as_heard_about_once_a_minute(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    let seen = async || {
        let consumer = store.get_consumer("id-c1").await.unwrap().unwrap();
        consumer.last_seen_at
    };
    assert_eq!(seen().await, None);
    for (second, noted) in [(10, 10), (20, 10), (69, 10), (70, 70), (40, 70), (600, 600)] {
        let heard = vec![name("c1"), name("unknown")];
        store.note_seen(heard, at(second)).await.unwrap();
        assert_eq!(seen().await, Some(at(noted)));
    }
    let other = store.get_consumer_by_name(&name("c2")).await.unwrap();
    assert_eq!(other.unwrap().last_seen_at, None);
}

pub(crate) async fn a_lost_consumer_is_removed_with_all_that_is_kept_of_it(store: impl Store) {
    let (c1, c2) = (name("c1"), name("c2"));
    with_consumers(&store, &["c1", "c2"]).await;
    let seen = at(1_000);
    store
        .note_seen(vec![c1.clone(), c2.clone()], seen)
        .await
        .unwrap();
    for (id, consumer) in [("a", "c1"), ("b", "c1"), ("kept", "c2"), ("gone", "c1")] {
        store
            .create_bundle(bundle(id, consumer), at(1))
            .await
            .unwrap();
        store
            .record_published(id, version(1), false, at(2))
            .await
            .unwrap();
    }
    store.mark_deleting("gone", at(3)).await.unwrap();
    store.mark_deleting("b", at(3)).await.unwrap();
    store
        .apply_status(status("gone", true, at(4)))
        .await
        .unwrap();
    store.apply_status(status("a", false, at(4))).await.unwrap();
    assert!(store.tombstone("gone").await.unwrap().is_some());
    for consumer in ["c1", "c2"] {
        store
            .add_orphans(&name(consumer), vec![orphan("o")])
            .await
            .unwrap();
        let first = store.add_resync_part(part(consumer, "r", 1, 2), at(4));
        first.await.unwrap();
    }

    // Heard a day ago is refused, a moment before that is not.
    let day = SignedDuration::from_hours(24);
    let alive = store
        .remove_consumer("id-c1", Some(unseen_since(seen + day)), at(900))
        .await
        .unwrap_err();
    assert!(
        matches!(&alive, StoreError::ConsumerSeen { last_seen_at, .. } if *last_seen_at == Some(seen)),
        "{alive:?}"
    );
    assert!(store.get_bundle("a").await.unwrap().is_some());
    let later = seen + day + SignedDuration::from_micros(1);
    let removed = store
        .remove_consumer("id-c1", Some(unseen_since(later)), at(900))
        .await
        .unwrap();
    assert_eq!(
        (removed.name, removed.bundles, removed.last_seen_at),
        (c1.clone(), 2, Some(seen))
    );
    let again = store
        .remove_consumer("id-c1", None, at(900))
        .await
        .unwrap_err();
    assert!(matches!(again, StoreError::ConsumerNotFound { .. }));

    for id in ["a", "b"] {
        assert!(store.get_bundle(id).await.unwrap().is_none());
        assert!(store.tombstone(id).await.unwrap().is_none());
    }
    assert!(store.tombstone("gone").await.unwrap().is_none());
    assert!(store.orphans(&c1, 9).await.unwrap().is_empty());
    assert_eq!(store.orphans(&c2, 9).await.unwrap().len(), 1);
    assert!(store.get_bundle("kept").await.unwrap().is_some());
    // Registered again, its works are unknown, and so left alone; its list begins anew.
    with_consumers(&store, &["c1"]).await;
    let ids = ["a", "b", "gone"].map(str::to_owned);
    let gone = store.gone(&c1, ids.into()).await.unwrap();
    assert_eq!(gone.len(), 3);
    assert!(gone.iter().all(|gone| !gone.deleted_here), "{gone:?}");
    let holds = vec![AgentVersion {
        id: "a".into(),
        version: version(0),
    }];
    assert_eq!(store.request_resend(&c1, holds).await.unwrap(), 0);
    for (consumer, outcome) in [("c1", false), ("c2", true)] {
        let last = store.add_resync_part(part(consumer, "r", 2, 2), at(5));
        let whole = matches!(last.await.unwrap(), PartOutcome::Whole { .. });
        assert_eq!(whole, outcome);
    }
    // Its name and the ids of its bundles are free.
    store.create_bundle(bundle("a", "c1"), at(6)).await.unwrap();
    // Whoever confirms is not asked when it was heard.
    store.remove_consumer("id-c2", None, at(900)).await.unwrap();
}

pub(crate) async fn a_consumer_is_lost_only_when_its_silence_was_heard(store: impl Store) {
    with_consumers(&store, &["c1", "c2", "c3"]).await;
    let remove = async |id: &str| {
        let now = Some(unseen_since(at(1_000)));
        store.remove_consumer(id, now, at(900)).await
    };
    for (id, consumer) in [("a", "c1"), ("b", "c2")] {
        let made = store.create_bundle(bundle(id, consumer), at(1));
        made.await.unwrap();
        let sent = store.record_published(id, version(1), false, at(2));
        sent.await.unwrap();
    }
    // It reported on a bundle, and when was not noted: as after an upgrade.
    store.apply_status(status("a", false, at(4))).await.unwrap();
    let alive = remove("id-c1").await.unwrap_err();
    assert!(
        matches!(
            alive,
            StoreError::ConsumerSeen {
                last_seen_at: None,
                ..
            }
        ),
        "{alive:?}"
    );
    assert!(store.get_bundle("a").await.unwrap().is_some());
    // This one never reported; and one without bundles loses nothing, whenever it was heard.
    assert_eq!(remove("id-c2").await.unwrap().bundles, 1);
    let noted = store.note_seen(vec![name("c3")], at(999));
    noted.await.unwrap();
    assert_eq!(remove("id-c3").await.unwrap().bundles, 0);
}

fn status(id: &str, deleted: bool, at: Timestamp) -> StatusUpdate {
    StatusUpdate {
        bundle_id: id.into(),
        consumer: name("c1"),
        version: version(1),
        sequence_id: link::order::SequenceId::from_parts(at, 1, 0),
        status_hash: None,
        payload: Json::parse("{\"conditions\":[]}").unwrap(),
        metadata: None,
        deleted,
        received_at: None,
        applied_at: None,
        at,
    }
}

pub(crate) async fn foreign_works_are_forgotten_by_a_whole_list_that_came_after_them(
    store: impl Store,
) {
    let (c1, c2) = (name("c1"), name("c2"));
    let foreign = async |consumer| store.doubts(consumer).await.unwrap().foreign_works;
    store.forget_foreign_works(&c1, at(9)).await.unwrap();
    for consumer in [&c1, &c2] {
        store.note_foreign_work(consumer, at(3)).await.unwrap();
    }
    store.forget_foreign_works(&c1, at(2)).await.unwrap();
    assert!(foreign(&c1).await, "it was noted later");
    store.forget_foreign_works(&c1, at(3)).await.unwrap();
    assert!(!foreign(&c1).await && foreign(&c2).await);
    store.note_foreign_work(&c1, at(4)).await.unwrap();
    assert!(foreign(&c1).await);
}
