//! Requests of agents: many cost as much as there is to say, and one agent's lists stay its own affair.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use link::bundle::resync::{HeldVersion, SpecRequest};
use link::event::{Action, Event, RESYNC_ANSWER};
use link::order::{SequenceId, Version};

use super::bench::{APPLIED, Bench, DELETED, bundle, from_agent, holds, now};
use crate::store::faulty::Fault;
use crate::store::{Store, StoreError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_cost_as_many_deletions_as_there_are_and_not_times_the_requests() {
    let mut bench = Bench::start().await;
    bench.connected(1);
    let ids: Vec<String> = (0..60).map(|number| format!("b{number:02}")).collect();
    for id in &ids {
        bench.create(id, "c1").await;
        bench.store.mark_deleting(id, now()).await.unwrap();
    }
    let deletions = |bench: &Bench| bench.broker.sent().iter().filter(|sent| sent.2).count();
    bench
        .until("the deletions", async || deletions(&bench) == ids.len())
        .await;
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let began = Instant::now();
    let mut requests = Vec::new();
    for _ in 0..50 {
        requests.push(bench.say(from_agent(&holds(&names))).await);
    }
    for request in requests {
        bench.until_acked(request).await;
    }
    bench
        .until("the answer", async || deletions(&bench) >= 2 * ids.len())
        .await;
    let asked = |bench: &Bench| {
        let events = bench.broker.events();
        let told = |event: &&Event| event.extensions.contains_key(RESYNC_ANSWER);
        events.iter().filter(told).count()
    };
    bench.until("the request", async || asked(&bench) > 0).await;
    let (deletions, asked) = (deletions(&bench), asked(&bench));
    // Once more at once, then after two seconds, four, eight and so on, for as long as this test runs.
    let mut distances = (1..).map(|times| Duration::from_secs(2 << (times - 1)));
    let mut passed = Duration::ZERO;
    let repeated = 1 + std::iter::from_fn(|| {
        passed += distances.next()?;
        (passed <= began.elapsed()).then_some(())
    })
    .count();
    assert!(
        repeated < 10,
        "no bound is left after {:?}",
        began.elapsed()
    );
    assert!(deletions <= (1 + repeated) * ids.len(), "{deletions} sent");
    assert!((1..=repeated).contains(&asked), "asked {asked} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_waited_does_not_overtake_a_bundle_made_anew() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    bench.store.mark_deleting("a", now()).await.unwrap();
    let deletion = ("delete_request".to_owned(), "a".to_owned(), true);
    bench
        .until("the deletion", async || {
            bench.broker.sent().contains(&deletion)
        })
        .await;
    let confirmed = bench.say_status("a", DELETED).await;
    bench.until_acked(confirmed).await;
    // The lane cannot ask what is gone, so the deletion waits; meanwhile the bundle is made anew.
    bench
        .store
        .next("gone", u32::MAX, Fault::Error(StoreError::Closed));
    let sent = bench.broker.sent().len();
    let alive = bench.say_status("a", APPLIED).await;
    bench.until_acked(alive).await;
    bench
        .until("the question", async || bench.store.calls("gone") >= 1)
        .await;
    bench.create("a", "c1").await;
    let asked = bench.store.calls("gone");
    bench
        .store
        .next("gone", 0, Fault::Error(StoreError::Closed));
    let anew = ("create_request".to_owned(), "a".to_owned(), false);
    let after = |bench: &Bench| -> Vec<_> { bench.broker.sent().into_iter().skip(sent).collect() };
    bench
        .until("the new bundle", async || after(&bench).contains(&anew))
        .await;
    assert!(bench.store.calls("gone") > asked, "nobody asked again");
    // A lane sends one thing after the other: behind this, nothing of before is to come.
    bench.create("marker", "c1").await;
    bench
        .until("the marker", async || bench.broker.count("marker") == 1)
        .await;
    let after = after(&bench);
    assert!(after.iter().all(|(.., deletion)| !deletion), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_unknown_works_is_one_count_and_deletes_nothing() {
    let mut bench = Bench::start().await;
    bench.create("known", "c1").await;
    let resource_versions = (0..5_000)
        .map(|number| HeldVersion {
            resource_id: format!("unknown-{number}"),
            resource_version: Version::FIRST,
        })
        .collect();
    let data = serde_json::to_vec(&SpecRequest { resource_versions }).unwrap();
    let request = holds(&[]).with_data(data);
    let request = bench.say(from_agent(&request)).await;
    bench.until_acked(request).await;
    assert_eq!(bench.counted("bridge_unknown_works_total", ""), 5_000);
    assert_eq!(bench.store.calls("gone"), 1);
    bench.create("marker", "c1").await;
    bench
        .until("the marker", async || bench.broker.count("marker") == 1)
        .await;
    assert!(bench.broker.sent().iter().all(|(.., deletion)| !deletion));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_from_the_future_freezes_neither_a_bundle_nor_its_deletion() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    bench
        .until("the bundle", async || bench.broker.count("a") == 1)
        .await;
    let far = Timestamp::from_second(now().as_second() + 200 * 24 * 3600).unwrap();
    for sequence in [
        SequenceId::from_parts(far, 1, 0),
        i64::MAX.to_string().parse().unwrap(),
    ] {
        let mut future = bench.status(Action::Update, "a", 1, APPLIED);
        future.sequence_id = Some(sequence);
        let future = bench.say(from_agent(&future)).await;
        bench.until_acked(future).await;
    }
    // The right clock, and an agent on another node.
    let honest = bench.status(Action::Update, "a", 1, "{\"conditions\":[]}");
    let mut replaced = bench.status(Action::Update, "a", 1, APPLIED);
    let at = replaced.sequence_id.unwrap().time();
    replaced.sequence_id = Some(SequenceId::from_parts(at, 7, 0));
    for event in [honest, replaced] {
        let event = bench.say(from_agent(&event)).await;
        bench.until_acked(event).await;
    }
    assert_eq!(bench.counted("bridge_agent_events_total", "stored"), 4);

    let mut future = bench.status(Action::Update, "a", 1, APPLIED);
    future.sequence_id = Some(i64::MAX.to_string().parse().unwrap());
    let future = bench.say(from_agent(&future)).await;
    bench.until_acked(future).await;
    bench.store.mark_deleting("a", now()).await.unwrap();
    let deleted = bench.say_status("a", DELETED).await;
    bench.until_acked(deleted).await;
    assert!(bench.store.get_bundle("a").await.unwrap().is_none());
    // Nor a bundle of the same id.
    bench
        .store
        .create_bundle(bundle("a", "c1"), now())
        .await
        .unwrap();
    let status = bench.say_status("a", APPLIED).await;
    bench.until_acked(status).await;
    let bundle = bench.store.get_bundle("a").await.unwrap().unwrap();
    assert!(bundle.status.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_statuses_is_tried_again_when_the_store_is_back() {
    let mut bench = Bench::prepare().await;
    bench
        .store
        .next("consumer_names", 2, Fault::Error(StoreError::Closed));
    bench
        .store
        .next("status_hashes_of", 1, Fault::Error(StoreError::Closed));
    bench.run();
    bench.connected(1);
    bench
        .until("both consumers", async || {
            let events = bench.broker.events();
            let mut asked: Vec<_> = events
                .iter()
                .filter_map(|event| event.cluster_name.clone())
                .collect();
            asked.sort_unstable();
            asked == ["c1", "c2"]
        })
        .await;
}
