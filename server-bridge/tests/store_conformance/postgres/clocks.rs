//! Replicas whose own clocks are wrong: all that is stored is dated by the database's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use link::clock::Clock;
use link::order::SequenceId;
use server_bridge::store::postgres::PostgresStore;
use server_bridge::store::{
    AgentStore as _, Bucket, Fence, Free, Instance, LeaseStore as _, Renewal, Replica, Slot,
    StatusOutcome, StatusUpdate, Store, unseen_since,
};

use super::Place;
use crate::status::status;
use crate::{bundle, content, name, version, with_consumers};

/// A replica on a machine whose clock is this far ahead.
async fn opened(place: &Place, ahead: SignedDuration) -> PostgresStore {
    let mut config = place.config.clone();
    config.clock = Clock::from_fn(move || Clock::system().now() + ahead);
    PostgresStore::open(config).await.unwrap()
}

/// As the agent says it, whose clock is right and which takes ids a little ahead of it.
fn said(ahead: SignedDuration, step: u16, deleted: bool, taken: Timestamp) -> StatusUpdate {
    let mut said = status("b", "c1", 1, step);
    said.sequence_id = SequenceId::from_parts(Clock::system().now() + ahead, 1, step);
    (said.deleted, said.at) = (deleted, taken);
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_whose_clocks_are_ten_minutes_fast_and_slow_do_as_all_others_do() {
    let place = Place::new();
    let off = SignedDuration::from_mins(10);
    let (fast, slow) = (opened(&place, off).await, opened(&place, -off).await);
    let now = |store: &PostgresStore| store.clock().now();
    for store in [&fast, &slow] {
        let wrong = now(store).duration_since(Clock::system().now());
        assert!(wrong.abs() < SignedDuration::from_secs(5), "{wrong:?}");
    }

    // Leases: neither takes the other for gone, and both share.
    let ttl = Duration::from_secs(60);
    let mut replicas = Vec::new();
    for store in [&fast, &slow] {
        let instance = Instance::random();
        let slot = store.take_slot(&instance, "r", 8, Free::Expired, ttl).await;
        let Slot::Taken(slot) = slot.unwrap() else {
            panic!("there are eight")
        };
        replicas.push(Replica {
            slot,
            instance,
            name: "r".into(),
        });
    }
    for (store, me) in [(&fast, &replicas[0]), (&slow, &replicas[1])] {
        assert_eq!(store.renew(me, ttl).await.unwrap(), Renewal::Kept);
        assert_eq!(store.remove_expired(me).await.unwrap(), 0);
    }
    let bucket = Bucket::of(&name("c1"));
    let taken = fast.take(&replicas[0], vec![bucket]).await.unwrap();
    assert_eq!(slow.take(&replicas[1], vec![bucket]).await.unwrap(), []);
    let fence = |replica: &Replica| {
        Some(Fence {
            bucket,
            term: taken[0].1,
            instance: replica.instance.clone(),
        })
    };

    // The outbox, under the fence of who has the bucket; made by one and changed by the other.
    with_consumers(&slow, &["c1"]).await;
    fast.create_bundle(bundle("b", "c1"), now(&fast))
        .await
        .unwrap();
    let v1 = version(1);
    let refused = slow.fenced(fence(&replicas[1]));
    let refused = refused.record_published("b", v1, false, now(&slow)).await;
    assert!(refused.unwrap_err().is_refusal());
    let owner = fast.fenced(fence(&replicas[0]));
    owner
        .record_published("b", v1, false, now(&fast))
        .await
        .unwrap();
    let acked = owner.record_broker_acked("b", v1, false, true, now(&fast));
    acked.await.unwrap();
    assert!(slow.pending_heads(&name("c1"), 9).await.unwrap().is_empty());

    // Statuses: the order is the agent's, whoever takes them.
    let second = SignedDuration::from_secs(1);
    let stale = |outcome| matches!(outcome, StatusOutcome::StaleSequence { .. });
    for (one, other, ahead) in [(&slow, &fast, 30), (&fast, &slow, 31)] {
        let newer = said(second * ahead, 1, false, now(one));
        let late = said(second * 20, 1, false, now(other));
        assert_eq!(
            one.apply_status(newer).await.unwrap(),
            StatusOutcome::Stored
        );
        assert!(stale(other.apply_status(late).await.unwrap()));
    }
    // A wrong clock of the agent's still gives way to a right one.
    let wrong = said(SignedDuration::from_hours(10), 1, false, now(&fast));
    assert_eq!(
        fast.apply_status(wrong).await.unwrap(),
        StatusOutcome::Stored
    );
    let right = said(second * 40, 2, false, now(&slow));
    assert_eq!(
        slow.apply_status(right).await.unwrap(),
        StatusOutcome::Stored
    );

    // A change by the slow one is newer than what the fast one made, and a deletion ends.
    let changed = slow.update_bundle("b", None, None, content("two"), None, now(&slow));
    let changed = changed.await.unwrap();
    assert_eq!(changed.version, version(2));
    assert!(changed.updated_at >= changed.created_at);
    fast.mark_deleting("b", now(&fast)).await.unwrap();
    let mut deleted = said(second * 50, 3, true, now(&slow));
    deleted.version = version(2);
    assert_eq!(
        slow.apply_status(deleted).await.unwrap(),
        StatusOutcome::Deleted
    );
    // Both know that it was deleted here, and that its cluster is alive.
    for store in [&fast, &slow] {
        let gone = store.gone(&name("c1"), vec!["b".into()]).await.unwrap();
        assert!(gone[0].deleted_here);
    }
    fast.create_bundle(bundle("c", "c1"), now(&fast))
        .await
        .unwrap();
    slow.note_seen(vec![name("c1")], now(&slow)).await.unwrap();
    let since = unseen_since(now(&fast));
    let alive = fast.remove_consumer("id-c1", Some(since), now(&fast)).await;
    assert!(alive.unwrap_err().is_refusal());
}
