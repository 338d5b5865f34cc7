//! Authentication and authorisation by a Kubernetes API: TokenReview for tokens, SubjectAccessReview for access, as the Go
//! server does (docs/GRPC.md §4).
//!
//! **Contract:** answers count for [`KEPT`](super::cache::KEPT) at most. An API that cannot be asked, three times in
//! a row, or does not let this server ask, makes a call [`Denied::Unavailable`]; it lets nobody in.
//! **Invariant:** a caller, who may be unknown, is not told where the API is or what it said of this server; the log is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use link::error::chain;
use link::telemetry::{Throttle, clip};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::cache::{Cache, CacheKey, key};
use super::review_limiter::ReviewLimiter;
use super::{Action, Caller, Denied, Mechanism, Verb};

/// Which Kubernetes API is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// The one that a kubeconfig names.
    Kubeconfig(PathBuf),
    /// The one this process runs in.
    Own,
}

/// A client for reviews.
#[derive(Clone)]
pub(super) struct Reviewer {
    client: Client,
    /// Reviews under way.
    turns: Arc<Semaphore>,
    /// How long an answer may take.
    within: Duration,
    said: Arc<Throttle<Unasked>>,
}

/// Why there is no review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unasked {
    /// This server's own credentials are not taken.
    Unknown,
    /// This server may not ask.
    Forbidden,
    /// There was no answer in time.
    Late,
    /// Anything else.
    Failed,
}

/// Knows callers by tokens that are reviewed.
#[derive(Debug)]
pub(super) struct TokenReviews {
    reviewer: Reviewer,
    audiences: Vec<String>,
    known: Cache<(String, Vec<String>)>,
    /// Beside those that are known: who sends many of them makes nobody be asked about again.
    refused: Cache<String>,
    limiter: ReviewLimiter,
}

/// User and groups, or why the token is refused.
type Known = Result<(String, Vec<String>), String>;

/// Asks what callers may do.
#[derive(Debug)]
pub(super) struct AccessReviews {
    reviewer: Reviewer,
    known: Cache<bool>,
}

// === impl Reviewer ===

impl Reviewer {
    /// Reads the configuration; asks nobody yet.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig, or that there is no cluster around this process.
    pub(super) async fn new(cluster: &Cluster, within: Duration) -> Result<Self, String> {
        let mut config = match cluster {
            Cluster::Own => Config::incluster().map_err(|error| chain(&error))?,
            Cluster::Kubeconfig(path) => kubeconfig(path).await?,
        };
        config.connect_timeout = Some(within);
        config.read_timeout = Some(within);
        Ok(Self {
            client: Client::try_from(config).map_err(|error| chain(&error))?,
            turns: Arc::new(Semaphore::new(TURNS)),
            within,
            said: Arc::new(Throttle::new(SAY_EVERY, KINDS)),
        })
    }

    async fn ask<K, T>(
        &self,
        what: &str,
        review: &K,
        status: fn(K) -> Option<T>,
    ) -> Result<T, Denied>
    where
        K: kube::Resource<DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let unavailable = |why: Unasked, detail: &str| {
            if let Some(more) = self.said.admit(&why, Instant::now()) {
                let detail = clip(detail, REASON_BYTES);
                let hint = why.hint();
                warn!(%detail, more, hint, "No caller can be let in: {what} cannot be had of the Kubernetes API");
            }
            Denied::Unavailable(format!(
                "{what} cannot be had of the Kubernetes API: {}; try again later",
                why.words()
            ))
        };
        let asking = async {
            // Closed by nobody.
            let _turn = self.turns.acquire().await.ok()?;
            let api = Api::<K>::all(self.client.clone());
            let mut pauses = PAUSES.iter();
            loop {
                let outcome = api.create(&PostParams::default(), review).await;
                match (&outcome, pauses.next()) {
                    (Err(error), Some(pause)) if Unasked::of(error) == Unasked::Failed => {
                        sleep(*pause).await;
                    }
                    _ => return Some(outcome),
                }
            }
        };
        match timeout(self.within, asking).await {
            Ok(Some(Ok(answer))) => status(answer)
                .ok_or_else(|| unavailable(Unasked::Failed, "the answer has no status")),
            Ok(Some(Err(error))) => Err(unavailable(Unasked::of(&error), &chain(&error))),
            Ok(None) => Err(unavailable(Unasked::Failed, "the server stops")),
            Err(_) => Err(unavailable(Unasked::Late, "there was no answer in time")),
        }
    }
}

