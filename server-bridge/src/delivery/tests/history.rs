//! Agents that hold newer versions than the store: what it holds is sent again above theirs, and no two bridges make a storm.

use link::event::{Action, Event, Kind, RESYNC_ANSWER};
use link::order::Version;

use super::bench::{APPLIED, Bench, DELETED, consumer, from_agent, now};
use crate::store::faulty::Fault;
use crate::store::{AgentStore as _, AgentVersion, Orphan, Store, StoreError};

/// What `c1`'s agent says it holds.
fn list(held: &[(&str, i32)]) -> Event {
    let held: Vec<_> = held
        .iter()
        .map(|(id, version)| format!("{{\"resourceID\":\"{id}\",\"resourceVersion\":{version}}}"))
        .collect();
    let data = format!("{{\"resourceVersions\":[{}]}}", held.join(","));
    let kind = Kind::spec(Action::ResyncRequest);
    Event::new("agent", kind, &consumer("c1"), now()).with_data(data)
}

/// Whether this version of a bundle, or its deletion, was sent.
fn sent(bench: &Bench, id: &str, version: i64, deletion: bool) -> bool {
    bench.broker.events().iter().any(|event| {
        event.resource_id.as_deref() == Some(id)
            && event.resource_version == Version::new(version)
            && event.deletion_timestamp.is_some() == deletion
    })
}

