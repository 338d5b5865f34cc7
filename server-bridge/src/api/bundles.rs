//! Handlers of `/resource-bundles`.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use link::id::ConsumerName;
use link::order::Version;
use uuid::Uuid;

use super::actor::{Actor, RequestedChange, bundles_of};
use super::body::{Object, wrong_type};
use super::error::ApiError;
use super::list::{Fields, ListRequest};
use super::reference::Reference;
use super::search::Roots;
use super::{Context, json_response, render, search};
use crate::callers::Verb;
use crate::store::query::{BundleColumn, Parts};
use crate::store::{Bundle, Json, NewBundle, SourceName, Store, StoreError};
use crate::validate::{Addressed, Draft, check_id};

mod taken;

pub(super) async fn list<S: Store>(
    State(context): State<Context<S>>,
    Query(parameters): Query<Vec<(String, String)>>,
    actor: Actor,
) -> Result<Response, ApiError> {
    let mut request = ListRequest::parse(parameters, render::BUNDLE, ROOTS)?;
    request.narrow(bundles_of(&actor.scope(Verb::List).await?));
    let fields = &request.fields;
    let parts = Parts {
        content: CONTENT_FIELDS.iter().any(|field| fields.wants(field)),
        status: fields.wants("status"),
        ledger: fields.wants("ledger"),
        progress: render::PROGRESS_FIELDS
            .iter()
            .any(|field| fields.wants(field)),
    };
    let turn = context.lists.take().await?;
    request.continue_reading(&context.cursors, actor.reader());
    let page = context
        .store
        .list_bundles(request.query.clone(), parts)
        .await?;
    Ok(request.respond("ResourceBundleList", page, turn, render::bundle))
}

