//! Admission of calls: authentication, limits of messages in memory and of time; and errors worded as Go clients read them.
//!
//! **Invariant:** nothing but the health service is answered before its caller is known.
//! **Invariant:** a connection keeps its permit for calls whose callers may make them, once their message is there
//! ([`AdmittedCall::granted`]); all others give way.
//! **Invariant:** no message is read without a permit for it, so that what callers send takes [`MESSAGES`] times the longest
//! message at most; and one caller's messages that have not arrived have [`ARRIVING`] permits.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;
use tower::util::ServiceExt as _;

use super::body::{RequestBody, ResponseBody};
use super::error::{Reason, Refusal};
use super::proto::SERVICE_NAME;
use crate::callers::{
    Access, ActiveCall, Caller, Connection, ConnectionPermit, Mechanism, authorization,
};

/// Admits calls to a service.
#[derive(Clone, Debug)]
pub(super) struct Admission<S> {
    inner: S,
    access: Access,
    messages: Arc<Semaphore>,
    shares: ArrivalLimiter,
}

/// A call whose caller is known, as an extension of its request.
#[derive(Clone, Debug)]
pub(super) struct AdmittedCall(Arc<Mutex<ActiveCall>>);

/// Permits for the messages of one caller that have not arrived.
#[derive(Clone, Debug, Default)]
struct ArrivalLimiter(Arc<Mutex<HashMap<Whose, Weak<Semaphore>>>>);

/// A caller by its name; where nobody is asked, by its connection.
type Whose = (String, Option<SocketAddr>);

// === impl Admission ===

impl<S> Admission<S> {
    pub(super) fn new(inner: S, access: Access) -> Self {
        Self {
            inner,
            access,
            messages: Arc::new(Semaphore::new(MESSAGES)),
            shares: ArrivalLimiter::default(),
        }
    }
}

impl<S> Admission<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    async fn pass(self, mut request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let path = request.uri().path();
        let permit = request.extensions().get::<ConnectionPermit>().cloned();
        if path.starts_with(HEALTH) {
            // A watch may last as long as its connection, and nobody knows who watches.
            let Some(probe) = permit.and_then(|permit| permit.health_call()) else {
                return Err(Refusal::unavailable(
                    "too many questions for health on this connection",
                ));
            };
            let answered = timeout(HEALTH_WITHIN, answer(self.inner, request)).await;
            return answered
                .map(|response| response.map(|body| Body::new(ResponseBody::new(body, probe))))
                .map_err(|_| Refusal::unavailable("the request was not there in time"));
        }
        let counted = path
            .strip_prefix('/')
            .is_some_and(|path| path.starts_with(SERVICE_NAME));
        let connection = request.extensions().get::<Connection>();
        let (Some(connection), Some(permit)) = (connection.cloned(), permit) else {
            return Err(Refusal::new(
                Reason::Internal,
                "the connection is not known",
            ));
        };
        let call = AdmittedCall(Arc::new(Mutex::new(permit.call())));
        let token = authorization(request.headers())?.map(str::to_owned);
        let caller = self
            .access
            .authenticate(&connection, token.as_deref())
            .await?;
        let share = self.shares.of(&caller);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(call.clone());
        if !counted {
            let response = worded(answer(self.inner, request).await);
            return Ok(response.map(|body| Body::new(ResponseBody::new(body, call))));
        }
        let arriving = timeout(PERMIT_WITHIN, share.acquire_owned()).await;
        let Ok(Ok(arriving)) = arriving else {
            return Err(Refusal::unavailable(format!(
                "{ARRIVING} messages of this caller have begun and are not there yet, try again later"
            )));
        };
        // Held until the call is answered; a stream has read its message when it begins.
        let message = timeout(PERMIT_WITHIN, self.messages.acquire()).await;
        let Ok(Ok(_message)) = message else {
            return Err(Refusal::unavailable(
                "too many calls at once, try again later",
            ));
        };
        let request = request.map(|body| Body::new(RequestBody::new(body, arriving)));
        let response = timeout(ANSWER_WITHIN, answer(self.inner, request)).await;
        let response = response.map_err(|_| {
            let limit = ANSWER_WITHIN.as_secs();
            Refusal::unavailable(format!("the message was not stored within {limit} s"))
        })?;
        Ok(worded(response).map(|body| Body::new(ResponseBody::new(body, call))))
    }
}

// === impl AdmittedCall ===

impl AdmittedCall {
    /// Its caller may do what it asks for: its connection keeps its permit as long as the call lasts.
    ///
    /// # Errors
    /// This caller's calls have their share of the connections.
    pub(super) fn granted(&self, caller: &Caller) -> Result<(), Refusal> {
        // Where nobody is asked all callers have one name.
        let named = (caller.by != Mechanism::Open).then_some(caller.user.as_str());
        let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        call.known(named)
            .map_err(|full| Refusal::unavailable(format!("{full}; use fewer, or try again later")))
    }
}

// === impl ArrivalLimiter ===

impl ArrivalLimiter {
    fn of(&self, caller: &Caller) -> Arc<Semaphore> {
        let from = (caller.by == Mechanism::Open).then_some(caller.from);
        let whose = (caller.user.clone(), from);
        // Nothing panics under it.
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&whose).and_then(Weak::upgrade) {
            return share;
        }
        // As many as there are calls at most.
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(ARRIVING));
        shares.insert(whose, Arc::downgrade(&share));
        share
    }
}

impl<S> Service<Request<Body>> for Admission<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let admission = self.clone();
        Box::pin(async move {
            let passed = admission.pass(request).await;
            Ok(passed.unwrap_or_else(|refusal| Status::from(refusal).into_http()))
        })
    }
}

async fn answer<S>(inner: S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    match inner.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The same answer; an error that `tonic` worded itself becomes one that Go clients understand.
fn worded(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok && !status.message().starts_with('{') => {
            let mut worded = Status::from(Refusal::of_status(&status)).into_http();
            // Which encodings there are instead of the one that was refused.
            if let Some(encodings) = response.headers().get(ENCODINGS) {
                let encodings = encodings.clone();
                worded.headers_mut().insert(ENCODINGS, encodings);
            }
            worded
        }
        _ => response,
    }
}

const ENCODINGS: &str = "grpc-accept-encoding";

const HEALTH: &str = "/grpc.health.v1.Health/";

/// Messages in hand: 128 MiB of the longest, and as many bundles as a store commits together.
const MESSAGES: usize = 32;

/// Messages of one caller that are not there yet. One that has arrived has its permit of [`MESSAGES`] alone.
const ARRIVING: usize = 8;

// Its messages are some bytes.
const HEALTH_WITHIN: Duration = Duration::from_secs(5);

// As long as a publication waits for the store: then those before it have ended.
const PERMIT_WITHIN: Duration = Duration::from_secs(5);

// A message has 5 s to arrive, and the store 5 s each for reading and writing.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
