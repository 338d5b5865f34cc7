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
    let scenes = [
        ("nobody was subscribed", silent(Some(3_600), false)),
        (
            "nobody was subscribed, and it was heard since",
            silent(Some(10), false),
        ),
        ("never heard", silent(None, true)),
        (
            "never heard, and nobody was subscribed",
            silent(None, false),
        ),
        ("silent", silent(Some(3_600), true)),
        ("away, as presence says", away(Scene::acked())),
        (
            "refused",
            refusing(
                1,
                "foreign_source",
                "source `maestro` is not among those of --allow-source",
            ),
        ),
        (
            "refused for its content",
            refusing(1, "payload", "manifests[0]: kind is missing"),
        ),
        ("another version refused", refusing(2, "payload", "x")),
        ("a Go agent that talks", Scene::acked()),
        (
            "an agent of ours that talks",
            Scene::acked().agent(PresenceState::Idle, |_| {}),
        ),
        (
            "one that the broker says is connected, and silent",
            Scene::acked().agent(PresenceState::Connected, |agent| {
                agent.last_heard_at = Some(before(3_600));
            }),
        ),
        (
            "one that reported lately, and silent since",
            Scene::acked().agent(PresenceState::Idle, |agent| {
                agent.last_heard_at = Some(before(560));
            }),
        ),
        ("just taken by the broker", fresh),
        (
            "a deletion that is not confirmed",
            Scene::acked().deleting(true),
        ),
        (
            "a deletion, and the agent is away",
            away(Scene::acked().deleting(true)),
        ),
    ];
    insta::assert_snapshot!("agents", table(&scenes));
}
