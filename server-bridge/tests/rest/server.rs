//! The API on a free port over an empty store: a file in a temporary directory, or with `TEST_STORE=postgres` a database of
//! its own at a server of this process.

use link::clock::Clock;
use link::id::SourceId;
use link::supervise::Restarts;
use link::topic::Scheme;
use prometheus::Registry;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use server_bridge::api::{ApiConfig, ApiMetrics};
use server_bridge::store::postgres::{self, CredentialFiles, TlsMode};
use server_bridge::store::{AnyStore, Location};

#[expect(dead_code, unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../tests/src/postgres.rs"]
mod database;
#[expect(unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../tests/src/ports.rs"]
mod ports;

pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) store: AnyStore,
    pub(crate) registry: Registry,
    pub(crate) client: Client,
    _directory: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::bounded(256).await
    }

    /// One that takes only so many connections at once.
    pub(crate) async fn bounded(connections: usize) -> Self {
        link::tls::install_provider();
        let directory = tempfile::tempdir().unwrap();
        let store = location(&directory)
            .open(Restarts::unregistered())
            .await
            .unwrap();
        let registry = Registry::new();
        let clock = Clock::fixed("2026-08-01T10:00:00.1Z".parse().unwrap());
        let mut config = ApiConfig::new(SourceId::new("maestro").unwrap(), Scheme::default());
        config.listen = ([127, 0, 0, 1], 0).into();
        config.bounds.connections = connections;
        config.ui = true;
        let metrics = ApiMetrics::register(&registry).unwrap();
        let api = config.build(store.clone(), clock, metrics).await.unwrap();
        let base = format!("http://{}/api/maestro/v1", api.address());
        tokio::spawn(api.serve(std::future::pending()));
        Self {
            base,
            store,
            registry,
            client: Client::new(),
            _directory: directory,
        }
    }

    pub(crate) async fn with_consumer() -> Self {
        let server = Self::start().await;
        let body = json!({"name": "cluster1", "labels": {"env": "prod"}});
        let (status, _) = server.send(Method::POST, "/consumers", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED);
        server
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.base);
        let mut request = self
            .client
            .request(method, url)
            .header("x-operation-id", "op-1");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-operation-id"], "op-1");
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// `status code: reason`
    pub(crate) async fn refused(&self, method: Method, path: &str, body: Value) -> String {
        let body = Some(body).filter(|body| !body.is_null());
        let (status, body) = self.send(method, path, body).await;
        assert_eq!(body["kind"], "Error", "{body}");
        assert_eq!(body["operation_id"], "op-1");
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        format!("{} {}: {}", status.as_u16(), text("code"), text("reason"))
    }
}

fn location(directory: &tempfile::TempDir) -> Location {
    if std::env::var("TEST_STORE").as_deref() != Ok("postgres") {
        return Location::Sqlite(directory.path().join("bridge.db"));
    }
    let server = database::Server::shared();
    let database = server.database().unwrap();
    server.mount(directory.path(), &database).unwrap();
    let mut config = postgres::PostgresConfig::new(CredentialFiles::mounted(directory.path()));
    config.tls = TlsMode::Disable;
    Location::Postgres(Box::new(config))
}

pub(crate) fn config_map(name: &str, data: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"k": data},
    })
}

pub(crate) fn bundle(id: &str) -> Value {
    json!({
        "id": id, "consumer_name": "cluster1",
        "metadata": {"labels": {"app": "web"}},
        "manifests": [config_map("a", "1")],
        "delete_option": {"propagationPolicy": "Foreground"},
    })
}
