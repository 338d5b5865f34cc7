//! Which request is which operation, and what is refused before any.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, DATE};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch, post, put};
use jiff::fmt::rfc2822::DateTimePrinter;
use link::telemetry::clip;
use tokio::time::Instant;

use super::answer::{Kind, Refusal};
use super::plane::Plane;
use super::{
    attachments, certificates, connections, endpoint, faults, messages, policies, policy_versions,
    principals, tags, things,
};

/// All operations, by the paths of the API reference.
pub(super) fn router(plane: Arc<Plane>) -> Router {
    let aws = Router::new()
        .merge(certificates_and_policies())
        .merge(things_and_tags())
        .merge(data_plane())
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn(signed));
    faults::router()
        .fallback_service(aws.with_state(plane.clone()))
        .layer(from_fn_with_state(plane.clone(), dated))
        .with_state(plane)
}

fn certificates_and_policies() -> Router<Arc<Plane>> {
    Router::new()
        .route("/endpoint", get(endpoint::describe))
        .route(
            "/certificates",
            post(certificates::create_from_csr).get(certificates::list),
        )
        .route(
            "/certificates/{id}",
            get(certificates::describe)
                .put(certificates::update)
                .delete(certificates::delete),
        )
        .route("/policies", get(policies::list))
        .route(
            "/policies/{name}",
            post(policies::create)
                .get(policies::get)
                .delete(policies::delete),
        )
        .route(
            "/policies/{name}/version",
            post(policy_versions::create).get(policy_versions::list),
        )
        .route(
            "/policies/{name}/version/{version}",
            get(policy_versions::get)
                .patch(policy_versions::set_default)
                .delete(policy_versions::delete),
        )
        .route(
            "/target-policies/{name}",
            put(attachments::attach).post(attachments::detach),
        )
        .route("/policy-targets/{name}", post(attachments::list_targets))
        .route(
            "/attached-policies/{target}",
            post(attachments::list_attached),
        )
}

fn things_and_tags() -> Router<Arc<Plane>> {
    Router::new()
        .route("/things", get(things::list))
        .route(
            "/things/{name}",
            post(things::create)
                .get(things::describe)
                .merge(patch(things::update))
                .delete(things::delete),
        )
        .route(
            "/things/{name}/principals",
            put(principals::attach)
                .delete(principals::detach)
                .get(principals::list),
        )
        .route("/principals/things", get(principals::list_things))
        .route("/tags", post(tags::add).get(tags::list))
        .route("/untag", post(tags::remove))
}

/// Operations of the data plane, which AWS has at another address.
fn data_plane() -> Router<Arc<Plane>> {
    Router::new()
        .route(
            "/connections/{client}",
            get(connections::get).delete(connections::delete),
        )
        .route(
            "/connections/{client}/subscriptions",
            get(connections::list_subscriptions),
        )
        .route(
            "/connections/{client}/messages",
            post(messages::send_direct),
        )
        .route("/topics/{*topic}", post(messages::publish))
}

/// Lets only requests through that look signed, and numbers the answers. What the signature says is not looked at.
async fn signed(request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION);
    let looks_signed = header
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.starts_with("AWS4-HMAC-SHA256 ")
                && ["Credential=", "SignedHeaders=", "Signature="]
                    .iter()
                    .all(|part| value.contains(part))
        });
    let mut response = if looks_signed {
        next.run(request).await
    } else {
        Refusal::new(Kind::Forbidden, "Missing Authentication Token").into_response()
    };
    let id = uuid::Uuid::new_v4().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// Dates the answers, if the clock is to be wrong; else the server does it.
async fn dated(State(plane): State<Arc<Plane>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let skew = plane.broker.faults().get().clock_skew;
    if !skew.is_zero() {
        let now = plane.registry().clock().now();
        let shown = now.checked_add(skew).unwrap_or(now);
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&shown);
        let date = date.ok().and_then(|date| HeaderValue::from_str(&date).ok());
        response.headers_mut().extend(date.map(|date| (DATE, date)));
    }
    response
}

async fn unknown(State(plane): State<Arc<Plane>>, request: Request) -> Refusal {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let (method, path) = (clip(method, SHOWN), clip(path, SHOWN));
    if let Some(held) = plane.unknown.admit(&(), Instant::now()) {
        tracing::warn!(
            held,
            "Refused {method} {path}: no operation of this control plane"
        );
    }
    let message = format!("no operation is known for {method} {path}");
    Refusal::new(Kind::UnknownOperation, message)
}

// The longest path of an operation has a name of 128 characters.
const SHOWN: usize = 256;

// The longest field, a policy document, has 404 600 characters in the API reference.
const BODY: usize = 1 << 20;
