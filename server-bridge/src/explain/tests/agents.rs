//! Stuck between the broker and the agent.

use super::*;

#[test]
fn what_the_agent_has_not_reported_on_says_whether_it_is_away_refuses_or_keeps_silent() {
    let silent = |seen: Option<i64>, matched| {
        let mut scene = Scene::acked();
        scene.facts.lane.consumer.last_seen_at = seen.map(before);
        scene.entry(|entry| entry.matched = Some(matched));
        scene
    };
    let refusing = |version, reason: &str, message: &str| {
        Scene::acked().agent(PresenceState::Connected, |agent| {
            agent.refusals = vec![RefusedVersion {
                id: "b1".into(),
                version: Version::new(version),
                at: before(500),
                reason: reason.into(),
                message: message.into(),
            }];
        })
    };
    let mut fresh = Scene::acked();
    fresh.entry(|entry| entry.acked_at = Some(before(4)));
    let away = |scene: Scene| {
        scene.agent(PresenceState::Away, |agent| {
            agent.why = Some("MQTT_KEEP_ALIVE_TIMEOUT".into());
            agent.last_heard_at = Some(before(410));
        })
    };
    let cases: &[Case<'_>] = &[
        (
            "nobody was subscribed",
            silent(Some(3_600), false),
            &[
                "MQ903 received",
                "nobody was subscribed to the topic of `cluster1`",
                "2026-08-01T09:51:00Z",
            ],
        ),
        (
            "nobody was subscribed, and it was heard since",
            silent(Some(10), false),
            &["MQ907", "talks and has not reported on version 1"],
        ),
        (
            "never heard",
            silent(None, true),
            &[
                "MQ905 received",
                "nothing was ever heard of an agent of `cluster1`",
            ],
        ),
        (
            "never heard, and nobody was subscribed",
            silent(None, false),
            &["MQ905", "nobody is subscribed"],
        ),
        (
            "silent",
            silent(Some(3_600), true),
            &[
                "MQ904",
                "since the broker took version 1 at 2026-08-01T09:51:00Z",
                "(1 h ago)",
            ],
        ),
        (
            "away, as presence says",
            away(Scene::acked()),
            &[
                "MQ904",
                "is away since 2026-08-01T09:53:20Z (6 min 40 s): the broker says MQTT_KEEP_ALIVE_TIMEOUT",
                "probe doctor",
            ],
        ),
        (
            "refused",
            refusing(
                1,
                "foreign_source",
                "source `maestro` is not among those of --allow-source",
            ),
            &[
                "MQ906",
                "refuses version 1",
                "foreign_source",
                "not among those of --allow-source",
                "let the agent take this source",
            ],
        ),
        (
            "refused for its content",
            refusing(1, "payload", "manifests[0]: kind is missing"),
            &[
                "MQ906",
                "manifests[0]: kind is missing",
                "correct what the message names",
            ],
        ),
        (
            "another version refused",
            refusing(2, "payload", "x"),
            &["MQ907"],
        ),
        (
            "a Go agent that talks",
            Scene::acked(),
            &["MQ907", "a Go agent", "the agent's log"],
        ),
        (
            "an agent of ours that talks",
            Scene::acked().agent(PresenceState::Idle, |_| {}),
            &["MQ907", "is there, refuses nothing", "MQ503"],
        ),
        (
            "one that the broker says is connected, and silent",
            Scene::acked().agent(PresenceState::Connected, |agent| {
                agent.last_heard_at = Some(before(3_600));
            }),
            &["MQ907", "is there, refuses nothing"],
        ),
        (
            "one that reported lately, and silent since",
            Scene::acked().agent(PresenceState::Idle, |agent| {
                agent.last_heard_at = Some(before(560));
            }),
            &["MQ904", "nothing was heard of the agent of `cluster1`"],
        ),
        (
            "just taken by the broker",
            fresh,
            &["MQ907", "4 s ago", "answers at once"],
        ),
        (
            "a deletion that is not confirmed",
            Scene::acked().deleting(true),
            &["MQ910 deleted for 5 min", "the deletion"],
        ),
        (
            "a deletion, and the agent is away",
            away(Scene::acked().deleting(true)),
            &["MQ904 deleted for 5 min", "is away since"],
        ),
    ];
    check(cases);
}
