//! What replicas agree on in the database: slots, buckets with their terms, and writes that are refused.

use std::time::Duration;

use server_bridge::store::postgres::PostgresStore;
use server_bridge::store::{
    Bucket, Fence, Free, Hint, Instance, LeaseStore, Renewal, Replica, Slot, Store, StoreError,
};
use tokio::task::JoinSet;

use super::{Place, until, within};
use crate::outbox::next;
use crate::{at, bundle, name, version, with_consumers};

async fn taken(store: &PostgresStore, who: &str, slots: u16, ttl: Duration) -> Replica {
    let instance = Instance::random();
    match store
        .take_slot(&instance, who, slots, Free::Expired, ttl)
        .await
        .unwrap()
    {
        Slot::Taken(slot) => Replica {
            slot,
            instance,
            name: who.to_owned(),
        },
        Slot::Full(replicas) => panic!("{replicas:?}"),
    }
}

async fn take(store: &PostgresStore, me: &Replica) -> Vec<(Bucket, i64)> {
    let mut taken = store.take(me, Bucket::all().collect()).await.unwrap();
    taken.sort_unstable();
    taken
}

/// All buckets in a term.
fn all(term: i64) -> Vec<(Bucket, i64)> {
    Bucket::all().map(|bucket| (bucket, term)).collect()
}

fn expired(place: &Place, replica: &Replica) -> bool {
    let slot = replica.slot;
    place.sql(&format!(
        "SELECT expires_at < clock_timestamp() FROM bridge.replicas WHERE slot = {slot}"
    )) == "t"
}

fn fence(replica: &Replica, consumer: &str, term: i64) -> Option<Fence> {
    Some(Fence {
        bucket: Bucket::of(&name(consumer)),
        term,
        instance: replica.instance.clone(),
    })
}

