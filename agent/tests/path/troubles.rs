//! What must hold while something fails: the store, the target's speed, a task, a late copy.

use std::time::Duration;

use agent::work::WorkId;
use link::bundle::{Condition, Status};
use link::event::{Action, Event, Kind};
use link::order::Version;
use link::supervise::TaskDied;

use super::faults::{Call, Class};
use super::harness::{Harness, config_map, delete, upsert};

const CREATED: &str = "2026-08-01T10:00:00Z";

/// An event of the bundle that its source made then.
fn made(at: &str, mut event: Event) -> Event {
    event.metadata = Some(format!(r#"{{"name":"n","creationTimestamp":"{at}"}}"#));
    event
}

fn is_applied(status: &Status) -> bool {
    // What is said while a work goes still tells that it was applied.
    status.condition("Applied").is_some_and(Condition::is_true)
        && status.condition("Deleting").is_none()
}

#[tokio::test(start_paused = true)]
async fn no_error_of_the_store_acks_what_was_not_done_or_loses_anything() {
    for call in Call::ALL {
        for class in Class::ALL {
            sweep(call, class).await;
        }
    }
}

async fn sweep(call: Call, class: Class) {
    let what = format!("{call:?} {class:?}");
    let mut agent = Harness::start().await;
    agent.send(upsert("old", 1, &[config_map("a", "1")])).await;
    agent.status("old", is_applied).await;
    agent.until(|agent| agent.acknowledged("old")).await;

    agent.store.fail(Some((call, class)));
    agent.send(upsert("new", 1, &[config_map("b", "1")])).await;
    agent.send(delete("old", Some(1))).await;
    agent.send(delete("never", Some(1))).await;
    agent.pass(Duration::from_secs(5)).await;
    // What is acked is done: the first event, and what could be made durable or said since.
    let done = match call {
        // The removal notice needs nothing durable, when it was in the same batch.
        Call::Commit => 1..=2,
        Call::Read => 2..=2,
        Call::Sequence => 3..=3,
        _ => 4..=4,
    };
    assert!(done.contains(&agent.acks()), "{what}: {}", agent.acks());
    let stored = agent.store.commits(&"new".into()) + agent.store.commits(&"old".into()) - 1;
    assert!(stored < agent.acks(), "{what}");
    if call == Call::Commit {
        assert_eq!(stored, 0);
    }
    assert!(
        agent.held().contains(&WorkId::from("old")) || call == Call::Acknowledge,
        "{what}"
    );
    agent.store_health().expect_err(&what);

    agent.store.fail(None);
    agent
        .until(|agent| agent.acks() == 4 && agent.held() == [WorkId::from("new")])
        .await;
    agent.until(|agent| agent.acknowledged("new")).await;
    assert_eq!(agent.files().len(), 1, "{what}");
    assert_eq!(agent.store_health(), Ok(()), "{what}");
    assert_eq!(agent.restarts(), [""; 0], "{what}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deletions_that_come_again_and_again_with_a_slow_target_ask_for_nothing_and_store_nothing_anew()
 {
    const WORKS: usize = 600;
    let mut agent = Harness::start_slow(Duration::from_secs(1)).await;
    let ids: Vec<String> = (0..WORKS).map(|number| format!("w{number}")).collect();
    for id in &ids {
        agent
            .send(made(CREATED, upsert(id, 1, &[config_map(id, "1")])))
            .await;
    }
    agent.until(|agent| agent.files().len() == WORKS).await;

    let started = tokio::time::Instant::now();
    let mut sent = WORKS;
    for _ in 0..4 {
        for id in &ids {
            // A broker that delivers again delivers what led here too.
            agent
                .send(made(CREATED, upsert(id, 1, &[config_map(id, "1")])))
                .await;
            agent.send(made(CREATED, delete(id, Some(1)))).await;
            sent += 2;
        }
        agent.until(|agent| agent.acks() == sent).await;
    }
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "the target holds up intake"
    );
    agent
        .until_within(Duration::from_secs(120), |agent| agent.held().is_empty())
        .await;
    agent.pass(Duration::from_secs(120)).await;
    // Late ones are answered, and not stored either.
    for id in &ids {
        agent.send(made(CREATED, delete(id, Some(1)))).await;
        sent += 1;
    }
    agent.until(|agent| agent.acks() == sent).await;
    agent.pass(Duration::from_secs(120)).await;
    assert!(
        agent.requests() <= 3,
        "{} resync requests",
        agent.requests()
    );
    for id in &ids {
        assert_eq!(agent.store.commits(&id.as_str().into()), 2, "{id}");
    }
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_is_told_before_it_is_written_and_a_deletion_without_writing_any() {
    let mut agent = Harness::start().await;
    let failing = Some((Call::WriteStatus, Class::NoAnswer));
    agent.store.fail(failing);
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    agent.status("w", is_applied).await;
    agent.until(|agent| agent.store_health().is_err()).await;
    agent.store.fail(None);
    agent.until(|agent| agent.store_health().is_ok()).await;
    agent.store.fail(failing);
    agent.send(delete("w", Some(1))).await;
    agent.until(|agent| agent.held().is_empty()).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_that_can_be_made_again_are_and_nothing_is_lost_with_them() {
    for (call, task) in [
        (Some(Call::Read), "reconcile 1"),
        (Some(Call::PutStatus), "reconcile 1"),
        (Some(Call::Acknowledge), "report 1"),
        (Some(Call::Remove), "report 1"),
        (None, "resync 1"),
    ] {
        let mut agent = Harness::start().await;
        agent.resync_request().await;
        match call {
            Some(call) => agent.store.panic_once(call),
            None => agent.panic_at_resync(),
        }
        agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
        agent.status("w", is_applied).await;
        agent.until(|agent| agent.acknowledged("w")).await;
        agent.reconnect();
        agent.resync_request().await;
        agent.send(delete("w", Some(1))).await;
        agent.until(|agent| agent.held().is_empty()).await;
        assert!(agent.files().is_empty());
        assert_eq!(agent.restarts(), [task]);
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_intake_dies_ends_and_says_so() {
    let agent = Harness::start().await;
    agent.store.panic_once(Call::Commit);
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    let died = TaskDied {
        task: "intake",
        cause: "it panicked: Commit fails on purpose".into(),
    };
    assert_eq!(agent.ended().await, Err(died));
}

#[tokio::test(start_paused = true)]
async fn a_late_copy_of_an_old_event_does_not_bring_a_deleted_work_back() {
    let mut agent = Harness::start().await;
    agent.resync_request().await;
    let create = made(CREATED, upsert("w", 1, &[config_map("a", "1")]));
    agent.send(create.clone()).await;
    agent.status("w", is_applied).await;
    agent.send(made(CREATED, delete("w", Some(1)))).await;
    agent.status("w", Status::is_deleted).await;
    agent.until(|agent| agent.held().is_empty()).await;

    // Over a restart too.
    for _ in 0..2 {
        let before = agent.acks();
        agent.send(create.clone()).await;
        agent.until(|agent| agent.acks() == before + 1).await;
        assert!(agent.held().is_empty());
        assert!(agent.files().is_empty());
        agent = agent.restart().await;
        agent.resync_request().await;
    }
    // The source is asked, and what it says then counts.
    agent.send(create.clone()).await;
    agent.resync_request().await;
    let mut answer = create.clone();
    answer.kind = Kind::spec(Action::ResyncResponse);
    agent.send(answer).await;
    agent.status("w", is_applied).await;
    agent.send(made(CREATED, delete("w", Some(1)))).await;
    agent.until(|agent| agent.held().is_empty()).await;
    // Another bundle under the same id counts its versions anew.
    let again = made(
        "2026-08-01T12:00:00Z",
        upsert("w", 1, &[config_map("b", "1")]),
    );
    agent.send(again).await;
    let (event, _) = agent.status("w", is_applied).await;
    assert_eq!(event.resource_version, Version::new(1));
    // And a late copy of the deletion of the first does not take it away.
    let before = agent.acks();
    agent.send(made(CREATED, delete("w", Some(1)))).await;
    agent.until(|agent| agent.acks() == before + 1).await;
    agent.pass(Duration::from_secs(5)).await;
    assert_eq!(agent.held(), [WorkId::from("w")]);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_a_work_that_is_lost_still_takes_its_objects() {
    let mut agent = Harness::start().await;
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    agent.status("w", is_applied).await;
    agent.until(|agent| agent.acknowledged("w")).await;
    let work = agent.state().join("works/w.work");
    let agent = agent.halt().await;
    std::fs::write(work, "garbage").expect("a work file");
    let mut agent = agent.resume(true).await;
    assert!(agent.held().is_empty() && agent.files().len() == 1);
    agent.send(delete("w", Some(1))).await;
    agent.status("w", Status::is_deleted).await;
    agent
        .until(|agent| agent.files().is_empty() && agent.held().is_empty())
        .await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deletions_of_works_that_are_not_held_wait_unacked_until_they_are_answered() {
    let mut agent = Harness::start().await;
    agent.resync_request().await;
    agent.offline();
    for number in 0..200 {
        agent.send(delete(&format!("w{number}"), Some(1))).await;
        agent.send(delete(&format!("w{number}"), Some(1))).await;
    }
    agent.pass(Duration::from_secs(5)).await;
    assert_eq!(agent.acks(), 0);
    agent.reconnect();
    agent.until(|agent| agent.acks() == 400).await;
    assert_eq!(agent.store.commits(&"w0".into()), 0);
    agent.stop().await;
}
