//! What agents say of themselves and the broker says of them: taken, refused and bounded, and never in the way of statuses.

use link::event::Event;
use link::event::agent_report::kind;
use link::message::Message;

use super::bench::{APPLIED, Bench, consumer, from_agent, now};
use crate::store::faulty::Fault;
use crate::store::{Presence, PresenceStore as _, StoreError, fixture};

fn report(version: &str) -> Event {
    fixture::report(version, now()).event("agent", &consumer("c1"), "maestro", now())
}

fn lifecycle(kind: &str, client: &str, data: &str) -> Message {
    Message::new(
        format!("$aws/events/presence/{kind}/{client}"),
        data.to_owned(),
    )
}

fn ended(client: &str, version: u32) -> Message {
    let data = format!(
        "{{\"clientId\":\"{client}\",\"timestamp\":1780000000000,\"eventType\":\"disconnected\",\
         \"versionNumber\":{version},\"disconnectReason\":\"CONNECTION_LOST\"}}"
    );
    lifecycle("disconnected", client, &data)
}

const AGENT: &str = "c1-work-agent-client";

async fn known(bench: &Bench, name: &str) -> Presence {
    let store = bench.store.sound();
    store.presence(&consumer(name)).await.unwrap().unwrap()
}

fn counted(bench: &Bench, outcome: &str) -> u64 {
    bench.counted("bridge_agent_events_total", outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_acked_when_it_is_stored_and_one_that_is_none_stops_nothing() {
    let mut bench = Bench::start().await;
    bench.create("a", "c1").await;
    let fault = Fault::Error(StoreError::Closed);
    bench.store.next("put_report", u32::MAX, fault.clone());
    let first = bench.say(from_agent(&report("1.0"))).await;
    bench
        .until("it to be tried again", async || {
            bench.store.calls("put_report") > 1
        })
        .await;
    assert!(bench.acked().is_empty());
    bench.store.next("put_report", 0, fault);
    bench.until_acked(first).await;
    let report_of_c1 = known(&bench, "c1").await.report.unwrap();
    assert_eq!(report_of_c1.version, "1.0");
    // In another's name, for another source, and none at all.
    let mut foreign = report("2.0");
    foreign.cluster_name = Some("c2".into());
    let mut elsewhere = report("2.0");
    elsewhere.original_source = Some("other".into());
    let none = Event::new("agent", kind(), &consumer("c1"), now());
    let mut none = none.with_data("{\"version\":7}");
    none.original_source = Some("maestro".into());
    for event in [foreign, elsewhere, none] {
        let told = bench.say(from_agent(&event)).await;
        bench.until_acked(told).await;
    }
    let refused = ["foreign_consumer", "foreign_source", "bad_report"];
    assert_eq!(refused.map(|outcome| counted(&bench, outcome)), [1, 1, 1]);
    assert_eq!(known(&bench, "c2").await.report, None);
    let status = bench.say_status("a", APPLIED).await;
    bench.until_acked(status).await;
    assert_eq!(counted(&bench, "stored"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_reports_without_end_writes_no_more_than_is_good() {
    let mut bench = Bench::start().await;
    for number in 0..100 {
        let told = bench.say(from_agent(&report(&number.to_string()))).await;
        bench.until_acked(told).await;
    }
    // One in ten seconds more, on a slow machine.
    assert!(bench.store.calls("put_report") < 40);
    assert!(counted(&bench, "too_many_reports") > 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifecycle_events_of_agents_are_kept_and_make_nobody_heard_and_others_are_nobody_s() {
    let mut bench = Bench::start().await;
    for message in [
        ended(AGENT, 3),
        ended(AGENT, 3),
        ended(AGENT, 2),
        ended("c9-work-agent-client", 1),
        ended("maestro-0", 9),
        ended("somebody-s-thermostat", 9),
        lifecycle("connected", AGENT, "{}"),
        lifecycle("connect_failed", AGENT, "{}"),
    ] {
        let told = bench.say(message).await;
        bench.until_acked(told).await;
    }
    let outcomes = [
        "connection",
        "late_connection",
        "other_client",
        "bad_lifecycle_event",
        "foreign_topic",
    ];
    let counts = outcomes.map(|outcome| counted(&bench, outcome));
    assert_eq!(counts, [1, 3, 2, 1, 1]);
    let event = known(&bench, "c1").await.connection.unwrap();
    assert_eq!((event.connected, event.version), (false, 3));
    assert_eq!(event.reason.as_deref(), Some("CONNECTION_LOST"));
    // That the broker says something of an agent is no sign of life.
    bench.stop().await;
    assert_eq!(known(&bench, "c1").await.last_seen_at, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_noted_that_agents_are_heard_once_the_session_is_subscribed() {
    let bench = Bench::start().await;
    assert_eq!(bench.store.calls("note_listening"), 0);
    let before = now();
    bench.connected(1);
    bench
        .until("the note", async || {
            let since = bench.store.sound().listening_since(now()).await.unwrap();
            since.is_some_and(|since| since.as_second() >= before.as_second())
        })
        .await;
}
