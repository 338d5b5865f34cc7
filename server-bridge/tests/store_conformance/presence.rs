//! What is known of agents: reports, lifecycle events, and since when anybody has listened.

use jiff::{SignedDuration, Timestamp};
use link::event::agent_report::{AgentReport, AgentTarget, HeldWorks, SpecRefusal};
use server_bridge::store::{
    Circumstances, ConnectionEvent, Presence, PresenceState, ReportedPresence, Store, assess,
};

use crate::{at, name, version, with_consumers};

pub(crate) fn report(release: &str) -> AgentReport {
    AgentReport {
        version: release.into(),
        commit: "abc".into(),
        extensions: vec!["agentreports".into()],
        started_at: at(-60),
        connected_at: Some(at(-50)),
        certificate: None,
        target: AgentTarget::Directory,
        kubernetes_version: None,
        works: HeldWorks::of([("b", version(3))]),
        refusals: vec![SpecRefusal {
            resource_id: "r \"\\ ü".into(),
            resource_version: Some(version(2)),
            at: at(-1),
            reason: "spec".into(),
            message: "it is none".into(),
        }],
        truncated: false,
    }
}

pub(crate) fn reported(consumer: &str, release: &str, made: i64, came: i64) -> ReportedPresence {
    ReportedPresence {
        consumer: name(consumer),
        report: report(release),
        made_at: at(made),
        at: at(came),
    }
}

pub(crate) fn event(connected: bool, version: i64, second: i64) -> ConnectionEvent {
    ConnectionEvent {
        client_id: "c1".into(),
        connected,
        version,
        at: at(second),
        reason: (!connected).then(|| "CONNECTION_LOST".into()),
        heard_at: at(second + 1),
    }
}

/// A report of one consumer's agent, and the end of a connection of the other's.
pub(crate) async fn fill(store: &impl Store, reports: &str, ends: &str) {
    let taken = store.put_report(reported(reports, "1.0", 3, 4)).await;
    assert!(taken.unwrap());
    let told = store.put_connection(&name(ends), event(false, 7, 5)).await;
    assert!(told.unwrap());
}

async fn presence(store: &impl Store, consumer: &str) -> Presence {
    store.presence(&name(consumer)).await.unwrap().unwrap()
}

async fn release(store: &impl Store) -> String {
    presence(store, "c1").await.report.unwrap().version
}

pub(crate) async fn the_newest_report_of_an_agent_is_kept_whatever_its_clock_says(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2"]).await;
    let put = async |release: &str, made, came| {
        let taken = store.put_report(reported("c1", release, made, came));
        taken.await.unwrap()
    };
    assert!(put("1", 10, 10).await);
    assert!(!put("late", 9, 11).await);
    assert!(put("2", 12, 12).await);
    // The same one once more, and one from the future, which counts as made when it came.
    assert!(put("2", 12, 13).await);
    assert!(put("3", 90_000, 14).await);
    assert!(put("4", 15, 15).await);
    // Its clock was put back.
    assert!(!put("late", -500, 134).await);
    assert!(put("5", -500, 135).await);
    assert_eq!(release(&store).await, "5");
    let told = presence(&store, "c1").await;
    assert_eq!(told.report, Some(report("5")));
    assert_eq!((told.report_at, told.refusals), (Some(at(135)), 1));
    // Nobody registered it.
    let taken = store.put_report(reported("c9", "1", 0, 0)).await.unwrap();
    assert!(!taken && store.presence(&name("c9")).await.unwrap().is_none());
    assert_eq!(presence(&store, "c2").await.report, None);
}

pub(crate) async fn lifecycle_events_count_in_the_order_of_their_versions_until_these_begin_anew(
    store: impl Store,
) {
    with_consumers(&store, &["c1"]).await;
    let put = async |event| store.put_connection(&name("c1"), event).await.unwrap();
    assert!(put(event(true, 5, 100)).await);
    assert!(!put(event(true, 5, 100)).await, "again");
    assert!(put(event(false, 5, 160)).await);
    assert!(!put(event(true, 5, 100)).await, "late");
    assert!(!put(event(false, 4, 170)).await, "of an earlier connection");
    assert!(put(event(true, 7, 161)).await);
    assert!(!put(event(false, 5, 200)).await, "of an earlier connection");
    // Away for an hour: versions begin anew, and what is of before comes late.
    let hour = 3_600;
    assert!(put(event(true, 0, 161 + hour)).await);
    assert!(!put(event(false, 7, 163)).await);
    let kept = presence(&store, "c1").await.connection;
    assert_eq!(kept, Some(event(true, 0, 161 + hour)));
    // Another client id: the later one.
    let other = |second| ConnectionEvent {
        client_id: "c1-b".into(),
        ..event(true, 900, second)
    };
    assert!(!put(other(160 + hour)).await);
    assert!(put(other(162 + hour)).await);
    // Beside reports, which are kept apart.
    assert!(store.put_report(reported("c1", "1", 0, 0)).await.unwrap());
    assert_eq!(
        presence(&store, "c1").await.connection,
        Some(other(162 + hour))
    );
    assert!(!store.put_connection(&name("c9"), other(0)).await.unwrap());
}

