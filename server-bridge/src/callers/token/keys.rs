//! The keys of an issuer (RFC 7517): from a file, an address, or the address that its discovery document names (OpenID
//! Connect Discovery 1.0).
//!
//! **Contract:** keys are asked for at start, every [`REFRESH`], and when a token names one that is not known, then at most
//! every [`AGAIN`]. While the issuer cannot be asked its last keys stay in use.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use link::error::chain;
use link::file;
use reqwest::{Certificate, Client, Url};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

use super::super::Denied;
use super::IssuerConfig;

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a key set.
    File(PathBuf),
    /// An address of a key set.
    Url(Url),
    /// Where `ISSUER/.well-known/openid-configuration` says.
    Discovery,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(in super::super) struct Keys {
    issuer: String,
    source: KeySource,
    again: Duration,
    http: Client,
    held: Mutex<Held>,
    /// One asks at a time.
    asking: tokio::sync::Mutex<()>,
    /// Calls with a key that is not known, which wait for the answer.
    waiting: Semaphore,
}

#[derive(Debug, Default)]
struct Held {
    keys: Vec<Arc<VerificationKey>>,
    asked: Option<Instant>,
    problem: Option<String>,
}

/// One public key.
#[derive(Debug)]
pub(super) struct VerificationKey {
    id: Option<String>,
    pub(super) key: DecodingKey,
    algorithms: &'static [Algorithm],
}

// === impl Keys ===

impl Keys {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// What is wrong with the CA file or an address.
    pub(in super::super) fn new(config: &IssuerConfig, again: Duration) -> Result<Self, String> {
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &config.ca {
            let unusable = |why: String| format!("CA file `{}`: {why}", path.display());
            let pem = file::read(path, MAX_BYTES).map_err(|error| unusable(chain(&error)))?;
            let roots = Certificate::from_pem_bundle(&pem)
                .map_err(|_| unusable("holds no certificates that can be read".into()))?;
            if roots.is_empty() {
                return Err(unusable("holds no certificate".into()));
            }
            builder = builder.tls_certs_only(roots);
        }
        match &config.keys {
            KeySource::File(_) => {}
            KeySource::Url(url) => protected(url)?,
            KeySource::Discovery => protected(&discovery(&config.issuer)?)?,
        }
        Ok(Self {
            issuer: config.issuer.clone(),
            source: config.keys.clone(),
            again,
            http: builder.build().map_err(|error| chain(&error))?,
            held: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            waiting: Semaphore::new(WAITING),
        })
    }

