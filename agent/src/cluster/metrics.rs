//! What is counted of the requests to the API server, under the names client-go uses.

use http::{Method, StatusCode};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// The metrics of one client; clones share the numbers.
#[derive(Clone, Debug)]
pub(super) struct ClientMetrics {
    /// By method and code.
    requests: IntCounterVec,
    /// By verb.
    seconds: HistogramVec,
    /// Seconds a request waited for its token.
    pub(super) waited: Histogram,
}

/// What a request does, as Kubernetes names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestVerb {
    Read,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    Other,
}

// === impl ClientMetrics ===

impl ClientMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new(
                    "rest_client_requests_total",
                    "Requests to the Kubernetes API server, by method and status code",
                ),
                &["method", "code"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "rest_client_request_duration_seconds",
                    "Seconds until the Kubernetes API server began to answer, by verb",
                )
                .buckets(SECONDS.to_vec()),
                &["verb"],
            )?,
            waited: Histogram::with_opts(
                HistogramOpts::new(
                    "rest_client_rate_limiter_duration_seconds",
                    "Seconds a request to the Kubernetes API server waited for the agent's own rate limit",
                )
                .buckets(SECONDS.to_vec()),
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.waited.clone()))?;
        Ok(metrics)
    }

    /// Counts a request; `None` when no answer came.
    pub(super) fn answered(
        &self,
        method: &Method,
        verb: RequestVerb,
        code: Option<StatusCode>,
        seconds: f64,
    ) {
        let code = code.as_ref().map_or("error", StatusCode::as_str);
        self.requests
            .with_label_values(&[known(method), code])
            .inc();
        self.seconds
            .with_label_values(&[verb.as_str()])
            .observe(seconds);
    }
}

// === impl RequestVerb ===

impl RequestVerb {
    pub(super) fn of(method: &Method, query: Option<&str>) -> Self {
        match *method {
            Method::GET if query.is_some_and(is_watch) => Self::Watch,
            Method::GET => Self::Read,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }
}

fn is_watch(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

// From an answer out of the server's cache to its own limit of 60 s for a request.
const SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watch_is_told_from_a_read_by_its_query() {
        let get = |query| RequestVerb::of(&Method::GET, query);
        assert_eq!(
            get(Some("&watch=true&resourceVersion=4")),
            RequestVerb::Watch
        );
        assert_eq!(get(Some("labelSelector=watch%3Dtrue")), RequestVerb::Read);
        assert_eq!(get(None), RequestVerb::Read);
    }

    #[test]
    fn request_without_an_answer_is_counted_as_error() {
        let registry = Registry::new();
        let metrics = ClientMetrics::register(&registry).unwrap();
        metrics.answered(&Method::PUT, RequestVerb::Update, None, 0.1);
        let count = metrics.requests.with_label_values(&["PUT", "error"]).get();
        assert_eq!(count, 1);
    }
}
