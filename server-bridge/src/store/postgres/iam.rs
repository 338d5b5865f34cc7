//! IAM authentication: tokens for one server and user, signed with the credentials of the pod's role.
//!
//! RDS accepts a token for fifteen minutes; open connections stay. A token is renewed well before that, and while no new one
//! can be made the last one is used as long as it is valid, so that an outage of the credential service of some minutes
//! costs nothing. Credentials come from the AWS SDK's default chain: Pod Identity, a web identity, the environment.
//!
//! **Boundary:** the only place of this member that knows the AWS SDK.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use link::clock::Clock;
use link::error::chain;
use link::telemetry::{Throttle, clip};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::super::OpenError;
use super::credentials::Credentials;
use super::limits::Limits;

/// Makes tokens. Clones share the last one.
#[derive(Clone)]
pub struct Iam {
    region: Option<String>,
    /// Where neither that nor the host's name says it.
    usual: Option<String>,
    keys: Arc<OnceCell<SharedCredentialsProvider>>,
    last: Arc<Mutex<Last>>,
    said: Arc<Throttle<()>>,
}

#[derive(Default)]
struct Last {
    token: Option<Token>,
    /// When making one failed last, and why.
    failed: Option<(Instant, String)>,
    /// When one was made or tried to be made last.
    tried: Option<Instant>,
}

struct Token {
    text: String,
    /// The server and user it is for.
    place: String,
    renew: Instant,
    end: Instant,
}

// === impl Iam ===

impl Iam {
    /// Tokens for a server in this region; that of an RDS host name unless given.
    pub fn new(region: Option<String>) -> Self {
        Self {
            region: region.filter(|region| !region.is_empty()),
            usual: None,
            keys: Arc::default(),
            last: Arc::default(),
            said: Arc::new(Throttle::new(SAY_EVERY, 1)),
        }
    }

    /// The same; a host whose name says no region is in this one.
    #[must_use]
    pub fn usually_in(self, region: Option<String>) -> Self {
        Self {
            usual: region.filter(|region| !region.is_empty()),
            ..self
        }
    }

    /// The same with keys from elsewhere.
    #[must_use]
    pub fn with_keys(self, keys: impl ProvideCredentials + 'static) -> Self {
        Self {
            keys: Arc::new(OnceCell::new_with(Some(SharedCredentialsProvider::new(
                keys,
            )))),
            ..self
        }
    }

    /// A token that is good for the server and user, made anew where the last one is not good for long.
    pub(super) async fn token(
        &self,
        to: &Credentials,
        limits: &Limits,
    ) -> Result<String, OpenError> {
        let region = self.region_of(&to.host)?;
        let place = format!("{} {region}", to.place());
        let mut last = self.last.lock().await;
        let now = Instant::now();
        if let Some(token) = last.of(&place).filter(|token| now < token.renew) {
            return Ok(token.text.clone());
        }
        let lately = last
            .failed
            .clone()
            .filter(|(at, _)| now < *at + PAUSE)
            .map(|(_, problem)| problem);
        let problem = match lately {
            Some(problem) => problem,
            None => {
                last.tried = Some(now);
                match self.make(to, &region, limits).await {
                    Ok((text, good)) => {
                        last.failed = None;
                        last.token = Some(Token {
                            text: text.clone(),
                            place,
                            renew: now + limits.token_renewal.min(good * 2 / 3),
                            end: now + good,
                        });
                        return Ok(text);
                    }
                    Err(problem) => {
                        last.failed = Some((now, problem.clone()));
                        problem
                    }
                }
            }
        };
        match last.of(&place).filter(|token| now < token.end) {
            Some(token) => {
                if let Some(more) = self.said.admit(&(), now) {
                    warn!(
                        error = problem,
                        more,
                        "No new token for the database; the last one is used while it is good"
                    );
                }
                Ok(token.text.clone())
            }
            None => Err(OpenError::Token { problem }),
        }
    }

    /// The server refused: the next token is a new one, unless this one was just made.
    pub(super) async fn doubt(&self) {
        let mut last = self.last.lock().await;
        let now = Instant::now();
        if last.tried.is_none_or(|tried| now >= tried + PAUSE)
            && let Some(token) = &mut last.token
        {
            token.renew = now;
        }
    }

