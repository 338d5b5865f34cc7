//! The one endpoint of the AWS SDK: knows the caller by the access key, hands the call on, and does what a test has
//! asked for before and after.
//!
//! Bodies are in no log: they carry private keys and passwords.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Response, request::Parts};
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use self::rules::{CallDecision, Held, Rules};
use self::scope::Scope;
use super::backends::Backends;
use super::refusal::{denied, refuse, unknown_caller, unsigned};
use super::{Answer, Request, rest};

pub use self::rules::{Call, HeldCall};

mod rules;
mod scope;
mod simulate;

/// The endpoint, on a free port of 127.0.0.1. Dropping it stops it.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<io::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    backends: Backends,
    rules: Rules,
    /// The account that has AWS IoT.
    iot_account: Option<String>,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) async fn start(backends: Backends, iot_account: Option<String>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            backends,
            rules: Rules::default(),
            iot_account,
        });
        let router = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self {
            address,
            shared,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets an access key act in an account.
    pub fn register(&self, access_key: &str, account: &str) {
        self.shared.rules.learn(access_key, account);
    }

    /// Every call since the start or [`Self::forget`], in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.rules.calls()
    }

    /// How many mutating calls were carried out since the start, [`Self::forget`] or
    /// [`Self::hold_answer_of_mutating`].
    pub fn mutations(&self) -> usize {
        self.shared.rules.mutations()
    }

    /// Counts from nothing again. Refusals, failures and what is to be held stay.
    pub fn forget(&self) {
        self.shared.rules.forget();
    }

    /// Refuses an action such as `iot:CreatePolicy` (or `iot:*`) in an account from now on, also in the answers of
    /// `iam:SimulatePrincipalPolicy`.
    pub fn deny(&self, action: &str, account: &str) {
        self.shared.rules.deny(action, account);
    }

    /// Takes a [`Self::deny`] back.
    pub fn allow(&self, action: &str, account: &str) {
        self.shared.rules.allow(action, account);
    }

    /// Answers the next call of an operation (`iot:CreatePolicy`), in any account, with an error such as
    /// `ThrottlingException` and 400, without carrying it out.
    pub fn fail_once(&self, operation: &str, code: &str, status: u16) {
        self.fail(operation, code, status, 1);
    }

    /// The same for the next `times` calls.
    pub fn fail(&self, operation: &str, code: &str, status: u16, times: usize) {
        self.shared.rules.fail(operation, code, status, times);
    }

    /// Carries the `n`-th mutating call from now (the first is 1) out and never answers it. The test waits for it
    /// with [`HeldCall::reached`] and kills the client: the process has died right after that call took effect.
    #[must_use = "nobody learns of the held call otherwise"]
    pub fn hold_answer_of_mutating(&self, n: usize) -> HeldCall {
        self.shared.rules.hold(Held::Nth(n))
    }

    /// The same with the first mutating call that was never carried out before.
    #[must_use = "nobody learns of the held call otherwise"]
    pub fn hold_answer_of_new(&self) -> HeldCall {
        self.shared.rules.hold(Held::New)
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    request: axum::extract::Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let answer = match to_bytes(body, BODY_LIMIT).await {
        Ok(body) => shared.answer(&parts, body).await,
        Err(_) => refuse("sts", 413, "RequestEntityTooLarge", "the body is too long"),
    };
    (answer.status, answer.headers, answer.body).into_response()
}

// === impl Shared ===

impl Shared {
    async fn answer(self: &Arc<Self>, parts: &Parts, body: axum::body::Bytes) -> Answer {
        let Some(scope) = Scope::of(&parts.headers) else {
            return unsigned();
        };
        let Some(account) = self.rules.account(&scope.access_key) else {
            return unknown_caller(&scope.service);
        };
        let operation = scope::operation(&scope.service, parts, &body);
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let request = Request {
            account,
            region: scope.region,
            service: scope.service,
            operation,
            method: parts.method.clone(),
            target: target.to_owned(),
            headers: parts.headers.clone(),
            body,
        };
        let elsewhere = matches!(request.service.as_str(), "iot" | "iotdata")
            && self.iot_account.as_ref() != Some(&request.account);
        match self.rules.admit(&request, elsewhere) {
            CallDecision::Denied => denied(&request),
            CallDecision::Failure { code, status } => refuse(
                &request.service,
                status,
                &code,
                "the test asked for this failure",
            ),
            CallDecision::Carry { hold } => {
                // In a task of its own: a client that is killed must not leave half a call behind.
                let shared = Arc::clone(self);
                let carried = tokio::spawn(async move { shared.carry_out(request).await }).await;
                if let Some(hold) = hold {
                    hold.reached();
                    return std::future::pending().await;
                }
                carried.unwrap_or_else(|_| {
                    refuse("sts", 500, "InternalFailure", "the endpoint panicked")
                })
            }
        }
    }

    async fn carry_out(&self, request: Request) -> Answer {
        match (request.service.as_str(), request.operation.as_str()) {
            ("iam", "SimulatePrincipalPolicy") => simulate::answer(&request, &self.rules),
            ("sts", "AssumeRole") => {
                let answer = self.backends.carry_out(&request).await;
                if let Some((key, account)) = scope::assumed(&request, &answer) {
                    self.rules.learn(&key, &account);
                }
                answer
            }
            _ => self.backends.carry_out(&request).await,
        }
    }
}

/// Whether an operation changes anything, by its name.
fn is_mutating(operation: &str) -> bool {
    !READS.iter().any(|prefix| operation.starts_with(prefix))
}

/// The operation of a path, or the path itself where it is unknown.
fn rest_operation(service: &str, parts: &Parts) -> String {
    let path = parts.uri.path();
    match rest::find(service, &parts.method, path) {
        Some(route) => route.operation.to_owned(),
        // `Get` in front makes an unknown read a read.
        None if parts.method == axum::http::Method::GET => format!("Get {path}"),
        None => format!("{} {path}", parts.method),
    }
}

const READS: &[&str] = &[
    "Describe",
    "Get",
    "List",
    "Simulate",
    "AssumeRole",
    "Validate",
    "BatchGet",
    "Decode",
];

// Secrets are at most 64 KiB, policies smaller.
const BODY_LIMIT: usize = 1 << 20;
