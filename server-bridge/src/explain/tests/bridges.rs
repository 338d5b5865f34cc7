//! Stuck on the side of the bridges.

use super::*;

#[test]
fn what_the_broker_has_not_taken_says_who_refused_it_or_who_does_not_send() {
    let large = "it does not fit: payload has 200000 bytes, the limit is 131072";
    let refused = |text: &str, code| {
        format!("publish to `maestro/consumers/cluster1/sourceevents` refused: {text} (0x{code})")
    };
    let handed = |seconds| {
        let mut scene = Scene::stored();
        scene.entry(|entry| {
            entry.published_at = Some(before(seconds));
            entry.attempts = 1;
        });
        scene
    };
    let mut behind = Scene::stored();
    behind.facts.ahead = Ahead {
        of_source: 200,
        of_others: Some(1_000),
    };
    let mut again = Scene::acked();
    again.facts.unsent = true;
    let mut new = Scene::stored();
    new.facts.bundle.progress = Some(Progress {
        waiting_since: Some(before(1)),
        ..Progress::default()
    });
    let leased = |owner, replicas| Scene::stored().leased(owner, replicas);
    let heard = |mut scene: Scene, seconds| {
        scene.facts.lane.listened_until = Some(before(seconds));
        scene
    };
    let cases: &[Case<'_>] = &[
        (
            "too large",
            Scene::stored().failed(large, 1),
            &[
                "MQ901 published for 10 min",
                "does not fit",
                "ConfigMap shop/large",
                "bytes, ConfigMap shop/small",
                "tried again in 59 min 1 s",
                "split the bundle",
            ],
        ),
        (
            "ends the connection",
            Scene::stored().failed("publish to `t` ends the connection each time: closed", 1),
            &["MQ901", "ends the connection each time", "broker's log"],
        ),
        (
            "denied",
            Scene::stored().failed(&refused("not authorized", "87"), 7),
            &[
                "MQ901",
                "0x87",
                "after 7 attempts",
                "`iot:Publish` on `topic/maestro/consumers/cluster1/sourceevents`",
                "MQ331",
            ],
        ),
        (
            "over a quota",
            Scene::stored().failed(&refused("quota exceeded", "97"), 9),
            &["MQ901", "0x97", "PublishIn.Throttle", "MQ333"],
        ),
        (
            "refused for another reason",
            Scene::stored().failed(&refused("implementation specific error", "83"), 2),
            &["MQ901", "0x83", "why it refuses"],
        ),
        (
            "the session ended",
            Scene::stored().failed(
                "the session was shut down before the broker acknowledged",
                1,
            ),
            &["MQ901", "the bridge that runs next"],
        ),
        (
            "no bridge runs",
            leased(None, 0),
            &[
                "MQ902 published",
                "no bridge runs on this database",
                "start a bridge",
            ],
        ),
        (
            "the session ended and no bridge runs",
            leased(None, 0).failed(
                "the session was shut down before the broker acknowledged",
                1,
            ),
            &["MQ902", "no bridge runs on this database"],
        ),
        (
            "no bridge runs since a time that is known",
            heard(leased(None, 0), 400),
            &[
                "MQ902 published",
                "no bridge runs on this database",
                "a bridge heard agents last at 2026-08-01T09:53:20Z (6 min 40 s ago)",
            ],
        ),
        (
            "the one bridge of a file went",
            heard(Scene::stored(), 400),
            &[
                "MQ902 published",
                "the bridge has not handed it to its connection for 10 min; a bridge heard agents last at 2026-08-01T09:53:20Z",
            ],
        ),
        (
            "nobody owns the bucket",
            leased(None, 2),
            &[
                "MQ902",
                "nobody owns the consumer's bucket 28",
                "2 replica(s)",
            ],
        ),
        (
            "its owner went",
            leased(Some(("pod-a", true)), 0),
            &[
                "MQ902",
                "replica `pod-a` (slot 1)",
                "has not renewed its lease since it ran out at 2026-08-01T09:59:20Z",
            ],
        ),
        (
            "another bridge owns it",
            leased(Some(("pod-a", false)), 2).process(false, &[("broker", "elsewhere")]),
            &[
                "MQ902",
                "bridge `pod-a` (slot 1) has not handed it to its connection for 10 min",
                "/readyz of that bridge",
            ],
        ),
        (
            "not connected",
            Scene::stored().process(true, &[("broker-0", "connection refused")]),
            &[
                "MQ902",
                "this bridge cannot send: broker-0: connection refused",
                "probe doctor",
            ],
        ),
        (
            "the lease is fenced",
            leased(Some(("pod-a", false)), 1).process(false, &[("leases", "not renewed for 9 s")]),
            &[
                "MQ902",
                "bridge `pod-a` (slot 1) owns the consumer",
                "leases: not renewed for 9 s",
            ],
        ),
        (
            "the store fails",
            Scene::stored().process(true, &[("store", "the disk is full")]),
            &[
                "MQ902",
                "this bridge cannot send: store: the disk is full",
                "MQ700",
            ],
        ),
        (
            "handed over and not acknowledged",
            handed(120),
            &[
                "MQ902 acknowledged",
                "2 min ago",
                "has not acknowledged it since",
            ],
        ),
        (
            "on its way",
            handed(1),
            &["MQ911 acknowledged", "handed it to the broker 1 s ago"],
        ),
        (
            "behind others",
            behind,
            &[
                "MQ911",
                "1200 bundles of its consumer",
                "explain the consumer",
            ],
        ),
        (
            "asked for once more",
            again,
            &["MQ911", "asked for once more", "doubling to a minute"],
        ),
        (
            "just stored",
            new,
            &["MQ911 published for 1 s", "about to send it"],
        ),
        (
            "a deletion that was not sent",
            Scene::acked()
                .deleting(false)
                .process(true, &[("broker", "timed out")]),
            &["MQ902 published for 5 min", "broker: timed out"],
        ),
    ];
    check(cases);
}

