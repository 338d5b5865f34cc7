//! Every operation: what it gives, and each error that is documented for it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::plane::Plane;
use super::{ControlConfig, routes};
use crate::broker::{self, Broker};
use crate::pki::Authority;

mod certificates;
mod faults;
mod policies;
mod requests;
mod settling;
mod things;

/// A control plane over a broker that accepts no connections.
struct Api {
    router: Router,
    broker: Broker,
}

/// One answer.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    error: Option<String>,
    body: Value,
}

// === impl Api ===

impl Api {
    async fn new() -> Self {
        Self::settling(Duration::ZERO).await
    }

    async fn settling(settle: Duration) -> Self {
        let authority = Authority::new("test").unwrap();
        let server = authority.server(&[]).unwrap();
        let listen = ([127, 0, 0, 1], 0).into();
        let config = broker::BrokerConfig::new(listen, server.certificate, server.key);
        let broker = Broker::bind(config).await.unwrap();
        let config = ControlConfig {
            endpoint: "broker.example".into(),
            settle,
            ..ControlConfig::new(listen, Arc::new(authority), broker.handle())
        };
        let router = routes::router(Arc::new(Plane::new(config)));
        Self { router, broker }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let header = response.headers().get("x-amzn-errortype");
        let error = header.map(|value| value.to_str().unwrap().to_owned());
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        Reply {
            status,
            error,
            body,
        }
    }

    /// A request with a body; null for none.
    async fn call(&self, method: Method, path: &str, body: Value) -> Reply {
        let body = match body {
            Value::Null => Body::empty(),
            body => body.to_string().into(),
        };
        self.send(signed(method, path).body(body).unwrap()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, body).await
    }

    async fn put(&self, path: &str, body: Value) -> Reply {
        self.call(Method::PUT, path, body).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path, Value::Null).await
    }

    /// An operation on things that names a certificate in a header.
    async fn with_principal(&self, method: Method, path: &str, arn: &str) -> Reply {
        let request = signed(method, path).header("x-amzn-principal", arn);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// An INACTIVE certificate: its id and its resource name.
    async fn certificate(&self) -> (String, String) {
        let made = self.post("/certificates", csr("agent")).await.ok();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("certificateId"), text("certificateArn"))
    }

    async fn policy(&self, name: &str) {
        let path = format!("/policies/{name}");
        self.post(&path, document("iot:Connect")).await.ok();
    }
}

// === impl Reply ===

impl Reply {
    fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.body
    }

    /// An error by its name, with the status the API reference gives it and a message.
    fn fails(self, status: u16, error: &str) {
        assert_eq!(self.error.as_deref(), Some(error), "{self:?}");
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert!(self.body["message"].is_string(), "{self:?}");
    }
}

fn signed(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", SIGNATURE)
}

fn csr(name: &str) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let request = params.serialize_request(&KeyPair::generate().unwrap());
    json!({ "certificateSigningRequest": request.unwrap().pem().unwrap() })
}

fn document(action: &str) -> Value {
    let statement = json!({ "Effect": "Allow", "Action": action, "Resource": "*" });
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] });
    json!({ "policyDocument": document.to_string() })
}

/// A resource name in a path.
fn quoted(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F")
}

const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iot/aws4_request, \
                         SignedHeaders=host, Signature=00";
