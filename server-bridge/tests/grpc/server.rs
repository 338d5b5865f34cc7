//! The endpoint on a free port over an empty store, with an agent that a test speaks for.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use link::clock::Clock;
use link::id::{ConsumerName, SourceId};
use link::order::{SequenceId, Version};
use link::supervise::Restarts;
use link::topic::Scheme;
use prometheus::Registry;
use serde_json::json;
use server_bridge::callers::Access;
use server_bridge::grpc::{GrpcConfig, GrpcOptions};
use server_bridge::store::postgres::{self, CredentialFiles, TlsMode};
use server_bridge::store::{
    AnyStore, Json, Labels, Location, NewConsumer, StatusOutcome, StatusUpdate, Store,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Source;

#[expect(dead_code, unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../tests/src/postgres.rs"]
mod database;
#[expect(unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../tests/src/ports.rs"]
mod ports;

pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) store: AnyStore,
    pub(crate) registry: Registry,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _directory: Option<tempfile::TempDir>,
}

/// A place for a store.
pub(crate) struct Place {
    location: Location,
    directory: tempfile::TempDir,
}

// === impl Place ===

impl Place {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(directory.path().join("bridge.db"));
        Self {
            location,
            directory,
        }
    }

    /// A database of its own, which several servers may open.
    pub(crate) fn postgres() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = database::Server::shared();
        let database = server.database().unwrap();
        server.mount(directory.path(), &database).unwrap();
        let mut config = postgres::PostgresConfig::new(CredentialFiles::mounted(directory.path()));
        config.tls = TlsMode::Disable;
        Self {
            location: Location::Postgres(Box::new(config)),
            directory,
        }
    }

    pub(crate) async fn open(&self) -> AnyStore {
        let opening = self.location.clone().open(Restarts::unregistered());
        opening.await.unwrap()
    }
}

// === impl Server ===

impl Server {
    /// Over a file of its own, with quick heartbeats, and the consumers `c1` and `c2`.
    pub(crate) async fn start() -> Self {
        Self::with(quick()).await
    }

    pub(crate) async fn with(options: GrpcOptions) -> Self {
        let place = Place::sqlite();
        let store = place.open().await;
        let mut server = Self::over(store, options, Access::open()).await;
        server._directory = Some(place.directory);
        server
    }

    pub(crate) async fn few_connections(connections: usize) -> Self {
        let place = Place::sqlite();
        let store = place.open().await;
        let mut server = Self::bounded(store, quick(), Access::open(), Some(connections)).await;
        server._directory = Some(place.directory);
        server
    }

    pub(crate) async fn over(store: AnyStore, options: GrpcOptions, access: Access) -> Self {
        Self::bounded(store, options, access, None).await
    }

    async fn bounded(
        store: AnyStore,
        options: GrpcOptions,
        access: Access,
        connections: Option<usize>,
    ) -> Self {
        for name in ["c1", "c2"] {
            let new = NewConsumer {
                id: name.into(),
                name: ConsumerName::new(name).unwrap(),
                labels: Labels::default(),
            };
            store.ensure_consumers(vec![new], now()).await.unwrap();
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Registry::new();
        let mut config = GrpcConfig {
            options,
            ..GrpcConfig::new(SourceId::new("maestro").unwrap(), Scheme::default())
        };
        config.connections = connections.unwrap_or(config.connections);
        let clock = match &store {
            AnyStore::Postgres(store) => store.clock(),
            AnyStore::Sqlite(_) => Clock::system(),
        };
        let grpc = config
            .build_on(listener, None, store.clone(), clock, access, &registry)
            .unwrap();
        let address = grpc.address().to_string();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(grpc.serve(Restarts::unregistered(), stop.clone()));
        Self {
            address,
            store,
            registry,
            stop,
            serving,
            _directory: None,
        }
    }

    pub(crate) async fn source(&self, name: &str) -> Source {
        Source::connect(&self.address, name).await
    }

    /// Waits until what was reported so far is nobody's news any more: streams that begin now hear of it only if it is
    /// recent.
    pub(crate) async fn settled(&self) {
        let marker = self.source("marker").await;
        let mut stream = marker.follow().await;
        marker.create("marker", "1").await.unwrap();
        self.report("marker", "last").await;
        stream.status().await.unwrap();
    }

    /// Asks it to end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has.
    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }

    /// The agent of `c1` says something of a bundle, at its stored version.
    pub(crate) async fn report(&self, id: &str, message: &str) {
        self.report_ago(id, message, SignedDuration::ZERO).await;
    }

    /// The same some time ago.
    pub(crate) async fn report_ago(&self, id: &str, message: &str, ago: SignedDuration) {
        let stored = self.store.get_bundle(id).await.unwrap().unwrap();
        let at = now() - ago;
        let outcome = self
            .store
            .apply_status(status(id, stored.version, message, at))
            .await;
        let outcome = outcome.unwrap();
        assert_eq!(outcome, StatusOutcome::Stored, "{id}: {message}");
    }

    /// The agent says that it has deleted a bundle.
    pub(crate) async fn confirm_deletion(&self, id: &str) {
        let stored = self.store.get_bundle(id).await.unwrap().unwrap();
        let update = StatusUpdate {
            deleted: true,
            payload: Json::parse(
                r#"{"conditions":[{"type":"Deleted","status":"True","message":"gone"}]}"#,
            )
            .unwrap(),
            ..status(id, stored.version, "", now())
        };
        let outcome = self.store.apply_status(update).await.unwrap();
        assert_eq!(outcome, StatusOutcome::Deleted);
    }

    /// The value of a line of the metrics, 0 if there is none.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.map_or(0.0, |value| value.trim().parse().unwrap())
    }
}

pub(crate) fn quick() -> GrpcOptions {
    GrpcOptions {
        heartbeat: Duration::from_millis(100),
        ..GrpcOptions::default()
    }
}

pub(crate) fn now() -> Timestamp {
    Clock::system().now()
}

fn status(id: &str, version: Version, message: &str, at: Timestamp) -> StatusUpdate {
    // Later than any before, also within a millisecond.
    static STEP: AtomicI64 = AtomicI64::new(0);
    let step = STEP.fetch_add(1, Ordering::Relaxed);
    let order = Timestamp::from_second(1_785_578_400).unwrap() + SignedDuration::from_millis(step);
    let condition = json!({"type": "Applied", "status": "True", "message": message});
    StatusUpdate {
        bundle_id: id.into(),
        consumer: ConsumerName::new("c1").unwrap(),
        version,
        sequence_id: SequenceId::from_parts(order, 1, 0),
        status_hash: Some(format!("hash of {message}")),
        payload: Json::from_value(&json!({"conditions": [condition], "resourceStatus": []})),
        metadata: None,
        deleted: false,
        received_at: None,
        applied_at: None,
        at,
    }
}

/// Waits for a condition, and says what was there instead when it does not come.
pub(crate) async fn eventually<T: std::fmt::Debug>(mut check: impl AsyncFnMut() -> Result<(), T>) {
    let deadline = tokio::time::Instant::now() + crate::client::PATIENCE;
    loop {
        match check().await {
            Ok(()) => return,
            Err(status) if tokio::time::Instant::now() > deadline => panic!("{status:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
