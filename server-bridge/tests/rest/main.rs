//! The REST API against a real SQLite file and a real HTTP client.

#![expect(clippy::unwrap_used, reason = "tests")]

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use server_bridge::store::{AgentStore, Json, StatusUpdate, Store};

mod bounds;
mod document;
mod durable;
mod explain;
mod go;
mod habits;
mod measure;
mod practice;
mod presence;
mod progress;
mod removal;
mod schema;
mod server;
mod ui;
use server::{Server, bundle, config_map};

#[tokio::test]
async fn consumers_are_created_read_relabelled_and_removed_by_id_or_name() {
    let server = Server::with_consumer().await;
    let mut by_name = server.get("/consumers/cluster1/").await;
    let id = by_name["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&format!("/consumers/{id}")).await, by_name);
    by_name["id"] = "ID".into();
    by_name["href"] = by_name["href"].as_str().unwrap().replace(&id, "ID").into();
    insta::assert_snapshot!(by_name, @r#"{"created_at":"2026-08-01T10:00:00.1Z","href":"/api/maestro/v1/consumers/ID","id":"ID","kind":"Consumer","labels":{"env":"prod"},"name":"cluster1","updated_at":"2026-08-01T10:00:00.1Z"}"#);
    let (_, cleared) = server
        .send(
            Method::PATCH,
            "/consumers/cluster1",
            Some(json!({"labels": {}})),
        )
        .await;
    assert!(cleared.get("labels").is_none());
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b")))
        .await;
    insta::assert_snapshot!(server.refused(Method::DELETE, "/consumers/cluster1", Value::Null).await, @"403 maestro-4: consumer `cluster1` still has 1 resource bundles; delete its resource bundles and wait until its agent confirmed");
    let (status, nameless) = server
        .send(Method::POST, "/consumers", Some(json!({})))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(nameless["name"], nameless["id"]);
    let path = format!("/consumers/{}", nameless["id"].as_str().unwrap());
    let (status, _) = server.send(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = server.send(Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_bundle_is_created_changed_and_deleted_with_version_check() {
    let server = Server::with_consumer().await;
    let (status, created) = server
        .send(Method::POST, "/resource-bundles", Some(bundle("b1")))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    insta::assert_snapshot!(created, @r#"{"consumer_name":"cluster1","created_at":"2026-08-01T10:00:00.1Z","delete_option":{"propagationPolicy":"Foreground"},"href":"/api/maestro/v1/resource-bundles/b1","id":"b1","kind":"ResourceBundle","ledger":[{"attempts":0,"stored_at":"2026-08-01T10:00:00.1Z","version":1}],"manifests":[{"apiVersion":"v1","data":{"k":"1"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"default"}}],"metadata":{"labels":{"app":"web"}},"name":"b1","source":"maestro","updated_at":"2026-08-01T10:00:00.1Z","version":1}"#);
    assert_eq!(server.get("/resource-bundles/b1").await, created);

    let path = "/resource-bundles/b1";
    let change = json!({"version": 1, "manifests": [config_map("a", "2")], "delete_option": null});
    let (status, changed) = server.send(Method::PATCH, path, Some(change.clone())).await;
    assert_eq!((status, &changed["version"]), (StatusCode::OK, &json!(2)));
    assert_eq!(changed["metadata"], created["metadata"]);
    assert!(changed.get("delete_option").is_none());
    let (status, conflict) = server.send(Method::PATCH, path, Some(change)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    insta::assert_snapshot!(conflict, @r#"{"code":"maestro-6","href":"/api/maestro/v1/errors/6","id":"6","kind":"Error","latest_version":2,"operation_id":"op-1","reason":"the resource version is not the latest, the latest version: 2"}"#);
    // The same content in another spelling changes nothing.
    let url = format!("{}{path}", server.base);
    let same = server
        .client
        .patch(url)
        .header("if-match", "\"2\"")
        .header("content-type", "application/json; charset=utf-8")
        .body(
            "{\"manifests\": [{\"data\": {\"k\": \"2\"}, \"kind\": \"ConfigMap\", \"metadata\": \
               {\"namespace\": \"default\", \"name\": \"a\"}, \"apiVersion\": \"v1\"}]}",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(same.headers()["etag"], "\"2\"");

    for _ in 0..2 {
        let (status, _) = server.send(Method::DELETE, path, None).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    let deleting = server.get(path).await;
    assert_eq!(deleting["deleted_at"], "2026-08-01T10:00:00.1Z");
    let late = json!({"version": 2, "metadata": null});
    insta::assert_snapshot!(server.refused(Method::PATCH, path, late).await, @"409 maestro-6: resource bundle `b1` is being deleted");
    let (status, _) = server
        .send(Method::DELETE, "/resource-bundles/none", None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_status_is_shown_as_maestro_shows_it() {
    let server = Server::with_consumer().await;
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b1")))
        .await;
    let said = r#"{"conditions":[{"type":"Applied","status":"True"}],"resourceStatus":[]}"#;
    go::report(&server, "b1", Json::parse(said).unwrap()).await;
    let shown = server.get("/resource-bundles/b1").await;
    insta::assert_snapshot!(shown["status"], @r#"{"ObservedVersion":1,"SequenceID":"2083492944278458368","conditions":[{"status":"True","type":"Applied"}],"resourceStatus":[]}"#);
    insta::assert_snapshot!(shown["ledger"], @r#"[{"applied_at":"2026-08-01T10:00:02Z","attempts":0,"reported_at":"2026-08-01T10:00:02Z","stored_at":"2026-08-01T10:00:00.1Z","version":1}]"#);
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_what_to_do() {
    let server = Server::with_consumer().await;
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b1")))
        .await;
    let mut messages = Vec::new();
    let long = "a".repeat(64);
    let mut no_version = bundle("b1");
    no_version.as_object_mut().unwrap().remove("consumer_name");
    for (method, path, body) in [
        (Method::POST, "/consumers", json!({"name": "Cluster_1"})),
        (Method::POST, "/consumers", json!({"name": long})),
        (Method::POST, "/consumers", json!({"name": "cluster1"})),
        (Method::POST, "/consumers", json!({"id": "x"})),
        (Method::POST, "/consumers", json!({"lables": {}})),
        (
            Method::POST,
            "/consumers",
            json!({"name": "c", "labels": {"a": 1}}),
        ),
        (Method::POST, "/consumers", json!([])),
        (
            Method::PATCH,
            "/consumers/cluster1",
            json!({"name": "other"}),
        ),
        (Method::GET, "/consumers/none", Value::Null),
        (Method::POST, "/resource-bundles", json!({"manifest": []})),
        (
            Method::POST,
            "/resource-bundles",
            json!({"manifests": [config_map("a", "")]}),
        ),
        (
            Method::POST,
            "/resource-bundles",
            json!({"consumer_name": "none", "manifests": [config_map("a", "")]}),
        ),
        (
            Method::POST,
            "/resource-bundles",
            json!({"consumer_name": "cluster1", "manifests": []}),
        ),
        (
            Method::POST,
            "/resource-bundles",
            json!({"id": "A", "consumer_name": "cluster1"}),
        ),
        (Method::POST, "/resource-bundles", bundle("b1")),
        (
            Method::POST,
            "/resource-bundles",
            json!({"name": "b1", "consumer_name": "cluster1", "manifests": [config_map("a", "")]}),
        ),
        (Method::PATCH, "/resource-bundles/b1", no_version),
        (
            Method::PATCH,
            "/resource-bundles/b1",
            json!({"version": -1}),
        ),
        (
            Method::PATCH,
            "/resource-bundles/b1",
            json!({"version": 1, "consumer_name": "other"}),
        ),
        (
            Method::PATCH,
            "/resource-bundles/none",
            json!({"version": 1}),
        ),
        (Method::GET, "/resource-bundles/none", Value::Null),
        (Method::PUT, "/resource-bundles", Value::Null),
        (Method::GET, "/resource-bundles?size=x", Value::Null),
        (Method::GET, "/resource-bundles?page=0", Value::Null),
        (Method::GET, "/resource-bundles?serach=x", Value::Null),
        (Method::GET, "/resource-bundles?fields=nmae", Value::Null),
        (Method::GET, "/resource-bundles?orderBy=nmae", Value::Null),
        (
            Method::GET,
            "/resource-bundles?orderBy=name%20up",
            Value::Null,
        ),
        (
            Method::GET,
            "/resource-bundles?search=nmae%3D'a'",
            Value::Null,
        ),
        (Method::GET, "/errors/999", Value::Null),
    ] {
        messages.push(server.refused(method, path, body).await);
    }
    insta::assert_snapshot!(messages.join("\n"), @r#"
400 maestro-8: name: consumer name `Cluster_1` may hold only lower-case letters, digits and `-`
400 maestro-8: name: consumer name `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` is longer than 63 characters
409 maestro-6: consumer `cluster1` already exists
400 maestro-8: id: must be empty, the server gives it
400 maestro-8: unknown field `lables`, did you mean `labels`?
400 maestro-8: labels[a]: must be a string, not a number
400 maestro-17: the request body must be a JSON object, not an array
400 maestro-8: name: cannot be changed
404 maestro-7: Consumer with id='none' not found
400 maestro-8: unknown field `manifest`, did you mean `manifests`?
400 maestro-8: consumer_name: is required
400 maestro-8: consumer `none` does not exist; register it with `POST /api/maestro/v1/consumers`
400 maestro-8: manifests: must hold at least one manifest
400 maestro-8: id: `A` may hold only lower-case letters, digits, `-` and `.`
409 maestro-6: a resource bundle with name `b1` already exists: it is `b1`, name `b1`, of consumer `cluster1` at version 1; change it with `PATCH /api/maestro/v1/resource-bundles/b1` and `"version":1`, or choose another id: ids and names are unique over all consumers and sources
409 maestro-6: a resource bundle with name `b1` already exists: it is `b1`, name `b1`, of consumer `cluster1` at version 1; change it with `PATCH /api/maestro/v1/resource-bundles/b1` and `"version":1`, or choose another name: ids and names are unique over all consumers and sources
400 maestro-8: version: is required, as the version this change starts from (or send it as `If-Match`)
400 maestro-8: version: must be a whole number from 0 to 2147483647
400 maestro-8: consumer_name: cannot be changed
404 maestro-7: ResourceBundle with id='none' not found
404 maestro-7: ResourceBundle with id='none' not found
405 maestro-10: HTTP method not implemented for this endpoint
400 maestro-21: query parameter `size` must be a number, not `x`
400 maestro-21: query parameter `page` must be a number from 1, not `0`
400 maestro-21: unknown query parameter `serach`, did you mean `search`?
400 maestro-21: query parameter `fields`: unknown field `nmae`, did you mean `name`?
400 maestro-21: query parameter `orderBy`: unknown column `nmae`, did you mean `name`?
400 maestro-21: query parameter `orderBy`: direction of `name` must be `asc` or `desc`, not `up`
400 maestro-23: Failed to parse search query: at position 1: unknown column `nmae`; there are `id`, `name`, `source`, `consumer_name`, `version`, `created_at`, `updated_at`, `deleted_at`, `applied`, `available`, `status_version`, `status_at`, `waiting_for`, `waiting_since` and `labels.NAME`
404 maestro-7: Error with id='999' not found
"#);
    let url = format!("{}/consumers", server.base);
    let response = server
        .client
        .post(&url)
        .header("content-type", "application/json")
        .body("{\"name\": ")
        .send()
        .await
        .unwrap();
    insta::assert_snapshot!(response.json::<Value>().await.unwrap()["reason"], @r#""the request body is not JSON: EOF while parsing a value at line 1 column 9""#);
    let response = server
        .client
        .post(&url)
        .header("content-type", "application/json")
        .body(" ".repeat(3_000_000))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let (status, unknown) = server.send(Method::GET, "/nothing", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    insta::assert_snapshot!(unknown, @r#"{"code":"maestro-404","href":"/api/maestro/v1/errors/404","id":"404","kind":"Error","operation_id":"op-1","reason":"The requested resource '/api/maestro/v1/nothing' doesn't exist"}"#);
    let known = server.get("/errors/404").await;
    assert_eq!(known["code"], unknown["code"]);
    for path in ["/resource-bundles/%ff", "/consumers/%ff", "/errors/%ff"] {
        let refused = server.refused(Method::GET, path, Value::Null).await;
        assert_eq!(
            refused,
            "400 maestro-21: the id in the path is not UTF-8 text"
        );
    }
}

#[tokio::test]
async fn lists_page_order_select_and_search() {
    let server = Server::with_consumer().await;
    for number in 0..5 {
        let mut new = bundle(&format!("b{number}"));
        new["metadata"]["labels"]["n"] = json!(number.to_string());
        server
            .send(Method::POST, "/resource-bundles", Some(new))
            .await;
    }
    let page = server
        .get("/resource-bundles?page=2&size=2&orderBy=id%20desc&fields=id,version")
        .await;
    insta::assert_snapshot!(page, @r#"{"items":[{"id":"b2","version":1},{"id":"b1","version":1}],"kind":"ResourceBundleList","page":2,"size":2,"total":5}"#);
    for (search, total) in [
        ("name like 'b%' and version = 1", 5),
        ("id in ('b1', 'b2') or labels.n = '4'", 3),
        ("not labels.n >= '2'", 2),
        (
            "payload->'metadata'->'labels'@>'{\"app\":\"web\",\"n\":\"3\"}'",
            1,
        ),
        ("created_at > '2026-08-01' and deleted_at is null", 5),
        ("name ilike 'B_' and name not like 'B%'", 5),
        ("consumer_name = 'it''s'", 0),
    ] {
        let url = format!("{}/resource-bundles", server.base);
        let query = [("search", search), ("size", "0")];
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        let body: Value = server
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(body["total"], total, "{search}: {body}");
        assert_eq!(body["items"], json!([]));
    }
    let all = server.get("/resource-bundles?size=-1").await;
    assert_eq!((&all["size"], &all["total"]), (&json!(5), &json!(5)));
    assert!(all["items"][0].get("ledger").is_none());
    let ledger = server.get("/resource-bundles?fields=ledger&size=1").await;
    assert_eq!(ledger["items"][0]["ledger"][0]["version"], 1);
    let consumers = server
        .get("/consumers?search=labels.env%3D'prod'&fields=name")
        .await;
    assert_eq!(consumers["items"][0]["name"], "cluster1");
    assert!(consumers["items"][0].get("labels").is_none());
}

#[tokio::test]
async fn the_api_describes_itself_and_counts_requests() {
    let server = Server::with_consumer().await;
    assert_eq!(
        server.get("").await["collections"][1]["id"],
        "resource-bundles"
    );
    assert_eq!(server.get("/openapi").await["openapi"], "3.1.0");
    assert_eq!(server.get("/errors").await["total"], 11);
    assert_eq!(
        server.get("/errors/7").await["reason"],
        "Resource not found"
    );
    server.send(Method::GET, "/consumers/none", None).await;
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&server.registry.gather())
        .unwrap();
    let line = "rest_api_inbound_request_count{code=\"404\",method=\"GET\",path=\"/api/maestro/v1/consumers/{id}\"} 1";
    assert!(text.contains(line), "{text}");
}
