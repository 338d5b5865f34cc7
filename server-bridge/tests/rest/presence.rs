//! How the agents of consumers are, as callers see it.

use jiff::{SignedDuration, Timestamp};
use link::event::agent_report::{
    AgentCertificate, AgentReport, AgentTarget, HeldWorks, SpecRefusal,
};
use link::id::ConsumerName;
use link::order::Version;
use reqwest::Method;
use serde_json::{Value, json};
use server_bridge::store::{ConnectionEvent, PresenceStore as _, ReportedPresence};

use crate::schema::Document;
use crate::server::{Server, bundle};

fn cluster1() -> ConsumerName {
    ConsumerName::new("cluster1").unwrap()
}

/// The server's clock, and so long before.
fn before(seconds: i64) -> Timestamp {
    let now: Timestamp = "2026-08-01T10:00:00.1Z".parse().unwrap();
    now - SignedDuration::from_secs(seconds)
}

async fn listen(server: &Server, from: i64) {
    for seconds in (0..=from).rev().step_by(60) {
        server.store.note_listening(before(seconds)).await.unwrap();
    }
}

async fn report(server: &Server, seconds: i64) {
    report_of(server, cluster1(), seconds).await;
}

async fn report_of(server: &Server, consumer: ConsumerName, seconds: i64) {
    let report = AgentReport {
        version: "0.9.0".into(),
        commit: "4f2a9c1".into(),
        extensions: vec!["agentreports".into()],
        started_at: before(9_000),
        connected_at: Some(before(8_000)),
        certificate: Some(AgentCertificate {
            not_after: before(-86_400),
            serial: Some("0a".into()),
            subject: None,
        }),
        target: AgentTarget::Kubernetes,
        kubernetes_version: Some("v1.33.2".into()),
        works: HeldWorks::of([("b", Version::FIRST)]),
        refusals: vec![SpecRefusal {
            resource_id: "b2".into(),
            resource_version: Some(Version::FIRST),
            at: before(60),
            reason: "spec".into(),
            message: "it is none".into(),
        }],
        truncated: false,
    };
    let reported = ReportedPresence {
        consumer,
        report,
        made_at: before(seconds),
        at: before(seconds),
    };
    assert!(server.store.put_report(reported).await.unwrap());
}

async fn presence(server: &Server) -> Value {
    let presence = server.get("/consumers/cluster1/presence").await;
    let document = Document::new(include_str!("../../openapi.json"));
    let schema = json!({"$ref": "#/components/schemas/Presence"});
    assert_eq!(document.problems(&schema, &presence), [""; 0], "{presence}");
    presence
}

#[tokio::test]
async fn an_agent_is_shown_with_what_it_says_of_itself_and_a_list_has_it_only_by_name() {
    let server = Server::with_consumer().await;
    let shown = presence(&server).await;
    assert_eq!(
        shown,
        json!({"state": "unknown", "reason": "NOT_LISTENED_LONG_ENOUGH"})
    );
    listen(&server, 1_200).await;
    assert_eq!(presence(&server).await, json!({"state": "never"}));
    report(&server, 30).await;
    let shown = presence(&server).await;
    let digest = HeldWorks::of([("b", Version::FIRST)]).digest;
    let expected = json!({
        "state": "idle", "since": "2026-08-01T07:46:40.1Z", "connectedSince": "2026-08-01T07:46:40.1Z",
        "lastSeenAt": "2026-08-01T09:59:30.1Z", "lastReportAt": "2026-08-01T09:59:30.1Z",
        "agent": {
            "version": "0.9.0", "commit": "4f2a9c1", "extensions": ["agentreports"], "target": "kubernetes",
            "kubernetesVersion": "v1.33.2", "startedAt": "2026-08-01T07:30:00.1Z",
        },
        "certificate": {"notAfter": "2026-08-02T10:00:00.1Z", "serial": "0a"},
        "works": {"count": 1, "digest": digest}, "refusalCount": 1,
        "refusals": [{
            "resourceId": "b2", "resourceVersion": 1, "at": "2026-08-01T09:59:00.1Z", "reason": "spec",
            "message": "it is none",
        }],
    });
    assert_eq!(shown, expected);
    // With something on its way to it, in a list that asks for it.
    let created = bundle("b1");
    server
        .send(Method::POST, "/resource-bundles", Some(created))
        .await;
    let list = server.get("/consumers?fields=presence").await;
    let listed = &list["items"][0]["presence"];
    assert_eq!(listed["state"], "connected");
    assert_eq!(listed["refusalCount"], 1);
    assert!(listed.get("refusals").is_none(), "{listed}");
    let usual = server.get("/consumers").await;
    assert!(usual["items"][0].get("presence").is_none(), "{usual}");
    // The same of one that is found by its id, and of none.
    let id = usual["items"][0]["id"].as_str().unwrap();
    let by_id = server.get(&format!("/consumers/{id}/presence")).await;
    assert_eq!(by_id["state"], "connected");
    let none = server.refused(Method::GET, "/consumers/none/presence", Value::Null);
    assert!(none.await.starts_with("404 maestro-7"));
}

