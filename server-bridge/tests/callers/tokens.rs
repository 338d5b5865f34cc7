//! Callers known by tokens that are checked here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Client;
use serde_json::{Value, json};
use server_bridge::callers::{CallersConfig, IssuerConfig, KeySource};

use crate::bridge::{Bridge, Place, config, told, until};
use crate::issuer::{Issuer, Key};
use crate::pki::now;

async fn bridge(place: &Place, issuer: IssuerConfig) -> Bridge {
    let config = CallersConfig {
        issuers: vec![issuer],
        ..config()
    };
    Bridge::start(place, config).await
}

#[tokio::test]
async fn each_wrong_token_is_refused_with_what_is_wrong_with_it() {
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let bridge = bridge(&place, issuer.config()).await;
    let client = Client::new();
    let good = issuer.token(json!({}));
    assert_eq!(bridge.with_token(&client, &good).await.0, 200);
    let claims = issuer.claims(json!({}));
    let unsigned = |head: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&head), part(&claims))
    };
    let forger = Key::new("first", Algorithm::ES256);
    let unknown = Key::new("unknown", Algorithm::ES256);
    // The public key as a secret, which a verifier that trusts the header would take.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("first".into());
    let public = EncodingKey::from_secret(issuer.key.public().to_string().as_bytes());
    let confused = encode(&header, &claims, &public.unwrap()).unwrap();
    let expired = now() - 31;
    let at = link::clock::rfc3339_seconds(jiff::Timestamp::from_second(expired).unwrap());
    let algorithms = "its algorithm is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA";
    let other = issuer.token(json!({"iss": "https://elsewhere.example"}));
    for (token, why) in [
        (
            issuer.token(json!({"exp": expired, "nbf": 0})),
            format!("it expired at {at}; send a new one"),
        ),
        (
            issuer.token(json!({"nbf": now() + 90})),
            "it is not valid yet; compare the clocks".into(),
        ),
        (
            issuer.token(json!({"exp": null})),
            "it does not say when it expires".into(),
        ),
        (
            issuer.token(json!({"aud": ["elsewhere"]})),
            "it is for another audience, expected is `bridge`".into(),
        ),
        (
            other,
            format!("its issuer is unknown, known is `{}`", issuer.url),
        ),
        (unsigned(json!({"alg": "none"})), algorithms.into()),
        (unsigned(json!({"alg": "None"})), algorithms.into()),
        (confused, algorithms.into()),
        (
            unsigned(json!({"alg": "ES256", "kid": "first", "crit": ["b64"]})),
            "its header has critical extensions, and none is known here".into(),
        ),
        (
            unsigned(json!({"alg": "ES256", "kid": "first"})),
            "its signature is not one of its issuer's".into(),
        ),
        (
            forger.sign(&claims),
            "its signature is not one of its issuer's".into(),
        ),
        (
            unknown.sign(&claims),
            format!(
                "issuer `{}` has no such key (keys are asked for again at most every 0 s)",
                issuer.url
            ),
        ),
        (
            issuer.token(json!({"sub": ""})),
            "it has no claim `sub`, which is the user".into(),
        ),
        (
            "opaque".into(),
            format!("its issuer is unknown, known is `{}`", issuer.url),
        ),
        (
            "x".repeat(16 * 1024 + 1),
            "it is empty or longer than 16384 bytes".into(),
        ),
    ] {
        let answer = bridge.with_token(&client, &token).await;
        let expected = format!("401 maestro-15: the bearer token is refused: {why}");
        assert_eq!(told(&answer), expected);
        assert!(!answer.1.to_string().contains(&token));
    }
    let url = bridge.url("/consumers");
    for (value, why) in [
        ("Basic YTpi", "header `Authorization` is not `Bearer TOKEN`"),
        ("Bearer", "header `Authorization` is not `Bearer TOKEN`"),
    ] {
        let answer = client.get(&url).header("authorization", value).send().await;
        let body: Value = answer.unwrap().json().await.unwrap();
        assert_eq!(body["reason"], why);
    }
    let twice = client.get(&url).bearer_auth(&good).bearer_auth(&good);
    assert_eq!(twice.send().await.unwrap().status(), 401);
    let none = client.get(&url).send().await.unwrap();
    let body: Value = none.json().await.unwrap();
    assert_eq!(
        body["reason"],
        "nothing says who calls: send `Authorization: Bearer TOKEN`"
    );
    let known = "bridge_calls_total{by=\"token\",outcome=\"known\"}";
    assert_eq!(bridge.metric(known), Some(1.0));
}

