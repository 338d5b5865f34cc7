//! Nothing is acked before it is done, whatever the store's failure.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use link::event::{Action, RESYNC_ID, RESYNC_PART};

use super::bench::{APPLIED, Bench, DELETED, consumer, from_agent, holds, now};
use crate::store::faulty::Fault;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// One error of each class that a store can fail with.
async fn every_class() -> Vec<StoreError> {
    let driver = |source| StoreError::Driver {
        operation: "commit to the database",
        source: Arc::new(source),
    };
    let mut errors = vec![
        driver(sqlx::Error::Io(io::Error::from(io::ErrorKind::StorageFull))),
        driver(sqlx::Error::Io(io::Error::from(io::ErrorKind::Other))),
        driver(sqlx::Error::Io(io::Error::from(
            io::ErrorKind::ConnectionReset,
        ))),
        StoreError::Deadline {
            operation: "take a status",
            limit: std::time::Duration::from_secs(10),
        },
        StoreError::Unavailable {
            reason: "the connection was lost while committing".into(),
        },
        driver(sqlx::Error::PoolTimedOut),
        driver(sqlx::Error::WorkerCrashed),
        driver(sqlx::Error::Protocol("unexpected".into())),
        StoreError::Corrupt {
            object: "bundles.version",
            key: "a".into(),
            problem: "-1".into(),
        },
        StoreError::Closed,
        // Never given to delivery; if it were, it is not the event's fault.
        StoreError::BundleNotFound { id: "a".into() },
    ];
    // SQLite's own codes: BUSY, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, TOOBIG, CONSTRAINT, NOTADB.
    errors.extend(
        [5, 7, 8, 10, 11, 13, 14, 18, 19, 26]
            .map(|code| driver(sqlx::Error::Database(Box::new(Code(code.to_string()))))),
    );
    // And one that is real: the file is a directory.
    let directory = tempfile::tempdir().unwrap();
    errors.push(SqliteStore::open(directory.path()).await.unwrap_err());
    errors
}

#[derive(Debug, thiserror::Error)]
#[error("code {0}")]
struct Code(String);

