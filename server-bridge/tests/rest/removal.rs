//! A consumer whose cluster is lost is removed with its bundles, and one that is alive is not by mistake.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use link::id::ConsumerName;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use server_bridge::store::{AgentStore as _, Orphan, Store as _};

use crate::server::{Server, bundle, config_map};

/// The server's clock.
fn now() -> Timestamp {
    "2026-08-01T10:00:00.1Z".parse().unwrap()
}

const CONSUMER: &str = "/consumers/cluster1";

/// With a bundle, and heard as long ago.
async fn heard(ago: SignedDuration) -> Server {
    let server = Server::with_consumer().await;
    let made = server.send(Method::POST, "/resource-bundles", Some(bundle("b")));
    assert_eq!(made.await.0, StatusCode::CREATED);
    let name = ConsumerName::new("cluster1").unwrap();
    let noted = server.store.note_seen(vec![name], now() - ago);
    noted.await.unwrap();
    server
}

async fn removed(server: &Server, query: &str) -> StatusCode {
    let path = format!("{CONSUMER}{query}");
    server.send(Method::DELETE, &path, None).await.0
}

#[tokio::test]
async fn a_consumer_with_bundles_heard_in_the_last_day_is_removed_by_its_name_only() {
    let server = heard(SignedDuration::from_hours(24)).await;
    let refused = async |query: &str| {
        let path = format!("{CONSUMER}{query}");
        server.refused(Method::DELETE, &path, Value::Null).await
    };
    insta::assert_snapshot!(refused("?force=true").await, @"409 maestro-6: consumer `cluster1` may be alive: its agent was heard at 2026-07-31T10:00:00.1Z, within the last 24 hours; if it is to be removed with its bundles all the same, repeat its name with `confirm=cluster1` (`--confirm cluster1`)");
    insta::assert_snapshot!(refused("?force=true&confirm=cluster2").await, @"400 maestro-8: confirm: must repeat the consumer's name `cluster1`");
    insta::assert_snapshot!(refused("?force=yes").await, @"400 maestro-21: force: must be `true` or `false`");
    insta::assert_snapshot!(refused("?forse=true").await, @"400 maestro-21: unknown query parameter `forse`, did you mean `force`?");
    let in_use = "403 maestro-4: consumer `cluster1` still has 1 resource bundles; delete its resource bundles and wait until its agent confirmed";
    for without in ["", "?force=false&confirm=cluster1", "?confirm=cluster1"] {
        assert_eq!(refused(without).await, in_use);
    }
    assert_eq!(
        removed(&server, "?force=true&confirm=cluster1").await,
        StatusCode::NO_CONTENT
    );
    for path in [CONSUMER, "/resource-bundles/b"] {
        let (status, _) = server.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(removed(&server, "?force=true").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_consumer_heard_a_moment_before_that_or_without_bundles_is_removed_and_may_come_back() {
    let ago = SignedDuration::from_hours(24) + SignedDuration::from_micros(1);
    let server = heard(ago).await;
    assert_eq!(
        removed(&server, "?force=true").await,
        StatusCode::NO_CONTENT
    );
    let again = json!({"name": "cluster1"});
    let (status, consumer) = server.send(Method::POST, "/consumers", Some(again)).await;
    assert_eq!(status, StatusCode::CREATED);
    let path = format!("/consumers/{}?force=true", consumer["id"].as_str().unwrap());
    let (status, _) = server.send(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn when_a_consumer_was_heard_is_shown_to_who_asks_for_it() {
    let server = heard(SignedDuration::from_mins(3)).await;
    let shown = server.get(CONSUMER).await;
    assert_eq!(shown["last_seen_at"], "2026-08-01T09:57:00.1Z");
    let list = server.get("/consumers").await;
    assert!(list["items"][0].get("last_seen_at").is_none());
    let list = server.get("/consumers?fields=name,last_seen_at").await;
    let id = shown["id"].clone();
    assert_eq!(
        list["items"][0],
        json!({"id": id, "name": "cluster1", "last_seen_at": "2026-08-01T09:57:00.1Z"})
    );
}

/// Run by hand: `cargo test -p server-bridge --test rest -- --ignored --nocapture removing`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a promise"]
async fn measure_removing_6000_bundles() {
    let server = Server::with_consumer().await;
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let (client, url) = (
            server.client.clone(),
            format!("{}/resource-bundles", server.base),
        );
        tasks.spawn(async move {
            for number in 0..750 {
                let mut body = bundle(&format!("b-{caller}-{number}"));
                body["manifests"] = json!([config_map("a", &noise(caller * 1_000 + number))]);
                let response = client.post(&url).json(&body).send().await.unwrap();
                assert_eq!(response.status(), StatusCode::CREATED);
            }
        });
    }
    tasks.join_all().await;
    let orphans = (0..10_000).map(|number| Orphan {
        id: format!("o{number}"),
        version: link::order::Version::FIRST,
        deleted_here: true,
    });
    let name = ConsumerName::new("cluster1").unwrap();
    let added = server.store.add_orphans(&name, orphans.collect());
    added.await.unwrap();
    let started = Instant::now();
    assert_eq!(
        removed(&server, "?force=true").await,
        StatusCode::NO_CONTENT
    );
    let report = format!("removed 6 000 bundles of 25 KB: {:?}\n", started.elapsed());
    std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
    assert!(server.store.get_bundle("b-0-0").await.unwrap().is_none());
}

/// 24 KB that no database compresses to nothing.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut text = String::with_capacity(24_000);
    while text.len() < 24_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text
}
