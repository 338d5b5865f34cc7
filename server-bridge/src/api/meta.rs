//! Handlers of metadata, the OpenAPI document and the error catalogue, and the answers to unknown paths and methods.

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use super::error::{ApiError, Code};
use super::reference::Reference;
use super::{PREFIX, json_response};

/// The OpenAPI document; `every_route_is_documented` compares it with the routes.
pub(super) const OPENAPI: &str = include_str!("../../openapi.json");

pub(super) async fn api() -> Json<Value> {
    Json(json!({
        "id": "maestro",
        "kind": "API",
        "href": "/api/maestro",
        "versions": [{ "id": "v1", "kind": "APIVersion", "href": PREFIX }],
    }))
}

pub(super) async fn version() -> Json<Value> {
    let collection =
        |id: &str, kind: &str| json!({ "id": id, "kind": kind, "href": format!("{PREFIX}/{id}") });
    Json(json!({
        "id": "v1",
        "kind": "APIVersion",
        "href": PREFIX,
        "collections": [
            collection("consumers", "ConsumerList"),
            collection("resource-bundles", "ResourceBundleList"),
        ],
    }))
}

pub(super) async fn openapi() -> Response {
    json_response(StatusCode::OK, OPENAPI.into())
}

pub(super) async fn errors() -> Json<Value> {
    let items: Vec<Value> = Code::ALL.iter().map(|code| code.entry()).collect();
    Json(json!({
        "kind": "ErrorList",
        "page": 1,
        "size": items.len(),
        "total": items.len(),
        "items": items,
    }))
}

pub(super) async fn error(Reference(id): Reference) -> Result<Json<Value>, ApiError> {
    let number = id.strip_prefix("maestro-").unwrap_or(&id);
    match Code::find(number) {
        Some(code) => Ok(Json(code.entry())),
        None => Err(ApiError::not_found("Error", &id)),
    }
}

pub(super) async fn unknown_route(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::new(
        Code::Route,
        format!("The requested resource '{path}' doesn't exist"),
    )
}

pub(super) async fn unknown_method() -> ApiError {
    ApiError::new(
        Code::NotImplemented,
        "HTTP method not implemented for this endpoint",
    )
}
