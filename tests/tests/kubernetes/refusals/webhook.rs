//! An admission webhook that says no to whatever it is asked about.

use std::future::pending;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use link::http::{Bounds, ServerTls, serve_with};
use prometheus::IntCounter;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tests::pki::Authority;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A running webhook; dropping it ends it.
pub(super) struct DenyingWebhook {
    url: String,
    ca: String,
    _serving: AbortOnDropHandle<()>,
}

// === impl DenyingWebhook ===

impl DenyingWebhook {
    /// One that denies everything with this message.
    pub(super) async fn start(message: &'static str) -> Result<Self> {
        link::tls::install_provider();
        let set = Authority::new("webhooks")?.server(&[])?;
        let chain = CertificateDer::pem_slice_iter(set.certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(set.key.as_bytes())?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let failed = IntCounter::new("handshakes_failed", "Handshakes that came to nothing")?;
        let tls = ServerTls::new(Arc::new(config), failed);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}/", listener.local_addr()?);
        let deny = async move |review: String| {
            (
                [(CONTENT_TYPE, "application/json")],
                denial(&review, message),
            )
        };
        let service = Router::new().route("/", post(deny));
        let serving = tokio::spawn(serve_with(
            listener,
            Some(tls),
            service,
            Bounds::new(16, 8),
            pending(),
        ));
        Ok(Self {
            url,
            ca: STANDARD.encode(set.ca),
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// Where it is asked.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whom to trust for it, as a configuration has it.
    pub(super) fn ca_bundle(&self) -> &str {
        &self.ca
    }
}

/// The answer to a review.
fn denial(review: &str, message: &str) -> String {
    let review: Value = serde_json::from_str(review).unwrap_or_default();
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {
            "uid": review["request"]["uid"], "allowed": false, "status": { "code": 403, "message": message },
        },
    })
    .to_string()
}
