//! Among replicas only the owner of a consumer sends to it.

use std::time::Duration;

use link::event::Action;
use prometheus::Registry;
use tokio::time::Instant;

use super::bench::{Bench, consumer};
use crate::replicas::{Ownership, ReplicaMetrics};
use crate::store::faulty::Fault;
use crate::store::{Bucket, Instance, Store, StoreError};

/// A replica that owns the buckets of these consumers for an hour.
async fn owning(names: &[&str]) -> (Bench, Registry) {
    let mut bench = Bench::prepare().await;
    let registry = Registry::new();
    let metrics = ReplicaMetrics::register(&registry).unwrap();
    bench.ownership = Ownership::replica(Instance::random(), metrics);
    bench.shared = true;
    own(&bench, names, 1);
    let hour = Duration::from_secs(3600);
    bench.ownership.renewed(Instant::now() + hour);
    bench.run();
    (bench, registry)
}

fn own(bench: &Bench, names: &[&str], term: i64) {
    let buckets = names.iter().map(|name| bucket(name));
    bench.ownership.owns(buckets.map(|bucket| (bucket, term)));
}

fn bucket(name: &str) -> Bucket {
    Bucket::of(&consumer(name))
}

async fn until_sent(bench: &Bench, id: &str) {
    bench.until(id, async || bench.broker.count(id) == 1).await;
}

async fn until_lanes(bench: &Bench, count: u64) {
    bench
        .until("the lanes", async || {
            bench.counted("bridge_lanes", "") == count
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_are_only_those_of_owned_buckets_and_what_is_gained_is_looked_at_at_once() {
    let (mut bench, _) = owning(&["c1"]).await;
    bench.create("theirs", "c2").await;
    bench.create("ours", "c1").await;
    until_sent(&bench, "ours").await;
    let sweeps = bench.store.calls("consumers_with_pending");
    bench
        .until("a sweep", async || {
            bench.store.calls("consumers_with_pending") > sweeps
        })
        .await;
    assert_eq!(bench.broker.count("theirs"), 0);
    assert_eq!(bench.counted("bridge_lanes", ""), 1);

    own(&bench, &["c1", "c2"], 1);
    until_sent(&bench, "theirs").await;
    bench.until_settled("c2").await;
    until_lanes(&bench, 2).await;

    own(&bench, &["c1"], 1);
    until_lanes(&bench, 1).await;
    bench.create("late", "c2").await;
    bench.create("again", "c1").await;
    until_sent(&bench, "again").await;
    assert_eq!(bench.broker.count("late"), 0);
    // Nothing is sent past the end of the lease, and the lane ends for it.
    bench.ownership.renewed(Instant::now());
    bench.create("past", "c1").await;
    until_lanes(&bench, 0).await;
    let hour = Duration::from_secs(3600);
    assert_eq!(bench.broker.count("past"), 0);
    bench.ownership.renewed(Instant::now() + hour);
    until_sent(&bench, "past").await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_left_once_what_was_in_flight_is_noted_and_nothing_more_was_sent() {
    let (mut bench, _) = owning(&["c1"]).await;
    bench.broker.acks.send_replace(false);
    bench.create("first", "c1").await;
    until_sent(&bench, "first").await;
    bench.ownership.leave([bucket("c1")]);
    bench.create("second", "c1").await;
    assert!(bench.ownership.left().is_empty());
    bench.broker.acks.send_replace(true);
    bench
        .until("the lane to have left", async || {
            bench.ownership.left() == [bucket("c1")]
        })
        .await;
    let waiting = bench.store.pending_heads(&consumer("c1"), 9).await.unwrap();
    let waiting: Vec<&str> = waiting.iter().map(|head| head.id.as_str()).collect();
    assert_eq!(waiting, ["second"], "the first is noted");
    assert_eq!(bench.broker.count("second"), 0);

    // The same when the process stops.
    own(&bench, &[], 1);
    own(&bench, &["c1"], 2);
    until_sent(&bench, "second").await;
    bench.until_settled("c1").await;
    bench.broker.acks.send_replace(false);
    bench.create("third", "c1").await;
    until_sent(&bench, "third").await;
    let acks = bench.broker.acks.clone();
    tokio::join!(bench.stop(), async { acks.send_replace(true) });
    bench.until_settled("c1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_whose_write_is_refused_publishes_nothing_and_ends_quietly() {
    let (mut bench, registry) = owning(&["c1"]).await;
    let refused = StoreError::Fenced {
        bucket: bucket("c1"),
        term: 1,
    };
    let refused = || Fault::Error(refused.clone());
    bench.store.next("record_published", u32::MAX, refused());
    bench.create("a", "c1").await;
    bench
        .until("a refusal", async || {
            bench.store.calls("record_published") >= 1 && bench.counted("bridge_lanes", "") == 0
        })
        .await;
    assert_eq!(bench.broker.count("a"), 0);
    assert!(bench.checks.all_ok());
    let metrics = registry.gather();
    let fenced = metrics
        .iter()
        .find(|f| f.name() == "bridge_fenced_writes_total");
    let fenced = fenced.unwrap().get_metric()[0].get_counter().get_value();
    assert!(fenced >= 1.0);
    assert_eq!(bench.counted("task_restarts_total", "lane"), 0);

    // It was the store's doing, and what is ours is sent.
    bench.store.next("record_published", 0, refused());
    until_sent(&bench, "a").await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_asked_for_statuses_when_another_replica_went_without_a_word() {
    let (mut bench, _) = owning(&["c1"]).await;
    let asked = |bench: &Bench| {
        let events = bench.broker.events();
        let asked = events
            .iter()
            .filter(|event| event.kind.action == Action::ResyncRequest);
        asked.count()
    };
    bench.connected(1);
    bench
        .until("the first questions", async || asked(&bench) == 2)
        .await;
    bench.ownership.others_gone();
    bench
        .until(
            "the same once more, and again when the broker has noticed",
            async || asked(&bench) == 6,
        )
        .await;
    bench.stop().await;
}
