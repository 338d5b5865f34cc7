use std::collections::BTreeMap;

use link::id::ConsumerName;

use super::*;
use crate::store::{Assessment, Load, PresenceState};

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

fn row(name: &str, seen: Option<i64>, waits: Option<i64>) -> Row {
    let consumer = Consumer {
        id: format!("id-{name}"),
        name: ConsumerName::new(name).unwrap(),
        labels: BTreeMap::from([("env".into(), name[..1].to_owned())]),
        created_at: at(0),
        updated_at: at(0),
        last_seen_at: seen.map(at),
    };
    let load = Load {
        bundles: 3,
        waiting_to_apply: waits.map_or(0, |_| 2),
        oldest_waiting_since: waits.map(at),
        ..Load::default()
    };
    let agent = KnownAgent {
        heard: seen.is_some(),
        ..KnownAgent::default()
    };
    Row {
        consumer,
        load,
        agent,
    }
}

fn with(state: PresenceState, row: Row) -> Row {
    let assessment = Assessment {
        state,
        since: None,
        reason: None,
        connected_since: None,
    };
    let agent = KnownAgent {
        assessment: Some(assessment),
        ..row.agent
    };
    Row { agent, ..row }
}

fn names(rows: &[Row], query: &[(&str, &str)]) -> String {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let request = OverviewRequest::parse(query.iter().map(owned).collect()).unwrap();
    let mut found: Vec<_> = rows
        .iter()
        .map(|row| (row, row.health(at(55))))
        .filter(|(row, health)| request.takes(row, *health))
        .collect();
    request.sort(&mut found);
    let page = found.iter().skip(request.offset()).take(request.size);
    let names: Vec<_> = page.map(|(row, _)| row.consumer.name.as_str()).collect();
    names.join(" ")
}

#[test]
fn every_consumer_has_one_health_and_all_are_counted() {
    let rows = [
        row("a", Some(59), None),
        row("b", Some(59), Some(50)),
        row("c", Some(59), Some(58)),
        row("d", None, Some(10)),
        with(PresenceState::Away, row("e", Some(59), Some(50))),
        with(PresenceState::Never, row("f", None, None)),
        with(PresenceState::Idle, row("g", Some(59), None)),
        // Its connection is known and nothing came yet.
        with(PresenceState::Connected, row("h", None, Some(50))),
        with(PresenceState::Unknown, row("i", Some(1), Some(50))),
    ];
    let mut summary = Summary::default();
    for row in &rows {
        summary.add(row, row.health(at(55)));
    }
    let counted = (summary.well, summary.stuck, summary.away, summary.never);
    assert_eq!(counted, (3, 3, 1, 2));
    assert_eq!((summary.consumers, summary.bundles), (9, 27));
    // Those of which nobody asked are unknown.
    let counted = serde_json::to_value(summary.presence).unwrap();
    let expected =
        serde_json::json!({"connected": 1, "idle": 1, "away": 1, "never": 1, "unknown": 5});
    assert_eq!(counted, expected);
    assert_eq!(summary.oldest_waiting_since, Some(at(10)));
}

#[test]
fn rows_come_in_the_order_asked_for_and_those_without_a_value_last() {
    let rows = [
        row("b", Some(2), Some(50)),
        row("a", None, None),
        row("c", Some(1), Some(40)),
    ];
    for (query, expected) in [
        (&[][..], "a b c"),
        (&[("orderBy", "name desc")], "c b a"),
        (&[("orderBy", "oldest_waiting_since")], "c b a"),
        (&[("orderBy", "oldest_waiting_since desc")], "b c a"),
        (&[("orderBy", "waiting desc")], "c b a"),
        (&[("orderBy", "last_seen_at desc")], "b c a"),
        (&[("orderBy", "health")], "c b a"),
        (&[("page", "2"), ("size", "2")], "c"),
        (&[("contains", "ENV=B")], "b"),
        (&[("contains", "env=b"), ("health", "never")], ""),
        (&[("health", "never")], "a"),
    ] {
        assert_eq!(names(&rows, query), expected, "{query:?}");
    }
}

