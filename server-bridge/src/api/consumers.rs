//! Handlers of `/consumers`.

use std::collections::{BTreeMap, HashMap};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use link::id::ConsumerName;
use serde_json::Value;
use uuid::Uuid;

use super::actor::{Actor, RequestedChange, consumers_of};
use super::body::{Object, wrong_type};
use super::error::{ApiError, Code};
use super::list::{Fields, ListRequest};
use super::presence::{Detail, view};
use super::reference::Reference;
use super::render::Loaded;
use super::search::Roots;
use super::{Context, json_response, render};
use crate::audit;
use crate::callers::Verb;
use crate::store::{Circumstances, Consumer, Labels, Load, NewConsumer, Page, Store, unseen_since};
use crate::validate::{check_labels, unknown_as};

pub(super) async fn list<S: Store>(
    State(context): State<Context<S>>,
    Query(parameters): Query<Vec<(String, String)>>,
    actor: Actor,
) -> Result<Response, ApiError> {
    let roots = Roots {
        labels: &[&["labels"]],
        ..Roots::default()
    };
    let mut request = ListRequest::parse(parameters, render::CONSUMER, roots)?;
    let scope = actor.scope(Verb::List).await?;
    request.narrow(consumers_of(&scope));
    let counted = render::LOAD_FIELDS
        .iter()
        .chain([&render::PRESENCE])
        .find(|field| request.fields.wants(field));
    if let Some(field) = counted
        && !scope.has_every_source()
    {
        return Err(ApiError::new(
            Code::Forbidden,
            format!(
                "query parameter `fields`: `{field}` is of all sources, and the rules let you list those of some only"
            ),
        ));
    }
    let turn = context.lists.take().await?;
    let page = context.store.list_consumers(request.query.clone()).await?;
    if counted.is_none() {
        return Ok(request.respond("ConsumerList", page, turn, render::consumer));
    }
    // The store holds the longest page of consumers whole anyway.
    let (total, end) = (page.total, page.end);
    let consumers: Vec<Consumer> = page.rows.try_collect().await?;
    let names: Vec<ConsumerName> = consumers.iter().map(|c| c.name.clone()).collect();
    let mut loads = context.store.loads(names.clone()).await?;
    let now = context.clock.now();
    let (mut presences, mut listening_since) = (HashMap::new(), None);
    if request.fields.wants(render::PRESENCE) {
        presences = context.store.presences_of(names).await?;
        listening_since = context.store.listening_since(now).await?;
    }
    let rows = consumers.into_iter().map(move |consumer| {
        let load = loads.remove(consumer.name.as_str()).unwrap_or_default();
        let circumstances = Circumstances {
            now,
            listening_since,
            waits: load.waits(),
        };
        let known = presences.remove(consumer.name.as_str());
        let presence = known.map(|known| (known, circumstances));
        Ok(Loaded {
            consumer,
            load,
            presence,
        })
    });
    let rows = stream::iter(rows).boxed();
    let page = Page { total, end, rows };
    Ok(request.respond("ConsumerList", page, turn, render::loaded))
}

pub(super) async fn create<S: Store>(
    State(context): State<Context<S>>,
    actor: Actor,
    body: Object,
) -> Result<Response, ApiError> {
    let mut body = body.only(&["id", "kind", "href", "name", "labels"])?;
    body.pass_over(&["kind", "href"])?;
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
    let change = RequestedChange::consumer(Verb::Create, &new.id, &new.name);
    let (store, now) = (context.store, context.clock.now());
    let making = async move { store.create_consumer(new, now).await };
    let consumer = actor.change(change, making).await?;
    Ok(answer(StatusCode::CREATED, &consumer))
}

pub(super) async fn get<S: Store>(
    State(context): State<Context<S>>,
    Reference(reference): Reference,
    actor: Actor,
) -> Result<Response, ApiError> {
    let consumer = find(&context.store, &actor, Verb::Get, &reference).await?;
    Ok(answer(StatusCode::OK, &consumer))
}

/// `GET /consumers/{id}/presence`
pub(super) async fn presence<S: Store>(
    State(context): State<Context<S>>,
    Reference(reference): Reference,
    actor: Actor,
) -> Result<Response, ApiError> {
    let consumer = find(&context.store, &actor, Verb::Get, &reference).await?;
    let everything = actor.scope(Verb::Get).await?.has_every_source();
    let hidden = || ApiError::not_found("Consumer", &reference);
    let presence = context.store.presence(&consumer.name).await?;
    let presence = presence.ok_or_else(hidden)?;
    let loads = context.store.loads(vec![consumer.name]).await?;
    let now = context.clock.now();
    let circumstances = Circumstances {
        now,
        listening_since: context.store.listening_since(now).await?,
        waits: loads.values().any(Load::waits),
    };
    let detail = if everything {
        Detail::Whole
    } else {
        Detail::Agent
    };
    let text = serde_json::to_vec(&view(&presence, circumstances, detail))
        .map_err(|_| ApiError::new(Code::General, "what is known of the agent has no text"))?;
    Ok(json_response(StatusCode::OK, text))
}

pub(super) async fn patch<S: Store>(
    State(context): State<Context<S>>,
    Reference(reference): Reference,
    actor: Actor,
    body: Object,
) -> Result<Response, ApiError> {
    let mut body = body.only(&["id", "kind", "href", "name", "labels"])?;
    body.pass_over(&["kind", "href"])?;
    let consumer = find(&context.store, &actor, Verb::Update, &reference).await?;
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
            let change = RequestedChange::consumer(Verb::Update, &consumer.id, &consumer.name);
            let (store, now) = (context.store, context.clock.now());
            let making = async move {
                let id = &consumer.id;
                store.update_consumer_labels(id, labels, now).await
            };
            actor.change(change, making).await?
        }
    };
    Ok(answer(StatusCode::OK, &consumer))
}

pub(super) async fn delete<S: Store>(
    State(context): State<Context<S>>,
    Reference(reference): Reference,
    Query(parameters): Query<Vec<(String, String)>>,
    actor: Actor,
) -> Result<StatusCode, ApiError> {
    let how = Removal::parse(parameters)?;
    let consumer = find(&context.store, &actor, Verb::Delete, &reference).await?;
    let change = RequestedChange::consumer(Verb::Delete, &consumer.id, &consumer.name);
    if !how.force {
        let store = context.store;
        let making = async move { store.delete_consumer(&consumer.id).await };
        actor.change(change, making).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    actor.allow_removal(&change).await?;
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
        actor.named(),
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

/// By id, or else by name; only what the caller may see or do this to.
pub(super) async fn find(
    store: &impl Store,
    actor: &Actor,
    verb: Verb,
    reference: &str,
) -> Result<Consumer, ApiError> {
    let mut found = store.get_consumer(reference).await?;
    if found.is_none()
        && let Ok(name) = ConsumerName::new(reference)
    {
        found = store.get_consumer_by_name(&name).await?;
    }
    match found {
        Some(consumer) if actor.sees(verb, &consumer.name).await? => Ok(consumer),
        Some(consumer) => {
            actor.hidden(&RequestedChange::consumer(
                verb,
                &consumer.id,
                &consumer.name,
            ));
            Err(ApiError::not_found("Consumer", reference))
        }
        None => Err(ApiError::not_found("Consumer", reference)),
    }
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
    render::consumer(consumer, &Fields::All, &mut text);
    json_response(status, text)
}
