//! An issuer of tokens with its discovery document and its keys, which a test changes while it runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData as _, RsaKeySize, SignatureAlgorithm};
use serde_json::{Value, json};
use server_bridge::callers::{IssuerConfig, KeySource};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::pki::now;

pub(crate) struct Issuer {
    pub(crate) url: String,
    state: Arc<Served>,
    serving: AbortOnDropHandle<()>,
    pub(crate) key: Key,
}

struct Served {
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
    url: String,
}

pub(crate) struct Key {
    pub(crate) id: &'static str,
    pub(crate) algorithm: Algorithm,
    secret: EncodingKey,
    public: Value,
}

impl Key {
    pub(crate) fn new(id: &'static str, algorithm: Algorithm) -> Self {
        let (secret, public) = match algorithm {
            Algorithm::ES256 => elliptic(&rcgen::PKCS_ECDSA_P256_SHA256, algorithm),
            Algorithm::ES384 => elliptic(&rcgen::PKCS_ECDSA_P384_SHA384, algorithm),
            Algorithm::EdDSA => {
                let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
                let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
                let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
                (EncodingKey::from_ed_der(&pair.serialize_der()), public)
            }
            _ => {
                let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048);
                let secret = EncodingKey::from_rsa_der(&pkcs1(&pair.unwrap().serialize_der()));
                let public = public(&secret, algorithm);
                (secret, public)
            }
        };
        Self {
            id,
            algorithm,
            secret,
            public,
        }
    }

    /// As the key set has it. A key is not bound to one of the RSA algorithms.
    pub(crate) fn public(&self) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = self.id.into();
        jwk
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.into());
        encode(&header, claims, &self.secret).unwrap()
    }
}

fn elliptic(kind: &'static SignatureAlgorithm, algorithm: Algorithm) -> (EncodingKey, Value) {
    let pair = KeyPair::generate_for(kind).unwrap();
    let secret = EncodingKey::from_ec_der(&pair.serialize_der());
    let public = public(&secret, algorithm);
    (secret, public)
}

fn public(secret: &EncodingKey, algorithm: Algorithm) -> Value {
    let mut jwk = Jwk::from_encoding_key(secret, algorithm).unwrap();
    jwk.common.key_algorithm = None;
    serde_json::to_value(jwk).unwrap()
}

/// The RSA key inside a PKCS #8 envelope: the last OCTET STRING of it (RFC 5208 §5).
fn pkcs1(pkcs8: &[u8]) -> Vec<u8> {
    // SEQUENCE, version, algorithm (15 bytes for rsaEncryption), OCTET STRING with a length of two bytes.
    let start = 4 + 3 + 15 + 4;
    pkcs8[start..].to_vec()
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        link::tls::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = Key::new("first", Algorithm::ES256);
        let state = Arc::new(Served {
            keys: Mutex::new(vec![key.public()]),
            asked: AtomicUsize::new(0),
            url: url.clone(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&state));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            state,
            serving: AbortOnDropHandle::new(serving),
            key,
        }
    }

    pub(crate) fn config(&self) -> IssuerConfig {
        IssuerConfig {
            issuer: self.url.clone(),
            audiences: vec!["bridge".into()],
            keys: KeySource::Discovery,
            ca: None,
            user_claim: "sub".into(),
            groups_claim: "groups".into(),
            prefix: String::new(),
        }
    }

    /// The claims of a good token of ann, changed.
    pub(crate) fn claims(&self, change: Value) -> Value {
        let mut claims = json!({
            "iss": self.url, "aud": "bridge", "sub": "ann", "groups": ["ops"],
            "iat": now(), "nbf": now(), "exp": now() + 600,
        });
        let Value::Object(change) = change else {
            panic!("claims are members of an object");
        };
        for (name, value) in change {
            claims[name] = value;
        }
        claims
    }

    pub(crate) fn token(&self, change: Value) -> String {
        self.key.sign(&self.claims(change))
    }

    pub(crate) fn publish(&self, keys: &[&Key]) {
        *self.state.keys.lock().unwrap() = keys.iter().map(|key| key.public()).collect();
    }

    /// How often the keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.serving.abort();
    }
}

async fn document(State(state): State<Arc<Served>>) -> Json<Value> {
    Json(json!({"issuer": state.url, "jwks_uri": format!("{}/keys", state.url)}))
}

async fn keys(State(state): State<Arc<Served>>) -> Json<Value> {
    state.asked.fetch_add(1, Ordering::Relaxed);
    Json(json!({"keys": *state.keys.lock().unwrap()}))
}
