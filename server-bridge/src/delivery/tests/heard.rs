//! What one session or process hears and another one acts on: lists in parts, works to be deleted, signs of life.

use link::event::{Action, Event, RESYNC_ID, RESYNC_PART};
use link::mqtt::State;
use tokio::sync::watch;

use super::bench::{APPLIED, Bench, consumer, from_agent, holds, now};
use crate::store::faulty::Fault;
use crate::store::{AgentStore, Orphan, Store, StoreError};

/// Three sessions with a share group; delivery does not run yet.
async fn shared() -> Bench {
    let mut bench = Bench::prepare().await;
    bench.others = vec![
        watch::channel(State::Connecting).0,
        watch::channel(State::Connecting).0,
    ];
    bench.shared = true;
    bench
}

fn part(list: &str, number: u32, total: u32, ids: &[&str]) -> Event {
    let mut event = holds(ids);
    event.extensions.insert(RESYNC_ID.into(), list.into());
    let part = format!("{number}/{total}");
    event.extensions.insert(RESYNC_PART.into(), part);
    event
}

/// How many unfinished lists are kept.
async fn lists(bench: &Bench) -> u64 {
    let ever = now() + jiff::SignedDuration::from_hours(1);
    bench.store.sound().prune_resyncs(ever).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_come_on_three_sessions_are_one_list_and_the_last_is_acked_when_it_is_answered()
{
    let mut bench = shared().await;
    bench.run();
    for id in ["a", "b", "c", "lacked"] {
        bench.create(id, "c1").await;
    }
    bench.until_settled("c1").await;
    let sent = |bench: &Bench| ["a", "b", "c", "lacked"].map(|id| bench.broker.count(id));
    let before = sent(&bench);
    bench
        .store
        .next("versions_of", u32::MAX, Fault::Error(StoreError::Closed));
    for (session, number, id) in [(2, 3, "c"), (0, 1, "a"), (0, 1, "a")] {
        let part = part("r", number, 3, &[id]);
        let told = bench.say_on(session, from_agent(&part)).await;
        bench.until_acked(told).await;
    }
    let last = from_agent(&part("r", 2, 3, &["b"]));
    let last = bench.say_on(1, last).await;
    bench
        .until("the answer to be tried", async || {
            bench.store.calls("versions_of") > 1
        })
        .await;
    assert!(!bench.acked().contains(&last));
    bench
        .store
        .next("versions_of", 0, Fault::Error(StoreError::Closed));
    bench.until_acked(last).await;
    bench
        .until("the bundle that is lacked", async || {
            bench.broker.count("lacked") > before[3]
        })
        .await;
    assert_eq!(sent(&bench)[..3], before[..3]);
    assert_eq!(lists(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_cannot_be_stored_is_not_acked_and_tried_again() {
    let mut bench = Bench::start().await;
    bench.store.next(
        "add_resync_part",
        u32::MAX,
        Fault::Error(StoreError::Closed),
    );
    let first = bench.say(from_agent(&part("r", 1, 2, &["a"]))).await;
    bench
        .until("it to be tried again", async || {
            bench.store.calls("add_resync_part") > 2
        })
        .await;
    assert!(bench.acked().is_empty());
    bench
        .store
        .next("add_resync_part", 0, Fault::Error(StoreError::Closed));
    bench.until_acked(first).await;
    let other_total = bench.say(from_agent(&part("r", 2, 3, &["b"]))).await;
    bench.until_acked(other_total).await;
    assert_eq!(bench.counted("bridge_agent_events_total", "bad_resync"), 1);
    let last = bench.say(from_agent(&part("r", 2, 2, &["b"]))).await;
    bench.until_acked(last).await;
    assert_eq!(bench.store.calls("versions_of"), 1);
    assert_eq!(bench.counted("bridge_agent_events_total", "resync"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_late_last_part_of_an_older_list_takes_nothing_from_a_newer_whole_one() {
    let mut bench = shared().await;
    bench.run();
    bench.create("lacked", "c1").await;
    bench.until_settled("c1").await;
    let sent = bench.broker.count("lacked");
    // One is being answered, so that all further ones of its session wait.
    let fault = || Fault::Error(StoreError::Closed);
    bench.store.next("versions_of", u32::MAX, fault());
    let held = part("older", 1, 2, &["lacked"]);
    let answering = bench.say_on(2, from_agent(&holds(&["lacked"]))).await;
    bench
        .until("the answer to be tried", async || {
            bench.store.calls("versions_of") > 0
        })
        .await;
    let first = bench.say_on(1, from_agent(&held)).await;
    bench.until_acked(first).await;
    // The newer one says that the bundle is gone there; the older one does not.
    let mut newer = holds(&[]);
    let made = held.time.unwrap() + jiff::SignedDuration::from_secs(1);
    newer.time = Some(made);
    let newer = bench.say_on(2, from_agent(&newer)).await;
    let mut late = part("older", 2, 2, &["a"]);
    late.time = held.time;
    // In its order: the newer one waits when this one is complete.
    let asked = bench.say_on(2, from_agent(&late)).await;
    bench.until_acked(asked).await;
    assert!(!bench.acked().contains(&newer));
    bench.store.next("versions_of", 0, fault());
    for list in [answering, newer] {
        bench.until_acked(list).await;
    }
    bench
        .until("the bundle that is lacked", async || {
            bench.broker.count("lacked") > sent
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_whose_answer_a_process_did_not_live_to_give_is_answered_by_the_next() {
    let mut bench = shared().await;
    bench.run();
    bench.create("lacked", "c1").await;
    bench.until_settled("c1").await;
    let sent = bench.broker.count("lacked");
    let first = bench.say_on(1, from_agent(&part("r", 1, 2, &["a"]))).await;
    bench.until_acked(first).await;
    bench
        .store
        .next("versions_of", u32::MAX, Fault::Error(StoreError::Closed));
    let last = from_agent(&part("r", 2, 2, &["b"]));
    let unanswered = bench.say_on(2, last.clone()).await;
    bench
        .until("the answer to be tried", async || {
            bench.store.calls("versions_of") > 0
        })
        .await;
    bench.stop().await;
    assert!(!bench.acked().contains(&unanswered));

    bench
        .store
        .next("versions_of", 0, Fault::Error(StoreError::Closed));
    bench.run();
    let again = bench.say_on(0, last).await;
    bench.until_acked(again).await;
    bench
        .until("the bundle", async || bench.broker.count("lacked") > sent)
        .await;
    assert_eq!(lists(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_work_to_be_deleted_is_sent_by_whoever_has_the_lane_also_after_a_restart() {
    let mut bench = Bench::start().await;
    // Found by another process, which tells the store alone.
    let orphan = |id: &str| Orphan {
        id: id.into(),
        version: link::order::Version::FIRST,
        deleted_here: false,
    };
    let sound = bench.store.sound().clone();
    let c1 = consumer("c1");
    sound.add_orphans(&c1, vec![orphan("a")]).await.unwrap();
    let deletion = |id: &str| ("resync_response".to_owned(), id.to_owned(), true);
    bench
        .until("its deletion", async || {
            bench.broker.sent().contains(&deletion("a"))
        })
        .await;
    bench
        .until("it to be removed", async || {
            sound.orphans(&c1, 1).await.unwrap().is_empty()
        })
        .await;
    // The broker does not take it, and the process ends.
    bench.broker.answer(|message| {
        Err(link::mqtt::PublishError::Refused {
            topic: message.topic.clone(),
            code: 0x97,
            reason: "quota exceeded",
        })
    });
    sound.add_orphans(&c1, vec![orphan("b")]).await.unwrap();
    bench
        .until("the attempt", async || bench.broker.count("b") > 0)
        .await;
    bench.stop().await;
    bench
        .broker
        .answer(|_| Ok(link::mqtt::Ack { matched: true }));
    let tried = bench.broker.count("b");
    bench.run();
    bench
        .until("its deletion", async || bench.broker.count("b") > tried)
        .await;
    bench
        .until("it to be removed", async || {
            sound.orphans(&c1, 1).await.unwrap().is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_heard_is_noted_beside_what_it_said() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    // Noting fails, and holds up nothing.
    bench
        .store
        .next("note_seen", 1, Fault::Error(StoreError::Closed));
    let status = bench.say_status("a", APPLIED).await;
    bench.until_acked(status).await;
    bench
        .until("the note that fails", async || {
            bench.store.calls("note_seen") == 1
        })
        .await;
    let before = now();
    let event = bench.status(Action::Update, "a", 1, APPLIED);
    let status = bench.say(from_agent(&event)).await;
    bench.until_acked(status).await;
    // What was not noted yet is, when the process ends.
    bench.stop().await;
    let seen = async |id| {
        let consumer = bench.store.sound().get_consumer(id).await.unwrap();
        consumer.unwrap().last_seen_at
    };
    let second = jiff::SignedDuration::from_secs(1);
    assert!(seen("c1").await.unwrap() + second > before);
    assert_eq!(seen("c2").await, None);
}
