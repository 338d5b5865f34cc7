//! The three paths, and a 404 that names them.

use std::time::Instant;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};

use super::{Checks, readiness};
use crate::shutdown::Drain;

#[derive(Clone)]
struct Context {
    checks: Checks,
    registry: Registry,
    drain: Drain,
}

/// The router over what it shows.
pub(super) fn router(checks: Checks, registry: Registry, drain: Drain) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                "not found; the paths here are /livez /readyz /metrics\n",
            )
        })
        .with_state(Context {
            checks,
            registry,
            drain,
        })
}

async fn readyz(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut report = context.checks.report(Instant::now());
    if context.drain.is_requested() {
        let pending = context.drain.pending();
        let reason = match pending.as_slice() {
            [] => "draining".into(),
            names => format!("draining {}", names.join(", ")),
        };
        report.fail("shutdown", reason);
    }
    report.exclude(excluded(query.as_deref()));
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if wants_json(query.as_deref(), &headers) {
        let body = serde_json::json!(report).to_string();
        (status, [(CONTENT_TYPE, "application/json")], body).into_response()
    } else {
        (status, report.to_string()).into_response()
    }
}

async fn metrics(State(context): State<Context>) -> Response {
    let mut families = context.registry.gather();
    // A process that stops takes its checks away one by one, which is no failure.
    let readiness = if context.drain.is_requested() {
        Ok(Vec::new())
    } else {
        readiness::families(&context.checks.report(Instant::now()))
    };
    let encoded = readiness.and_then(|checks| {
        families.extend(checks);
        TextEncoder::new().encode_to_string(&families)
    });
    match encoded {
        Ok(text) => ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => {
            let text = format!("encode metrics: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

/// Names of checks, as they stand: letters, digits and hyphens need no encoding.
fn excluded(query: Option<&str>) -> impl Iterator<Item = &str> {
    let pairs = query.unwrap_or_default().split('&');
    let names = pairs.filter_map(|pair| pair.strip_prefix("exclude="));
    names.take(EXCLUDED)
}

/// The query decides; without one, a client that accepts JSON and does not name text gets JSON.
fn wants_json(query: Option<&str>, headers: &HeaderMap) -> bool {
    let format = query.and_then(|query| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("format="))
    });
    match format {
        Some(format) => format == "json",
        None => headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|accept| accept.to_str().ok())
            .any(|accept| accept.contains("application/json") && !accept.contains("text/plain")),
    }
}

// More than any process has checks: one per connection, of which a bridge has 64, and some.
const EXCLUDED: usize = 128;

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
