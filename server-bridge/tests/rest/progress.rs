//! What callers can ask about statuses.

use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use reqwest::Method;
use serde_json::{Value, json};
use server_bridge::store::{AgentStore, Json, StatusUpdate, Store};

use crate::server::{Server, bundle};

/// Four bundles: nothing was sent of `b1`, `b2` is sent, `b3` applied, `b4` available too.
async fn region() -> Server {
    let server = Server::with_consumer().await;
    for (number, id) in (1..).zip(["b1", "b2", "b3", "b4"]) {
        server
            .send(Method::POST, "/resource-bundles", Some(bundle(id)))
            .await;
        if number > 1 {
            let at = format!("2026-08-01T10:00:0{number}Z").parse().unwrap();
            let store = &server.store;
            let published = store.record_published(id, Version::FIRST, false, at);
            published.await.unwrap();
            let acked = store.record_broker_acked(id, Version::FIRST, false, true, at);
            acked.await.unwrap();
        }
    }
    for (id, available) in [("b3", "False"), ("b4", "True")] {
        let at = "2026-08-01T10:01:00Z".parse().unwrap();
        let condition =
            |kind, status| json!({"type": kind, "status": status, "observedGeneration": 1});
        let payload = json!({"conditions": [condition("Applied", "True"), condition("Available", available)]});
        let update = StatusUpdate {
            bundle_id: id.into(),
            consumer: ConsumerName::new("cluster1").unwrap(),
            version: Version::FIRST,
            sequence_id: SequenceId::from_parts(at, 1, 0),
            status_hash: None,
            payload: Json::from_value(&payload),
            metadata: None,
            deleted: false,
            received_at: None,
            applied_at: Some(at),
            at,
        };
        server.store.apply_status(update).await.unwrap();
    }
    server
}

async fn ids(server: &Server, search: &str, order: &str) -> String {
    let url = format!("{}/resource-bundles", server.base);
    let query = [("search", search), ("orderBy", order), ("fields", "id")];
    let url = reqwest::Url::parse_with_params(&url, query).unwrap();
    let answer = server.client.get(url).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    let items = body["items"].as_array().unwrap_or_else(|| panic!("{body}"));
    let ids: Vec<_> = items
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    ids.join(" ")
}

