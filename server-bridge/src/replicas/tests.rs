//! Replicas over a store in memory, on a clock that is moved.

use std::time::Duration;

use link::admin::Checks;
use link::id::ConsumerName;
use link::supervise::Restarts;
use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::{Bucket, Free};

mod fake;
mod outages;

use fake::{Fake, Fault};

/// A replica that runs.
struct Node {
    leases: Fake,
    ownership: Ownership,
    checks: Checks,
    registry: Registry,
    done: CancellationToken,
    stop: CancellationToken,
    running: JoinHandle<Membership<Fake>>,
    slot: u16,
}

impl Node {
    async fn start(fake: &Fake, name: &str) -> Self {
        Self::over(fake.handle(), name).await
    }

    async fn over(leases: Fake, name: &str) -> Self {
        let (checks, registry) = (Checks::new(), Registry::new());
        let metrics = ReplicaMetrics::register(&registry).unwrap();
        let restarts = Restarts::register(&registry).unwrap();
        let (done, stop) = (CancellationToken::new(), CancellationToken::new());
        let options = options(8, name);
        let joined = Membership::join(leases.clone(), &options, metrics, &checks, &stop).await;
        let membership = joined.unwrap();
        let (ownership, slot) = (membership.ownership(), membership.slot());
        let (until, ends) = (done.clone(), stop.clone());
        let running = tokio::spawn(async move {
            membership.keep(&restarts, &until, &ends).await;
            membership
        });
        Self {
            leases,
            ownership,
            checks,
            registry,
            done,
            stop,
            running,
            slot,
        }
    }

    fn owned(&self) -> usize {
        usize::try_from(counted(&self.registry, "bridge_buckets_owned")).unwrap()
    }

    /// Whether something may be sent to a consumer now, and the term if so.
    fn term(&self, name: &str) -> Option<i64> {
        let fence = self.ownership.fence(&consumer(name)).ok()?;
        Some(fence.unwrap().term)
    }

    fn ready(&self) -> String {
        self.checks.report(std::time::Instant::now()).to_string()
    }

    /// As `kill -9` does.
    fn kill(&self) {
        self.running.abort();
    }
}

fn options(slots: u16, name: &str) -> ReplicaOptions {
    let name = name.into();
    ReplicaOptions { slots, name }
}

fn consumer(name: &str) -> ConsumerName {
    ConsumerName::new(name).unwrap()
}

fn counted(registry: &Registry, name: &str) -> i64 {
    let families = registry.gather();
    let metrics = families.iter().filter(|family| family.name() == name);
    let metrics = metrics.flat_map(|family| family.get_metric());
    metrics
        .map(|m| (m.get_counter().get_value() + m.get_gauge().get_value()) as i64)
        .sum()
}

/// How long it takes, on the clock that moves by itself, until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(Duration::from_secs(300), waiting).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
    began.elapsed()
}

// By the golden values of `Bucket::of`: below and above the middle.
const LOW: &str = "c1";
const HIGH: &str = "c3";

#[tokio::test(start_paused = true)]
async fn shares_are_equal_soon_after_each_replica_comes_and_after_a_clean_stop() {
    let fake = Fake::new();
    let mut nodes = vec![Node::start(&fake, "pod-0").await];
    until("everything", || nodes[0].owned() == 256).await;
    for count in 2..=9 {
        if count <= 8 {
            nodes.push(Node::start(&fake, "pod").await);
        } else {
            // A clean stop: the others have it all at once, and the slot is free.
            let last = nodes.pop().unwrap();
            last.done.cancel();
            let membership = last.running.await.unwrap();
            let owned = counted(&last.registry, "bridge_buckets_owned");
            assert_eq!(owned, 0);
            let slot = last.slot;
            membership.leave().await;
            assert!(fake.slots().iter().all(|(other, _)| *other != slot));
        }
        let took = until("equal shares", || {
            let owned: Vec<usize> = nodes.iter().map(Node::owned).collect();
            let (least, most) = (owned.iter().min().unwrap(), owned.iter().max().unwrap());
            owned.iter().sum::<usize>() == 256 && most - least <= 1
        })
        .await;
        assert!(took <= TICK * 3, "{count}: {took:?}");
    }
    let slots: Vec<u16> = nodes.iter().map(|node| node.slot).collect();
    assert_eq!(slots, (0..7).collect::<Vec<_>>());
    // And nothing moves any more.
    let terms = fake.terms();
    sleep(TTL * 3).await;
    assert_eq!(fake.terms(), terms);
}

