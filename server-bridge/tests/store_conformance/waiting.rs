//! What waits on its way, by hop.

use jiff::Timestamp;
use server_bridge::store::{ANSWERED_WITHIN, HEADS, Hop, NAMED, Store, UNHEARD, Waits};

use crate::progress::told;
use crate::status::status;
use crate::{at, bundle, name, version, with_consumers};

async fn waits(store: &impl Store, now: Timestamp, hop: Hop) -> Waits {
    store.waiting(now, Vec::new()).await.unwrap().at(hop)
}

fn one(since: i64) -> Waits {
    Waits {
        bundles: 1,
        consumers: 1,
        oldest: Some(at(since)),
    }
}

async fn sent(store: &impl Store, id: &str, second: i64) {
    let (version, at) = (version(1), at(second));
    let published = store.record_published(id, version, false, at);
    published.await.unwrap();
    let acked = store.record_broker_acked(id, version, false, true, at);
    acked.await.unwrap();
}

pub(crate) async fn a_bundle_waits_at_one_hop_after_the_other_until_it_is_applied(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2"]).await;
    store
        .create_bundle(bundle("b1", "c1"), at(1))
        .await
        .unwrap();
    let waiting = store.waiting(at(5), Vec::new()).await.unwrap();
    assert_eq!((waiting.consumers, waiting.bundles), (2, 1));
    assert_eq!(waiting.at(Hop::Unsent), one(1));
    assert_eq!(waiting.unsent.len(), 1);
    assert_eq!(waiting.unsent[0].changed_at, at(1));
    assert_eq!(waiting.longest[0].consumer, "c1");

    sent(&store, "b1", 6).await;
    let patience = ANSWERED_WITHIN.as_secs();
    assert_eq!(waits(&store, at(6), Hop::Unsent).await, Waits::default());
    assert_eq!(waits(&store, at(6), Hop::Unanswered).await, one(1));
    assert_eq!(
        waits(&store, at(5 + patience), Hop::Unanswered).await,
        one(1)
    );
    // It had its time, and nothing was heard.
    let late = at(6 + patience);
    assert_eq!(waits(&store, late, Hop::Silent).await, one(1));
    assert_eq!(waits(&store, late, Hop::Unanswered).await, Waits::default());
    // It talks, about something else.
    let seen = store.note_seen(vec![name("c1")], at(7));
    seen.await.unwrap();
    assert_eq!(waits(&store, late, Hop::Silent).await, Waits::default());
    assert_eq!(waits(&store, late, Hop::Unanswered).await, one(1));

    // It has the version, and has not applied it.
    let mut update = status("b1", "c1", 1, 1);
    (update.at, update.applied_at) = (at(40), None);
    store.apply_status(update.clone()).await.unwrap();
    let now = at(60);
    assert_eq!(waits(&store, now, Hop::Unanswered).await, Waits::default());
    assert_eq!(waits(&store, now, Hop::Unapplied).await, one(6));
    let mut update = status("b1", "c1", 1, 2);
    (update.at, update.applied_at) = (at(41), Some(at(41)));
    store.apply_status(update).await.unwrap();
    let waiting = store.waiting(now, Vec::new()).await.unwrap();
    assert!(
        waiting.hops.is_empty() && waiting.unsent.is_empty(),
        "{waiting:?}"
    );

    // A deletion is waited for until it is confirmed, however long that takes: no sign that the cluster is away.
    store.mark_deleting("b1", at(50)).await.unwrap();
    assert_eq!(waits(&store, now, Hop::Unsent).await, one(50));
    let (id, version) = ("b1", version(1));
    store
        .record_published(id, version, true, at(51))
        .await
        .unwrap();
    let acked = store.record_broker_acked(id, version, true, true, at(51));
    acked.await.unwrap();
    assert_eq!(waits(&store, at(500), Hop::Unanswered).await, one(50));
    assert_eq!(waits(&store, at(500), Hop::Silent).await, Waits::default());
}

pub(crate) async fn consumers_are_counted_once_for_each_hop(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    for (id, consumer, second) in [("b1", "c1", 3), ("b2", "c1", 2), ("b3", "c2", 4)] {
        store
            .create_bundle(bundle(id, consumer), at(second))
            .await
            .unwrap();
    }
    sent(&store, "b3", 5).await;
    let waiting = store.waiting(at(9), Vec::new()).await.unwrap();
    let unsent = waiting.at(Hop::Unsent);
    assert_eq!((unsent.bundles, unsent.consumers), (2, 1));
    assert_eq!(unsent.oldest, Some(at(2)));
    assert_eq!(waiting.at(Hop::Unanswered), one(4));
    let longest: Vec<_> = waiting.longest.iter().map(|one| &one.consumer).collect();
    assert_eq!(longest, ["c1", "c2"]);
}

