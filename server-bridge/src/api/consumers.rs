//! `/consumers`: registering management clusters.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use link::http::Peer;
use link::id::ConsumerName;
use serde_json::Value;
use uuid::Uuid;

use super::body::{Object, unknown_as, wrong_type};
use super::error::ApiError;
use super::list::{Fields, Request};
use super::search::Roots;
use super::validate::check_labels;
use super::{Context, json_response, render};
use crate::audit;
use crate::store::{Consumer, Labels, NewConsumer, Store, unseen_since};

pub(super) async fn list<S: Store>(
    State(context): State<Context<S>>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let roots = Roots {
        labels: &[&["labels"]],
        ..Roots::default()
    };
    let request = Request::parse(parameters, render::CONSUMER_FIELDS, roots)?;
    let turn = context.lists.take().await?;
    let page = context.store.list_consumers(request.query.clone()).await?;
    Ok(request.respond("ConsumerList", page, turn, render::consumer))
}

pub(super) async fn create<S: Store>(
    State(context): State<Context<S>>,
    body: Object,
) -> Result<Response, ApiError> {
    let mut body = body.only(&["id", "kind", "href", "name", "labels"])?;
    if body.take_string("id")?.is_some_and(|id| !id.is_empty()) {
        return Err(ApiError::validation(
            "id: must be empty, the server gives it",
        ));
    }
    let id = Uuid::new_v4().to_string();
    let name = body.take_string("name")?.unwrap_or_else(|| id.clone());
    let name =
        ConsumerName::new(name).map_err(|error| ApiError::validation(format!("name: {error}")))?;
    let labels = labels(body.take("labels"))?;
    let new = NewConsumer { id, name, labels };
    let consumer = context
        .store
        .create_consumer(new, context.clock.now())
        .await?;
    Ok(answer(StatusCode::CREATED, &consumer))
}

pub(super) async fn get<S: Store>(
    State(context): State<Context<S>>,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    let consumer = find(&context.store, &reference).await?;
    Ok(answer(StatusCode::OK, &consumer))
}

pub(super) async fn patch<S: Store>(
    State(context): State<Context<S>>,
    Path(reference): Path<String>,
    body: Object,
) -> Result<Response, ApiError> {
    let mut body = body.only(&["id", "kind", "href", "name", "labels"])?;
    let consumer = find(&context.store, &reference).await?;
    for (field, stored) in [
        ("id", consumer.id.as_str()),
        ("name", consumer.name.as_str()),
    ] {
        if body
            .take_string(field)?
            .is_some_and(|given| given != stored)
        {
            return Err(ApiError::validation(format!("{field}: cannot be changed")));
        }
    }
    let consumer = match body.take_nullable("labels") {
        None => consumer,
        Some(given) => {
            let labels = labels(given)?;
            context
                .store
                .update_consumer_labels(&consumer.id, labels, context.clock.now())
                .await?
        }
    };
    Ok(answer(StatusCode::OK, &consumer))
}

pub(super) async fn delete<S: Store>(
    State(context): State<Context<S>>,
    Path(reference): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
    Extension(Peer(peer)): Extension<Peer>,
) -> Result<StatusCode, ApiError> {
    let how = Removal::parse(parameters)?;
    let consumer = find(&context.store, &reference).await?;
    if !how.force {
        context.store.delete_consumer(&consumer.id).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    let unseen_since = match how.confirm {
        None => Some(unseen_since(context.clock.now())),
        Some(confirm) if confirm == consumer.name.as_str() => None,
        Some(_) => {
            return Err(ApiError::validation(format!(
                "confirm: must repeat the consumer's name `{}`",
                consumer.name
            )));
        }
    };
    audit::remove_consumer(
        context.store.clone(),
        peer.to_string(),
        consumer,
        unseen_since,
        context.clock.now(),
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a consumer is to be removed.
#[derive(Debug, Default)]
struct Removal {
    /// With its bundles.
    force: bool,
    /// Although it is alive.
    confirm: Option<String>,
}

// === impl Removal ===

impl Removal {
    fn parse(parameters: Vec<(String, String)>) -> Result<Self, ApiError> {
        let mut how = Self::default();
        for (name, value) in parameters {
            match (name.as_str(), value.as_str()) {
                ("force", "true") => how.force = true,
                ("force", "false") => how.force = false,
                ("force", _) => {
                    return Err(ApiError::bad_request("force: must be `true` or `false`"));
                }
                ("confirm", _) => how.confirm = Some(value),
                _ => {
                    let known = &["force", "confirm"];
                    let unknown = unknown_as("query parameter", &name, known);
                    return Err(ApiError::bad_request(unknown));
                }
            }
        }
        Ok(how)
    }
}

/// By id, or else by name.
async fn find(store: &impl Store, reference: &str) -> Result<Consumer, ApiError> {
    if let Some(consumer) = store.get_consumer(reference).await? {
        return Ok(consumer);
    }
    if let Ok(name) = ConsumerName::new(reference)
        && let Some(consumer) = store.get_consumer_by_name(&name).await?
    {
        return Ok(consumer);
    }
    Err(ApiError::not_found("Consumer", reference))
}

fn labels(value: Option<Value>) -> Result<Labels, ApiError> {
    let Some(value) = value else {
        return Ok(BTreeMap::new());
    };
    let Value::Object(entries) = value else {
        return Err(wrong_type("labels", "an object of strings", &value));
    };
    check_labels(&entries)?;
    let text = |(name, value)| match value {
        Value::String(text) => Some((name, text)),
        _ => None,
    };
    Ok(entries.into_iter().filter_map(text).collect())
}

fn answer(status: StatusCode, consumer: &Consumer) -> Response {
    let mut text = Vec::new();
    render::consumer(consumer, &Fields::Default, &mut text);
    json_response(status, text)
}
