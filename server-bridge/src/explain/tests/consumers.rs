//! Consumers, and bundles that are gone.

use super::*;
use crate::store::fixture::report;

/// A consumer without bundles, in the first epoch of its database.
fn resting(lane: LaneFacts) -> ConsumerFacts {
    ConsumerFacts {
        lane,
        load: Load::default(),
        oldest: Vec::new(),
        epoch: Epoch {
            number: 1,
            id: "0000000a-".into(),
            began_at: before(86_400),
            why: String::new(),
        },
        doubts: Doubts::default(),
        raised: Vec::new(),
    }
}

/// An agent that was heard, and that reported of itself, so many seconds ago.
fn presence(heard_before: i64, reported_before: i64) -> Presence {
    Presence {
        consumer: name(),
        last_seen_at: Some(before(heard_before)),
        report: Some(report("1.4.0", before(90_000))),
        refusals: 0,
        report_at: Some(before(reported_before)),
        missed_at: None,
        connection: None,
    }
}

#[test]
fn a_bundle_that_is_gone_is_told_of_as_long_as_it_is_remembered() {
    let tombstone = Tombstone {
        bundle_id: "b1".into(),
        consumer: name(),
        version: Version::new(4).unwrap(),
        removed_at: before(7_260),
    };
    let text = bundle_text(&gone(&tombstone, now()));
    for part in [
        "bundle    b1, for cluster1, version 4",
        "stored at 2026-08-01T07:59:00Z (2 h 1 min ago)",
        "hop       v4 deleted      2026-08-01T07:59:00Z",
        "target `audit`, id `b1`",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn a_consumer_s_story_counts_and_tells_the_oldest_of_each() {
    let facts = ConsumerFacts {
        lane: Scene::acked().leased(Some(("pod-a", false)), 2).facts.lane,
        load: Load {
            bundles: 9,
            waiting_to_send: 1,
            waiting_to_apply: 2,
            oldest_waiting_since: Some(before(600)),
            ..Load::default()
        },
        oldest: vec![
            Scene::stored()
                .failed("publish to `t` refused: not authorized (0x87)", 3)
                .facts,
            Scene::acked().facts,
        ],
        epoch: Epoch {
            number: 2,
            id: "0000000a-".into(),
            began_at: before(86_400),
            why: "the database is in another place".into(),
        },
        doubts: Doubts {
            since: Some(before(86_400)),
            unconfirmed: true,
            foreign_works: false,
        },
        raised: vec![RaisedVersion {
            id: "b7".into(),
            version: Version::new(8).unwrap(),
            at: before(3_000),
            note: "the cluster held version 7 while this database was at 3".into(),
        }],
    };
    let story = consumer(&facts, None, now());
    let text = consumer_text(&story);
    for line in [
        "consumer  cluster1",
        "state     3 of 9 bundles wait, the oldest for 10 min to be published; its agent was heard 30 s ago.",
        "waiting   1 to be sent, 2 to be applied, 0 to be available, 0 to be deleted, of 9",
        "oldest    b1",
        "waits     MQ901 for `published` since 2026-08-01T09:50:00Z (10 min)",
        "lane      pod-a, slot 1, term 7 until 2026-08-01T10:00:09Z",
        "epoch     2 since 2026-07-31T10:00:00Z; bundles of it are not confirmed in it",
    ] {
        assert!(
            text.lines().any(|told| told == line),
            "no `{line}` in\n{text}"
        );
    }
    let again: ConsumerStory =
        serde_json::from_value(serde_json::to_value(&story).unwrap()).unwrap();
    assert_eq!(again, story);
    let unread = ConsumerFacts {
        oldest: Vec::new(),
        ..facts
    };
    assert_eq!(
        consumer(&unread, None, now()).state,
        "3 of 9 bundles wait; why is not known yet; its agent was heard 30 s ago."
    );
    let none = ConsumerFacts {
        load: Load::default(),
        ..unread
    };
    assert_eq!(
        consumer(&none, None, now()).state,
        "Nothing waits: 0 bundles; its agent was heard 30 s ago."
    );
}

#[test]
fn a_lane_says_who_sends_or_since_when_nobody_does() {
    let lane = |owner, replicas, process: Option<&ProcessFacts>| {
        let mut scene = Scene::acked();
        if let Some(replicas) = replicas {
            scene = scene.leased(owner, replicas);
        }
        scene.facts.lane.listened_until = Some(before(400));
        let facts = resting(scene.facts.lane);
        let text = consumer_text(&consumer(&facts, process, now()));
        let told = text.lines().find(|line| line.starts_with("lane "));
        told.unwrap_or_default().to_owned()
    };
    let running = ProcessFacts::default();
    for (told, expected) in [
        (
            lane(Some(("pod-a", false)), Some(2), None),
            "lane      pod-a, slot 1, term 7 until 2026-08-01T10:00:09Z",
        ),
        // By its lease, whatever else was heard.
        (
            lane(Some(("pod-a", true)), Some(1), Some(&running)),
            "lane      nobody's since 2026-08-01T09:59:20Z; 1 replica(s) are there",
        ),
        // Another one takes it within seconds.
        (
            lane(None, Some(1), Some(&running)),
            "lane      nobody's; 1 replica(s) are there",
        ),
        (
            lane(None, Some(0), None),
            "lane      nobody's since 2026-08-01T09:53:20Z; 0 replica(s) are there",
        ),
        (
            lane(None, None, None),
            "lane      no bridge has heard agents since 2026-08-01T09:53:20Z",
        ),
        // Of the bridge of a file that tells it.
        (lane(None, None, Some(&running)), ""),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn a_consumer_whose_agent_is_away_with_nothing_to_do_is_not_told_as_one_that_rests() {
    let told = |heard_before| {
        let mut scene = Scene::acked();
        let lane = &mut scene.facts.lane;
        lane.listening_since = Some(before(9_000));
        lane.consumer.last_seen_at = Some(before(heard_before));
        lane.presence = Some(presence(heard_before, heard_before));
        let facts = ConsumerFacts {
            load: Load {
                bundles: 1,
                ..Load::default()
            },
            ..resting(scene.facts.lane)
        };
        consumer(&facts, None, now()).state
    };
    assert_eq!(
        told(600),
        "Nothing waits: 1 bundle; its agent was heard 10 min ago."
    );
    assert_eq!(
        told(601),
        "Nothing waits: 1 bundle; its agent is away since 2026-08-01T09:49:59Z (10 min 1 s)."
    );
}

#[test]
fn an_old_report_and_a_clock_that_was_ahead_say_nothing_of_the_agent_that_is_there() {
    let mut scene = Scene::acked();
    let lane = &mut scene.facts.lane;
    lane.listening_since = Some(before(90_000));
    lane.presence = Some(presence(30, 20));
    let known = |lane: &LaneFacts, waits| AgentFacts::of(lane, waits, now());
    let current = known(lane, true);
    assert_eq!(current.version.as_deref(), Some("1.4.0"));
    assert_eq!(current.state, PresenceState::Connected);
    assert_eq!(known(lane, false).state, PresenceState::Idle);
    // It was replaced by one that never reports.
    lane.presence.as_mut().unwrap().report_at = Some(before(86_400));
    let replaced = known(lane, true);
    assert_eq!((replaced.version, replaced.reports), (None, false));
    assert_eq!(replaced.state, PresenceState::Unknown);
    lane.consumer.last_seen_at = Some(before(-3_600));
    assert_eq!(known(lane, true).last_heard_at, Some(before(86_400)));
}