impl sqlx::error::DatabaseError for Code {
    fn message(&self) -> &str {
        "a fault of the test"
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.0.as_str().into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> sqlx::error::ErrorKind {
        sqlx::error::ErrorKind::Other
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failure_of_the_store_acks_an_event_and_all_are_done_when_it_is_back() {
    join_all(every_class().await.into_iter().map(survive)).await;
}

/// Every kind of event while the store fails in one way, and after it.
async fn survive(error: StoreError) {
    let case = format!("{error:?}");
    let mut bench = Bench::start().await;
    for id in ["status", "answer", "deleted", "lacked"] {
        bench.create(id, "c1").await;
    }
    let sound = bench.store.sound().clone();
    sound.mark_deleting("deleted", now()).await.unwrap();
    bench.until_settled("c1").await;
    let sent = bench.broker.count("lacked");
    bench.store.every(Some(Fault::Error(error)));

    let resync = bench.status(Action::ResyncResponse, "answer", 1, APPLIED);
    let whole = holds(&["status", "answer", "deleted"]);
    let mut part = whole.clone();
    part.extensions.insert(RESYNC_ID.into(), "r".into());
    part.extensions.insert(RESYNC_PART.into(), "1/1".into());
    let events = [
        bench.say_status("status", APPLIED).await,
        bench.say_status("deleted", DELETED).await,
        bench.say(from_agent(&resync)).await,
        bench.say(from_agent(&whole)).await,
        bench.say(from_agent(&part)).await,
    ];
    bench
        .until(
            "the check to count them, of the lists the first",
            async || {
                let report = bench.checks.report(Instant::now()).to_string();
                report.contains("4 event(s) from agents")
            },
        )
        .await;
    let (statuses, resyncs) = (
        bench.store.calls("apply_status"),
        bench.store.calls("versions_of"),
    );
    bench
        .until("them to be tried again", async || {
            bench.store.calls("apply_status") >= statuses + 3
                && bench.store.calls("versions_of") >= resyncs + 2
        })
        .await;
    assert!(bench.acked().is_empty(), "{case}");

    bench.store.every(None);
    for event in events {
        bench.until_acked(event).await;
    }
    bench
        .until("the check", async || bench.checks.all_ok())
        .await;
    for id in ["status", "answer"] {
        let bundle = sound.get_bundle(id).await.unwrap().unwrap();
        assert!(bundle.status.is_some(), "{case}");
    }
    assert!(
        sound.get_bundle("deleted").await.unwrap().is_none(),
        "{case}"
    );
    bench
        .until("the missed bundle", async || {
            bench.broker.count("lacked") > sent
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_stops_leaves_unacked_what_it_could_not_store() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    bench.store.every(Some(Fault::Error(StoreError::Closed)));
    let status = bench.say_status("a", APPLIED).await;
    bench
        .until("the attempt", async || {
            bench.store.calls("apply_status") > 1
        })
        .await;
    bench.stop().await;
    assert!(bench.acked().is_empty());

    // The next process gets it again.
    bench.store.every(None);
    bench.run();
    let again = bench.say_status("a", APPLIED).await;
    bench.until_acked(again).await;
    assert_ne!(again, status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_shared_subscription_that_stops_takes_what_it_was_given_before_it_leaves() {
    let mut bench = Bench::prepare().await;
    bench.shared = true;
    bench.run();
    for number in 0..20 {
        bench.create(&format!("b{number}"), "c1").await;
    }
    // A list that is answered, one that waits for its time, and more statuses than have their turn, none of which can be
    // stored yet.
    let answered = bench.say(from_agent(&holds(&[]))).await;
    bench.until_acked(answered).await;
    bench.broker.confirms.send_replace(false);
    bench
        .store
        .next("apply_status", 12, Fault::Error(StoreError::Closed));
    bench.say(from_agent(&holds(&["b0"]))).await;
    for number in 0..10 {
        bench.say_status(&format!("b{number}"), APPLIED).await;
    }
    bench
        .until("an attempt", async || bench.store.calls("apply_status") > 1)
        .await;
    bench.drain.cancel();
    // From now on it has five seconds.
    bench
        .store
        .next("apply_status", 0, Fault::Error(StoreError::Closed));
    // Until the broker confirms it goes on giving.
    let mut last = 0;
    for number in 10..20 {
        last = bench.say_status(&format!("b{number}"), APPLIED).await;
    }
    bench.until_acked(last).await;
    bench.broker.confirms.send_replace(true);
    bench.stop().await;
    assert_eq!(bench.acked(), Vec::from_iter(1..=last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_can_store_nothing_or_is_not_let_go_gives_up_after_five_seconds() {
    for confirmed in [true, false] {
        let mut bench = Bench::prepare().await;
        bench.shared = true;
        bench.run();
        bench.broker.confirms.send_replace(confirmed);
        bench.create("a", "c1").await;
        bench.store.every(Some(Fault::Error(StoreError::Closed)));
        bench.say_status("a", APPLIED).await;
        bench
            .until("the attempt", async || {
                bench.store.calls("apply_status") > 0
            })
            .await;
        let began = Instant::now();
        bench.stop().await;
        assert!(began.elapsed().as_secs() >= 4, "it gave up too early");
        assert!(bench.acked().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_by_its_content_is_acked_at_once_and_told_without_its_content() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    let deep = format!(
        "{{\"conditions\":[],\"x\":{}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    for data in [
        "{\"conditions\":[],\"x\":[1e999]}",
        "[[],[]]",
        "{\"conditions\":[{\"type\":\"secret\"}",
        "{\"conditions\":\"secret\"}",
        "\"secret\"",
        deep.as_str(),
        r#"{"conditions":[],"x":"\ud800"}"#,
        r#"{"conditions":[],"\udc00":1}"#,
    ] {
        let refused = bench.say_status("a", data).await;
        bench.until_acked(refused).await;
    }
    assert_eq!(bench.counted("bridge_agent_events_total", "undecodable"), 8);
    // Nor is what an operator's tool checks the agent's topic with counted as an event that cannot be read.
    let topic = "maestro/consumers/c1/agentevents";
    let check = bench
        .say(link::event::check::message(topic, "probe-1"))
        .await;
    bench.until_acked(check).await;
    assert_eq!(bench.counted("bridge_agent_events_total", "undecodable"), 8);
    assert_eq!(bench.counted("bridge_agent_events_total", "check"), 1);
    let bundle = bench.store.sound().get_bundle("a").await.unwrap().unwrap();
    assert!(bundle.status.is_none());
    // A hash that is none is not kept: it would be echoed in lists that then do not fit.
    let mut event = bench.status(Action::Update, "a", 1, APPLIED);
    event.status_hash = Some("<".repeat(60_000));
    let taken = bench.say(from_agent(&event)).await;
    bench.until_acked(taken).await;
    let hashes = bench
        .store
        .sound()
        .status_hashes_of(&consumer("c1"))
        .await
        .unwrap();
    assert_eq!(hashes, [("a".to_owned(), None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_side_says_of_a_status_is_not_said_by_an_agent() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    let data = r#"{"ObservedVersion":9,"conditions":[],"SequenceID":"1","\u0053equenceId":"2","observedver\u017fion":3,"x":1}"#;
    let taken = bench.say_status("a", data).await;
    bench.until_acked(taken).await;
    let bundle = bench.store.sound().get_bundle("a").await.unwrap().unwrap();
    let kept = bundle.status.unwrap().payload;
    assert_eq!(kept.as_str(), r#"{"conditions":[],"x":1}"#);
}