// === impl Unasked ===

impl Unasked {
    fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 401 => Self::Unknown,
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden,
            _ => Self::Failed,
        }
    }

    /// For a caller.
    const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "this server is not known there",
            Self::Forbidden => "this server may not ask there",
            Self::Late => "there was no answer in time",
            Self::Failed => "it cannot be asked now",
        }
    }

    /// For an operator.
    const fn hint(self) -> &'static str {
        match self {
            Self::Unknown => {
                "renew the credentials of the kubeconfig, or of this pod's service account"
            }
            Self::Forbidden => {
                "bind the ClusterRole `system:auth-delegator` to this server's account: it needs `create` on \
                 `tokenreviews` and `subjectaccessreviews`"
            }
            Self::Late | Self::Failed => "see whether the API server can be reached from here",
        }
    }
}

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reviewer")
    }
}

// === impl TokenReviews ===

impl TokenReviews {
    pub(super) fn new(reviewer: Reviewer, audiences: Vec<String>) -> Self {
        Self {
            limiter: ReviewLimiter::new(reviewer.within),
            reviewer,
            audiences,
            known: Cache::default(),
            refused: Cache::default(),
        }
    }

    pub(super) async fn caller(&self, token: &str, from: SocketAddr) -> Result<Caller, Denied> {
        let question = key([token.as_bytes()]);
        let known = match self.found(&question) {
            Some(known) => known,
            None => {
                let _turn = self.limiter.acquire(from.ip()).await?;
                // Somebody may have asked meanwhile.
                match self.found(&question) {
                    Some(known) => known,
                    None => self.ask(question, token).await?,
                }
            }
        };
        let (user, groups) = known.map_err(|why| {
            Denied::Unauthenticated(format!("the bearer token is refused: {why}"))
        })?;
        Ok(Caller {
            user,
            groups,
            from,
            by: Mechanism::Review,
        })
    }

    fn found(&self, question: &CacheKey) -> Option<Known> {
        let known = self.known.get(question).map(Ok);
        known.or_else(|| self.refused.get(question).map(Err))
    }

    async fn ask(&self, question: CacheKey, token: &str) -> Result<Known, Denied> {
        let asked = Instant::now();
        let known = self.review(token).await?;
        match &known {
            Ok(user) => self.known.put(question, asked, user.clone()),
            Err(why) => self.refused.put(question, asked, why.clone()),
        }
        Ok(known)
    }

    async fn review(&self, token: &str) -> Result<Known, Denied> {
        let audiences = Some(self.audiences.clone()).filter(|audiences| !audiences.is_empty());
        let asked = audiences.is_some();
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences,
            },
            ..TokenReview::default()
        };
        let status = self
            .reviewer
            .ask("a review of the token", &review, |review| review.status)
            .await?;
        if status.authenticated != Some(true) {
            let why = status.error.unwrap_or_default();
            return Ok(Err(match why.as_str() {
                "" => "the Kubernetes API does not know it".to_owned(),
                why => format!("the Kubernetes API says: {}", clip(why, REASON_BYTES)),
            }));
        }
        // A server that knows nothing of audiences would take a token for anybody (TokenReviewStatus.audiences).
        let named = status.audiences.unwrap_or_default();
        if asked && !named.iter().any(|named| self.audiences.contains(named)) {
            return Ok(Err(format!(
                "it is for another audience, expected is `{}`",
                self.audiences.join("` or `")
            )));
        }
        let user = status.user.unwrap_or_default();
        Ok(match user.username.filter(|name| !name.is_empty()) {
            Some(name) => Ok((name, user.groups.unwrap_or_default())),
            None => Err("the Kubernetes API names no user".to_owned()),
        })
    }
}

