//! The gRPC endpoint for sources: `CloudEventService` as Go clients of Maestro call it (docs/MAESTRO.md §5.3, docs/GRPC.md).
//!
//! Like the API it stands before the store alone: a publication is checked and committed, a stream is told what the store
//! says was reported, whichever replica took it. [`GrpcConfig`] → [`GrpcConfig::build_on`] → [`Grpc::serve`].
//!
//! **Contract:** Go clients need REST of the same store beside it; what they cannot understand is never sent: errors are
//! JSON of a Kubernetes status, events carry what their codec demands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use link::id::SourceId;
use link::supervise::{Restarts, restarting};
use link::topic::Scheme;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

mod admission;
mod backlog;
mod body;
mod connections;
mod error;
mod feed;
mod health;
mod hub;
mod metrics;
mod proto;
mod publish;
mod reports;
mod request;
mod rights;
mod service;
mod stream;
mod wire;

use crate::callers::{Access, ServerTls, incoming};
use crate::store::Store;
use crate::validate::{BundleLimits, Envelope};
use admission::Admission;
use connections::Age;
use feed::Feed;
use hub::Hub;
use metrics::GrpcMetrics;
use proto::{CloudEventServiceServer, DESCRIPTORS};
use publish::Publisher;
use reports::Reports;
use service::Sources;
use stream::Pace;

/// What the endpoint needs to know besides its store.
#[derive(Clone, Debug)]
pub struct GrpcConfig {
    /// Sizes of a bundle.
    pub limits: BundleLimits,
    /// How bundles will be sent.
    pub envelope: Envelope,
    /// Connections at once.
    pub connections: usize,
    /// What operators choose.
    pub options: GrpcOptions,
}

/// What operators choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcOptions {
    /// How often a stream says that it is alive, at the latest; it does so a fifth earlier. At most [`HEARTBEAT`].
    pub heartbeat: Duration,
    /// How long a connection may last, up to a tenth less; `None` for as long as its client wants.
    pub max_connection_age: Option<Duration>,
    /// Whether clients can ask what services there are.
    pub reflection: bool,
}

/// The endpoint with its socket bound, not yet serving.
#[derive(Debug)]
pub struct Grpc<S> {
    listener: TcpListener,
    address: SocketAddr,
    config: GrpcConfig,
    tls: Option<ServerTls>,
    access: Access,
    sources: Sources<S>,
    store: S,
}

/// Why the endpoint cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The socket does not know its address.
    #[error("listen for gRPC")]
    Listen(#[source] io::Error),
    /// A metric of the same name is registered already.
    #[error("register metrics of gRPC")]
    Metrics(#[from] prometheus::Error),
}

// === impl GrpcOptions ===

impl Default for GrpcOptions {
    fn default() -> Self {
        Self {
            heartbeat: HEARTBEAT,
            max_connection_age: Some(CONNECTION_AGE),
            reflection: false,
        }
    }
}

// === impl GrpcConfig ===

impl GrpcConfig {
    /// For a bridge that speaks for `source` on the topics of `scheme`.
    pub fn new(source: SourceId, scheme: Scheme) -> Self {
        Self {
            limits: BundleLimits::default(),
            envelope: Envelope { source, scheme },
            options: GrpcOptions::default(),
            connections: link::http::Bounds::new(CONNECTIONS, DESCRIPTORS_PART).connections,
        }
    }

    /// The endpoint on a socket that is bound already. With `tls` it speaks nothing else.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build_on<S: Store>(
        self,
        listener: TcpListener,
        tls: Option<ServerTls>,
        store: S,
        clock: Clock,
        access: Access,
        registry: &Registry,
    ) -> Result<Grpc<S>, BuildError> {
        let address = listener.local_addr().map_err(BuildError::Listen)?;
        let hub = Hub::default();
        let sources = Sources {
            publisher: Publisher {
                store: store.clone(),
                clock: clock.clone(),
                limits: self.limits,
                envelope: Arc::new(self.envelope.clone()),
                access: access.clone(),
                hub: hub.clone(),
            },
            feed: Feed::new(store.clone(), hub.clone(), clock.clone()),
            reports: Reports::new(store.clone(), hub.clone()),
            pace: Pace {
                heartbeat: self
                    .options
                    .heartbeat
                    .min(HEARTBEAT)
                    .mul_f64(0.8)
                    .max(SHORTEST),
                clock,
            },
            metrics: GrpcMetrics::register(registry)?,
            hub,
        };
        Ok(Grpc {
            listener,
            address,
            config: self,
            tls,
            access,
            sources,
            store,
        })
    }
}

// === impl Grpc ===

impl<S: Store> Grpc<S> {
    /// Where it listens, with the port the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done, then answers what is under way and ends the streams.
    pub async fn serve(self, restarts: Restarts, stop: CancellationToken) {
        let (reporter, health) = tonic_health::server::health_reporter();
        health::tell(&reporter, false).await;
        let service = CloudEventServiceServer::new(self.sources.clone())
            .max_decoding_message_size(MESSAGE_BYTES);
        let health = health.max_decoding_message_size(QUESTION_BYTES);
        let mut routes = Routes::new(service).add_service(health);
        if self.config.options.reflection
            && let Some(reflection) = reflection()
        {
            routes = routes.add_service(reflection);
        }
        let admission = Admission::new(routes.prepare(), self.access);
        let stopped = stop.clone().cancelled_owned();
        let accepted = incoming(self.listener, self.tls, self.config.connections, stopped);
        let age = Age {
            most: self.config.options.max_connection_age,
        };
        let following = restarting("grpc-feed", &restarts, &stop, || {
            self.sources.feed.clone().run(stop.clone())
        });
        let watching = restarting("grpc-health", &restarts, &stop, || {
            health::watch(self.store.clone(), reporter.clone(), stop.clone())
        });
        let serving = connections::serve(accepted, admission, age, stop.clone());
        tokio::join!(following, watching, serving);
    }
}

/// The service that describes the others, in the version that tools ask for first.
fn reflection() -> Option<
    tonic_reflection::server::v1::ServerReflectionServer<
        impl tonic_reflection::server::v1::ServerReflection,
    >,
> {
    // Written by the build: if it cannot be read there is nothing to describe.
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map(|service| service.max_decoding_message_size(QUESTION_BYTES))
        .inspect_err(|error| tracing::error!(%error, "Reflection cannot be offered"))
        .ok()
}

/// The longest message, in bytes: as Maestro takes by default.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

// A name of a service; whoever asks for health is not known.
const QUESTION_BYTES: usize = 4 * 1024;

/// How long a stream may be silent at most: live clients connect again after twice as long (docs/GRPC.md rule 12).
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// How old connections get unless told otherwise: clients come through a balancer of connections and stay where they are, so
/// that after a rollout one replica would have them all until the next one. A client is back within ten seconds, and is
/// told what it missed.
pub const CONNECTION_AGE: Duration = Duration::from_secs(3600);

// In tests a heartbeat may be awaited.
const SHORTEST: Duration = Duration::from_millis(20);

// As the REST API: a quarter of the descriptors that a process usually has.
const CONNECTIONS: usize = 256;
const DESCRIPTORS_PART: u64 = 4;