#[tokio::test]
async fn searches_answer_what_is_stuck_and_take_the_absent_for_unknown() {
    let server = region().await;
    let stuck =
        "consumer_name='cluster1' and waiting_for='apply' and waiting_since<'2026-08-01T10:00:03Z'";
    for (search, order, expected) in [
        (stuck, "waiting_since", "b2"),
        ("", "waiting_since", "b4 b1 b2 b3"),
        ("", "waiting_since desc", "b3 b2 b1 b4"),
        ("waiting_for is null", "", "b4"),
        ("not waiting_for = 'apply'", "", "b1 b3"),
        ("waiting_for != 'apply'", "", "b1 b3"),
        ("waiting_for in ('send', 'available')", "", "b1 b3"),
        ("not (waiting_for = 'apply' or applied = 'False')", "", "b3"),
        ("applied = 'True' and available <> 'True'", "", "b3"),
        ("applied is null", "status_at, id desc", "b2 b1"),
        ("applied like 'T%'", "available desc", "b4 b3"),
        (
            "status_version >= 1 and status_at >= '2026-08-01'",
            "",
            "b3 b4",
        ),
    ] {
        assert_eq!(
            ids(&server, search, order).await,
            expected,
            "{search}, {order}"
        );
    }
    let mut refused = Vec::new();
    for search in [
        "waiting_for='aply'",
        "applied in ('True','true')",
        "status_at>1",
        "waiting_since like '2026%'",
    ] {
        let path = format!("/resource-bundles?search={search}").replace('%', "%25");
        refused.push(server.refused(Method::GET, &path, Value::Null).await);
    }
    insta::assert_snapshot!(refused.join("\n"), @r"
400 maestro-23: Failed to parse search query: at position 13: expected 'send', 'apply', 'available', 'deletion', found the string 'aply'
400 maestro-23: Failed to parse search query: at position 20: expected 'True', 'False', 'Unknown', found the string 'true'
400 maestro-23: Failed to parse search query: at position 11: expected a time such as '2026-08-01T10:00:00Z' or a date such as '2026-08-01', found `1`
400 maestro-23: Failed to parse search query: at position 20: `like` works on text columns and labels
");
}

#[tokio::test]
async fn lists_say_how_far_each_bundle_has_come_to_who_asks() {
    let server = region().await;
    let asked = "applied,available,status_version,status_at,waiting_for,waiting_since";
    let list = server
        .get(&format!("/resource-bundles?fields={asked}"))
        .await;
    let items = list["items"].as_array().unwrap();
    let lines: Vec<_> = items.iter().map(Value::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
{"id":"b1","waiting_for":"send","waiting_since":"2026-08-01T10:00:00.1Z"}
{"id":"b2","waiting_for":"apply","waiting_since":"2026-08-01T10:00:02Z"}
{"applied":"True","available":"False","id":"b3","status_at":"2026-08-01T10:01:00Z","status_version":1,"waiting_for":"available","waiting_since":"2026-08-01T10:01:00Z"}
{"applied":"True","available":"True","id":"b4","status_at":"2026-08-01T10:01:00Z","status_version":1}
"#);
    let list = server.get("/resource-bundles").await;
    for item in list["items"].as_array().unwrap() {
        assert!(
            asked.split(',').all(|name| item.get(name).is_none()),
            "{item}"
        );
    }
}

#[tokio::test]
async fn consumers_are_found_by_when_they_were_heard_and_say_what_waits_of_them() {
    let server = region().await;
    let silent = json!({"name": "cluster2"});
    server.send(Method::POST, "/consumers", Some(silent)).await;
    server
        .store
        .mark_deleting("b4", "2026-08-01T10:02:00Z".parse().unwrap())
        .await
        .unwrap();
    let heard = vec![ConsumerName::new("cluster1").unwrap()];
    let at = "2026-08-01T10:03:00Z".parse().unwrap();
    server.store.note_seen(heard, at).await.unwrap();
    for (search, order, expected) in [
        ("last_seen_at >= '2026-08-01T10:03:00Z'", "", "cluster1"),
        ("last_seen_at < '2026-08-01T10:03:00Z'", "", ""),
        ("last_seen_at is null", "", "cluster2"),
        ("", "last_seen_at", "cluster2 cluster1"),
    ] {
        let path = format!("/consumers?fields=name&search={search}&orderBy={order}");
        let list = server.get(&path).await;
        let items = list["items"].as_array().unwrap();
        let names: Vec<_> = items
            .iter()
            .map(|item| item["name"].as_str().unwrap())
            .collect();
        assert_eq!(names.join(" "), expected, "{search}");
    }
    let asked = "name,bundles,waiting_to_send,waiting_to_apply,waiting_for_available,waiting_for_deletion,oldest_waiting_since";
    let list = server
        .get(&format!("/consumers?fields={asked}&orderBy=name"))
        .await;
    let items = list["items"].as_array().unwrap();
    let lines: Vec<_> = items
        .iter()
        .map(|item| {
            let mut item = item.clone();
            item.as_object_mut().unwrap().remove("id");
            item.to_string()
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
{"bundles":4,"name":"cluster1","oldest_waiting_since":"2026-08-01T10:00:00.1Z","waiting_for_available":1,"waiting_for_deletion":1,"waiting_to_apply":1,"waiting_to_send":1}
{"bundles":0,"name":"cluster2","waiting_for_available":0,"waiting_for_deletion":0,"waiting_to_apply":0,"waiting_to_send":0}
"#);
    let list = server.get("/consumers").await;
    assert!(list["items"][0].get("bundles").is_none());
    let one = server
        .get("/consumers?fields=waiting_to_apply&size=1")
        .await;
    assert_eq!(one["items"][0]["waiting_to_apply"], 1);
    assert!(one["items"][0].get("bundles").is_none());
}