#[tokio::test]
async fn every_algorithm_with_a_public_key_is_taken_with_its_own_kind_of_key_alone() {
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let bridge = bridge(&place, issuer.config()).await;
    let client = Client::new();
    let mut keys = vec![
        Key::new("p256", Algorithm::ES256),
        Key::new("p384", Algorithm::ES384),
        Key::new("ed", Algorithm::EdDSA),
        Key::new("rsa", Algorithm::RS256),
    ];
    issuer.publish(&keys.iter().collect::<Vec<_>>());
    let claims = issuer.claims(json!({}));
    let ask = async || bridge.with_token(&client, &keys[3].sign(&claims)).await.0;
    until(ask, |status| *status == 200).await;
    for key in &keys {
        let answer = bridge.with_token(&client, &key.sign(&claims)).await;
        assert_eq!(answer.0, 200, "{:?}: {answer:?}", key.algorithm);
    }
    for algorithm in [
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ] {
        keys[3].algorithm = algorithm;
        let answer = bridge.with_token(&client, &keys[3].sign(&claims)).await;
        assert_eq!(answer.0, 200, "{algorithm:?}: {answer:?}");
    }
    // A key by the name of another kind's.
    keys[0].id = "rsa";
    let answer = bridge.with_token(&client, &keys[0].sign(&claims)).await;
    assert!(told(&answer).contains("has no such key"), "{answer:?}");
}

#[tokio::test]
async fn a_new_key_is_found_a_withdrawn_one_forgotten_and_an_issuer_is_not_asked_at_every_call() {
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let bridge = bridge(&place, issuer.config()).await;
    let client = Client::new();
    let claims = issuer.claims(json!({}));
    let first = issuer.token(json!({}));
    assert_eq!(bridge.with_token(&client, &first).await.0, 200);
    let next = Key::new("next", Algorithm::ES256);
    issuer.publish(&[&next]);
    let token = next.sign(&claims);
    let ask = async || bridge.with_token(&client, &token).await.0;
    until(ask, |status| *status == 200).await;
    assert_eq!(bridge.with_token(&client, &first).await.0, 401);
    let (before, begun) = (issuer.asked(), tokio::time::Instant::now());
    let unknown = Key::new("unknown", Algorithm::ES256).sign(&claims);
    for _ in 0..50 {
        assert_eq!(bridge.with_token(&client, &unknown).await.0, 401);
    }
    // Once in 200 ms here, in 10 s otherwise.
    let most = 1 + begun.elapsed().as_millis() / 200;
    assert!((issuer.asked() - before) as u128 <= most);
}

#[tokio::test]
async fn while_the_issuer_is_away_its_keys_stay_in_use_and_without_any_nobody_is_refused_for_good()
{
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let bridge = bridge(&place, issuer.config()).await;
    let client = Client::new();
    let token = issuer.token(json!({}));
    assert_eq!(bridge.with_token(&client, &token).await.0, 200);
    issuer.stop();
    let unknown = Key::new("unknown", Algorithm::ES256).sign(&issuer.claims(json!({})));
    for _ in 0..3 {
        assert_eq!(bridge.with_token(&client, &unknown).await.0, 401);
        assert_eq!(bridge.with_token(&client, &token).await.0, 200);
    }
    let later = Place::new();
    let bridge = self::bridge(&later, issuer.config()).await;
    let answer = bridge.with_token(&client, &token).await;
    assert_eq!(answer.0, 503, "{answer:?}");
    assert!(
        told(&answer).contains("are not known: GET http://"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn keys_of_a_file_are_followed_and_claims_and_prefix_are_as_they_are_set() {
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let next = Key::new("next", Algorithm::EdDSA);
    let set =
        |key: &Key| json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, key.public()]}).to_string();
    let file = place.write("keys.json", &set(&issuer.key));
    let rules =
        "rules:\n- users: ['oidc:42']\n  sources: ['*']\n  consumers: ['*']\n  verbs: [list]\n";
    let config = CallersConfig {
        issuers: vec![IssuerConfig {
            keys: KeySource::File(file),
            user_claim: "uid".into(),
            prefix: "oidc:".into(),
            ..issuer.config()
        }],
        authorization: server_bridge::callers::Authorization::File(
            place.write("rules.yaml", rules),
        ),
        ..config()
    };
    let bridge = Bridge::start(&place, config).await;
    let client = Client::new();
    let claims = issuer.claims(json!({"uid": "42"}));
    assert_eq!(
        bridge
            .with_token(&client, &issuer.key.sign(&claims))
            .await
            .0,
        200
    );
    let other = issuer.token(json!({"uid": "43"}));
    assert_eq!(bridge.with_token(&client, &other).await.0, 403);
    place.write("keys.json", "{}");
    place.write("keys.json", &set(&next));
    let ask = async || bridge.with_token(&client, &next.sign(&claims)).await.0;
    until(ask, |status| *status == 200).await;
    assert_eq!(issuer.asked(), 0);
}