pub(crate) async fn presence_is_listed_in_pages_and_goes_with_its_consumer(store: impl Store) {
    let names = ["c1", "c2", "c3", "c4", "c5"];
    with_consumers(&store, &names).await;
    for consumer in ["c2", "c4"] {
        let taken = store.put_report(reported(consumer, "1", 0, 0));
        assert!(taken.await.unwrap());
    }
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        let page = store.presences(after.clone(), 2).await.unwrap();
        let Some(last) = page.last() else {
            break;
        };
        assert!(page.len() <= 2);
        after = Some(last.consumer.clone());
        listed.extend(page);
    }
    let found: Vec<&str> = listed.iter().map(|one| one.consumer.as_str()).collect();
    assert_eq!(found, names);
    // Refusals are counted, and left out.
    let one = listed[1].report.as_ref().unwrap();
    assert_eq!((one.refusals.len(), listed[1].refusals), (0, 1));
    let asked = ["c4", "c5", "c9"].map(name).to_vec();
    let some = store.presences_of(asked).await.unwrap();
    assert_eq!(some.len(), 2);
    assert!(some["c4"].report.is_some() && some["c5"].report.is_none());
    // It goes with its consumer in either way, and the next one of that name begins anew.
    store.delete_consumer("id-c2").await.unwrap();
    let removed = store.remove_consumer("id-c4", None, at(1));
    removed.await.unwrap();
    with_consumers(&store, &["c2", "c4"]).await;
    for consumer in ["c2", "c4"] {
        assert_eq!(presence(&store, consumer).await.report, None);
    }
}

pub(crate) async fn silence_is_noted_only_for_as_long_as_somebody_listened(store: impl Store) {
    with_consumers(&store, &["c1", "c2"]).await;
    let taken = store.put_report(reported("c1", "1", 0, 0));
    assert!(taken.await.unwrap());
    let since = async |second| store.listening_since(at(second)).await.unwrap();
    let until = async || {
        let told = store.consumer_facts(&name("c1"), at(0)).await;
        told.unwrap().unwrap().lane.listened_until
    };
    assert_eq!((since(0).await, until().await), (None, None));
    let listen = async |from: i64, to: i64| {
        for second in (from..=to).step_by(30) {
            store.note_listening(at(second)).await.unwrap();
        }
    };
    let state = async |second: i64| {
        let circumstances = Circumstances {
            now: at(second),
            listening_since: since(second).await,
            waits: false,
        };
        assess(&presence(&store, "c1").await, circumstances).state
    };
    listen(0, 300).await;
    assert_eq!(since(310).await, Some(at(0)));
    assert_eq!(since(421).await, None, "nobody has listened since");
    assert_eq!(until().await, Some(at(300)));
    // A long outage, in which nobody heard anything: it is not away for that.
    assert_eq!(state(86_400).await, PresenceState::Idle);
    listen(86_400, 86_400 + 600).await;
    assert_eq!(since(86_400 + 600).await, Some(at(86_400)));
    assert_eq!(until().await, Some(at(86_400 + 600)));
    assert_eq!(state(86_400 + 600).await, PresenceState::Idle);
    listen(86_400 + 630, 86_400 + 660).await;
    assert_eq!(state(86_400 + 660).await, PresenceState::Away);
    assert_eq!(
        presence(&store, "c1").await.missed_at,
        Some(at(86_400 + 630))
    );
    // After the next outage it is still known.
    let later = 200_000;
    assert_eq!(since(later).await, None);
    assert_eq!(state(later).await, PresenceState::Away);
    // Until it is heard.
    let heard = store.put_report(reported("c1", "1", later, later));
    assert!(heard.await.unwrap());
    assert_eq!(state(later + 1).await, PresenceState::Idle);
    // Of one that reports nothing no report is missing.
    let seen = at(0) + SignedDuration::from_secs(later);
    store.note_seen(vec![name("c2")], seen).await.unwrap();
    listen(later, later + 900).await;
    assert_eq!(presence(&store, "c2").await.missed_at, None::<Timestamp>);
}

pub(crate) async fn a_note_of_a_clock_that_was_ahead_is_replaced_by_the_next(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    for (noted, expected) in [
        (86_400, 86_400),
        (10, 10),
        (9, 10),
        (69, 10),
        (70, 70),
        (0, 0),
    ] {
        store.note_seen(vec![name("c1")], at(noted)).await.unwrap();
        let presence = store.presence(&name("c1")).await.unwrap().unwrap();
        assert_eq!(presence.last_seen_at, Some(at(expected)), "{noted}");
    }
    for (came, taken) in [(86_400, true), (10, true), (9, false), (11, true)] {
        let report = reported("c1", "1.0", came, came);
        assert_eq!(store.put_report(report).await.unwrap(), taken, "{came}");
    }
}
