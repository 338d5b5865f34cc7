//! The authenticated caller of a request: admission before any handler, and per-object authorisation and audit for handlers.
//!
//! **Contract:** an object that the caller may not even see is answered as if it were not there; one it sees and may not
//! change is refused. Every change that is allowed is told of in the audit log, also when its caller went away meanwhile.

use std::future::Future;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use link::error::chain;
use link::http::{ActiveCall, ClientChain, ConnectionPermit, Peer};
use link::id::ConsumerName;

use super::Context;
use super::error::ApiError;
use super::held;
use super::operation::Operation;
use super::paging::Reader;
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
pub(super) struct RequestedChange {
    pub(super) verb: Verb,
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) source: Option<SourceName>,
    pub(super) consumer: Option<ConsumerName>,
}

/// Refuses whoever is not known, may send no such request or has its share of the connections; requests that go on carry
/// their [`Caller`]. Until then a connection gives way to new ones.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = match known(&access, &parts).await {
        Ok(caller) => caller,
        Err(denied) => return ApiError::from(denied).into_response(),
    };
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let allowed = access.allow_request(&caller, method, path).await;
    let call = match allowed.and_then(|()| begin(&caller, &parts)) {
        Ok(call) => call,
        Err(denied) => {
            if let Some(change) = RequestedChange::requested(&parts.method, path) {
                let operation = parts.extensions.get::<Operation>();
                let operation = operation.map_or("", |Operation(id)| id);
                change.denied(&caller, operation, &denied);
            }
            return ApiError::from(denied).into_response();
        }
    };
    parts.extensions.insert(caller);
    let response = next.run(Request::from_parts(parts, body)).await;
    held::until_sent(response, call)
}

/// A call of this caller, which keeps its connection.
fn begin(caller: &Caller, request: &Parts) -> Result<ActiveCall, Denied> {
    let Some(permit) = request.extensions.get::<ConnectionPermit>() else {
        return Err(Denied::Unavailable("the connection has no permit".into()));
    };
    let mut call = permit.call();
    // Where nobody is asked all callers have one name.
    let named = (caller.by != Mechanism::Open).then_some(caller.user.as_str());
    call.known(named)
        .map_err(|full| Denied::Unavailable(format!("{full}; use fewer, or try again later")))?;
    Ok(call)
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
    access.authenticate(&connection, authorization).await
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
        let change = RequestedChange::bundle(verb, id, source, consumer);
        let sees = self.access.scope(&self.caller, Verb::Get).await;
        if sees.is_ok_and(|sees| sees.permits(source, consumer)) {
            self.allow(&change).await?;
        }
        self.hidden(&change);
        Err(hidden())
    }

    /// Tells of a change to what the caller may not see, which it is answered as if that were not there.
    pub(super) fn hidden(&self, change: &RequestedChange) {
        let why = Denied::Forbidden("the caller may not see it".into());
        change.denied(&self.caller, &self.operation, &why);
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
    pub(super) async fn allow(&self, change: &RequestedChange) -> Result<(), ApiError> {
        let action = Action {
            verb: change.verb,
            source: change.source.clone(),
            consumer: change.consumer.clone(),
        };
        let allowed = self.access.allow(&self.caller, &action).await;
        allowed.map_err(|denied| {
            change.denied(&self.caller, &self.operation, &denied);
            denied.into()
        })
    }

    /// Whether the caller may remove a consumer with the bundles that it has, whoever's they are; a refusal is told of.
    pub(super) async fn allow_removal(&self, change: &RequestedChange) -> Result<(), ApiError> {
        self.allow(change).await?;
        let allowed = self.access.allow_removal(&self.caller).await;
        allowed.map_err(|denied| {
            change.denied(&self.caller, &self.operation, &denied);
            denied.into()
        })
    }

    /// Makes a change that the caller may make. It is made and told of whether or not the caller stays.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: RequestedChange,
        making: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.allow(&change).await?;
        let (caller, operation) = (self.caller.clone(), self.operation.clone());
        let making = tokio::spawn(async move {
            let made = making.await;
            let why = made.as_ref().err().map(|error| chain(error));
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

// === impl RequestedChange ===

impl RequestedChange {
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

    /// What a request wants to change as far as its method and path say; `None` for one that changes nothing.
    fn requested(method: &Method, path: &str) -> Option<Self> {
        let verb = match *method {
            Method::POST => Verb::Create,
            Method::PATCH => Verb::Update,
            Method::DELETE => Verb::Delete,
            _ => return None,
        };
        let mut segments = path.strip_prefix(super::PREFIX)?.split('/').skip(1);
        let kind = match segments.next()? {
            "consumers" => "consumer",
            "resource-bundles" => "bundle",
            _ => return None,
        };
        Some(Self {
            verb,
            kind,
            id: segments.next().unwrap_or_default().to_owned(),
            source: None,
            consumer: None,
        })
    }

    /// Tells that it was not made. What only reads is no change.
    fn denied(&self, caller: &Caller, operation: &str, why: &Denied) {
        if self.verb.reads() {
            return;
        }
        let reason = why.to_string();
        let outcome = match why {
            Denied::Unavailable(_) => Outcome::Failed(&reason),
            Denied::Unauthenticated(_) | Denied::Forbidden(_) => Outcome::Refused(&reason),
        };
        self.told(caller, operation, outcome);
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
