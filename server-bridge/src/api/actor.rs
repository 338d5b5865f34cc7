//! Who makes a request: asked before anything else is done for it, and kept with it, so that handlers can ask what this
//! caller may do and note what it did.
//!
//! **Contract:** an object that the caller may not even see is answered as if it were not there; one it sees and may not
//! change is refused. Every change that is allowed is told of in the audit log, also when its caller went away meanwhile.

use std::future::Future;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use link::http::{ClientChain, Peer};
use link::id::ConsumerName;

use super::Context;
use super::error::ApiError;
use super::operation::Operation;
use super::walk::Reader;
use crate::audit::{self, Outcome};
use crate::callers::{
    Access, Action, Caller, Connection, Denied, Mechanism, Scope, Verb, authorization,
};
use crate::store::query::{BundleColumn, Column, ConsumerColumn, Filter, Subject, Value};
use crate::store::{Bundle, SourceName, Store, StoreError};

/// The caller of a request and its operation.
#[derive(Debug)]
pub(super) struct Actor {
    caller: Caller,
    operation: String,
    access: Access,
}

/// What a request changes.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) verb: Verb,
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) source: Option<SourceName>,
    pub(super) consumer: Option<ConsumerName>,
}

/// Refuses whoever is not known or may send no such request; requests that go on carry their [`Caller`].
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match known(&access, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(denied) => ApiError::from(denied).into_response(),
    }
}

async fn known(access: &Access, request: &Parts) -> Result<Caller, Denied> {
    let extensions = &request.extensions;
    let Some(Peer(peer)) = extensions.get::<Peer>() else {
        return Err(Denied::Unauthenticated(
            "the connection has no address".into(),
        ));
    };
    let connection = Connection::new(*peer, extensions.get::<ClientChain>());
    let authorization = authorization(&request.headers)?;
    let caller = access.authenticate(&connection, authorization).await?;
    let (method, path) = (request.method.as_str(), request.uri.path());
    access.allow_request(&caller, method, path).await?;
    Ok(caller)
}

// === impl Actor ===

impl Actor {
    /// Who it is, for a line of the log.
    pub(super) fn named(&self) -> String {
        let Caller { user, from, by, .. } = &self.caller;
        match by {
            Mechanism::Open => from.to_string(),
            _ => format!("{user} (by {by}, from {from})"),
        }
    }

    /// As a reader of lists.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            user: &self.caller.user,
            from: self.caller.from,
        }
    }

    /// What the caller may do this to; refused if that is nothing.
    pub(super) async fn scope(&self, verb: Verb) -> Result<Scope, ApiError> {
        Ok(self.access.scope(&self.caller, verb).await?)
    }

    /// The bundle, if the caller may do this to it; as if there were none if it may not see it either.
    pub(super) async fn bundle(
        &self,
        verb: Verb,
        id: &str,
        found: Option<Bundle>,
    ) -> Result<Bundle, ApiError> {
        let hidden = || ApiError::not_found("ResourceBundle", id);
        let scope = self.scope(verb).await?;
        let bundle = found.ok_or_else(hidden)?;
        let (source, consumer) = (&bundle.source, &bundle.consumer_name);
        if scope.permits(source, consumer) {
            return Ok(bundle);
        }
        let sees = self.access.scope(&self.caller, Verb::Get).await;
        if sees.is_ok_and(|sees| sees.permits(source, consumer)) {
            let action = Action {
                verb,
                source: Some(source.clone()),
                consumer: Some(consumer.clone()),
            };
            self.access.allow(&self.caller, &action).await?;
        }
        Err(hidden())
    }

    /// Whether the caller may see this consumer or do the other thing to it.
    pub(super) async fn sees(&self, verb: Verb, consumer: &ConsumerName) -> Result<bool, ApiError> {
        let wanted = self.access.scope(&self.caller, verb).await;
        let reads = self.access.scope(&self.caller, Verb::Get).await;
        match (wanted, reads) {
            (Err(denied), Err(_)) => Err(denied.into()),
            (wanted, reads) => Ok([wanted, reads]
                .into_iter()
                .flatten()
                .any(|scope| scope.permits_consumer(consumer))),
        }
    }

    /// Whether the caller may make this change; a refusal is told of.
    pub(super) async fn allow(&self, change: &Change) -> Result<(), ApiError> {
        let action = Action {
            verb: change.verb,
            source: change.source.clone(),
            consumer: change.consumer.clone(),
        };
        if let Err(denied) = self.access.allow(&self.caller, &action).await {
            change.told(
                &self.caller,
                &self.operation,
                Outcome::Refused(&denied.to_string()),
            );
            return Err(denied.into());
        }
        Ok(())
    }

    /// Makes a change that the caller may make. It is made and told of whether or not the caller stays.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: Change,
        making: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.allow(&change).await?;
        let (caller, operation) = (self.caller.clone(), self.operation.clone());
        let making = tokio::spawn(async move {
            let made = making.await;
            let why = made.as_ref().err().map(ToString::to_string);
            let outcome = match (&made, &why) {
                (Err(error), Some(why)) if error.is_refusal() => Outcome::Refused(why),
                (Err(_), Some(why)) => Outcome::Failed(why),
                _ => Outcome::Done,
            };
            change.told(&caller, &operation, outcome);
            made
        });
        let made = match making.await {
            Ok(made) => made,
            Err(error) if error.is_panic() => Err(StoreError::Panicked),
            // The process ends.
            Err(_) => Err(StoreError::Closed),
        };
        Ok(made?)
    }
}