#[test]
fn agents_are_found_by_how_they_are_and_those_that_went_first_come_first() {
    let since = |minute, row: Row| {
        let mut assessment = row.agent.assessment.clone().unwrap();
        assessment.since = Some(at(minute));
        let agent = KnownAgent {
            assessment: Some(assessment),
            ..row.agent
        };
        Row { agent, ..row }
    };
    let rows = [
        with(PresenceState::Idle, row("idle", Some(59), None)),
        since(9, with(PresenceState::Away, row("late", Some(9), None))),
        // Whatever waits of it, the other one went earlier.
        since(8, with(PresenceState::Away, row("early", Some(8), None))),
        since(
            10,
            with(PresenceState::Away, row("last", Some(9), Some(10))),
        ),
        with(
            PresenceState::Connected,
            row("connected", Some(59), Some(50)),
        ),
        with(PresenceState::Never, row("never", None, None)),
        with(PresenceState::Unknown, row("unknown", Some(1), None)),
        row("unasked", Some(1), None),
    ];
    for (query, expected) in [
        (&[("presence", "away")][..], "early last late"),
        (
            &[("presence", "away"), ("orderBy", "presence_since")],
            "early late last",
        ),
        (
            &[("presence", "away"), ("orderBy", "presence_since desc")],
            "last late early",
        ),
        (&[("presence", "idle")], "idle"),
        (&[("presence", "connected")], "connected"),
        (&[("presence", "never")], "never"),
        (&[("presence", "unknown")], "unasked unknown"),
        (
            &[("presence", "")],
            "connected early idle last late never unasked unknown",
        ),
        (
            &[("orderBy", "presence")],
            "early late last never unasked unknown connected idle",
        ),
        (
            &[("orderBy", "presence desc")],
            "idle connected unasked unknown never early late last",
        ),
        // Both at once, and the page behind the last one.
        (
            &[("presence", "away"), ("health", "away"), ("size", "2")],
            "early last",
        ),
        (&[("presence", "away"), ("health", "well")], ""),
        (&[("presence", "away"), ("size", "3"), ("page", "2")], ""),
        // `env=l` is a label.
        (&[("presence", "away"), ("contains", "env=l")], "last late"),
        (&[("presence", "away"), ("name_contains", "env=l")], ""),
        (
            &[("presence", "away"), ("name_contains", "LA")],
            "last late",
        ),
    ] {
        assert_eq!(names(&rows, query), expected, "{query:?}");
    }
}

#[test]
fn what_is_asked_wrongly_is_named() {
    for (name, value, part) in [
        ("page", "0", "`page` must be a number from 1"),
        ("orderBy", "nam", "did you mean `name`?"),
        ("orderBy", "name up", "`asc` or `desc`"),
        ("health", "stuk", "did you mean `stuck`?"),
        ("presence", "awy", "query parameter `presence`: "),
        ("presence", "awy", "did you mean `away`?"),
        ("presence", "away,never", "query parameter `presence`: "),
        ("orderBy", "presense", "did you mean `presence`?"),
        ("stuck_after", "x", "`stuck_after` must be a number"),
        ("contain", "x", "did you mean `contains`?"),
    ] {
        let refused = OverviewRequest::parse(vec![(name.into(), value.into())]).unwrap_err();
        assert!(refused.reason().contains(part), "{}", refused.reason());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_look_that_fails_gets_its_failure_and_nobody_waits_for_long() {
    let cache = OverviewCache::default();
    let looks = std::cell::Cell::new(0);
    let look = || async {
        looks.set(looks.get() + 1);
        tokio::time::sleep(Duration::from_secs(5)).await;
        Err(ApiError::busy("too many lists are being read"))
    };
    let began = Instant::now();
    let all = futures_util::future::join_all((0..20).map(|_| cache.fresh(look))).await;
    assert!(all.iter().all(Result::is_err));
    assert_eq!((looks.get(), began.elapsed().as_secs()), (1, 5));
    // The next one looks again.
    assert!(cache.fresh(look).await.is_err());
    assert_eq!(looks.get(), 2);
    let stuck = cache.fresh(|| async {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        Err(ApiError::busy("it hangs"))
    });
    let waits = async {
        let began = Instant::now();
        let busy = cache.fresh(look).await.unwrap_err();
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
        format!("{busy:?}")
    };
    tokio::select! {
        biased;
        _ = stuck => panic!("it hangs"),
        told = waits => assert!(told.contains("the overview is being read"), "{told}"),
    }
}