#[tokio::test]
async fn which_clusters_are_away_is_one_request() {
    let server = Server::with_consumer().await;
    for name in ["cluster2", "cluster3"] {
        let made = json!({ "name": name });
        server.send(Method::POST, "/consumers", Some(made)).await;
    }
    listen(&server, 1_200).await;
    let other = |number| ConsumerName::new(format!("cluster{number}")).unwrap();
    // At the limit, and one second past it.
    report_of(&server, other(1), 600).await;
    report_of(&server, other(2), 601).await;
    let path = "/overview?presence=away&orderBy=presence_since&size=500";
    let away = server.get(path).await;
    let document = Document::new(include_str!("../../openapi.json"));
    let schema = json!({"$ref": "#/components/schemas/Overview"});
    assert_eq!(document.problems(&schema, &away), [""; 0], "{away}");
    assert_eq!(
        (&away["total"], &away["items"][0]["name"]),
        (&json!(1), &json!("cluster2"))
    );
    let presence = &away["items"][0]["presence"];
    assert_eq!(presence["reason"], "REPORTS_MISSING");
    assert_eq!(presence["since"], "2026-08-01T09:49:59.1Z");
    // Counted over all, whatever the page shows.
    let counts = json!({"connected": 0, "idle": 1, "away": 1, "never": 1, "unknown": 0});
    assert_eq!(away["summary"]["presence"], counts);
    for (state, name) in [("idle", "cluster1"), ("never", "cluster3")] {
        let found = server.get(&format!("/overview?presence={state}")).await;
        assert_eq!(
            (&found["total"], &found["items"][0]["name"]),
            (&json!(1), &json!(name)),
            "{found}"
        );
    }
    let ordered = server.get("/overview?orderBy=presence").await;
    let names = ordered["items"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cluster2", "cluster3", "cluster1"]);
    let refused = server.refused(Method::GET, "/overview?presence=gone", Value::Null);
    let refused = refused.await;
    assert!(
        refused.starts_with("400 maestro-21: query parameter `presence`: "),
        "{refused}"
    );
}

#[tokio::test]
async fn away_is_said_with_the_broker_s_reason_or_by_missing_reports_and_idle_is_another_word() {
    let server = Server::with_consumer().await;
    listen(&server, 1_200).await;
    report(&server, 599).await;
    assert_eq!(presence(&server).await["state"], "idle");
    let event = |connected, seconds| ConnectionEvent {
        client_id: "cluster1-work-agent-client".into(),
        connected,
        version: 3,
        at: before(seconds),
        reason: (!connected).then(|| "MQTT_KEEP_ALIVE_TIMEOUT".into()),
        heard_at: before(seconds),
    };
    for event in [event(true, 9_000), event(false, 120)] {
        let told = server.store.put_connection(&cluster1(), event).await;
        assert!(told.unwrap());
    }
    let shown = presence(&server).await;
    assert_eq!(shown["state"], "away");
    assert_eq!(shown["reason"], "MQTT_KEEP_ALIVE_TIMEOUT");
    assert_eq!(shown["since"], "2026-08-01T09:58:00.1Z");
    assert!(shown.get("connectedSince").is_none());

    let silent = Server::with_consumer().await;
    report(&silent, 601).await;
    // Nobody listened: it is not away for what nobody could hear.
    assert_eq!(presence(&silent).await["state"], "idle");
    assert_eq!(presence(&silent).await["reason"], "NOT_HEARD_SINCE_RESTART");
    listen(&silent, 1_200).await;
    let shown = presence(&silent).await;
    assert_eq!(shown["state"], "away");
    assert_eq!(shown["reason"], "REPORTS_MISSING");
}