    async fn make(
        &self,
        to: &Credentials,
        region: &str,
        limits: &Limits,
    ) -> Result<(String, Duration), String> {
        let provide = async {
            let provider = self.keys.get_or_init(|| async {
                SharedCredentialsProvider::new(DefaultCredentialsChain::builder().build().await)
            });
            provider.await.provide_credentials().await
        };
        let said = |why: String| format!("credentials from {}: {}", source(), clip(&why, CLIP));
        let keys = match timeout(limits.acquire, provide).await {
            Ok(Ok(keys)) => keys,
            Ok(Err(error)) => return Err(said(chain(&error))),
            Err(_) => return Err(said("no answer in time".into())),
        };
        let now: SystemTime = Clock::system().now().into();
        let keys_last = keys.expiry().map(|end| end.duration_since(now));
        let good = match keys_last {
            Some(Ok(last)) => limits.token_life.min(last),
            Some(Err(_)) => return Err(said("they have expired".into())),
            None => limits.token_life,
        };
        let text = signed(&to.host, to.port, &to.user, region, keys, now)?;
        Ok((text, good))
    }

    /// Given, or of the host's name, or the usual one: that of the cluster is not always that of the database.
    pub(super) fn region_of(&self, host: &str) -> Result<String, OpenError> {
        // NAME.ID.REGION.rds.amazonaws.com
        let named = || {
            let (front, _) = host.split_once(".rds.amazonaws.com")?;
            Some(front.rsplit_once('.')?.1.to_owned())
        };
        self.region
            .clone()
            .or_else(named)
            .or_else(|| self.usual.clone())
            .ok_or_else(|| OpenError::Token {
                problem: format!("the region of `{host}` is not known; give `--db-iam-region`"),
            })
    }
}

impl fmt::Debug for Iam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iam").field("region", &self.region).finish()
    }
}

impl Last {
    fn of(&self, place: &str) -> Option<&Token> {
        self.token.as_ref().filter(|token| token.place == place)
    }
}

/// The token: an address to connect to, signed as a whole, without its scheme.
fn signed(
    host: &str,
    port: u16,
    user: &str,
    region: &str,
    keys: Keys,
    now: SystemTime,
) -> Result<String, String> {
    let fault = |error: &(dyn std::error::Error + 'static)| format!("sign: {}", chain(error));
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(LIFE);
    settings.signature_location = SignatureLocation::QueryParams;
    let identity = keys.into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| fault(&error))?
        .into();
    let mut token = format!("{host}:{port}/?Action=connect&DBUser={}", escaped(user));
    let address = format!("https://{token}");
    let request = SignableRequest::new(
        "GET",
        &address,
        std::iter::empty(),
        SignableBody::Bytes(&[]),
    )
    .map_err(|error| fault(&error))?;
    let (instructions, _) = sign(request, &params)
        .map_err(|error| fault(&error))?
        .into_parts();
    for (name, value) in instructions.params() {
        token.push_str(&format!("&{name}={}", escaped(value)));
    }
    Ok(token)
}

/// As in an address: everything but unreserved characters by its bytes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Where the SDK looks for keys first, in words. None of these variables holds a secret.
fn source() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    if set("AWS_ACCESS_KEY_ID").is_some() {
        return "the environment".into();
    }
    if let Some(role) = set("AWS_ROLE_ARN") {
        return format!("a web identity for `{role}`");
    }
    match set("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        Some(endpoint) => format!("`{endpoint}`"),
        None => "the AWS SDK's default chain".into(),
    }
}

/// For how long the server takes a token.
const LIFE: Duration = Duration::from_secs(15 * 60);

// Whoever makes keys is not asked more often when it failed, or when the server refuses what was made of them.
const PAUSE: Duration = Duration::from_secs(5);

const SAY_EVERY: Duration = Duration::from_secs(60);

// The SDK says of each source that it asked what was wrong.
const CLIP: usize = 1000;

#[cfg(test)]
mod tests;
