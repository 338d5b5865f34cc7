use link::id::ConsumerName;

use super::super::ConnectionEvent;
use super::*;
use crate::store::fixture;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second).unwrap()
}

fn nothing() -> Presence {
    Presence {
        consumer: ConsumerName::new("c1").unwrap(),
        last_seen_at: None,
        report: None,
        refusals: 0,
        report_at: None,
        missed_at: None,
        connection: None,
    }
}

fn reported(second: i64) -> Presence {
    Presence {
        report: Some(fixture::report("1.0.0", at(-50))),
        report_at: Some(at(second)),
        ..nothing()
    }
}

fn seen(second: i64) -> Presence {
    Presence {
        last_seen_at: Some(at(second)),
        ..nothing()
    }
}

fn began(presence: Presence, second: i64) -> Presence {
    with_event(presence, second, true)
}

fn ended(presence: Presence, second: i64) -> Presence {
    with_event(presence, second, false)
}

fn with_event(presence: Presence, second: i64, connected: bool) -> Presence {
    Presence {
        connection: Some(ConnectionEvent {
            client_id: "c1".into(),
            connected,
            version: 1,
            at: at(second),
            reason: (!connected).then(|| "CONNECTION_LOST".into()),
            heard_at: at(second),
        }),
        ..presence
    }
}

/// What is known and what that is, since when bridges listen, the time; the state, since when, and why.
type Case = (
    &'static str,
    Presence,
    Option<i64>,
    i64,
    PresenceState,
    Option<i64>,
    Option<&'static str>,
);

#[test]
fn an_agent_is_as_what_was_heard_of_it_says_and_silence_counts_only_while_somebody_listened() {
    use PresenceState::{Away, Idle, Never, Unknown};
    use reason::*;
    let missed = |presence: Presence, second| Presence {
        missed_at: Some(at(second)),
        ..presence
    };
    let long_ago = Some(-100_000);
    let table: [Case; 24] = [
        (
            "nothing, listened for long",
            nothing(),
            long_ago,
            0,
            Never,
            None,
            None,
        ),
        (
            "nothing, just started",
            nothing(),
            Some(-10),
            0,
            Unknown,
            None,
            Some(NOT_LISTENED_LONG_ENOUGH),
        ),
        (
            "nothing, nobody listens",
            nothing(),
            None,
            0,
            Unknown,
            None,
            Some(NOT_LISTENED_LONG_ENOUGH),
        ),
        (
            "a Go agent",
            seen(-5),
            long_ago,
            0,
            Unknown,
            None,
            Some(REPORTS_NOTHING),
        ),
        (
            "a Go agent, silent for a day",
            seen(-86_400),
            long_ago,
            0,
            Unknown,
            None,
            Some(REPORTS_NOTHING),
        ),
        (
            "a Go agent that connected",
            began(nothing(), -9),
            long_ago,
            0,
            Idle,
            Some(-9),
            None,
        ),
        (
            "a Go agent that went",
            ended(seen(-20), -9),
            long_ago,
            0,
            Away,
            Some(-9),
            Some("CONNECTION_LOST"),
        ),
        (
            "a Go agent that connected before a gap",
            began(seen(-90), -99),
            Some(-10),
            0,
            Unknown,
            None,
            Some(NOT_HEARD_SINCE_RESTART),
        ),
        (
            "a Go agent heard since a gap",
            began(seen(-5), -99),
            Some(-10),
            0,
            Idle,
            Some(-99),
            None,
        ),
        ("a report", reported(-5), long_ago, 0, Idle, Some(-50), None),
        (
            "a report, as long ago as it may be",
            reported(-600),
            long_ago,
            0,
            Idle,
            Some(-50),
            None,
        ),
        (
            "no report for longer",
            reported(-601),
            long_ago,
            0,
            Away,
            Some(-601),
            Some(REPORTS_MISSING),
        ),
        (
            "no report, and still connected",
            began(reported(-601), -700),
            long_ago,
            0,
            Away,
            Some(-601),
            Some(REPORTS_MISSING),
        ),
        (
            "a report before a gap",
            reported(-86_400),
            Some(-600),
            0,
            Idle,
            Some(-50),
            Some(NOT_HEARD_SINCE_RESTART),
        ),
        (
            "a report before a gap that was waited for",
            reported(-86_400),
            Some(-601),
            0,
            Away,
            Some(-86_400),
            Some(REPORTS_MISSING),
        ),
        (
            "a report before a gap, nobody listens",
            reported(-86_400),
            None,
            0,
            Idle,
            Some(-50),
            Some(NOT_HEARD_SINCE_RESTART),
        ),
        (
            "missed before a gap",
            missed(reported(-86_400), -80_000),
            Some(-1),
            0,
            Away,
            Some(-86_400),
            Some(REPORTS_MISSING),
        ),
        (
            "missed, and heard since",
            missed(
                Presence {
                    last_seen_at: Some(at(-4)),
                    ..reported(-86_400)
                },
                -80_000,
            ),
            Some(-1),
            0,
            Unknown,
            None,
            Some(REPORTS_NOTHING),
        ),
        (
            "an end right after a report",
            ended(reported(-5), -6),
            long_ago,
            0,
            Away,
            Some(-6),
            Some("CONNECTION_LOST"),
        ),
        (
            "an end that what was heard since contradicts",
            ended(reported(-5), -30),
            long_ago,
            0,
            Idle,
            Some(-50),
            None,
        ),
        (
            "heard by a clock that was ahead, and gone",
            ended(seen(3_600), -30),
            long_ago,
            0,
            Away,
            Some(-30),
            Some("CONNECTION_LOST"),
        ),
        (
            "a report, heard and missed by a clock that was ahead",
            missed(
                Presence {
                    last_seen_at: Some(at(3_600)),
                    ..reported(-5)
                },
                3_600,
            ),
            long_ago,
            0,
            Idle,
            Some(-50),
            None,
        ),
        (
            "heard by a clock that was ahead only",
            seen(3_600),
            long_ago,
            0,
            Unknown,
            None,
            Some(NOT_HEARD_SINCE_RESTART),
        ),
        (
            "an end, whatever came before",
            ended(reported(-99), -30),
            Some(-1),
            0,
            Away,
            Some(-30),
            Some("CONNECTION_LOST"),
        ),
    ];
    for (what, presence, listening, now, state, since, why) in table {
        let circumstances = Circumstances {
            now: at(now),
            listening_since: listening.map(at),
            waits: false,
        };
        let judged = assess(&presence, circumstances);
        let told = (judged.state, judged.since, judged.reason.as_deref());
        assert_eq!(told, (state, since.map(at), why), "{what}");
        let there = state == Idle;
        assert_eq!(judged.connected_since.is_some(), there, "{what}");
        // With something on its way one that is there is connected, and nothing else changes.
        let waits = Circumstances {
            waits: true,
            ..circumstances
        };
        let busy = assess(&presence, waits).state;
        let expected = if there {
            PresenceState::Connected
        } else {
            state
        };
        assert_eq!(busy, expected, "{what}, with something on its way");
    }
}

#[test]
fn an_end_at_the_end_of_time_is_believed() {
    let circumstances = Circumstances {
        now: at(0),
        listening_since: Some(at(-100_000)),
        waits: false,
    };
    let mut presence = ended(seen(-5), 0);
    presence.connection.as_mut().unwrap().at = Timestamp::MAX;
    assert_eq!(assess(&presence, circumstances).state, PresenceState::Away);
}
