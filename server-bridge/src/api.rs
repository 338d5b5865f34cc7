//! The REST API: consumers and resource bundles as Maestro's clients know them (docs/MAESTRO.md §5.2), plus creating
//! and changing bundles. A request is validated and committed; delivery is somebody else's task.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Router, middleware};
use link::admin::Checks;
use link::clock::Clock;
use link::error::Hint;
use link::http::Bounds;
use link::id::SourceId;
use link::topic::Scheme;
use tokio::net::TcpListener;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::normalize_path::NormalizePath;

mod actor;
mod body;
mod bundles;
mod consumers;
mod error;
mod explain;
mod held;
mod list;
mod meta;
mod operation;
mod origin;
mod overview;
mod paging;
mod presence;
mod reference;
mod render;
mod search;
mod unread;

pub use crate::explain::ProcessView;
pub use crate::validate::{BundleLimits, Envelope};
pub use bundles::search_problem;
pub use operation::ApiMetrics;
pub use origin::{HostName, InvalidHostName};

use crate::callers::{Access, ServerTls};
use crate::replicas::Ownership;
use crate::store::Store;
use crate::ui;
use body::BodyReader;
use error::ApiError;
use list::ListLimiter;
use origin::Hosts;
use overview::OverviewCache;
use paging::PageCursors;

/// What the API needs to know besides its store.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Where to listen; loopback unless told otherwise.
    pub listen: SocketAddr,
    /// Names it is addressed by, besides loopback and, where others can connect, addresses.
    pub hosts: Vec<HostName>,
    /// Sizes of a bundle.
    pub limits: BundleLimits,
    /// How bundles will be sent.
    pub envelope: Envelope,
    /// What callers may take of the process.
    pub bounds: Bounds,
    /// Who is let in.
    pub access: Access,
    /// TLS; plain without it.
    pub tls: Option<ServerTls>,
    /// Whether the status page is there too.
    pub ui: bool,
    /// The process that it is part of, for `explain`.
    pub process: ProcessView,
}

/// The API with its socket bound, not yet serving.
#[derive(Debug)]
pub struct Api<S> {
    listener: TcpListener,
    address: SocketAddr,
    context: Context<S>,
    hosts: Hosts,
    bounds: Bounds,
    tls: Option<ServerTls>,
    ui: bool,
    metrics: ApiMetrics,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on `{address}` for {what}")]
pub struct BindError {
    what: &'static str,
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// What every handler may use.
#[derive(Clone, Debug)]
struct Context<S> {
    store: S,
    clock: Clock,
    limits: BundleLimits,
    envelope: Arc<Envelope>,
    intake: BodyReader,
    lists: ListLimiter,
    cursors: PageCursors,
    overview: OverviewCache,
    access: Access,
    process: ProcessView,
}

/// Binds the socket of an API that is built later, for [`REST`] or [`GRPC`].
///
/// # Errors
/// [`BindError`] names the address and what it is for.
pub async fn bind(address: SocketAddr, what: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError::new(what, address, source))
}

// === impl ApiConfig ===

impl ApiConfig {
    /// On loopback, for a bridge that speaks for `source` on the topics of `scheme`.
    pub fn new(source: SourceId, scheme: Scheme) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            hosts: Vec::new(),
            limits: BundleLimits::default(),
            envelope: Envelope { source, scheme },
            bounds: Bounds {
                busy: BUSY,
                ..Bounds::new(CONNECTIONS, DESCRIPTORS_PART)
            },
            access: Access::open(),
            tls: None,
            ui: false,
            process: ProcessView::new(Checks::new(), Ownership::sole()),
        }
    }

    /// Binds the socket, so that whoever asks later finds it and a taken port is an error at start.
    ///
    /// # Errors
    /// [`BindError`] names the address.
    pub async fn build<S: Store>(
        self,
        store: S,
        clock: Clock,
        metrics: ApiMetrics,
    ) -> Result<Api<S>, BindError> {
        let listener = bind(self.listen, REST).await?;
        self.build_on(listener, store, clock, metrics)
    }

    /// The API on a socket that is bound already, whatever `listen` says.
    ///
    /// # Errors
    /// [`BindError`] when the socket does not know its address.
    pub fn build_on<S: Store>(
        self,
        listener: TcpListener,
        store: S,
        clock: Clock,
        metrics: ApiMetrics,
    ) -> Result<Api<S>, BindError> {
        let address = listener
            .local_addr()
            .map_err(|source| BindError::new(REST, self.listen, source))?;
        Ok(Api {
            listener,
            address,
            context: Context {
                store,
                clock,
                limits: self.limits,
                envelope: Arc::new(self.envelope),
                intake: BodyReader::default(),
                lists: ListLimiter::default(),
                cursors: PageCursors::default(),
                overview: OverviewCache::default(),
                access: self.access,
                process: self.process,
            },
            hosts: Hosts::new(address, self.hosts),
            bounds: self.bounds,
            tls: self.tls,
            ui: self.ui,
            metrics,
        })
    }
}

