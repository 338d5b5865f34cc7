//! Authentication by bearer tokens that are verified locally: signed JSON Web Tokens of one issuer, an OpenID Connect
//! provider's or a Kubernetes cluster's for its service accounts (RFC 7519, RFC 8725).
//!
//! **Invariant:** the algorithm is one of a fixed list of public-key signatures and fits the key; `none` and HMAC are refused
//! before a key is looked at, so no public key is ever taken for a secret.
//! **Invariant:** signature, issuer, audience and times are all checked, and no text holds anything of the token but the
//! time at which it ended.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Validation, decode};
use link::clock::{Clock, rfc3339_seconds};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Caller, Denied, Mechanism};

pub(super) mod keys;

pub use keys::KeySource;
use keys::Keys;

/// What is asked of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// The claim `iss`, as it is written there.
    pub issuer: String,
    /// The claim `aud` must name one of these; at least one.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// CA of the server of the keys; the system's roots otherwise.
    pub ca: Option<std::path::PathBuf>,
    /// The claim that is the user.
    pub user_claim: String,
    /// The claim that is the groups, a text or a list of texts; it may be absent.
    pub groups_claim: String,
    /// What users and groups begin with, so that they are not taken for those of certificates.
    pub prefix: String,
}

/// Knows callers by tokens of one issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    config: IssuerConfig,
    keys: Arc<Keys>,
    clock: Clock,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

// === impl Issuer ===

impl Issuer {
    pub(super) fn new(config: IssuerConfig, keys: Arc<Keys>, clock: Clock) -> Self {
        Self {
            config,
            keys,
            clock,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.issuer
    }

    /// Whether the token says that it is this issuer's. Nothing is checked.
    pub(super) fn claims(&self, token: &str) -> bool {
        part(token, 1)
            .and_then(|claims| serde_json::from_slice::<Value>(&claims).ok())
            .is_some_and(|claims| claims["iss"] == self.config.issuer.as_str())
    }

    pub(super) async fn caller(&self, token: &str, from: SocketAddr) -> Result<Caller, Denied> {
        let refused =
            |why: &str| Denied::Unauthenticated(format!("the bearer token is refused: {why}"));
        let head: Head = part(token, 0)
            .and_then(|head| serde_json::from_slice(&head).ok())
            .ok_or_else(|| refused("it is no signed JSON Web Token"))?;
        let Some(algorithm) = algorithm(&head.alg) else {
            return Err(refused(
                "its algorithm is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA",
            ));
        };
        if head.crit.is_some() {
            return Err(refused(
                "its header has critical extensions, and none is known here",
            ));
        }
        let candidates = self.keys.find(head.kid.as_deref(), algorithm).await?;
        if candidates.is_empty() {
            return Err(refused(&format!(
                "issuer `{}` has no such key (keys are asked for again at most every {} s)",
                self.config.issuer,
                self.keys.again().as_secs()
            )));
        }
        let validation = signature_only(algorithm);
        let claims = candidates
            .iter()
            .find_map(|key| decode::<Map<String, Value>>(token, &key.key, &validation).ok())
            .ok_or_else(|| refused("its signature is not one of its issuer's"))?
            .claims;
        self.check(&claims, self.clock.now())
            .map_err(|why| refused(&why))?;
        let user = self.user(&claims).map_err(|why| refused(&why))?;
        let groups = self.groups(&claims).map_err(|why| refused(&why))?;
        Ok(Caller {
            user,
            groups,
            from,
            by: Mechanism::Token,
        })
    }

    /// Issuer, audience and times.
    fn check(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), String> {
        let IssuerConfig {
            issuer, audiences, ..
        } = &self.config;
        if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(format!("its issuer is not `{issuer}`"));
        }
        let expected = |text: &str| audiences.iter().any(|audience| audience == text);
        let ours = match claims.get("aud") {
            Some(Value::String(audience)) => expected(audience),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(expected),
            _ => false,
        };
        if !ours {
            return Err(format!(
                "it is for another audience, expected is `{}`",
                audiences.join("` or `")
            ));
        }
        let now = now.as_second();
        let Some(expires) = claims.get("exp").and_then(seconds) else {
            return Err("it does not say when it expires".into());
        };
        if now >= expires.saturating_add(LEEWAY) {
            let at = Timestamp::from_second(expires).map_or_else(
                |_| "long ago".to_owned(),
                |at| format!("at {}", rfc3339_seconds(at)),
            );
            return Err(format!("it expired {at}; send a new one"));
        }
        match claims.get("nbf").map(seconds) {
            None => Ok(()),
            Some(Some(begins)) if now >= begins.saturating_sub(LEEWAY) => Ok(()),
            Some(Some(_)) => Err("it is not valid yet; compare the clocks".into()),
            Some(None) => Err("its claim `nbf` is no time".into()),
        }
    }

    fn user(&self, claims: &Map<String, Value>) -> Result<String, String> {
        let claim = &self.config.user_claim;
        // As Kubernetes does: an address that nobody looked at may be anybody's. A text `"true"` is refused there too.
        let unverified = |verified: &Value| *verified != Value::Bool(true);
        if claim == "email" && claims.get("email_verified").is_some_and(unverified) {
            return Err(
                "its claim `email_verified` is not true, so its `email`, which is the user, may be anybody's"
                    .into(),
            );
        }
        match claims.get(claim).and_then(Value::as_str) {
            Some(user) if !user.is_empty() => Ok(format!("{}{user}", self.config.prefix)),
            _ => Err(format!("it has no claim `{claim}`, which is the user")),
        }
    }

