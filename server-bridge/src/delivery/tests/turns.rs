//! What one agent sends takes the way up from no other.

use std::time::Instant;

use link::event::{Event, encode};
use link::message::Message;
use link::topic::Scheme;

use super::bench::{APPLIED, Bench, consumer, from_agent, holds};
use crate::store::faulty::Fault;
use crate::store::{Store, StoreError};

fn from_other_agent(mut event: Event) -> Message {
    let other = consumer("c2");
    event.cluster_name = Some(other.to_string());
    encode(&event, Scheme::default().agent_events(&other))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_of_one_agent_that_cannot_be_stored_hold_up_nobody_else_and_are_stored_later() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    bench.until_settled("c1").await;
    bench.create("other", "c2").await;
    bench.until_settled("c2").await;
    let sent = bench.broker.count("other");
    let corrupt = || {
        Fault::Error(StoreError::Corrupt {
            object: "bundles.version",
            key: "a".into(),
            problem: "-1".into(),
        })
    };
    bench.store.next("apply_status", u32::MAX, corrupt());
    // One that is reported again and again, and many others.
    let mut replaced = Vec::new();
    for _ in 0..90 {
        replaced.push(bench.say_status("a", APPLIED).await);
    }
    let waits = replaced.pop().unwrap();
    let mut statuses: Vec<u32> = replaced.drain(..8).collect();
    statuses.push(waits);
    for number in 0..90 {
        statuses.push(bench.say_status(&format!("b{number}"), APPLIED).await);
    }
    // An agent that lacks its bundle, and what is refused.
    let request = bench.say(from_other_agent(holds(&[]))).await;
    let refused = holds(&[]).with_data("no list");
    let refused = bench.say(from_other_agent(refused)).await;
    bench.until_acked(request).await;
    bench.until_acked(refused).await;
    bench
        .until("the bundle that was lacked", async || {
            bench.broker.count("other") > sent
        })
        .await;
    bench
        .until("the check to count those that are tried", async || {
            let report = bench.checks.report(Instant::now()).to_string();
            report.contains("8 event(s) from agents")
        })
        .await;
    assert_eq!(
        bench.acked(),
        [replaced.as_slice(), &[request, refused]].concat()
    );
    bench.store.next("apply_status", 0, corrupt());
    for status in statuses {
        bench.until_acked(status).await;
    }
    let bundle = bench.store.get_bundle("a").await.unwrap().unwrap();
    assert!(bundle.status.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lists_of_one_agent_are_answered_by_the_newest_and_all_acked() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    bench.until_settled("c1").await;
    bench
        .store
        .next("versions_of", 1, Fault::Error(StoreError::Closed));
    let sent = bench.broker.count("a");
    let mut requests = Vec::new();
    for _ in 0..60 {
        requests.push(bench.say(from_agent(&holds(&["a"]))).await);
    }
    // Only the last one says that the bundle is not there.
    let last = bench.say(from_agent(&holds(&[]))).await;
    // The first is answered alone, which is tried twice; while it is, those between are not needed any more.
    for request in requests {
        bench.until_acked(request).await;
    }
    bench.until_acked(last).await;
    let answered = bench.store.calls("versions_of");
    assert!((3..10).contains(&answered), "{answered}");
    bench
        .until("the bundle", async || bench.broker.count("a") > sent)
        .await;
    assert_eq!(bench.counted("bridge_agent_events_total", "resync"), 61);
}
