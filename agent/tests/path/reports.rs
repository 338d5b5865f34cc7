//! What the agent reports of itself.

use std::time::Duration;

use jiff::Timestamp;
use link::event::agent_report::{AGENT_REPORTS, AgentReport, AgentTarget, HeldWorks, is_report};
use link::event::{Action, Event, Kind};
use link::order::Version;

use super::harness::{Harness, config_map, consumer, upsert};

/// A bridge asks for statuses, and says that it takes reports.
fn asking(source: &str) -> Event {
    let kind = Kind::status(Action::ResyncRequest);
    let mut event = Event::new(source, kind, &consumer(), Timestamp::UNIX_EPOCH)
        .with_data("{\"statusHashes\":[]}");
    event.extensions.insert(AGENT_REPORTS.into(), "1".into());
    event
        .extensions
        .insert("resyncanswer".into(), "true".into());
    event
}

/// A version whose event came to the wrong agent.
fn refused(id: &str, version: i64) -> Event {
    Event {
        cluster_name: Some("cluster2".into()),
        ..upsert(id, version, &[config_map("a", "1")])
    }
}

async fn report(agent: &mut Harness) -> AgentReport {
    loop {
        let event = agent.next().await;
        if is_report(&event) {
            assert_eq!(event.resource_id, None);
            assert_eq!(event.original_source.as_deref(), Some("maestro"));
            return AgentReport::read(&event).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_told_what_the_agent_is_and_holds_and_again_every_five_minutes() {
    let mut agent = Harness::start().await;
    agent.send(upsert("w", 3, &[config_map("a", "1")])).await;
    agent.status("w", |_| true).await;
    agent.send(asking("maestro")).await;
    let first = report(&mut agent).await;
    assert_eq!(first.target, AgentTarget::Directory);
    assert_eq!(first.version, env!("CARGO_PKG_VERSION"));
    assert!(first.connected_at >= Some(first.started_at));
    let held = HeldWorks::of([("w", Version::new(3).unwrap())]);
    assert_eq!((&first.works, first.refusals.len()), (&held, 0));
    assert!(first.extensions.iter().any(|name| name == AGENT_REPORTS));
    let asked = tokio::time::Instant::now();
    let again = report_within(&mut agent, Duration::from_secs(301)).await;
    assert!(asked.elapsed() >= Duration::from_secs(290));
    assert_eq!(again.started_at, first.started_at);
    agent.stop().await;
}

async fn report_within(agent: &mut Harness, time: Duration) -> AgentReport {
    let until = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < until {
        if let Some(event) = agent.next_within(Duration::from_secs(1)).await
            && is_report(&event)
        {
            return AgentReport::read(&event).unwrap();
        }
    }
    panic!("no report within {time:?}")
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_who_did_not_ask() {
    let mut agent = Harness::start().await;
    agent.send(refused("w", 1)).await;
    let mut asking = asking("maestro");
    asking.extensions.remove(AGENT_REPORTS);
    agent.send(asking).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(700);
    while tokio::time::Instant::now() < until {
        let event = agent.next_within(Duration::from_secs(1)).await;
        assert!(event.is_none_or(|event| !is_report(&event)));
    }
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_version_is_told_until_a_newer_one_is_taken_and_again_after_a_restart() {
    let mut agent = Harness::start().await;
    agent.send(asking("maestro")).await;
    assert_eq!(report(&mut agent).await.refusals, []);
    agent.send(refused("w", 2)).await;
    let told = report(&mut agent).await;
    let [refusal] = told.refusals.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(refusal.resource_id, "w");
    assert_eq!(refusal.resource_version, Version::new(2));
    assert_eq!(refusal.reason, "foreign_consumer");
    assert!(refusal.message.contains("cluster2"), "{}", refusal.message);

    // What was refused is in no list of what is held, so that its source sends it again.
    let mut agent = agent.restart().await;
    let request = agent.resync_request().await;
    assert_eq!(request.data_bytes(), br#"{"resourceVersions":[]}"#);
    agent.send(refused("w", 2)).await;
    agent.send(asking("maestro")).await;
    assert_eq!(report(&mut agent).await.refusals.len(), 1);

    agent.send(upsert("w", 3, &[config_map("a", "1")])).await;
    assert_eq!(report(&mut agent).await.refusals, []);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_is_told_and_what_could_not_be_sent_is_sent_then() {
    let mut agent = Harness::start().await;
    agent.send(asking("maestro")).await;
    let first = report(&mut agent).await;
    agent.offline();
    agent.send(refused("w", 2)).await;
    agent.pass(Duration::from_secs(60)).await;
    agent.reconnect();
    let second = report(&mut agent).await;
    assert!(second.connected_at > first.connected_at);
    assert_eq!(second.refusals.len(), 1);
    agent.stop().await;
}