impl<S: Store> FromRequestParts<Context<S>> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &Context<S>) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let operation = parts.extensions.get::<Operation>().cloned();
        match caller {
            Some(caller) => Ok(Self {
                caller,
                operation: operation.map(|Operation(id)| id).unwrap_or_default(),
                access: context.access.clone(),
            }),
            None => Err(Denied::Unauthenticated("nobody asked who calls".into()).into()),
        }
    }
}

// === impl Change ===

impl Change {
    /// Something done to a bundle.
    pub(super) fn bundle(
        verb: Verb,
        id: &str,
        source: &SourceName,
        consumer: &ConsumerName,
    ) -> Self {
        Self {
            verb,
            kind: "bundle",
            id: id.to_owned(),
            source: Some(source.clone()),
            consumer: Some(consumer.clone()),
        }
    }

    /// Something done to a consumer.
    pub(super) fn consumer(verb: Verb, id: &str, name: &ConsumerName) -> Self {
        Self {
            verb,
            kind: "consumer",
            id: id.to_owned(),
            source: None,
            consumer: Some(name.clone()),
        }
    }

    fn told(&self, caller: &Caller, operation: &str, outcome: Outcome<'_>) {
        let change = audit::Change {
            verb: self.verb,
            kind: self.kind,
            id: &self.id,
            source: self.source.as_ref(),
            consumer: self.consumer.as_ref(),
            operation,
        };
        audit::changed(caller, &change, outcome);
    }
}

/// The bundles of a scope; all without a condition.
pub(super) fn bundles_of(scope: &Scope) -> Option<Filter<BundleColumn>> {
    if scope.is_all() {
        return None;
    }
    let part = |sources: Option<Vec<Value>>, consumers: Option<Vec<Value>>| {
        let source = sources.map(|names| among(BundleColumn::Source, names));
        let consumer = consumers.map(|names| among(BundleColumn::ConsumerName, names));
        Filter::All(source.into_iter().chain(consumer).collect())
    };
    let parts = scope.parts.iter().map(|scope| {
        let sources = scope.sources.as_ref();
        let consumers = scope.consumers.as_ref();
        part(
            sources.map(|names| names.iter().map(|name| text(name.as_str())).collect()),
            consumers.map(|names| names.iter().map(|name| text(name.as_str())).collect()),
        )
    });
    Some(Filter::Any(parts.collect()))
}

/// The consumers of a scope; all without a condition.
pub(super) fn consumers_of(scope: &Scope) -> Option<Filter<ConsumerColumn>> {
    let mut names = Vec::new();
    for part in &scope.parts {
        let consumers = part.consumers.as_ref()?;
        names.extend(consumers.iter().map(|name| text(name.as_str())));
    }
    Some(among(ConsumerColumn::Name, names))
}

fn among<C: Column>(column: C, names: Vec<Value>) -> Filter<C> {
    Filter::In(Subject::Column(column), names)
}

fn text(name: &str) -> Value {
    Value::Text(name.to_owned())
}