async fn status(bench: &mut Bench, id: &str, version: i64, data: &str) {
    let event = bench.status(Action::Update, id, version, data);
    let said = bench.say(from_agent(&event)).await;
    bench.until_acked(said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_list_shows_to_be_behind_is_sent_above_it_and_nothing_else_is() {
    let mut bench = Bench::start().await;
    for id in ["a", "b", "leaving"] {
        bench.create(id, "c1").await;
    }
    bench.store.mark_deleting("leaving", now()).await.unwrap();
    bench.until_settled("c1").await;
    let before = bench.broker.count("b");
    let said = list(&[("a", 7), ("b", 1), ("leaving", 3), ("foreign", 9)]);
    let said = bench.say(from_agent(&said)).await;
    bench.until_acked(said).await;
    bench
        .until("both", async || {
            sent(&bench, "a", 8, false) && sent(&bench, "leaving", 4, true)
        })
        .await;
    bench.until_settled("c1").await;
    assert_eq!(bench.broker.count("b"), before);
    assert_eq!(bench.broker.count("foreign"), 0);
    assert_eq!(bench.counted("bridge_raises_total", "raised"), 2);
    status(&mut bench, "leaving", 4, DELETED).await;
    assert!(bench.store.get_bundle("leaving").await.unwrap().is_none());
    // The agent takes it: the status of the raised version counts.
    status(&mut bench, "a", 8, APPLIED).await;
    let bundle = bench.store.get_bundle("a").await.unwrap().unwrap();
    assert_eq!(bundle.status.unwrap().version, Version::new(8).unwrap());
    let entry = bundle.ledger.unwrap().pop().unwrap();
    assert!(entry.note.is_some() && entry.failure.is_none() && entry.reported_at.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_has_its_consumer_asked_what_it_holds_and_no_other() {
    let mut bench = Bench::prepare().await;
    bench.run();
    bench.connected(1);
    let asked = |bench: &Bench, name: &str| {
        let events = bench.broker.events();
        let asked = events.iter().filter(|event| {
            event.cluster_name.as_deref() == Some(name)
                && event.kind == Kind::status(Action::ResyncRequest)
                && !event.extensions.contains_key(RESYNC_ANSWER)
        });
        asked.count()
    };
    bench
        .until("the first questions", async || {
            asked(&bench, "c1") == 1 && asked(&bench, "c2") == 1
        })
        .await;
    for id in ["a", "b"] {
        bench.create(id, "c1").await;
    }
    bench.until_settled("c1").await;
    // The store fails between what shows it and what mends it.
    bench
        .store
        .next("raise", 1, Fault::Error(StoreError::Closed));
    status(&mut bench, "a", 7, APPLIED).await;
    assert_eq!(bench.store.calls("raise"), 2);
    bench
        .until("it to be asked again", async || asked(&bench, "c1") == 2)
        .await;
    assert_eq!(bench.store.epoch().await.unwrap().number, 1);
    // What is behind for the same reason is mended, and no news.
    status(&mut bench, "b", 7, APPLIED).await;
    bench
        .until("both", async || {
            sent(&bench, "a", 8, false) && sent(&bench, "b", 8, false)
        })
        .await;
    assert_eq!(bench.store.epoch().await.unwrap().number, 1);
    assert_eq!((asked(&bench, "c1"), asked(&bench, "c2")), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_bridges_that_raise_each_other_stop_after_a_few_times() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    bench.until_settled("c1").await;
    // Whatever this one sends, the other bridge has sent something above it.
    for version in (3..203).step_by(2) {
        status(&mut bench, "a", version, APPLIED).await;
    }
    let bundle = bench.store.get_bundle("a").await.unwrap().unwrap();
    assert_eq!(bundle.version, Version::new(8).unwrap());
    assert_eq!(bench.counted("bridge_raises_total", "raised"), 3);
    assert_eq!(bench.counted("bridge_raises_total", "held_back"), 97);
    let shown = bundle.status.unwrap();
    assert!(shown.payload.as_str().contains("NewerVersionHeld"));
    // Another bundle is not held up by it.
    bench.create("b", "c1").await;
    status(&mut bench, "b", 5, APPLIED).await;
    bench
        .until("the other", async || sent(&bench, "b", 6, false))
        .await;
    assert_eq!(bench.store.epoch().await.unwrap().number, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_posted_again_to_an_agent_that_drops_it_in_silence_is_asked_for() {
    let mut bench = Bench::prepare().await;
    bench.run();
    bench.connected(1);
    // The database is empty; its agent holds what a former one sent.
    status(&mut bench, "a", 7, APPLIED).await;
    assert_eq!(
        bench.counted("bridge_agent_events_total", "unknown_bundle"),
        1
    );
    bench.create("a", "c1").await;
    let asked = |bench: &Bench| {
        let events = bench.broker.events();
        let mut asked = events
            .iter()
            .filter(|event| event.kind == Kind::status(Action::ResyncRequest));
        asked.any(|event| String::from_utf8_lossy(event.data_bytes()).contains("\"a\""))
    };
    bench.until("the question", async || asked(&bench)).await;
    status(&mut bench, "a", 7, APPLIED).await;
    bench
        .until("the bundle above it", async || sent(&bench, "a", 8, false))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_noted_is_enough_to_ask_after_a_first_sending() {
    let mut bench = Bench::prepare().await;
    let c1 = consumer("c1");
    bench.store.note_foreign_work(&c1, now()).await.unwrap();
    bench.run();
    bench.connected(1);
    let asked = |bench: &Bench| {
        let events = bench.broker.events();
        let mut asked = events
            .iter()
            .filter(|event| event.kind == Kind::status(Action::ResyncRequest));
        asked.any(|event| String::from_utf8_lossy(event.data_bytes()).contains("\"a\""))
    };
    bench
        .until("the first question", async || {
            !bench.broker.events().is_empty()
        })
        .await;
    bench.create("a", "c1").await;
    bench.until("the question", async || asked(&bench)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_says_nothing_of_what_was_made_after_it_came() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    // Deleted and made anew while the list waited for its turn.
    let later = now() + jiff::SignedDuration::from_hours(1);
    let new = super::bench::bundle("late", "c1");
    bench.store.create_bundle(new, later).await.unwrap();
    bench.until_settled("c1").await;
    let said = list(&[("a", 7), ("late", 7)]);
    let said = bench.say(from_agent(&said)).await;
    bench.until_acked(said).await;
    bench
        .until("the other", async || sent(&bench, "a", 8, false))
        .await;
    let late = bench.store.get_bundle("late").await.unwrap().unwrap();
    assert_eq!(late.version, Version::new(1).unwrap());
    assert_eq!(bench.counted("bridge_raises_total", "raised"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_late_status_made_doubtful_is_over_with_a_whole_list_of_what_is_known() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    bench.until_settled("c1").await;
    let c1 = consumer("c1");
    let foreign = async |bench: &Bench| bench.store.doubts(&c1).await.unwrap().foreign_works;
    // And it is noted anew each time, however soon.
    for _ in 0..2 {
        status(&mut bench, "gone", 1, APPLIED).await;
        assert!(foreign(&bench).await);
        // Another replica may have heard it after this list came, and not noted it again.
        let said = bench.say(from_agent(&list(&[("a", 1)]))).await;
        bench.until_acked(said).await;
        assert!(foreign(&bench).await);
        let before = now() - jiff::SignedDuration::from_secs(125);
        bench.store.note_foreign_work(&c1, before).await.unwrap();
        let said = bench.say(from_agent(&list(&[("a", 1)]))).await;
        bench.until_acked(said).await;
        assert!(!foreign(&bench).await);
    }
    let said = bench
        .say(from_agent(&list(&[("a", 1), ("foreign", 1)])))
        .await;
    bench.until_acked(said).await;
    assert!(foreign(&bench).await);
    let noted = bench.store.calls("forget_foreign_works");
    assert_eq!(
        noted, 4,
        "nothing is written where nothing is to be forgotten"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_to_be_deleted_unknown_is_left_alone_once_the_store_is_known_to_be_older() {
    let mut bench = Bench::prepare().await;
    let c1 = consumer("c1");
    bench.create("a", "c1").await;
    let held = vec![AgentVersion {
        id: "a".into(),
        version: Version::new(7).unwrap(),
    }];
    bench.store.raise(&c1, held, now()).await.unwrap();
    // A list was answered just before, and its works are added just after.
    let unknown = Orphan {
        id: "unknown".into(),
        version: Version::FIRST,
        deleted_here: false,
    };
    bench.store.add_orphans(&c1, vec![unknown]).await.unwrap();
    bench.run();
    bench.connected(1);
    bench.until_settled("c1").await;
    let waiting = async |bench: &Bench| bench.store.orphans(&c1, 9).await.unwrap().len();
    bench
        .until("it to be dropped", async || waiting(&bench).await == 0)
        .await;
    assert_eq!(bench.broker.count("unknown"), 0);
}
