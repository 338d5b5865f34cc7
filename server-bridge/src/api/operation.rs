//! Middleware around every request: assigns the operation id, renders the error body, keeps answers out of caches, records
//! metrics.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use uuid::Uuid;

use super::error::ApiError;

/// Requests by method, matched path and status code.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    count: IntCounterVec,
    duration: HistogramVec,
}

/// The id of the operation that a request belongs to, as an extension of it.
#[derive(Clone, Debug)]
pub(super) struct Operation(pub(super) String);

// === impl ApiMetrics ===

impl ApiMetrics {
    /// Makes and registers the metrics under the names the Go server gives them (docs/MAESTRO.md §5.8).
    ///
    /// # Errors
    /// When another component registered the same names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let labels = &["method", "path", "code"];
        let count = IntCounterVec::new(
            Opts::new(
                "rest_api_inbound_request_count",
                "Requests answered by the REST API",
            ),
            labels,
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "rest_api_inbound_request_duration",
                "Seconds until the REST API began to answer",
            )
            .buckets(vec![0.001, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
            labels,
        )?;
        registry.register(Box::new(count.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Self { count, duration })
    }
}

/// Gives the request its id, renders an error, forbids caches to keep the answer, counts.
pub(super) async fn wrap(
    State(metrics): State<ApiMetrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let operation = operation_id(&request);
    request
        .extensions_mut()
        .insert(Operation(operation.clone()));
    let method = method(request.method());
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = error.render(&operation);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&operation) {
        headers.insert("x-operation-id", value);
    }
    headers.append(header::VARY, HeaderValue::from_static("Authorization"));
    // What a caller may see is nobody else's, and old as soon as it is answered. The page's files say otherwise of themselves.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let status = response.status();
    let labels = [method, path.as_str(), status.as_str()];
    metrics.count.with_label_values(&labels).inc();
    metrics
        .duration
        .with_label_values(&labels)
        .observe(started.elapsed().as_secs_f64());
    response
}

/// The caller's id if it is one, a fresh one otherwise.
fn operation_id(request: &Request) -> String {
    request
        .headers()
        .get("x-operation-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic()))
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Methods as a closed set: anything may arrive in a request line.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
