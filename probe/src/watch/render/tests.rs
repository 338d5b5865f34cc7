use serde_json::json;

use super::*;
use crate::args::SortKey;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn view() -> View {
    View {
        sort: SortKey::Waiting,
        filter: None,
        presence: None,
        cluster: None,
        rows: 10,
        offset: 0,
        selected: 1,
        typing: None,
    }
}

fn snapshot() -> Snapshot {
    let mut stuck = BundleRow::of(&json!({
        "id": "0b7c", "name": "web", "consumer_name": "eu-1", "version": 4,
        "waiting_for": "apply", "waiting_since": "2026-11-29T09:00:00Z",
    }));
    stuck.explain(&json!({"waiting": {
        "code": "MQ501", "why": "the agent refused version 4: too large", "next": "make it smaller",
    }}));
    Snapshot {
        at: at("2026-11-29T12:00:00Z"),
        is_missing: false,
        clusters: 10_000,
        waiting: super::super::snapshot::Waits::of([1, 2, 3, 4]),
        stuck: 2,
        rows: vec![
            ClusterRow::of(&json!({
                "name": "eu-1", "bundles": 120, "waiting_to_send": 0, "waiting_to_apply": 2,
                "oldest_waiting_since": "2026-11-29T09:00:00Z",
                "presence": {"state": "away", "since": "2026-11-29T08:00:00Z", "agent": {"version": "0.1.0"},
                    "certificate": {"notAfter": "2026-12-01T00:00:00Z"}},
            })),
            ClusterRow::of(&json!({
                "name": "a-cluster-with-a-name-that-is-quite-long-and-does-not-fit",
                "last_seen_at": "2026-11-29T11:59:30Z",
            })),
        ],
        bundles: vec![
            stuck,
            BundleRow::of(
                &json!({"id": "5f", "consumer_name": "eu-2", "version": 1, "waiting_for": "send"}),
            ),
        ],
    }
}

fn screen(width: usize, height: usize, trouble: Option<&str>) -> String {
    let (snapshot, view) = (snapshot(), view());
    let picture = Picture {
        address: "https://bridge.example",
        snapshot: Some(&snapshot),
        view: &view,
        trouble,
        now: at("2026-11-29T12:00:05Z"),
    };
    let lines = picture.lines(width, height);
    assert_eq!(lines.len(), height);
    assert!(lines.iter().all(|line| line.text.chars().count() <= width));
    let lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    lines.join("\n")
}

#[test]
fn a_narrow_and_a_wide_screen_are_as_reviewed() {
    insta::assert_snapshot!("narrow", screen(80, 24, None));
    insta::assert_snapshot!("wide", screen(140, 30, None));
}

#[test]
fn the_last_picture_stays_and_tells_its_age_when_the_api_is_away() {
    let text = screen(100, 24, Some("connect to `https://bridge.example`"));
    assert!(text.contains("5s old"), "{text}");
    assert!(text.contains("API away: connect to"), "{text}");
    assert!(text.contains("eu-1"), "{text}");
}

#[test]
fn a_plain_table_is_as_reviewed() {
    insta::assert_snapshot!("plain", plain(&snapshot(), 140));
}

#[test]
fn json_is_as_reviewed() {
    insta::assert_snapshot!(
        "json",
        serde_json::to_string_pretty(&snapshot().json()).unwrap()
    );
}

#[test]
fn no_screen_is_too_small() {
    for (width, height) in [(0, 0), (1, 1), (10, 5), (300, 100), (80, 9)] {
        let (snapshot, view) = (snapshot(), view());
        let mut picture = Picture {
            address: "x",
            snapshot: Some(&snapshot),
            view: &view,
            trouble: None,
            now: snapshot.at,
        };
        let lines = picture.lines(width, height);
        assert!(
            lines
                .iter()
                .all(|line| line.text.chars().count() <= width.max(1))
        );
        picture.snapshot = None;
        assert_eq!(picture.lines(width, height).len(), height);
    }
}
