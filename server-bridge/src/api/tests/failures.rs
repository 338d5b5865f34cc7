//! Every class of failure of the store × every operation: the documented status, and nothing answered that is not kept.

use axum::http::StatusCode;
use link::clock::Clock;
use link::id::SourceId;
use link::topic::Scheme;
use prometheus::Registry;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::super::{ApiConfig, ApiMetrics};
use crate::store::Store as _;
use crate::store::sqlite::SqliteStore;

struct Server {
    base: String,
    client: Client,
    store: SqliteStore,
    path: std::path::PathBuf,
    scratch: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        link::tls::install_provider();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("bridge.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let config = ApiConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            ..ApiConfig::new(SourceId::new("maestro").unwrap(), Scheme::default())
        };
        let metrics = ApiMetrics::register(&Registry::new()).unwrap();
        let api = config
            .build(store.clone(), Clock::system(), metrics)
            .await
            .unwrap();
        let base = format!("http://{}/api/maestro/v1", api.address());
        tokio::spawn(api.serve(std::future::pending()));
        let server = Self {
            base,
            client: Client::new(),
            store,
            path,
            scratch,
        };
        let consumer = json!({"name": "c", "labels": {"a": "b"}});
        assert_eq!(
            server.send(&Method::POST, "/consumers", &consumer).await.0,
            201
        );
        let bundle = bundle("kept", "old");
        assert_eq!(
            server
                .send(&Method::POST, "/resource-bundles", &bundle)
                .await
                .0,
            201
        );
        server
    }

    async fn send(&self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.base));
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let retry = response.headers().contains_key("retry-after");
        assert_eq!(retry, status == StatusCode::SERVICE_UNAVAILABLE);
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn state(&self) -> Value {
        let bundles = self
            .send(&Method::GET, "/resource-bundles", &Value::Null)
            .await;
        let consumers = self.send(&Method::GET, "/consumers", &Value::Null).await;
        assert_eq!((bundles.0, consumers.0), (StatusCode::OK, StatusCode::OK));
        json!([bundles.1, consumers.1])
    }
}

fn bundle(id: &str, data: &str) -> Value {
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "d"}, "data": {"k": data},
    });
    json!({"id": id, "consumer_name": "c", "manifests": [manifest]})
}

fn writes() -> [(Method, &'static str, Value); 6] {
    let mut change = bundle("kept", "new");
    change["version"] = json!(1);
    [
        (Method::POST, "/consumers", json!({"name": "d"})),
        (Method::PATCH, "/consumers/c", json!({"labels": {}})),
        (Method::DELETE, "/consumers/c", Value::Null),
        (Method::POST, "/resource-bundles", bundle("new", "x")),
        (Method::PATCH, "/resource-bundles/kept", change),
        (Method::DELETE, "/resource-bundles/kept", Value::Null),
    ]
}

fn reads() -> [(Method, &'static str, Value); 4] {
    let get = |path| (Method::GET, path, Value::Null);
    [
        get("/consumers"),
        get("/consumers/c"),
        get("/resource-bundles"),
        get("/resource-bundles/kept"),
    ]
}

#[tokio::test]
async fn every_failure_of_the_store_has_its_status_at_every_operation() {
    for (code, status, reason) in [
        (5, 503, "the database is busy"),
        (13, 503, "the disk of the database is full"),
        (10, 503, "the disk of the database fails"),
        (8, 503, "the database cannot be written"),
        (11, 503, "the database is damaged"),
        (14, 503, "the database cannot be opened"),
        (1, 503, "the database failed"),
        (18, 500, "the store failed on this request"),
    ] {
        let server = Server::start().await;
        let before = server.state().await;
        server.store.inject(Some(code));
        for (method, path, body) in reads().into_iter().chain(writes()) {
            // One that still has bundles is refused before anything is written.
            let refused = method == Method::DELETE && path == "/consumers/c";
            let (found, error) = server.send(&method, path, &body).await;
            assert_eq!(found, status, "{code} {method} {path}: {error}");
            assert_eq!(error["kind"], "Error");
            let text = error["reason"].as_str().unwrap();
            assert!(
                text.contains(reason) || refused,
                "{code} {method} {path}: {text}"
            );
        }
        server.store.inject(None);
        assert_eq!(server.state().await, before, "{code}");
        drop(server.scratch);
    }
}

#[tokio::test]
async fn a_store_that_is_closed_or_lost_its_file_takes_nothing() {
    let server = Server::start().await;
    std::fs::remove_file(&server.path).unwrap();
    for (method, path, body) in writes() {
        let (found, error) = server.send(&method, path, &body).await;
        assert_eq!(
            found,
            StatusCode::SERVICE_UNAVAILABLE,
            "{method} {path}: {error}"
        );
        let text = error["reason"].as_str().unwrap();
        assert!(text.contains("was removed while the bridge runs"), "{text}");
    }
    server.store.close().await;
    for (method, path, body) in reads().into_iter().chain(writes()) {
        let (found, error) = server.send(&method, path, &body).await;
        assert_eq!(
            found,
            StatusCode::SERVICE_UNAVAILABLE,
            "{method} {path}: {error}"
        );
        let text = error["reason"].as_str().unwrap();
        assert!(text.ends_with("the store is closed"), "{text}");
    }
    drop(server.scratch);
}