    /// Groups of Kubernetes itself are left out: they are not an issuer's to give.
    fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<String>, String> {
        let claim = &self.config.groups_claim;
        let wrong = || format!("its claim `{claim}` is neither a text nor a list of texts");
        let names: Vec<&str> = match claims.get(claim) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(list)) => {
                let texts: Option<_> = list.iter().map(Value::as_str).collect();
                texts.ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        Ok(names
            .into_iter()
            .map(|name| format!("{}{name}", self.config.prefix))
            .filter(|name| !name.is_empty() && !name.starts_with("system:"))
            .collect())
    }
}

/// The algorithms that are taken: signatures with a public key (RFC 8725 §3.1).
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// The library checks the signature; what the claims say is checked here, because of the texts.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.algorithms = vec![algorithm];
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// A time in seconds, which may have a fraction (RFC 7519 §2).
fn seconds(value: &Value) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and is compared only"
    )]
    let whole = |float: f64| float as i64;
    value.as_i64().or_else(|| value.as_f64().map(whole))
}

/// A part of a compact token, decoded.
fn part(token: &str, index: usize) -> Option<Vec<u8>> {
    let mut parts = token.split('.');
    let found = parts.nth(index)?;
    (token.split('.').count() == 3).then_some(())?;
    URL_SAFE_NO_PAD.decode(found).ok()
}

// Clocks of issuers and ours.
const LEEWAY: i64 = 30;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issuer() -> Issuer {
        let config = IssuerConfig {
            issuer: "https://issuer".into(),
            audiences: vec!["bridge".into()],
            keys: KeySource::Discovery,
            ca: None,
            user_claim: "sub".into(),
            groups_claim: "groups".into(),
            prefix: String::new(),
        };
        link::tls::install_provider();
        let keys = Arc::new(Keys::new(&config, keys::AGAIN).unwrap());
        Issuer::new(config, keys, Clock::system())
    }

    fn check(change: &Value, now: i64) -> Result<(), String> {
        let mut claims = json!({"iss": "https://issuer", "aud": "bridge", "exp": 1000, "nbf": 100});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let now = Timestamp::from_second(now).unwrap();
        issuer().check(claims.as_object().unwrap(), now)
    }

    #[test]
    fn times_have_a_leeway_of_thirty_seconds_and_not_one_more() {
        for (now, ok) in [(69, false), (70, true), (1029, true), (1030, false)] {
            assert_eq!(check(&json!({}), now).is_ok(), ok, "{now}");
        }
        let expired = check(&json!({}), 2000).unwrap_err();
        assert_eq!(
            expired,
            "it expired at 1970-01-01T00:16:40Z; send a new one"
        );
        assert!(check(&json!({"exp": null}), 500).is_err());
        assert!(check(&json!({"nbf": "soon"}), 500).is_err());
        assert!(check(&json!({"exp": 1000.5}), 500).is_ok());
    }

    #[test]
    fn one_of_the_audiences_must_be_ours() {
        assert!(check(&json!({"aud": ["x", "bridge"]}), 500).is_ok());
        for audience in [json!("x"), json!(["x"]), json!(null), json!(7)] {
            let refused = check(&json!({"aud": audience}), 500).unwrap_err();
            assert_eq!(refused, "it is for another audience, expected is `bridge`");
        }
        assert!(check(&json!({"iss": "https://issuer/"}), 500).is_err());
    }

    #[test]
    fn a_groups_claim_gives_no_group_of_kubernetes_itself() {
        let groups = |value| issuer().groups(json!({"groups": value}).as_object().unwrap());
        assert_eq!(groups(json!("ops")), Ok(vec!["ops".to_owned()]));
        assert_eq!(
            groups(json!(["ops", "system:masters"])),
            Ok(vec!["ops".to_owned()])
        );
        assert_eq!(groups(json!(null)), Ok(Vec::new()));
        assert!(groups(json!([1])).is_err());
    }

    #[test]
    fn an_address_is_a_user_unless_its_issuer_says_that_it_is_not_verified() {
        let user = |claim: &str, verified: Option<Value>| {
            let mut issuer = issuer();
            issuer.config.user_claim = claim.into();
            let mut claims = json!({"sub": "1", "email": "ann@example.com"});
            if let Some(verified) = verified {
                claims["email_verified"] = verified;
            }
            issuer.user(claims.as_object().unwrap())
        };
        for good in [None, Some(json!(true))] {
            assert_eq!(user("email", good), Ok("ann@example.com".to_owned()));
        }
        for bad in [json!(false), json!("true"), json!(null)] {
            let refused = user("email", Some(bad.clone())).unwrap_err();
            assert!(refused.starts_with("its claim `email_verified` is not true"));
            // It says nothing about another claim.
            assert_eq!(user("sub", Some(bad)), Ok("1".to_owned()));
        }
    }

    #[test]
    fn none_and_hmac_are_no_algorithms() {
        for name in ["none", "None", "HS256", "HS384", "HS512", "ES512", ""] {
            assert_eq!(algorithm(name), None, "{name}");
        }
    }
}