// === impl AccessReviews ===

impl AccessReviews {
    pub(super) fn new(reviewer: Reviewer) -> Self {
        Self {
            reviewer,
            known: Cache::default(),
        }
    }

    /// What concerns a source: `pub` for what changes its bundles, `sub` for hearing of them, on `/sources/SOURCE`. What
    /// else is done by REST was allowed by its path.
    pub(super) async fn allow(&self, caller: &Caller, action: &Action) -> Result<(), Denied> {
        let verb = match action.verb {
            Verb::Subscribe => "sub",
            Verb::Get | Verb::List => return Ok(()),
            Verb::Create | Verb::Update | Verb::Delete | Verb::Publish => "pub",
        };
        match &action.source {
            Some(source) => self.path(caller, &format!("/sources/{source}"), verb).await,
            // A consumer, which is no source's.
            None if !matches!(action.verb, Verb::Publish | Verb::Subscribe) => Ok(()),
            None => Err(Denied::Forbidden(format!(
                "`{}` must name a source to publish to or to subscribe to",
                caller.user
            ))),
        }
    }

    /// What concerns the bundles of all sources: `pub` on what a rule for all of them names.
    pub(super) async fn every_source(&self, caller: &Caller) -> Result<(), Denied> {
        self.path(caller, "/sources/*", "pub").await
    }

    /// What the API server would ask itself about a request with this path.
    pub(super) async fn path(&self, caller: &Caller, path: &str, verb: &str) -> Result<(), Denied> {
        let mut groups = groups(caller);
        groups.sort_unstable();
        groups.dedup();
        let parts = [caller.user.as_bytes(), path.as_bytes(), verb.as_bytes()];
        let question = key(parts.into_iter().chain(groups.iter().map(String::as_bytes)));
        let allowed = match self.known.get(&question) {
            Some(allowed) => allowed,
            None => {
                let asked = Instant::now();
                let review = SubjectAccessReview {
                    spec: SubjectAccessReviewSpec {
                        user: Some(caller.user.clone()),
                        groups: Some(groups),
                        non_resource_attributes: Some(NonResourceAttributes {
                            path: Some(path.to_owned()),
                            verb: Some(verb.to_owned()),
                        }),
                        ..SubjectAccessReviewSpec::default()
                    },
                    ..SubjectAccessReview::default()
                };
                let status = self
                    .reviewer
                    .ask("a review of the access", &review, |review| review.status)
                    .await?;
                let allowed = status.allowed && status.denied != Some(true);
                self.known.put(question, asked, allowed);
                allowed
            }
        };
        if allowed {
            return Ok(());
        }
        Err(Denied::Forbidden(format!(
            "`{}` may not `{verb}` the path `{path}`: give it a ClusterRole with this nonResourceURL and verb",
            caller.user
        )))
    }
}

/// As the API server would have them: it adds these itself to callers of its own.
fn groups(caller: &Caller) -> Vec<String> {
    let mut groups = caller.groups.clone();
    groups.push("system:authenticated".into());
    if caller.by == Mechanism::Token
        && let Some(account) = caller.user.strip_prefix("system:serviceaccount:")
        && let Some((namespace, _)) = account.split_once(':')
    {
        groups.push("system:serviceaccounts".into());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    groups
}

async fn kubeconfig(path: &Path) -> Result<Config, String> {
    let unusable =
        |error: &dyn std::fmt::Display| format!("kubeconfig `{}`: {error}", path.display());
    let read = Kubeconfig::read_from(path).map_err(|error| unusable(&chain(&error)))?;
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .map_err(|error| unusable(&chain(&error)))
}

// An API server answers in milliseconds; a caller waits for one answer or two.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

// A connection that was kept and is gone, or a server that is just being replaced, is no reason to send a caller away. A
// review changes nothing: it may be asked for again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

// More at once would only queue in the API server, which has others to serve.
const TURNS: usize = 32;

const REASON_BYTES: usize = 300;

const SAY_EVERY: Duration = Duration::from_secs(60);
const KINDS: usize = 4;
