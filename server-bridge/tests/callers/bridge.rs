//! The REST API on a free port, with callers known as a test says, and clients of it.

use std::path::PathBuf;
use std::time::Duration;

use link::admin::Checks;
use link::clock::Clock;
use link::id::SourceId;
use link::supervise::Restarts;
use link::topic::Scheme;
use prometheus::{Registry, TextEncoder};
use reqwest::{Client, ClientBuilder, Method};
use serde_json::{Value, json};
use server_bridge::api;
use server_bridge::callers::{CallersConfig, CertificateFiles};
use server_bridge::replicas::Ownership;
use server_bridge::store::{AnyStore, Location};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::pki::{Ca, Pair};

/// Files that a bridge follows.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    /// The CA of the bridge's own certificate.
    pub(crate) ca: Ca,
    /// That of its callers.
    pub(crate) clients: Ca,
}

pub(crate) struct Bridge {
    pub(crate) address: std::net::SocketAddr,
    base: String,
    pub(crate) checks: Checks,
    registry: Registry,
    _store: AnyStore,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// `status`, and the body.
pub(crate) type Answer = (u16, Value);

impl Place {
    pub(crate) fn new() -> Self {
        link::tls::install_provider();
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
            ca: Ca::new("servers"),
            clients: Ca::new("clients"),
        };
        place.ca.server((-1, 1)).write(place.directory.path());
        place.write("ca.crt", &place.clients.pem);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        // Put in place whole, as Kubernetes does.
        let (new, path) = (self.path(&format!("{name}.new")), self.path(name));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    /// Nobody is asked, over TLS.
    pub(crate) fn tls(&self) -> CallersConfig {
        CallersConfig {
            https: Some(CertificateFiles {
                certificate: self.path("tls.crt"),
                key: self.path("tls.key"),
            }),
            ..config()
        }
    }

    /// Client certificates are demanded.
    pub(crate) fn mutual(&self) -> CallersConfig {
        CallersConfig {
            client_ca: Some(self.path("ca.crt")),
            ..self.tls()
        }
    }

    /// A client that trusts the bridge, without a certificate.
    pub(crate) fn anonymous(&self) -> ClientBuilder {
        let ca = reqwest::Certificate::from_pem(self.ca.pem.as_bytes()).unwrap();
        Client::builder().tls_certs_only([ca]).no_proxy()
    }

    pub(crate) fn client(&self, pair: &Pair) -> Client {
        let client = self.anonymous().identity(pair.identity());
        client.build().unwrap()
    }
}

/// What is followed is looked at often, so that tests do not wait.
pub(crate) fn config() -> CallersConfig {
    CallersConfig {
        look_every: Duration::from_millis(50),
        keys_again: Duration::from_millis(200),
        ..CallersConfig::default()
    }
}

impl Bridge {
    pub(crate) async fn start(place: &Place, config: CallersConfig) -> Self {
        Self::bounded(place, config, 64).await
    }

    /// One that takes so many connections at once.
    pub(crate) async fn bounded(place: &Place, config: CallersConfig, connections: usize) -> Self {
        link::tls::install_provider();
        let (registry, checks) = (Registry::new(), Checks::new());
        let callers = config.build(Clock::system(), &registry, &checks);
        let callers = callers.await.unwrap();
        let location = Location::Sqlite(place.path("bridge.db"));
        let store = location.open(Restarts::unregistered()).await.unwrap();
        let mut api = api::ApiConfig::new(SourceId::new("maestro").unwrap(), Scheme::default());
        api.listen = ([127, 0, 0, 1], 0).into();
        api.bounds.connections = connections;
        api.access = callers.access;
        api.process = api::ProcessView::new(checks.clone(), Ownership::sole());
        let scheme = callers.https.as_ref().map_or("http", |_| "https");
        api.tls = callers.https;
        let metrics = api::ApiMetrics::register(&registry).unwrap();
        let api = api
            .build(store.clone(), Clock::system(), metrics)
            .await
            .unwrap();
        let address = api.address();
        let keeping = callers.watcher.run(CancellationToken::new());
        let serving = api.serve(std::future::pending());
        let tasks = vec![tokio::spawn(keeping), tokio::spawn(serving)];
        Self {
            address,
            base: format!("{scheme}://{address}/api/maestro/v1"),
            checks,
            registry,
            _store: store,
            _tasks: tasks.into_iter().map(AbortOnDropHandle::new).collect(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) async fn send(
        &self,
        client: &Client,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = client.request(method, self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let challenge = response.headers().contains_key("www-authenticate");
        assert_eq!(challenge, status == 401);
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    pub(crate) async fn get(&self, client: &Client, path: &str) -> Answer {
        let answer = self.send(client, None, Method::GET, path, None).await;
        answer.unwrap()
    }

    pub(crate) async fn with_token(&self, client: &Client, token: &str) -> Answer {
        let (path, token) = ("/consumers", Some(token));
        let answer = self.send(client, token, Method::GET, path, None).await;
        answer.unwrap()
    }

    pub(crate) async fn post(&self, client: &Client, path: &str, body: Value) -> Answer {
        let (method, body) = (Method::POST, Some(body));
        let answer = self.send(client, None, method, path, body).await;
        answer.unwrap()
    }

    /// The value of a metric with these labels.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap();
        let found = text.lines().find_map(|text| text.strip_prefix(line));
        found.and_then(|value| value.trim().parse().ok())
    }
}

/// `status code: reason`
pub(crate) fn told(answer: &Answer) -> String {
    let text = |key: &str| answer.1[key].as_str().unwrap_or("").to_owned();
    format!("{} {}: {}", answer.0, text("code"), text("reason"))
}

pub(crate) fn bundle(id: &str, consumer: &str) -> Value {
    json!({
        "id": id,
        "consumer_name": consumer,
        "manifests": [{
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "default"}, "data": {"k": "1"},
        }],
    })
}

/// Asks until the answer is as wanted, for a minute at most.
pub(crate) async fn until<T: std::fmt::Debug>(
    mut ask: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "still {answer:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