#[tokio::test(start_paused = true)]
async fn of_a_killed_replica_all_is_taken_over_within_fifteen_seconds_and_told() {
    let fake = Fake::new();
    let (a, b) = (Node::start(&fake, "a").await, Node::start(&fake, "b").await);
    until("equal shares", || a.owned() == 128 && b.owned() == 128).await;
    assert!(a.term(LOW).is_some() && b.term(LOW).is_none());
    let (before, mut losses) = (a.term(LOW).unwrap(), b.ownership.losses());
    a.kill();
    let took = until("the take-over", || b.owned() == 256).await;
    assert!(took <= Duration::from_secs(15), "{took:?}");
    assert_eq!(b.term(LOW), Some(before + 1));
    assert_eq!(counted(&b.registry, "bridge_bucket_takeovers_total"), 128);
    losses.changed().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_stops_the_sending_in_time_and_the_same_terms_go_on_after_it() {
    for fault in [Fault::Error, Fault::Hang] {
        let fake = Fake::new();
        let node = Node::start(&fake, "a").await;
        until("everything", || node.owned() == 256).await;
        let mut changes = node.ownership.changes();
        let fence = node.ownership.fence(&consumer(LOW)).unwrap();
        node.leases.fail(Some(fault));
        let expires = node.leases.expires(node.slot);
        until("the end", || node.term(LOW).is_none()).await;
        assert!(Instant::now() + MARGIN <= expires + Duration::from_millis(20));
        assert!(!node.ownership.still(fence.as_ref()));
        assert!(node.ownership.work(&consumer(LOW)).is_none());
        changes.changed().await;
        assert_eq!(node.owned(), 0);
        let ready = node.ready();
        assert!(
            ready.contains("leases failing: the lease could not be renewed, nothing is sent"),
            "{ready}"
        );
        assert!(counted(&node.registry, "bridge_lease_failures_total") >= 2);
        sleep(TTL * 6).await;
        node.leases.fail(None);
        let mut changes = node.ownership.changes();
        let back = until("the lease", || node.term(LOW).is_some()).await;
        assert!(back <= TICK + ANSWER + ANSWER, "{back:?}");
        changes.changed().await;
        assert!(node.ownership.still(fence.as_ref()), "the same term");
        assert!(!node.stop.is_cancelled() && node.checks.all_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_all_moves_nothing() {
    let fake = Fake::new();
    let nodes = [
        Node::start(&fake, "a").await,
        Node::start(&fake, "b").await,
        Node::start(&fake, "c").await,
    ];
    let owned = |count| nodes.iter().all(|node| node.owned() >= count);
    until("equal shares", || owned(85)).await;
    let terms = fake.terms();
    for node in &nodes {
        node.leases.fail(Some(Fault::Error));
    }
    until("the end", || nodes.iter().all(|node| node.owned() == 0)).await;
    sleep(TTL * 6).await;
    for node in &nodes {
        node.leases.fail(None);
        sleep(Duration::from_secs(3)).await;
    }
    until("the leases", || owned(85)).await;
    sleep(TTL * 3).await;
    assert_eq!(fake.terms(), terms);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_away_too_long_loses_its_buckets_and_comes_back_as_a_newcomer() {
    let fake = Fake::new();
    let (a, b) = (Node::start(&fake, "a").await, Node::start(&fake, "b").await);
    until("equal shares", || a.owned() == 128 && b.owned() == 128).await;
    let fence = a.ownership.fence(&consumer(LOW)).unwrap();
    a.leases.fail(Some(Fault::Error));
    until("the take-over", || b.owned() == 256).await;
    a.leases.fail(None);
    until("equal shares again", || {
        a.owned() == 128 && b.owned() == 128
    })
    .await;
    assert!(!a.ownership.still(fence.as_ref()));
    // A write of its earlier life was refused: it looks at once.
    let looks = a.leases.rounds();
    a.ownership.refused();
    let looked = until("a look", || a.leases.rounds() > looks).await;
    assert!(looked < Duration::from_millis(100), "{looked:?}");
    assert_eq!(counted(&a.registry, "bridge_fenced_writes_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn one_whose_slot_was_taken_ends_and_says_who_has_it() {
    let fake = Fake::new();
    let a = Node::start(&fake, "a").await;
    a.leases.fail(Some(Fault::Error));
    sleep(TTL * 2).await;
    // The only slot there is.
    let other = fake.handle();
    let taken = other
        .take_slot(
            &crate::store::Instance::random(),
            "b",
            1,
            Free::Expired,
            TTL,
        )
        .await;
    assert_eq!(taken.unwrap(), crate::store::Slot::Taken(0));
    a.leases.fail(None);
    timeout(TTL, a.stop.cancelled()).await.unwrap();
    assert!(a.term(LOW).is_none());
    a.done.cancel();
    let membership = a.running.await.unwrap();
    let lost = membership.lost().unwrap();
    assert_eq!(
        lost.to_string(),
        "slot 0 of this replica was taken by `b`: it was not renewed for more than 10 s"
    );
    // What is another's is not given back.
    membership.leave().await;
    assert_eq!(fake.slots(), [(0, "b".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_given_back_once_nobody_works_for_it_and_nothing_new_begins() {
    let fake = Fake::new();
    let a = Node::start(&fake, "a").await;
    until("everything", || a.owned() == 256).await;
    let work = a.ownership.work(&consumer(HIGH)).unwrap();
    let other = a.ownership.work(&consumer(LOW)).unwrap();
    let b = Node::start(&fake, "b").await;
    until("its share but one", || b.owned() == 127).await;
    sleep(TTL * 2).await;
    assert_eq!((a.term(HIGH), b.term(HIGH)), (None, None));
    assert!(a.ownership.work(&consumer(HIGH)).is_none());
    drop(work);
    let given = until("the last", || b.term(HIGH).is_some()).await;
    assert!(given <= TICK * 2, "{given:?}");
    assert_eq!((a.owned(), b.owned()), (128, 128));
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn a_renewer_that_panics_is_made_again_and_nothing_is_lost() {
    let fake = Fake::new();
    let node = Node::start(&fake, "a").await;
    until("everything", || node.owned() == 256).await;
    let terms = fake.terms();
    node.leases.fail(Some(Fault::Panic));
    until("the panic", || {
        counted(&node.registry, "task_restarts_total") > 0
    })
    .await;
    node.leases.fail(None);
    sleep(TTL * 2).await;
    assert_eq!((node.owned(), fake.terms()), (256, terms));
    assert!(node.term(LOW).is_some() && node.checks.all_ok());
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_slot_says_who_has_them_waits_and_gives_up_on_a_signal() {
    let fake = Fake::new();
    let a = Node::start(&fake, "pod-a").await;
    for give_up in [true, false] {
        let (checks, stop) = (Checks::new(), CancellationToken::new());
        let metrics = ReplicaMetrics::register(&Registry::new()).unwrap();
        let joining = {
            let (leases, checks, stop) = (fake.handle(), checks.clone(), stop.clone());
            tokio::spawn(async move {
                let options = options(1, "pod-b");
                let joined = Membership::join(leases, &options, metrics, &checks, &stop).await;
                joined.map(|membership| membership.slot())
            })
        };
        let says = || checks.report(std::time::Instant::now()).to_string();
        until("what it waits for", || {
            says().starts_with("slot failing: no free slot of 1: held by `pod-a`; hint: run fewer")
        })
        .await;
        if give_up {
            stop.cancel();
            assert_eq!(joining.await.unwrap(), None);
            continue;
        }
        a.kill();
        let joined = timeout(TTL + TICK * 2, joining).await.unwrap();
        assert_eq!(joined.unwrap(), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_was_taken_and_not_answered_for_is_kept_by_the_next_attempt() {
    let fake = Fake::new();
    fake.fail(Some(Fault::Unanswered));
    let (leases, answers) = (fake.clone(), fake.clone());
    let joining = tokio::spawn(async move {
        let metrics = ReplicaMetrics::register(&Registry::new()).unwrap();
        let (options, checks, stop) = (options(8, "a"), Checks::new(), CancellationToken::new());
        let joined = Membership::join(leases, &options, metrics, &checks, &stop).await;
        joined.unwrap().slot()
    });
    until("the row", || !fake.slots().is_empty()).await;
    sleep(ANSWER * 2 + TICK * 2).await;
    answers.fail(None);
    let joined = timeout(TTL, joining).await.unwrap();
    assert_eq!(joined.unwrap(), 0);
    assert_eq!(fake.slots(), [(0, "a".to_owned())]);
}

#[test]
fn a_process_that_is_alone_owns_everything_without_a_fence() {
    let sole = Ownership::sole();
    assert_eq!(sole.fence(&consumer(LOW)), Ok(None));
    assert!(sole.still(None) && sole.work(&consumer(HIGH)).is_some() && !sole.is_shared());
    assert_eq!(sole.left(), Vec::<Bucket>::new());
}
