//! The story of a bundle and of a consumer, by REST.

use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use server_bridge::store::{AgentStore, Json, StatusUpdate, Store};

use crate::server::{Server, bundle};

/// Bundles of these ids at version 1.
async fn region(ids: &[&str]) -> Server {
    let server = Server::with_consumer().await;
    for id in ids {
        let made = server.send(Method::POST, "/resource-bundles", Some(bundle(id)));
        assert_eq!(made.await.0, StatusCode::CREATED);
    }
    server
}

async fn sent(server: &Server, id: &str, deletion: bool) {
    let at = "2026-08-01T10:00:01Z".parse().unwrap();
    let store = &server.store;
    let published = store.record_published(id, Version::FIRST, deletion, at);
    published.await.unwrap();
    let acked = store.record_broker_acked(id, Version::FIRST, deletion, true, at);
    acked.await.unwrap();
}

async fn reported(server: &Server, id: &str, conditions: Value, deleted: bool) {
    let at = "2026-08-01T10:00:02Z".parse().unwrap();
    let update = StatusUpdate {
        bundle_id: id.into(),
        consumer: ConsumerName::new("cluster1").unwrap(),
        version: Version::FIRST,
        sequence_id: SequenceId::from_parts(at, 1, u16::from(deleted)),
        status_hash: None,
        payload: Json::from_value(&json!({ "conditions": conditions })),
        metadata: None,
        deleted,
        received_at: Some(at),
        applied_at: None,
        at,
    };
    server.store.apply_status(update).await.unwrap();
}

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "observedGeneration": 1, "reason": "R", "message": message,
        "lastTransitionTime": "2026-08-01T10:00:02Z"})
}

/// Of what was just stored: its turn comes, but for PostgreSQL, where a bridge sends with a lease, and nobody has one here.
fn unsent() -> &'static str {
    match std::env::var("TEST_STORE").as_deref() {
        Ok("postgres") => "MQ902",
        _ => "MQ911",
    }
}

async fn code(server: &Server, id: &str) -> Value {
    let story = server.get(&format!("/resource-bundles/{id}/explain")).await;
    assert_eq!(story["schema"], "maestro-explain/1");
    story["waiting"]["code"].clone()
}

#[tokio::test]
async fn each_step_of_a_bundle_is_told_from_the_store() {
    let server = region(&["b1", "b2"]).await;
    // Just stored; the clock of this bridge stands still.
    assert_eq!(code(&server, "b1").await, unsent());
    let at = "2026-08-01T10:00:00.1Z".parse().unwrap();
    let store = &server.store;
    let published = store.record_published("b1", Version::FIRST, false, at);
    published.await.unwrap();
    let why = "publish to `t` refused: not authorized (0x87)";
    let failed = store.record_publish_failed("b1", Version::FIRST, false, why, at);
    failed.await.unwrap();
    let story = server.get("/resource-bundles/b1/explain").await;
    assert_eq!(story["waiting"]["code"], "MQ901");
    assert_eq!(story["attempts"]["failure"], why);
    assert_eq!(story["attempts"]["next_at"], "2026-08-01T10:00:01.1Z");
    sent(&server, "b1", false).await;
    // Nobody was ever heard.
    assert_eq!(code(&server, "b1").await, "MQ905");
    let refused = "conflict with `hpa`: .spec.replicas; hint: set `force: true`";
    reported(
        &server,
        "b1",
        json!([condition("Applied", "False", refused)]),
        false,
    )
    .await;
    let story = server.get("/resource-bundles/b1/explain").await;
    assert_eq!(story["waiting"]["code"], "MQ908");
    assert_eq!(story["waiting"]["next"], "set `force: true`");
    assert_eq!(story["waiting"]["page"], "docs/faults/MQ908.md");
    assert_eq!(
        story["conditions"][0]["blocker"],
        "field manager `hpa`: .spec.replicas"
    );
    // By its name too; behind the first no other waits.
    sent(&server, "b2", false).await;
    let well = json!([
        condition("Applied", "True", ""),
        condition("Available", "True", "")
    ]);
    reported(&server, "b2", well, false).await;
    let story = server.get("/resource-bundles/b2/explain").await;
    assert_eq!(story["waiting"], Value::Null, "{story}");
    assert_eq!(story["state"], "Version 1 is applied and available.");
}

#[tokio::test]
async fn a_status_that_cannot_be_read_leaves_it_open_what_is_waited_for() {
    let server = region(&["b1"]).await;
    sent(&server, "b1", false).await;
    reported(&server, "b1", json!("no list of conditions"), false).await;
    let story = server.get("/resource-bundles/b1/explain").await;
    assert_eq!(story["waiting"]["code"], "MQ900", "{story}");
    assert!(
        story["waiting"]["next"]
            .as_str()
            .unwrap()
            .contains("status")
    );
}

#[tokio::test]
async fn a_deletion_is_told_until_it_is_forgotten_and_what_never_was_is_not_found() {
    let server = region(&["b1"]).await;
    sent(&server, "b1", false).await;
    let held = "ConfigMap default/a waits for finalizer `example.com/hold`";
    reported(
        &server,
        "b1",
        json!([condition("Applied", "True", "")]),
        false,
    )
    .await;
    server
        .send(Method::DELETE, "/resource-bundles/b1", None)
        .await;
    assert_eq!(code(&server, "b1").await, unsent());
    sent(&server, "b1", true).await;
    assert_eq!(code(&server, "b1").await, "MQ910");
    reported(
        &server,
        "b1",
        json!([condition("Deleting", "True", held)]),
        true,
    )
    .await;
    let story = server.get("/resource-bundles/b1/explain").await;
    assert!(
        story["state"].as_str().unwrap().starts_with("It is gone"),
        "{story}"
    );
    assert_eq!(story["hops"][0]["hop"], "deleted");
    insta::assert_snapshot!(server.refused(Method::GET, "/resource-bundles/none/explain", Value::Null).await, @"404 maestro-7: ResourceBundle with id='none' not found");
    insta::assert_snapshot!(server.refused(Method::GET, "/consumers/none/explain", Value::Null).await, @"404 maestro-7: Consumer with id='none' not found");
}

#[tokio::test]
async fn a_consumer_is_told_with_the_oldest_bundle_of_each_step() {
    let server = region(&["b1", "b2", "b3", "b4"]).await;
    for id in ["b2", "b3", "b4"] {
        sent(&server, id, false).await;
    }
    reported(
        &server,
        "b4",
        json!([condition("Applied", "True", "")]),
        false,
    )
    .await;
    let seen = vec![ConsumerName::new("cluster1").unwrap()];
    let at = "2026-08-01T10:00:03Z".parse().unwrap();
    server.store.note_seen(seen, at).await.unwrap();
    let story = server.get("/consumers/cluster1/explain").await;
    assert_eq!(
        story["counts"],
        json!({"bundles": 4, "send": 1, "apply": 2, "available": 1, "deletion": 0})
    );
    let oldest = story["oldest"].as_array().unwrap();
    let mut codes: Vec<String> = oldest
        .iter()
        .map(|one| {
            format!(
                "{} {}",
                one["bundle"].as_str().unwrap(),
                one["waiting"]["code"].as_str().unwrap()
            )
        })
        .collect();
    codes.sort();
    assert_eq!(codes[0], format!("b1 {}", unsent()));
    assert_eq!(codes[1..], ["b2 MQ907", "b4 MQ909"]);
    assert_eq!(story["lane"]["epoch"], 1);
    assert_eq!(story["lane"].get("owner"), None);
    assert_eq!(story["agent"]["last_heard_at"], "2026-08-01T10:00:03Z");
}
