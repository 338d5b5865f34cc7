//! Handlers of `/resource-bundles/{id}/explain` and `/consumers/{id}/explain`.
//!
//! **Contract:** who may not read a bundle or consumer is answered as if it were not there. What is told of a consumer counts
//! the bundles of all sources, so that it takes the right to list those of all; of a bundle whoever may not read those of all
//! is told nothing that depends on others. Why a check of the bridge fails is told to who may read everything. What the store
//! cannot tell is no story: an error says so, and where to look.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use link::id::ConsumerName;
use serde::Serialize;

use super::actor::Actor;
use super::error::{ApiError, Code};
use super::reference::Reference;
use super::{Context, consumers, json_response};
use crate::callers::{Scope, Verb};
use crate::explain::{self, ProcessFacts};
use crate::store::Store;

/// The story of a bundle. One that is gone is told of to who may see every bundle, because nobody knows any more whose it
/// was.
pub(super) async fn bundle<S: Store>(
    State(context): State<Context<S>>,
    Reference(reference): Reference,
    actor: Actor,
) -> Result<Response, ApiError> {
    let now = context.clock.now();
    let store = &context.store;
    let found = store.bundle_facts(&reference, now).await;
    let found = found.map_err(unknown)?;
    let Some(mut facts) = found else {
        let scope = actor.scope(Verb::Get).await?;
        if scope.is_all()
            && let Some(tombstone) = store.tombstone(&reference).await.map_err(unknown)?
        {
            return Ok(answer(&explain::gone(&tombstone, now)));
        }
        return Err(ApiError::not_found("ResourceBundle", &reference));
    };
    let scope = actor.scope(Verb::Get).await?;
    let is_hidden = !scope.permits(&facts.bundle.source, &facts.bundle.consumer_name);
    // An id that the caller may not see hides no bundle of this name that it may.
    if is_hidden
        && let Some(id) = store.bundle_named(&reference).await.map_err(unknown)?
        && let Some(named) = store.bundle_facts(&id, now).await.map_err(unknown)?
    {
        facts = named;
    }
    let bundle = facts.bundle;
    facts.bundle = actor.bundle(Verb::Get, &reference, Some(bundle)).await?;
    if !scope.has_every_source() {
        facts.ahead = facts.ahead.of_its_source();
    }
    let process = process(&context, &facts.bundle.consumer_name, &scope);
    let story = explain::bundle(&facts, Some(&process), now);
    Ok(answer(&story))
}

/// The story of a consumer.
pub(super) async fn consumer<S: Store>(
    State(context): State<Context<S>>,
    Reference(reference): Reference,
    actor: Actor,
) -> Result<Response, ApiError> {
    let consumer = consumers::find(&context.store, &actor, Verb::Get, &reference).await;
    let consumer = consumer.map_err(unknown)?;
    let scope = actor.scope(Verb::List).await?;
    if !scope.has_every_source() {
        return Err(ApiError::new(
            Code::Forbidden,
            "what waits for a consumer is told over all sources, and the rules let you list those of some only",
        ));
    }
    let now = context.clock.now();
    let facts = context.store.consumer_facts(&consumer.name, now).await;
    let facts = facts
        .map_err(unknown)?
        .ok_or_else(|| ApiError::not_found("Consumer", &reference))?;
    let process = process(&context, &consumer.name, &scope);
    let story = explain::consumer(&facts, Some(&process), now);
    Ok(answer(&story))
}

/// What this process says of itself to who has this scope.
fn process<S: Store>(context: &Context<S>, consumer: &ConsumerName, scope: &Scope) -> ProcessFacts {
    let facts = context.process.facts(consumer);
    match scope.is_all() {
        true => facts,
        false => facts.without_reasons(),
    }
}

/// Nothing is told that was not read.
fn unknown(error: impl Into<ApiError>) -> ApiError {
    let error = error.into();
    match error.is_failure() {
        true => error.with_advice(ADVICE),
        false => error,
    }
}

fn answer(story: &impl Serialize) -> Response {
    // Texts, times and numbers always have a JSON form.
    let text = serde_json::to_vec(story).unwrap_or_default();
    json_response(StatusCode::OK, text)
}

const ADVICE: &str = "why anything waits is not known without it; `store` in /readyz of this bridge says what is wrong (MQ700)";
