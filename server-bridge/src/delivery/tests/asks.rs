//! Statuses are asked for when somebody hears the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use link::event::{Action, RESYNC_ANSWER};
use link::mqtt::State;
use link::order::SequenceId;
use tokio::sync::watch;

use super::bench::{APPLIED, Bench, DELETED, consumer, from_agent, now};
use crate::store::{Labels, NewConsumer, Store};

/// Not running yet, with as many sessions; some of eight consumers are on each.
async fn prepare(sessions: usize, shared: bool) -> Bench {
    let mut bench = Bench::prepare().await;
    let consumers = (3..=8).map(|number| NewConsumer {
        id: format!("c{number}"),
        name: consumer(&format!("c{number}")),
        labels: Labels::new(),
    });
    let consumers = consumers.collect();
    bench
        .store
        .ensure_consumers(consumers, now())
        .await
        .unwrap();
    bench.others = (1..sessions)
        .map(|_| watch::channel(State::Connecting).0)
        .collect();
    bench.shared = shared;
    bench
}

/// How often each consumer was asked.
fn asked(bench: &Bench) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for event in bench.broker.events() {
        if event.kind.action == Action::ResyncRequest {
            *asked.entry(event.cluster_name.unwrap()).or_default() += 1;
        }
    }
    asked
}

async fn until_all_are_asked(bench: &Bench, least: usize) {
    bench
        .until("all consumers to be asked", async || {
            let asked = asked(bench);
            asked.len() == 8 && asked.values().all(|times| *times >= least)
        })
        .await;
}

const READY: State = State::Ready {
    epoch: 1,
    resumed: false,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_asked_once_the_session_that_listens_has_subscribed_and_not_before() {
    let mut bench = prepare(2, false).await;
    // This one holds no filter, and is ready while nobody hears an answer.
    bench.others[0].send_replace(READY);
    bench.run();
    bench.create("a", "c1").await;
    bench.until_settled("c1").await;
    assert_eq!(asked(&bench), BTreeMap::new());
    bench.connected(1);
    until_all_are_asked(&bench, 1).await;

    // What was sent to the listening session alone is lost: it says nothing of the other.
    bench.connected(2);
    until_all_are_asked(&bench, 2).await;

    // A new connection of the other one loses nothing, and one that was kept neither.
    bench.others[0].send_replace(State::Ready {
        epoch: 2,
        resumed: false,
    });
    bench.state.send_replace(State::Ready {
        epoch: 3,
        resumed: true,
    });
    bench.connected(4);
    until_all_are_asked(&bench, 3).await;
    assert!(asked(&bench).values().all(|times| *times == 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_shared_subscription_every_session_that_loses_something_has_everybody_asked() {
    let mut bench = prepare(2, true).await;
    bench.run();
    bench.connected(1);
    bench.others[0].send_replace(READY);
    until_all_are_asked(&bench, 1).await;
    bench.others[0].send_replace(State::Ready {
        epoch: 2,
        resumed: false,
    });
    until_all_are_asked(&bench, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_a_faster_clock_made_stale_is_asked_for_when_it_is_stale_no_more() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    bench.create("gone", "c1").await;
    bench.until_settled("c1").await;
    bench.connected(1);
    let fast = now().checked_add(Duration::from_secs(10)).unwrap();
    for id in ["a", "gone"] {
        let mut event = bench.status(Action::Update, id, 1, APPLIED);
        event.sequence_id = Some(SequenceId::from_parts(fast, 1, 0));
        let stored = bench.say(from_agent(&event)).await;
        bench.until_acked(stored).await;
    }
    bench.store.mark_deleting("gone", now()).await.unwrap();
    bench.until_settled("c1").await;
    let deletions = bench.broker.count("gone");

    // Another agent, with the right clock.
    let mut stale = bench.status(Action::Update, "a", 1, "{\"conditions\":[]}");
    stale.sequence_id = Some(SequenceId::from_parts(now(), 2, 0));
    let mut deleted = bench.status(Action::Update, "gone", 1, DELETED);
    deleted.sequence_id = stale.sequence_id;
    for event in [&stale, &deleted] {
        let event = bench.say(from_agent(event)).await;
        bench.until_acked(event).await;
    }
    assert_eq!(
        bench.counted("bridge_agent_events_total", "stale_sequence"),
        2
    );
    bench
        .until("the deletion to be sent again", async || {
            bench.broker.count("gone") > deletions
        })
        .await;
    bench
        .until("the status to be asked for", async || {
            let events = bench.broker.events();
            events
                .iter()
                .any(|event| event.extensions.contains_key(RESYNC_ANSWER))
        })
        .await;
    assert!(now() >= fast);
    stale.sequence_id = Some(SequenceId::from_parts(now(), 2, 0));
    let status = bench.say(from_agent(&stale)).await;
    bench.until_acked(status).await;
    assert_eq!(
        bench.counted("bridge_agent_events_total", "stale_sequence"),
        2
    );
}