pub(super) async fn create<S: Store>(
    State(context): State<Context<S>>,
    actor: Actor,
    body: Object,
) -> Result<Response, ApiError> {
    let mut body = body.only(WRITABLE)?;
    body.pass_over(&["kind", "href"])?;
    let id = match body.take_string("id")? {
        Some(id) => {
            check_id("id", &id)?;
            id
        }
        None => Uuid::new_v4().to_string(),
    };
    let name = match body.take_string("name")? {
        Some(name) => {
            check_id("name", &name)?;
            name
        }
        None => id.clone(),
    };
    let consumer_name = body
        .take_string("consumer_name")?
        .ok_or_else(|| ApiError::validation("consumer_name: is required"))?;
    let consumer_name = ConsumerName::new(consumer_name)
        .map_err(|error| ApiError::validation(format!("consumer_name: {error}")))?;
    let source = match body.take_string("source")? {
        Some(source) => {
            SourceName::new(source).map_err(|error| ApiError::validation(error.to_string()))?
        }
        None => SourceName::from(&context.envelope.source),
    };
    if let Some(version) = version(&mut body)?
        && !matches!(version, Version::UNVERSIONED | Version::FIRST)
    {
        return Err(ApiError::validation(
            "version: a new resource bundle starts at 1; leave it out",
        ));
    }
    let draft = Draft {
        metadata: body.take("metadata"),
        manifests: body.take("manifests"),
        manifest_configs: body.take("manifest_configs"),
        delete_option: body.take("delete_option"),
        executer: body.take("executer"),
        stored: None,
    };
    let to = Addressed {
        envelope: &context.envelope,
        consumer: &consumer_name,
        id: &id,
        origin: None,
    };
    let (metadata, content) = draft.check(&context.limits, &to)?;
    let new = NewBundle {
        id,
        name,
        source,
        consumer_name,
        metadata,
        origin: None,
        content,
    };
    let change = RequestedChange::bundle(Verb::Create, &new.id, &new.source, &new.consumer_name);
    let (id, name) = (new.id.clone(), new.name.clone());
    let (store, now) = (context.store.clone(), context.clock.now());
    let making = async move { store.create_bundle(new, now).await };
    match actor.change(change, making).await {
        Ok(bundle) => Ok(answer(StatusCode::CREATED, &bundle)),
        Err(error) if error.is_conflict() => {
            Err(error.with_advice(&taken::advice(&context, &actor, &id, &name).await))
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn get<S: Store>(
    State(context): State<Context<S>>,
    Reference(id): Reference,
    actor: Actor,
) -> Result<Response, ApiError> {
    let found = context.store.get_bundle(&id).await?;
    let bundle = actor.bundle(Verb::Get, &id, found).await?;
    Ok(answer(StatusCode::OK, &bundle))
}

pub(super) async fn patch<S: Store>(
    State(context): State<Context<S>>,
    Reference(id): Reference,
    actor: Actor,
    headers: HeaderMap,
    body: Object,
) -> Result<Response, ApiError> {
    let mut body = body.only(WRITABLE)?;
    body.pass_over(&["kind", "href"])?;
    let expected = expected_version(&headers, version(&mut body)?)?;
    let found = context.store.get_bundle(&id).await?;
    let bundle = actor.bundle(Verb::Update, &id, found).await?;
    for (field, stored) in [
        ("id", bundle.id.as_str()),
        ("name", bundle.name.as_str()),
        ("consumer_name", bundle.consumer_name.as_str()),
        ("source", bundle.source.as_str()),
    ] {
        if body
            .take_string(field)?
            .is_some_and(|given| given != stored)
        {
            return Err(ApiError::validation(format!("{field}: cannot be changed")));
        }
    }
    if bundle.deleted_at.is_some() {
        return Err(StoreError::BundleDeleting { id }.into());
    }
    // Merging starts from the version read here, so that is the one the store must still have.
    if expected != bundle.version {
        return Err(StoreError::VersionConflict {
            id,
            expected,
            latest: bundle.version,
        }
        .into());
    }
    let to = Addressed {
        envelope: &context.envelope,
        consumer: &bundle.consumer_name,
        id: &bundle.id,
        origin: None,
    };
    let (metadata, content) = merged(&mut body, &bundle).check(&context.limits, &to)?;
    let change = RequestedChange::bundle(Verb::Update, &id, &bundle.source, &bundle.consumer_name);
    let (store, now) = (context.store, context.clock.now());
    let making = async move {
        store
            .update_bundle(&id, Some(expected), metadata, content, None, now)
            .await
    };
    let bundle = actor.change(change, making).await?;
    Ok(answer(StatusCode::OK, &bundle))
}

pub(super) async fn delete<S: Store>(
    State(context): State<Context<S>>,
    Reference(id): Reference,
    actor: Actor,
) -> Result<StatusCode, ApiError> {
    let found = context.store.get_bundle(&id).await?;
    // A bundle that is gone is as deleted as it can be (docs/MAESTRO.md §5.2). Who does not see every bundle is not told that, nor
    // whether there is one.
    if found.is_none() && actor.scope(Verb::Delete).await?.is_all() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let bundle = actor.bundle(Verb::Delete, &id, found).await?;
    let change = RequestedChange::bundle(Verb::Delete, &id, &bundle.source, &bundle.consumer_name);
    let (store, now) = (context.store, context.clock.now());
    let making = async move {
        match store.mark_deleting(&id, now).await {
            Ok(()) | Err(StoreError::BundleNotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    };
    actor.change(change, making).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The stored bundle with the given members replaced, or cleared by `null`.
fn merged(body: &mut Object, bundle: &Bundle) -> Draft {
    let content = bundle.content.as_ref();
    let mut part = |key: &str, stored: Option<&Json>| match body.take_nullable(key) {
        Some(given) => given,
        None => stored.map(Json::to_value),
    };
    Draft {
        metadata: part("metadata", bundle.metadata.as_ref()),
        manifests: part("manifests", content.map(|c| &c.manifests)),
        manifest_configs: part(
            "manifest_configs",
            content.and_then(|c| c.manifest_configs.as_ref()),
        ),
        delete_option: part(
            "delete_option",
            content.and_then(|c| c.delete_option.as_ref()),
        ),
        executer: part("executer", content.and_then(|c| c.executer.as_ref())),
        stored: bundle.content.clone(),
    }
}

fn version(body: &mut Object) -> Result<Option<Version>, ApiError> {
    let Some(value) = body.take("version") else {
        return Ok(None);
    };
    match value.as_i64().and_then(Version::new) {
        Some(version) => Ok(Some(version)),
        None if value.is_number() => Err(ApiError::validation(
            "version: must be a whole number from 0 to 2147483647",
        )),
        None => Err(wrong_type("version", "a number", &value)),
    }
}

/// The version a change starts from: `version` in the body, or `If-Match`.
fn expected_version(headers: &HeaderMap, given: Option<Version>) -> Result<Version, ApiError> {
    let matched = match headers.get(header::IF_MATCH) {
        None => None,
        Some(value) => {
            let text = value.to_str().unwrap_or("").trim().trim_matches('"');
            let version = text.parse().ok().and_then(Version::new);
            Some(version.ok_or_else(|| {
                ApiError::bad_request("header `If-Match` must be one version, such as `\"3\"`")
            })?)
        }
    };
    match (given, matched) {
        (Some(one), Some(other)) if one != other => Err(ApiError::bad_request(
            "`version` and header `If-Match` name different versions",
        )),
        (Some(version), _) | (None, Some(version)) => Ok(version),
        (None, None) => Err(ApiError::validation(
            "version: is required, as the version this change starts from (or send it as `If-Match`)",
        )),
    }
}

fn answer(status: StatusCode, bundle: &Bundle) -> Response {
    let mut text = Vec::new();
    render::bundle(bundle, &Fields::All, &mut text);
    let mut response = json_response(status, text);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", bundle.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

const WRITABLE: &[&str] = &[
    "id",
    "kind",
    "href",
    "name",
    "consumer_name",
    "source",
    "version",
    "metadata",
    "manifests",
    "manifest_configs",
    "delete_option",
    "executer",
];

const CONTENT_FIELDS: &[&str] = &["manifests", "manifest_configs", "delete_option", "executer"];

/// What is wrong with a search over bundles, with its position; `None` for one that is understood.
pub fn search_problem(text: &str) -> Option<String> {
    let parsed = search::parse::<BundleColumn>(text, ROOTS);
    parsed.err().map(|error| error.to_string())
}

/// Where a caller finds labels and metadata of a bundle; the first path of each is how Maestro's table lays them out.
const ROOTS: Roots = Roots {
    labels: &[&["payload", "metadata", "labels"], &["metadata", "labels"]],
    metadata: &[&["payload", "metadata"], &["metadata"]],
};