fn refused(outcome: Result<(), StoreError>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");
    assert!(error.is_refusal() && !error.is_retryable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_gets_a_slot_of_its_own_and_the_lowest_until_there_is_none() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let mut starting = JoinSet::new();
    for number in 0..8 {
        let store = stores[number % 2].clone();
        starting.spawn(async move { taken(&store, &format!("pod-{number}"), 8, LONG).await });
    }
    let mut replicas = starting.join_all().await;
    replicas.sort_by_key(|replica| replica.slot);
    let slots: Vec<u16> = replicas.iter().map(|replica| replica.slot).collect();
    assert_eq!(slots, (0..8).collect::<Vec<_>>());
    let late = Instance::random();
    let full = stores[0]
        .take_slot(&late, "late", 8, Free::Expired, LONG)
        .await
        .unwrap();
    assert_eq!(full, Slot::Full(replicas.clone()));
    let mut hints = stores[1].hints();
    stores[1].leave(&replicas[3]).await.unwrap();
    assert_eq!(within("the hint", next(&mut hints)).await, Hint::Replicas);
    assert_eq!(taken(&stores[0], "late", 8, LONG).await.slot, 3);
    // More are there than this one allows for.
    let full = stores[0]
        .take_slot(&late, "narrow", 2, Free::Expired, LONG)
        .await
        .unwrap();
    assert!(matches!(full, Slot::Full(held) if held.len() == 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_asks_for_a_slot_again_keeps_the_one_it_has() {
    let place = Place::new();
    let store = place.open().await;
    let before = taken(&store, "before", 8, LONG).await;
    let me = taken(&store, "me", 8, SHORT).await;
    // A lower one is free by now, and its own has expired.
    store.leave(&before).await.unwrap();
    until("the end", async || expired(&place, &me)).await;
    let again = store
        .take_slot(&me.instance, "me", 8, Free::Unheld, LONG)
        .await
        .unwrap();
    assert_eq!(again, Slot::Taken(1));
    assert_eq!(store.renew(&me, LONG).await.unwrap(), Renewal::Kept);
    assert_eq!(
        store.roster().await.unwrap().replicas,
        std::slice::from_ref(&me)
    );
    // One whose client ids are others than its row says would have those of somebody else.
    let elsewhere = Replica { slot: 5, ..me };
    let lost = store.renew(&elsewhere, LONG).await.unwrap();
    assert_eq!(lost, Renewal::Lost { to: None });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_slot_is_taken_when_no_other_is_left_and_its_former_holder_learns_of_it() {
    let place = Place::new();
    let store = place.open().await;
    let (late, held) = (
        taken(&store, "late", 2, SHORT).await,
        taken(&store, "held", 2, LONG).await,
    );
    until("the end", async || expired(&place, &late)).await;
    let wide = taken(&store, "wide", 3, LONG).await;
    assert_eq!(wide.slot, 2, "one that was late may come back to its own");
    // Late, but nobody took it.
    assert_eq!(store.renew(&late, SHORT).await.unwrap(), Renewal::Late);
    until("the end", async || expired(&place, &late)).await;
    let other = Instance::random();
    let unheld = store
        .take_slot(&other, "other", 2, Free::Unheld, LONG)
        .await;
    assert!(matches!(unheld.unwrap(), Slot::Full(held) if held.len() == 3));
    let next = taken(&store, "next", 2, LONG).await;
    assert_eq!(next.slot, 0);
    let lost = store.renew(&late, LONG).await.unwrap();
    let to = Some("next".to_owned());
    assert_eq!(lost, Renewal::Lost { to });
    assert_eq!(store.renew(&held, LONG).await.unwrap(), Renewal::Kept);
    let roster = store.roster().await.unwrap();
    assert_eq!(roster.replicas, [next, held, wide]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_are_one_replica_s_until_it_expires_or_gives_them_back() {
    let place = Place::new();
    // A session's time zone, like the clock of its process, has no say.
    place.sql(&format!(
        "ALTER DATABASE {} SET timezone = 'Pacific/Kiritimati'",
        place.database
    ));
    let a_store = place.open().await;
    place.sql(&format!(
        "ALTER DATABASE {} SET timezone = 'America/Los_Angeles'",
        place.database
    ));
    let b_store = place.open().await;
    let a = taken(&a_store, "a", 8, LONG).await;
    let b = taken(&b_store, "b", 8, LONG).await;
    assert_eq!(take(&a_store, &a).await, all(1));
    assert_eq!(take(&b_store, &b).await, []);
    assert_eq!(b_store.remove_expired(&b).await.unwrap(), 0);

    // Given back, it is anybody's, in a new term.
    let (one, two) = (Bucket::new(0), Bucket::new(255));
    let mut hints = a_store.hints();
    a_store.give_back(&a, vec![one, two]).await.unwrap();
    assert_eq!(within("the hint", next(&mut hints)).await, Hint::Replicas);
    assert_eq!(take(&b_store, &b).await, [(one, 2), (two, 2)]);
    // What is not one's own is not given back.
    a_store.give_back(&a, vec![one, two]).await.unwrap();
    assert_eq!(take(&a_store, &a).await, []);

    // Late, but nobody took anything.
    a_store.renew(&a, SHORT).await.unwrap();
    until("the end", async || expired(&place, &a)).await;
    assert_eq!(take(&b_store, &b).await, []);
    assert_eq!(a_store.renew(&a, SHORT).await.unwrap(), Renewal::Late);
    let roster = b_store.roster().await.unwrap();
    let kept = roster
        .leases
        .iter()
        .filter(|l| l.owner.as_ref() == Some(&a.instance));
    assert!(kept.clone().all(|lease| lease.term == 1) && kept.count() == 254);

    // Gone: what it had is taken, once.
    until("the end", async || expired(&place, &a)).await;
    assert_eq!(
        take(&a_store, &a).await,
        [],
        "one that expired takes nothing"
    );
    let mut hints = b_store.hints();
    let (first, second) = tokio::join!(b_store.remove_expired(&b), b_store.remove_expired(&b));
    assert_eq!(first.unwrap() + second.unwrap(), 1);
    assert_eq!(within("the hint", next(&mut hints)).await, Hint::Replicas);
    assert_eq!(take(&b_store, &b).await.len(), 254);
    // It comes back with its slot, as one that has nothing.
    assert_eq!(a_store.renew(&a, LONG).await.unwrap(), Renewal::Late);
    assert_eq!(take(&a_store, &a).await, []);
    b_store.leave(&b).await.unwrap();
    let again = take(&a_store, &a).await;
    assert!(again.iter().all(|(_, term)| *term == 3) && again.len() == 256);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_take_at_once_each_bucket_is_one_s() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let a = taken(&stores[0], "a", 8, LONG).await;
    let b = taken(&stores[1], "b", 8, LONG).await;
    for _ in 0..20 {
        let mut backwards: Vec<Bucket> = Bucket::all().collect();
        backwards.reverse();
        let (first, second) = tokio::join!(
            stores[0].take(&a, Bucket::all().collect()),
            stores[1].take(&b, backwards),
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(
            first
                .iter()
                .all(|(bucket, _)| second.iter().all(|(other, _)| other != bucket))
        );
        for (store, me, taken) in [(&stores[0], &a, first), (&stores[1], &b, second)] {
            let taken = taken.into_iter().map(|(bucket, _)| bucket).collect();
            store.give_back(me, taken).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_of_one_term_are_taken_and_those_of_the_terms_beside_it_refused() {
    let place = Place::new();
    let (a_store, b_store) = (place.open().await, place.open().await);
    with_consumers(&a_store, &["c1"]).await;
    let a = taken(&a_store, "a", 8, LONG).await;
    let b = taken(&b_store, "b", 8, LONG).await;
    take(&a_store, &a).await;
    a_store
        .give_back(&a, Bucket::all().collect())
        .await
        .unwrap();
    take(&a_store, &a).await;
    let row = || {
        place.sql("SELECT l.*, b.unsent, b.acked_version FROM bridge.ledger l, bridge.bundles b")
    };
    // Whatever the callers' clocks say.
    for (id, when) in [("early", at(-900_000_000)), ("late", at(900_000_000))] {
        a_store
            .create_bundle(bundle(id, "c1"), at(0))
            .await
            .unwrap();
        let before = row();
        for wrong in [fence(&a, "c1", 1), fence(&a, "c1", 3), fence(&b, "c1", 2)] {
            let store = a_store.fenced(wrong);
            refused(store.record_published(id, version(1), false, when).await);
            refused(
                store
                    .record_broker_acked(id, version(1), false, true, when)
                    .await,
            );
            let failed = store.record_publish_failed(id, version(1), false, "no", when);
            refused(failed.await);
            // What has nothing to do with publishing goes on.
            store.versions_of(&name("c1")).await.unwrap();
        }
        assert_eq!(row(), before);
        let store = a_store.fenced(fence(&a, "c1", 2));
        store
            .record_published(id, version(1), false, when)
            .await
            .unwrap();
        let failed = store.record_publish_failed(id, version(1), false, "no", when);
        failed.await.unwrap();
        store
            .record_published(id, version(1), false, when)
            .await
            .unwrap();
        assert_eq!(
            a_store.pending_heads(&name("c1"), 9).await.unwrap().len(),
            1
        );
        store
            .record_broker_acked(id, version(1), false, true, when)
            .await
            .unwrap();
        assert_eq!(a_store.pending_heads(&name("c1"), 9).await.unwrap(), []);
    }
    // Given back, nobody has it.
    a_store
        .give_back(&a, Bucket::all().collect())
        .await
        .unwrap();
    let store = a_store.fenced(fence(&a, "c1", 2));
    refused(
        store
            .record_published("late", version(1), false, at(1))
            .await,
    );
    // Without a fence, as of a bridge before there were leases.
    let unfenced = store.fenced(None);
    unfenced
        .record_published("late", version(1), false, at(1))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_that_waited_while_its_bucket_was_taken_over_is_refused() {
    let place = Place::patient();
    let (a_store, b_store) = (place.open().await, place.open().await);
    with_consumers(&a_store, &["c1"]).await;
    a_store
        .create_bundle(bundle("b", "c1"), at(0))
        .await
        .unwrap();
    let a = taken(&a_store, "a", 8, LONG).await;
    take(&a_store, &a).await;
    let store = a_store.fenced(fence(&a, "c1", 1));
    store
        .record_published("b", version(1), false, at(1))
        .await
        .unwrap();
    let held = place.locked().await;
    let late = tokio::spawn(async move {
        store
            .record_broker_acked("b", version(1), false, true, at(2))
            .await
    });
    until("it to wait", async || place.waiting() == "1").await;
    let b = taken(&b_store, "b", 8, LONG).await;
    a_store.leave(&a).await.unwrap();
    take(&b_store, &b).await;
    drop(held);
    refused(within("the answer", late).await.unwrap());
    let waiting = b_store.pending_heads(&name("c1"), 9).await.unwrap();
    assert_eq!(waiting.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_whose_note_waited_while_its_bucket_was_taken_over_is_refused() {
    let place = Place::patient();
    let (a_store, b_store) = (place.open().await, place.open().await);
    with_consumers(&a_store, &["c1"]).await;
    a_store
        .create_bundle(bundle("b", "c1"), at(0))
        .await
        .unwrap();
    let a = taken(&a_store, "a", 8, LONG).await;
    take(&a_store, &a).await;
    let store = a_store.fenced(fence(&a, "c1", 1));
    let held = place.locked().await;
    let late =
        tokio::spawn(async move { store.record_published("b", version(1), false, at(2)).await });
    until("it to wait", async || place.waiting() == "1").await;
    let b = taken(&b_store, "b", 8, LONG).await;
    a_store.leave(&a).await.unwrap();
    take(&b_store, &b).await;
    drop(held);
    refused(within("the answer", late).await.unwrap());
    let attempts = place.sql("SELECT attempts, published_at IS NULL FROM bridge.ledger");
    assert_eq!(attempts, "0|t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_is_renewed_while_every_other_connection_is_taken() {
    let place = Place::patient();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    let me = taken(&store, "a", 8, LONG).await;
    let held = place.locked().await;
    let mut reads = JoinSet::new();
    for _ in 0..30 {
        let store = store.clone();
        reads.spawn(async move {
            // Delivery may take all of them. Those that wait longer for one than that may take fail.
            let _ = store.versions_of(&name("c1")).await;
        });
    }
    let others = (place.config.max_connections - 1).to_string();
    until("them to wait", async || place.waiting() == others).await;
    let renewed = within("the renewal", store.renew(&me, LONG)).await;
    assert_eq!(renewed.unwrap(), Renewal::Kept);
    drop(held);
    reads.join_all().await;
}

// The end of it is waited for.
const SHORT: Duration = Duration::from_millis(50);

// No test takes as long.
const LONG: Duration = Duration::from_secs(3600);
