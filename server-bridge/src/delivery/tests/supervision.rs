//! A panic in any part of delivery is counted, and the part goes on.

use link::event::Action;
use link::mqtt::State;

use super::bench::{APPLIED, Bench, from_agent};
use crate::store::faulty::Fault;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_each_supervised_task_is_counted_and_its_work_is_done_all_the_same() {
    let mut bench = Bench::prepare().await;
    // Each is called by one kind of task only.
    bench.store.next("pending_heads", 2, Fault::Panic);
    bench.store.next("consumers_with_pending", 2, Fault::Panic);
    bench.store.next("status_hashes_of", 1, Fault::Panic);
    bench.create("a", "c1").await;
    bench.create("b", "c2").await;
    bench.run();
    bench.state.send_replace(State::Ready {
        epoch: 1,
        resumed: false,
    });
    bench
        .until("both bundles", async || {
            bench.broker.count("a") > 0 && bench.broker.count("b") > 0
        })
        .await;
    bench
        .until("both requests for statuses", async || {
            let events = bench.broker.events();
            let asked = events
                .iter()
                .filter(|event| event.kind.action == Action::ResyncRequest);
            asked.count() >= 2
        })
        .await;
    for (task, least) in [("lane", 1), ("dispatch", 2), ("asks", 1)] {
        bench
            .until(task, async || {
                bench.counted("task_restarts_total", task) >= least
            })
            .await;
    }

    // A panic while a status is stored: it is tried again, and acked then.
    bench.store.next("apply_status", 2, Fault::Panic);
    let status = bench.say_status("a", APPLIED).await;
    bench.until_acked(status).await;
    assert_eq!(bench.store.calls("apply_status"), 3);
    // A panic beside the storing: the next part takes up the messages where this one left them.
    bench
        .recv_panics
        .store(true, std::sync::atomic::Ordering::SeqCst);
    bench
        .say(link::message::Message::new("nobody/listens", ""))
        .await;
    bench
        .until("inbound", async || {
            bench.counted("task_restarts_total", "inbound") == 1
        })
        .await;
    let status = bench.say_status("a", APPLIED).await;
    bench.until_acked(status).await;
    assert!(bench.checks.all_ok());
    assert_eq!(bench.counted("bridge_lanes", ""), 2);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_panics_gets_the_hints_of_its_consumer_again() {
    let mut bench = Bench::start().await;
    bench.create("first", "c1").await;
    bench
        .until("the first", async || bench.broker.count("first") == 1)
        .await;
    bench.create("quiet", "c2").await;
    bench
        .until("the other lane", async || bench.broker.count("quiet") == 1)
        .await;
    for number in 0..3 {
        bench.store.next("record_published", 1, Fault::Panic);
        let id = format!("after-{number}");
        bench.create(&id, "c1").await;
        bench
            .until(&id, async || bench.broker.count(&id) == 1)
            .await;
    }
    assert_eq!(bench.counted("task_restarts_total", "lane"), 3);
    // The database that fails while a bundle is settled costs a repetition, not the bundle. It is the next to be settled.
    bench.until_settled("c1").await;
    bench.store.next("record_broker_acked", 1, Fault::Panic);
    bench.create("last", "c1").await;
    bench
        .until("the last, twice", async || bench.broker.count("last") == 2)
        .await;
    let status = bench.status(Action::Update, "last", 1, APPLIED);
    let status = bench.say(from_agent(&status)).await;
    bench.until_acked(status).await;
}
