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
    behind.facts.ahead = 1_200;
    let mut again = Scene::acked();
    again.facts.unsent = true;
    let mut new = Scene::stored();
    new.facts.bundle.progress = Some(Progress {
        waiting_since: Some(before(1)),
        ..Progress::default()
    });
    let leased = |owner, replicas| Scene::stored().leased(owner, replicas);
    let scenes = [
        ("too large", Scene::stored().failed(large, 1)),
        (
            "ends the connection",
            Scene::stored().failed("publish to `t` ends the connection each time: closed", 1),
        ),
        (
            "denied",
            Scene::stored().failed(&refused("not authorized", "87"), 7),
        ),
        (
            "over a quota",
            Scene::stored().failed(&refused("quota exceeded", "97"), 9),
        ),
        (
            "refused for another reason",
            Scene::stored().failed(&refused("implementation specific error", "83"), 2),
        ),
        (
            "the session ended",
            Scene::stored().failed(
                "the session was shut down before the broker acknowledged",
                1,
            ),
        ),
        ("no bridge runs", leased(None, 0)),
        ("nobody owns the bucket", leased(None, 2)),
        ("its owner went", leased(Some(("pod-a", true)), 0)),
        (
            "another bridge owns it",
            leased(Some(("pod-a", false)), 2).process(false, &[("broker", "elsewhere")]),
        ),
        (
            "not connected",
            Scene::stored().process(true, &[("broker-0", "connection refused")]),
        ),
        (
            "the lease is fenced",
            leased(Some(("pod-a", false)), 1).process(false, &[("leases", "not renewed for 9 s")]),
        ),
        (
            "the store fails",
            Scene::stored().process(true, &[("store", "the disk is full")]),
        ),
        ("handed over and not acknowledged", handed(120)),
        ("on its way", handed(1)),
        ("behind others", behind),
        ("asked for once more", again),
        ("just stored", new),
        (
            "a deletion that was not sent",
            Scene::acked()
                .deleting(false)
                .process(true, &[("broker", "timed out")]),
        ),
    ];
    insta::assert_snapshot!("bridges", table(&scenes));
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
