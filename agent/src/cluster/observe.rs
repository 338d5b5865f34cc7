//! Every request is timed, counted and judged, and has an end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use link::error::chain;
use tokio::time::{Instant, timeout};
use tower::{BoxError, Layer, Service};

use super::metrics::{ClientMetrics, RequestVerb};
use super::reachability::{Reachability, RequestOutcome};

/// Watches over a service.
#[derive(Clone)]
pub(super) struct Observe {
    metrics: ClientMetrics,
    reachability: Reachability,
}

/// A service that is watched over.
pub(super) struct Observed<S> {
    inner: S,
    observe: Observe,
}

/// The server took a request and never began to answer.
#[derive(Debug, thiserror::Error)]
#[error("the Kubernetes API server did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
struct Unanswered;

// === impl Observe ===

impl Observe {
    pub(super) fn new(metrics: ClientMetrics, reachability: Reachability) -> Self {
        Self {
            metrics,
            reachability,
        }
    }
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed {
            inner,
            observe: self.clone(),
        }
    }
}

// === impl Observed ===

impl<S, B, R> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = request.method().clone();
        let verb = RequestVerb::of(&method, request.uri().query());
        let Observe {
            metrics,
            reachability,
        } = self.observe.clone();
        let response = self.inner.call(request);
        Box::pin(async move {
            let started = Instant::now();
            let result = match timeout(REQUEST_TIMEOUT, response).await {
                Ok(result) => result,
                Err(_) => Err(Unanswered.into()),
            };
            let code = result.as_ref().ok().map(Response::status);
            metrics.answered(&method, verb, code, started.elapsed().as_secs_f64());
            reachability.noted(&match (&result, code) {
                (_, Some(code)) if code.is_server_error() => RequestOutcome::Broken(code),
                (Err(error), _) => RequestOutcome::Silence(chain(error.as_ref())),
                _ => RequestOutcome::Served,
            });
            result
        })
    }
}

// Until the answer *begins*, so that watches may last. The server gives up a request after 60 s and says why better
// than we can; beyond that the peer is dead and waiting on is no use.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(65);