pub(crate) async fn what_is_known_to_wait_is_found_behind_any_number_of_others(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    let late = bundle("late", "c2");
    store.create_bundle(late, at(900)).await.unwrap();
    let waiting = store.waiting(at(901), Vec::new()).await.unwrap();
    let late = waiting.unsent[0].key;
    for number in 0..HEADS {
        let early = bundle(&format!("b{number}"), "c1");
        store.create_bundle(early, at(1)).await.unwrap();
    }
    let waiting = store.waiting(at(902), Vec::new()).await.unwrap();
    assert_eq!(waiting.unsent.len(), HEADS);
    assert!(waiting.unsent.iter().all(|head| head.key != late));
    let waiting = store.waiting(at(902), vec![late]).await.unwrap();
    assert_eq!(waiting.unsent.len(), HEADS);
    assert_eq!(waiting.unsent[0].key, late);
    assert_eq!(waiting.unsent[0].consumer, "c2");

    // All but it are sent, and asked for once more.
    for number in 0..HEADS {
        let id = format!("b{number}");
        sent(&store, &id, 910).await;
        let failed = store.record_publish_failed(&id, version(1), false, "away", at(911));
        failed.await.unwrap();
    }
    let waiting = store.waiting(at(912), Vec::new()).await.unwrap();
    assert_eq!(waiting.unsent.len(), HEADS);
    assert_eq!(waiting.unsent[0].key, late);
    assert_eq!(waiting.unsent[1].acked_at, Some(at(910)));
}

pub(crate) async fn those_that_wait_longest_are_named_at_each_hop(store: impl Store) {
    let names: Vec<_> = (0..=NAMED).map(|number| format!("c{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    with_consumers(&store, &names).await;
    for name in &names {
        let unsent = bundle(&format!("unsent-{name}"), name);
        store.create_bundle(unsent, at(1)).await.unwrap();
    }
    store
        .create_bundle(bundle("sent", "c0"), at(2))
        .await
        .unwrap();
    sent(&store, "sent", 3).await;
    let waiting = store.waiting(at(9), Vec::new()).await.unwrap();
    let named = |hop| waiting.longest.iter().filter(|one| one.hop == hop).count();
    assert_eq!(named(Hop::Unsent), NAMED);
    assert_eq!(named(Hop::Unanswered), 1);
}

pub(crate) async fn what_is_applied_no_more_or_not_available_waits_as_such(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    sent(&store, "b", 2).await;
    let seen = store.note_seen(vec![name("c1")], at(3));
    seen.await.unwrap();
    let hops = async || store.waiting(at(500), Vec::new()).await.unwrap().hops;
    for (step, words, second, expected) in [
        (1, ("False", "False"), 10, Some((Hop::Unapplied, one(2)))),
        (2, ("True", "False"), 20, Some((Hop::Unavailable, one(20)))),
        (3, ("True", "True"), 30, None),
        (4, ("Unknown", "True"), 40, Some((Hop::Unapplied, one(40)))),
        (5, ("False", "Unknown"), 50, Some((Hop::Unapplied, one(40)))),
        (
            6,
            ("True", "Unknown"),
            60,
            Some((Hop::Unavailable, one(60))),
        ),
    ] {
        let told = told(("b", 1), step, words, second);
        store.apply_status(told).await.unwrap();
        assert_eq!(hops().await, expected.into_iter().collect(), "{words:?}");
    }
    // It is applied by what it says, whether it says since when or not.
    store.create_bundle(bundle("d", "c1"), at(1)).await.unwrap();
    sent(&store, "d", 2).await;
    let mut told = told(("d", 1), 1, ("True", "True"), 70);
    told.applied_at = None;
    store.apply_status(told).await.unwrap();
    assert_eq!(hops().await.len(), 1);
}

pub(crate) async fn consumers_that_were_not_heard_of_are_counted_by_for_how_long(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2", "c3", "never"]).await;
    let last = 200_000;
    let unheard = UNHEARD.map(|(_, longer)| longer.as_secs());
    for (consumer, ago) in [
        ("c1", unheard[0]),
        ("c2", unheard[0] + 1),
        ("c3", unheard[2] + 1),
    ] {
        let seen = store.note_seen(vec![name(consumer)], at(last - ago));
        seen.await.unwrap();
    }
    let waiting = store.waiting(at(last), Vec::new()).await.unwrap();
    assert_eq!(waiting.unheard.longer, [2, 1, 1]);
    assert_eq!((waiting.unheard.never, waiting.consumers), (1, 4));
}