#[test]
fn who_may_not_read_every_source_is_told_the_same_whatever_other_sources_have_to_be_sent() {
    let told = |of_source, of_others| {
        let mut scene = Scene::stored();
        let ahead = Ahead {
            of_source,
            of_others: Some(of_others),
        };
        scene.facts.ahead = ahead.of_its_source();
        scene.told()
    };
    for of_source in [0, 3] {
        assert_eq!(told(of_source, 0), told(of_source, 1_200));
    }
    let (none, some) = (told(0, 1_200), told(3, 1_200));
    assert!(none.contains("MQ900") && none.contains("10 min"), "{none}");
    assert!(
        some.contains("MQ911") && some.contains("3 bundles of its source"),
        "{some}"
    );
    // No advice that would be refused.
    assert!(!some.contains("explain the consumer"), "{some}");
}

#[test]
fn who_may_not_read_everything_is_told_which_check_fails_and_not_why() {
    let hidden = "connect to `db.internal` as `bridge`";
    for (owns, name) in [(true, "broker-0"), (true, "store"), (false, "leases")] {
        let mut scene = Scene::stored().process(owns, &[(name, hidden)]);
        assert!(scene.told().contains(hidden), "{}", scene.told());
        scene.process = scene.process.map(ProcessFacts::without_reasons);
        let text = serde_json::to_string(&scene.story()).unwrap();
        let named = format!("its check `{name}` fails");
        assert!(text.contains("MQ902") && text.contains(&named), "{text}");
        assert!(!text.contains("internal"), "{text}");
    }
}

#[test]
fn what_is_quarantined_says_until_when_and_what_is_over_does_not() {
    let failure = "it does not fit: payload has 200000 bytes, the limit is 131072";
    let attempts = Scene::stored().failed(failure, 1).story().attempts.unwrap();
    assert!(attempts.quarantined);
    assert_eq!(attempts.next_at, Some(before(59 - 3_600)));
    // Doubles from a second.
    let refused = "publish to `t` refused: not authorized (0x87)";
    let attempts = Scene::stored().failed(refused, 3).story().attempts.unwrap();
    assert_eq!(
        (attempts.quarantined, attempts.next_at),
        (false, Some(before(55)))
    );
    let attempts = Scene::acked().story().attempts.unwrap();
    assert_eq!(
        (attempts.count, attempts.failure, attempts.next_at),
        (1, None, None)
    );
    assert_eq!(Scene::stored().story().attempts, None);
}