// === impl Api ===

impl<S: Store> Api<S> {
    /// Where it listens, with the port the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done, then answers what is under way.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) {
        let router = router(self.context, self.hosts, self.metrics, self.ui);
        let service = NormalizePath::trim_trailing_slash(router);
        link::http::serve_with(self.listener, self.tls, service, self.bounds, stop).await;
    }
}

// === impl BindError ===

impl BindError {
    pub(crate) fn new(what: &'static str, address: SocketAddr, source: io::Error) -> Self {
        Self {
            what,
            address,
            source,
        }
    }

    /// Whether another process listens there.
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

impl Hint for BindError {
    fn hint(&self) -> Option<String> {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                Some("stop what listens there, or choose another port".into())
            }
            _ => None,
        }
    }
}

fn router<S: Store>(context: Context<S>, hosts: Hosts, metrics: ApiMetrics, ui: bool) -> Router {
    let access = context.access.clone();
    // Its files are the same for everybody; what they show is asked for by routes that know their caller.
    let page = if ui { ui::router() } else { Router::new() };
    let mut router = Router::new();
    for (path, methods) in routes::<S>() {
        router = router.route(&path, methods);
    }
    router
        .fallback(meta::unknown_route)
        .method_not_allowed_fallback(meta::unknown_method)
        .with_state(context)
        .layer(CatchPanicLayer::custom(ApiError::panicked))
        .layer(from_fn(keep_allow))
        .layer(from_fn_with_state(access, actor::guard))
        .merge(page)
        .layer(from_fn_with_state(hosts, origin::guard))
        .layer(from_fn_with_state(metrics, operation::wrap))
        .layer(from_fn(unread::read_on))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
}

fn routes<S: Store>() -> Vec<(String, MethodRouter<Context<S>>)> {
    let v1 = |path: &str| format!("{PREFIX}{path}");
    vec![
        ("/api/maestro".to_owned(), get(meta::api)),
        (v1(""), get(meta::version)),
        (v1("/openapi"), get(meta::openapi)),
        (v1("/errors"), get(meta::errors)),
        (v1("/errors/{id}"), get(meta::error)),
        (
            v1("/consumers"),
            get(consumers::list::<S>).post(consumers::create::<S>),
        ),
        (
            v1("/consumers/{id}"),
            get(consumers::get::<S>)
                .patch(consumers::patch::<S>)
                .delete(consumers::delete::<S>),
        ),
        (v1("/overview"), get(overview::get::<S>)),
        (v1("/consumers/{id}/explain"), get(explain::consumer::<S>)),
        (
            v1("/consumers/{id}/presence"),
            get(consumers::presence::<S>),
        ),
        (
            v1("/resource-bundles"),
            get(bundles::list::<S>).post(bundles::create::<S>),
        ),
        (
            v1("/resource-bundles/{id}"),
            get(bundles::get::<S>)
                .patch(bundles::patch::<S>)
                .delete(bundles::delete::<S>),
        ),
        (
            v1("/resource-bundles/{id}/explain"),
            get(explain::bundle::<S>),
        ),
    ]
}

/// The router names the allowed methods in a header of the response that an error body replaces.
async fn keep_allow(request: Request, next: middleware::Next) -> Response {
    let mut response = next.run(request).await;
    let allow = response.headers().get(header::ALLOW).cloned();
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response.extensions_mut().insert(error.with_allow(allow));
    }
    response
}

fn json_response(status: StatusCode, text: Vec<u8>) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], text).into_response()
}

/// What a caller beyond [`CONNECTIONS`] is told: the error body that [`error`] makes, without an operation of its own.
const BUSY: (&str, &str) = (
    "application/json",
    r#"{"id":"9","kind":"Error","href":"/api/maestro/v1/errors/9","code":"maestro-9","reason":"too many connections, try again later","operation_id":""}"#,
);

// A quarter of the 1 024 descriptors a process usually has. The rest: 64 for health and metrics, 64 MQTT connections,
// 39 of SQLite, logs and files. Where fewer are allowed the API gets a quarter of those.
const CONNECTIONS: usize = 256;
const DESCRIPTORS_PART: u64 = 4;

/// What its socket is for.
pub const REST: &str = "the REST API";

/// What the socket of the gRPC endpoint is for.
pub const GRPC: &str = "gRPC";

/// Where version 1 of the API lives.
const PREFIX: &str = "/api/maestro/v1";

#[cfg(test)]
mod tests;
