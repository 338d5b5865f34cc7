//! Access control where callers are authenticated: which mechanism decides about a call, and who says what it may do.
//!
//! **Contract:** a bearer token decides where tokens are taken and one is sent; else the client certificate does. What was
//! sent and is refused is not made good by the other.

use std::sync::Arc;

use link::telemetry::clip;
use tokio::sync::watch;

use super::certificate::Certificates;
use super::metrics::CallersMetrics;
use super::review::{AccessReviews, TokenReviews};
use super::rules::Rules;
use super::token::Issuer;
use super::{Action, Caller, Connection, Denied, Scope, Verb};

#[derive(Debug)]
pub(super) struct AccessControl {
    pub(super) certificates: Option<Certificates>,
    pub(super) issuers: Vec<Issuer>,
    pub(super) reviews: Option<TokenReviews>,
    pub(super) permits: AccessPolicy,
    pub(super) metrics: CallersMetrics,
}

/// Who says what callers may do.
#[derive(Debug)]
pub(super) enum AccessPolicy {
    Everything,
    Rules(watch::Receiver<Arc<Rules>>),
    Reviews(AccessReviews),
}

// === impl AccessControl ===

impl AccessControl {
    pub(super) async fn authenticate(
        &self,
        connection: &Connection,
        authorization: Option<&str>,
    ) -> Result<Caller, Denied> {
        let outcome = self.who(connection, authorization).await;
        self.metrics.authenticated(&outcome);
        outcome
    }

    async fn who(
        &self,
        connection: &Connection,
        authorization: Option<&str>,
    ) -> Result<Caller, Denied> {
        let tokens = !self.issuers.is_empty() || self.reviews.is_some();
        match (authorization, &connection.certificate, &self.certificates) {
            (Some(header), _, _) if tokens => self.bearer(connection, header).await,
            (_, Some(leaf), Some(certificates)) => certificates.caller(connection, leaf),
            (authorization, _, certificates) => {
                let way = match (tokens, certificates.is_some()) {
                    (true, true) => {
                        "a client certificate of this server's client CA, or `Authorization: Bearer TOKEN`"
                    }
                    (true, false) => "`Authorization: Bearer TOKEN`",
                    _ => "a client certificate of this server's client CA",
                };
                let what = match authorization {
                    Some(_) => "bearer tokens are not taken here",
                    None => "nothing says who calls",
                };
                Err(Denied::Unauthenticated(format!("{what}: send {way}")))
            }
        }
    }

    async fn bearer(&self, connection: &Connection, header: &str) -> Result<Caller, Denied> {
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => {
                return Err(Denied::Unauthenticated(
                    "header `Authorization` is not `Bearer TOKEN`".into(),
                ));
            }
        };
        if token.is_empty() || token.len() > TOKEN_BYTES {
            return Err(Denied::Unauthenticated(format!(
                "the bearer token is refused: it is empty or longer than {TOKEN_BYTES} bytes"
            )));
        }
        let from = connection.address;
        if let Some(issuer) = self.issuers.iter().find(|issuer| issuer.claims(token)) {
            return issuer.caller(token, from).await;
        }
        match &self.reviews {
            Some(reviews) => reviews.caller(token, from).await,
            None => {
                let known: Vec<&str> = self.issuers.iter().map(Issuer::name).collect();
                Err(Denied::Unauthenticated(format!(
                    "the bearer token is refused: its issuer is unknown, known is `{}`",
                    known.join("`, `")
                )))
            }
        }
    }

    pub(super) async fn allow(&self, caller: &Caller, action: &Action) -> Result<(), Denied> {
        let outcome = match &self.permits {
            AccessPolicy::Everything => Ok(()),
            AccessPolicy::Rules(rules) => current(rules).allow(caller, action),
            AccessPolicy::Reviews(reviews) => reviews.allow(caller, action).await,
        };
        self.counted(caller, outcome)
    }

    /// Rules give consumers only to who has every source.
    pub(super) async fn allow_removal(&self, caller: &Caller) -> Result<(), Denied> {
        let outcome = match &self.permits {
            AccessPolicy::Everything | AccessPolicy::Rules(_) => Ok(()),
            AccessPolicy::Reviews(reviews) => reviews.every_source(caller).await,
        };
        self.counted(caller, outcome)
    }

    pub(super) fn scope(&self, caller: &Caller, verb: Verb) -> Result<Scope, Denied> {
        let outcome = match &self.permits {
            AccessPolicy::Everything | AccessPolicy::Reviews(_) => Ok(Scope::all()),
            AccessPolicy::Rules(rules) => current(rules).scope(caller, verb),
        };
        self.counted(caller, outcome)
    }

    /// Whether the caller may make a request with this method at all.
    pub(super) async fn allow_request(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
    ) -> Result<(), Denied> {
        let outcome = match &self.permits {
            AccessPolicy::Everything => Ok(()),
            AccessPolicy::Reviews(reviews) => {
                let verb = method.to_ascii_lowercase();
                reviews.path(caller, path, &verb).await
            }
            AccessPolicy::Rules(rules) => {
                let verbs: &[Verb] = match method {
                    "GET" | "HEAD" => &[Verb::Get, Verb::List],
                    "POST" => &[Verb::Create],
                    "PATCH" => &[Verb::Update],
                    "DELETE" => &[Verb::Delete],
                    _ => &[],
                };
                if current(rules).any(caller, verbs) {
                    Ok(())
                } else {
                    Err(Denied::Forbidden(format!(
                        "no rule lets `{}` send {}: it has none of the verbs {}",
                        caller.user,
                        clip(method, METHOD_BYTES),
                        verbs
                            .iter()
                            .map(|verb| format!("`{verb}`"))
                            .collect::<Vec<_>>()
                            .join(", ")
                    )))
                }
            }
        };
        self.counted(caller, outcome)
    }

    fn counted<T>(&self, caller: &Caller, outcome: Result<T, Denied>) -> Result<T, Denied> {
        outcome.inspect_err(|denied| self.metrics.denied(&caller.by.to_string(), denied))
    }
}

fn current(rules: &watch::Receiver<Arc<Rules>>) -> Arc<Rules> {
    Arc::clone(&rules.borrow())
}

// Tokens with many groups have a few KiB; a whole head of a request has 64 KiB at most.
const TOKEN_BYTES: usize = 16 * 1024;
const METHOD_BYTES: usize = 16;