    /// The keys that may have signed: the named one, or without a name all of the algorithm.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<Arc<VerificationKey>>, Denied> {
        let (found, _) = self.look(id, algorithm);
        if !found.is_empty() {
            return Ok(found);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(Denied::Unavailable(format!(
                "too many calls wait for keys of issuer `{}`; try again later",
                self.issuer
            )));
        };
        self.refresh(self.again).await;
        match self.look(id, algorithm) {
            (found, Some(problem)) if found.is_empty() => Err(Denied::Unavailable(format!(
                "the keys of issuer `{}` are not known: {problem}; try again later",
                self.issuer
            ))),
            (found, _) => Ok(found),
        }
    }

    /// Asks, unless somebody did within `pause`.
    pub(in super::super) async fn refresh(&self, pause: Duration) {
        let _turn = self.asking.lock().await;
        let asked = self.held().asked;
        if asked.is_some_and(|asked| asked.elapsed() < pause) {
            return;
        }
        let fetched = self.fetch().await;
        let mut held = self.held();
        held.asked = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                if held.problem.take().is_some() || held.keys.is_empty() {
                    info!(
                        issuer = self.issuer,
                        keys = keys.len(),
                        "The issuer's keys are known"
                    );
                }
                held.keys = keys;
            }
            Err(problem) => {
                if held.problem.as_ref() != Some(&problem) {
                    let kept = held.keys.len();
                    warn!(
                        issuer = self.issuer,
                        kept,
                        "The issuer's keys cannot be had, the last ones stay in use: {problem}"
                    );
                }
                held.problem = Some(problem);
            }
        }
    }

    /// How long an unknown key waits before it is asked for again.
    pub(super) fn again(&self) -> Duration {
        self.again
    }

    /// How often they are asked for unasked.
    pub(in super::super) fn every(&self) -> Duration {
        match self.source {
            KeySource::File(_) => self.again / 2,
            _ => REFRESH,
        }
    }

    /// What is known, and if that is nothing at all, why.
    fn look(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> (Vec<Arc<VerificationKey>>, Option<String>) {
        let held = self.held();
        let fits = |key: &&Arc<VerificationKey>| {
            key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id)
        };
        let found = held.keys.iter().filter(fits).cloned().collect();
        let problem = held.keys.is_empty().then(|| held.problem.clone()).flatten();
        (found, problem)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Vec<Arc<VerificationKey>>, String> {
        let text = match &self.source {
            KeySource::File(path) => file::read(path, MAX_BYTES)
                .map_err(|error| format!("`{}` {}", path.display(), chain(&error)))?,
            KeySource::Url(url) => self.get(url).await?,
            KeySource::Discovery => {
                let document = self.get(&discovery(&self.issuer)?).await?;
                let document: Value = serde_json::from_slice(&document)
                    .map_err(|_| "its discovery document is not JSON".to_owned())?;
                if document["issuer"] != self.issuer.as_str() {
                    return Err("its discovery document names another issuer".into());
                }
                let url = document["jwks_uri"]
                    .as_str()
                    .and_then(|url| Url::parse(url).ok())
                    .ok_or("its discovery document has no `jwks_uri`")?;
                protected(&url)?;
                self.get(&url).await?
            }
        };
        parse(&text)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, String> {
        let asked = format!("GET {url}");
        let failed = |error: reqwest::Error| format!("{asked}: {}", chain(&error.without_url()));
        let mut response = self.http.get(url.clone()).send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{asked}: answered {status}"));
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            text.extend_from_slice(&chunk);
            if text.len() as u64 > MAX_BYTES {
                return Err(format!(
                    "{asked}: the answer is longer than {MAX_BYTES} bytes"
                ));
            }
        }
        Ok(text)
    }
}

/// The keys that can be used; others of the set are for somebody else.
fn parse(text: &[u8]) -> Result<Vec<Arc<VerificationKey>>, String> {
    let set: Value =
        serde_json::from_slice(text).map_err(|_| "the key set is not JSON".to_owned())?;
    let Some(keys) = set["keys"].as_array() else {
        return Err("the key set has no `keys`".into());
    };
    if keys.len() > MAX_KEYS {
        return Err(format!("the key set has more than {MAX_KEYS} keys"));
    }
    let usable: Vec<Arc<VerificationKey>> = keys.iter().filter_map(one).map(Arc::new).collect();
    if usable.is_empty() {
        return Err(
            "the key set has no key for signatures with RSA, P-256, P-384 or Ed25519".into(),
        );
    }
    Ok(usable)
}

fn one(value: &Value) -> Option<VerificationKey> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    if !matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    ) {
        return None;
    }
    let named: Option<Algorithm> = match jwk.common.key_algorithm {
        None => None,
        Some(algorithm) => Some(algorithm.to_string().parse().ok()?),
    };
    let all: &'static [Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
            &[Algorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let algorithms = match named {
        None => all,
        Some(named) => {
            let at = all.iter().position(|algorithm| *algorithm == named)?;
            &all[at..=at]
        }
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (key.family() != AlgorithmFamily::Hmac).then_some(VerificationKey {
        id: jwk.common.key_id,
        key,
        algorithms,
    })
}

fn discovery(issuer: &str) -> Result<Url, String> {
    let address = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    Url::parse(&address).map_err(|error| format!("issuer `{issuer}` is no address: {error}"))
}

/// Whoever can change keys on their way can be anybody.
fn protected(url: &Url) -> Result<(), String> {
    let host = url.host_str().unwrap_or("");
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        Ok(())
    } else {
        Err(format!("keys come by https only, not from {url}"))
    }
}

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// How long an unknown key waits before the issuer is asked again.
pub(in super::super) const AGAIN: Duration = Duration::from_secs(10);

/// How late a withdrawn key is noticed.
const REFRESH: Duration = Duration::from_secs(300);

// Whoever waits is not known yet: with 32 KiB of head each these are 32 MiB. All wait for one answer.
const WAITING: usize = 1024;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

// Issuers have two to ten keys of about 500 bytes.
const MAX_BYTES: u64 = 1024 * 1024;
const MAX_KEYS: usize = 100;
