//! What moves, who is taken for gone, and who has everybody asked, when replicas and their store go away and come back.

use super::*;
use crate::store::{Instance, Slot};

/// Replicas that asked, since they were given to this.
struct Asked(Vec<Changes>);

impl Asked {
    fn of<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> Self {
        let nodes = nodes.into_iter();
        Self(nodes.map(|node| node.ownership.losses()).collect())
    }

    /// How many did within some rounds.
    async fn count(&mut self) -> usize {
        sleep(TICK * 2).await;
        let mut count = 0;
        for losses in &mut self.0 {
            let asked = timeout(Duration::from_millis(1), losses.changed()).await;
            count += usize::from(asked.is_ok());
        }
        count
    }
}

async fn three(fake: &Fake) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(fake, name).await);
    }
    until("equal shares", || nodes.iter().all(|n| n.owned() >= 85)).await;
    // All have seen each other.
    sleep(TICK * 2).await;
    nodes
}

fn taken_over(node: &Node) -> i64 {
    counted(&node.registry, "bridge_bucket_takeovers_total")
}

#[tokio::test(start_paused = true)]
async fn of_those_that_stay_the_first_alone_asks_when_another_leaves() {
    let fake = Fake::new();
    let mut nodes = three(&fake).await;
    // Who comes later and finds fewer compares with nothing.
    for left in [2, 1] {
        let mut asked = Asked::of(&nodes[..left]);
        let last = nodes.pop().unwrap();
        last.done.cancel();
        last.running.await.unwrap().leave().await;
        assert_eq!(asked.count().await, 1, "{left} stay");
    }
    let mut asked = Asked::of(&nodes);
    let newcomer = Node::start(&fake, "d").await;
    asked.0.push(newcomer.ownership.losses());
    until("its share", || newcomer.owned() == 128).await;
    assert_eq!(asked.count().await, 0, "somebody came");
}

#[tokio::test(start_paused = true)]
async fn somebody_asks_when_the_first_leaves_and_another_takes_its_slot_at_once() {
    let fake = Fake::new();
    let mut nodes = three(&fake).await;
    let first = nodes.remove(0);
    let mut asked = Asked::of(&nodes);
    first.done.cancel();
    first.running.await.unwrap().leave().await;
    let newcomer = Node::start(&fake, "d").await;
    assert_eq!(newcomer.slot, 0);
    assert_eq!(asked.count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn somebody_asks_when_another_leaves_after_the_first_came_and_before_it_looked() {
    let fake = Fake::new();
    let mut nodes = three(&fake).await;
    let first = nodes.remove(0);
    first.done.cancel();
    first.running.await.unwrap().leave().await;
    sleep(TICK * 2).await;
    let newcomer = Node::start(&fake, "d").await;
    assert_eq!(newcomer.slot, 0);
    newcomer.leases.fail(Some(Fault::Error));
    // The others see it there, and leave the asking to it.
    sleep(TICK * 3 / 2).await;
    let mut asked = Asked::of([&nodes[0], &newcomer]);
    let last = nodes.pop().unwrap();
    last.done.cancel();
    last.running.await.unwrap().leave().await;
    sleep(TICK * 3 / 2).await;
    newcomer.leases.fail(None);
    assert_eq!(asked.count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn somebody_asks_when_another_is_killed_or_loses_its_slot() {
    let fake = Fake::new();
    let nodes = three(&fake).await;
    let mut asked = Asked::of(&nodes[..2]);
    nodes[2].kill();
    until("the take-over", || {
        nodes[0].owned() == 128 && nodes[1].owned() == 128
    })
    .await;
    assert!(asked.count().await >= 1);
    // Its row is another's before anybody removes it.
    let mut asked = Asked::of(&nodes[..1]);
    nodes[1].kill();
    fake.replace(nodes[1].slot, "d");
    assert_eq!(asked.count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn one_whose_own_row_was_removed_does_not_ask_for_itself() {
    let fake = Fake::new();
    let node = Node::start(&fake, "a").await;
    until("everything", || node.owned() == 256).await;
    let mut asked = Asked::of([&node]);
    node.leases.fail(Some(Fault::Error));
    sleep(TTL * 2).await;
    fake.remove(node.slot);
    node.leases.fail(None);
    until("the lease", || node.owned() == 256).await;
    assert_eq!(asked.count().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_about_the_length_of_a_lease_moves_nothing() {
    for fault in [Fault::Error, Fault::Hang] {
        for tenths in (75..=130).step_by(5) {
            let fake = Fake::new();
            let nodes = three(&fake).await;
            // Their rounds are at different times.
            let terms = fake.terms();
            for node in &nodes {
                node.leases.fail(Some(fault));
                sleep(Duration::from_millis(700)).await;
            }
            sleep(Duration::from_millis(tenths * 100 - 2_100)).await;
            for node in &nodes {
                node.leases.fail(None);
                sleep(Duration::from_millis(1_500)).await;
            }
            sleep(TTL * 3).await;
            assert_eq!(fake.terms(), terms, "{fault:?} {tenths}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_after_an_outage_of_all_takes_nothing_over() {
    for seconds in [8, 9, 10, 11, 12, 60] {
        let fake = Fake::new();
        let nodes = three(&fake).await;
        for node in &nodes {
            node.leases.fail(Some(Fault::Hang));
        }
        sleep(Duration::from_secs(seconds)).await;
        for node in &nodes {
            node.leases.fail(None);
        }
        let newcomer = Node::start(&fake, "d").await;
        until("equal shares of four", || {
            newcomer.owned() == 64 && nodes.iter().all(|node| node.owned() == 64)
        })
        .await;
        sleep(TTL * 3).await;
        let over = nodes.iter().chain([&newcomer]).map(taken_over);
        assert_eq!(over.sum::<i64>(), 0, "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_a_slot_takes_none_of_those_that_come_back_after_an_outage_of_all() {
    for waits in [true, false] {
        let fake = Fake::new();
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.push(Node::start(&fake, "pod").await);
        }
        until("equal shares", || nodes.iter().all(|n| n.owned() == 32)).await;
        let way = fake.handle();
        let ninth = || {
            let leases = way.clone();
            tokio::spawn(async move { Node::over(leases, "ninth").await.slot })
        };
        // It waits already when the outage begins, or comes after it.
        let before = waits.then(ninth);
        sleep(TTL * 2).await;
        let terms = fake.terms();
        let all = || nodes.iter().map(|node| &node.leases).chain([&way]);
        all().for_each(|leases| leases.fail(Some(Fault::Error)));
        sleep(TTL * 3).await;
        way.fail(None);
        let waiting = before.unwrap_or_else(ninth);
        sleep(Duration::from_secs(4)).await;
        all().for_each(|leases| leases.fail(None));
        sleep(TTL * 3).await;
        assert!(fake.slots().iter().all(|(_, name)| name == "pod"));
        assert_eq!(fake.terms(), terms);
        // One that is gone makes room.
        nodes[5].kill();
        let took = timeout(Duration::from_secs(15), waiting).await.unwrap();
        assert_eq!(took.unwrap(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_all_slots_that_were_killed_are_back_within_thirty_seconds() {
    for pause in [0, 5, 30] {
        let fake = Fake::new();
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.push(Node::start(&fake, "before").await);
        }
        until("equal shares", || nodes.iter().all(|n| n.owned() == 32)).await;
        nodes.iter().for_each(Node::kill);
        sleep(Duration::from_secs(pause)).await;
        let began = Instant::now();
        let starting = (0..8).map(|_| {
            let leases = fake.handle();
            tokio::spawn(async move { Node::over(leases, "after").await })
        });
        let mut after = Vec::new();
        for node in starting.collect::<Vec<_>>() {
            after.push(node.await.unwrap());
        }
        until("equal shares", || {
            after.iter().all(|n| n.owned() == 32 && n.checks.all_ok())
        })
        .await;
        assert!(began.elapsed() <= Duration::from_secs(20), "{pause}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_replica_has_everything_again_soon_after_it_was_killed() {
    for pause in [0, 5, 30] {
        let fake = Fake::new();
        let before = Node::start(&fake, "before").await;
        until("everything", || before.owned() == 256).await;
        before.kill();
        sleep(Duration::from_secs(pause)).await;
        let after = Node::start(&fake, "after").await;
        let took = until("everything", || after.owned() == 256).await;
        assert!(took <= Duration::from_secs(15), "{pause}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_never_older_than_ten_seconds_is_taken_over_as_well() {
    // Of three, one is killed and replaced every three seconds.
    let fake = Fake::new();
    let mut nodes = three(&fake).await;
    let mut unowned = Duration::ZERO;
    for turn in 0..400 {
        if turn % 30 == 0 {
            nodes.remove(0).kill();
            nodes.push(Node::start(&fake, "next").await);
        }
        sleep(Duration::from_millis(100)).await;
        let owned = nodes.iter().any(|node| node.term(LOW).is_some());
        unowned = if owned {
            Duration::ZERO
        } else {
            unowned + Duration::from_millis(100)
        };
        assert!(unowned < Duration::from_secs(15), "{turn}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_read_who_is_there_does_not_keep_its_buckets_from_the_others() {
    let fake = Fake::new();
    let (a, b) = (Node::start(&fake, "a").await, Node::start(&fake, "b").await);
    until("equal shares", || a.owned() == 128 && b.owned() == 128).await;
    a.leases.fail(Some(Fault::Roster));
    let took = until("the take-over", || b.owned() == 256).await;
    assert!(took <= TTL * 2 + TICK * 2, "{took:?}");
    assert_eq!(a.term(LOW), None);
    a.leases.fail(None);
    until("equal shares", || a.owned() == 128 && b.owned() == 128).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_held_on_while_a_later_step_of_the_rounds_is_not_answered() {
    let fake = Fake::new();
    let a = Node::start(&fake, "a").await;
    until("everything", || a.owned() == 256).await;
    sleep(TTL).await;
    a.leases.fail(Some(Fault::Removal));
    for _ in 0..600 {
        assert!(a.term(LOW).is_some());
        sleep(Duration::from_millis(100)).await;
    }
}

/// How long one that comes takes to remove one that is gone, beside another that renews or not.
async fn until_removed(renews: bool) -> Duration {
    let fake = Fake::new();
    let other = fake.handle();
    let row = async |name: &str, ttl| {
        let instance = Instance::random();
        let slot = other.take_slot(&instance, name, 8, Free::Unheld, ttl).await;
        match slot.unwrap() {
            Slot::Taken(slot) => Replica {
                slot,
                instance,
                name: name.to_owned(),
            },
            Slot::Full(held) => panic!("{held:?}"),
        }
    };
    row("gone", Duration::from_secs(1)).await;
    let stays = row("stays", 3 * TTL).await;
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let came = Node::start(&fake, "came").await;
    until("its first round", || came.leases.rounds() > 0).await;
    if renews {
        // Not yet: only what is renewed after that counts.
        assert_eq!(fake.slots().len(), 3);
        other.renew(&stays, 4 * TTL).await.unwrap();
    }
    until("the removal", || fake.slots().len() == 2).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn one_that_has_just_come_takes_nobody_for_gone_until_it_sees_another_renew() {
    let alone = until_removed(false).await;
    assert!(alone >= RETURN, "{alone:?}");
    let beside = until_removed(true).await;
    assert!(beside < 2 * TICK && 2 * TICK < RETURN, "{beside:?}");
}
