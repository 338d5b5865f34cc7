//! A small REST client for the bridge (docs/MAESTRO.md §5.2): what the tests read and write, and errors with the answer's
//! own words.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::wait::patient;

/// A client of one bridge.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: String,
}

/// A registered consumer.
#[derive(Clone, Debug, Deserialize)]
pub struct Consumer {
    /// Its id; paths want this, not the name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    #[serde(default)]
    pub labels: Value,
}

/// A bundle as the API shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Bundle {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The consumer it is meant for.
    pub consumer_name: String,
    /// Counts up with every change.
    pub version: i64,
    /// Set while it is being deleted.
    #[serde(default)]
    pub deleted_at: Option<String>,
    /// What the agent last said about it; an empty object or absent before that.
    #[serde(default)]
    pub status: Value,
    /// Everything else.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, Value>,
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct ListPage<T> {
    /// Which page this is, from 1.
    pub page: u64,
    /// How many items it holds.
    pub size: u64,
    /// How many there are on all pages.
    pub total: u64,
    /// The items.
    pub items: Vec<T>,
}

/// A bundle to create or the fields of one to change.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Change {
    /// Only when creating: the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_name: Option<String>,
    /// Only when creating: the name; the bridge takes the id otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only when changing: the version it is based on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Labels and the like of the bundle itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// The Kubernetes objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Value>,
    /// Feedback rules and the like per object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifest_configs: Vec<Value>,
    /// What deletion does with the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_option: Option<Value>,
    /// Whose rights apply the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executer: Option<Value>,
}

/// The bridge did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer, or one that is not HTTP.
    #[error("{method} {path}")]
    Transport {
        /// The request.
        method: Method,
        /// Its path.
        path: String,
        /// Why there is no answer.
        #[source]
        source: reqwest::Error,
    },
    /// An error answer.
    #[error("{method} {path} answered {status}: {code} {reason}")]
    Refused {
        /// The request.
        method: Method,
        /// Its path.
        path: String,
        /// The HTTP status.
        status: u16,
        /// `maestro-7` and the like; empty when the body is none of ours.
        code: String,
        /// The answer's reason, or its whole body.
        reason: String,
    },
    /// A good answer with a body that does not fit.
    #[error("read the answer to {method} {path}: {body}")]
    Body {
        /// The request.
        method: Method,
        /// Its path.
        path: String,
        /// What came.
        body: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

// === impl Api ===

impl Api {
    /// A client of the bridge at `http://HOST:PORT`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(base: &str) -> Result<Self, reqwest::Error> {
        Self::with(base, HeaderMap::new())
    }

    /// The same with a bearer token. One that no header can hold is not sent.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn with_token(base: &str, token: &str) -> Result<Self, reqwest::Error> {
        let header = HeaderValue::from_str(&format!("Bearer {token}"));
        Self::with(
            base,
            header.map(|it| (AUTHORIZATION, it)).into_iter().collect(),
        )
    }

    fn with(base: &str, headers: HeaderMap) -> Result<Self, reqwest::Error> {
        link::tls::install_provider();
        let http = reqwest::Client::builder().timeout(patient(TIMEOUT));
        Ok(Self {
            http: http.default_headers(headers).build()?,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    /// Registers a consumer.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create_consumer(&self, name: &str) -> Result<Consumer, ApiError> {
        self.call(Method::POST, "/consumers", Some(&json!({ "name": name })))
            .await
    }

    /// A page of consumers; `query` is the raw query string, such as `search=name='a'&size=5`, already encoded.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn consumers(&self, query: &str) -> Result<ListPage<Consumer>, ApiError> {
        self.call(Method::GET, &format!("/consumers?{query}"), NOTHING)
            .await
    }

    /// Creates a bundle.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create_bundle(&self, change: &Change) -> Result<Bundle, ApiError> {
        self.call(Method::POST, "/resource-bundles", Some(change))
            .await
    }

    /// Changes a bundle; refused with 409 if `version` is not the newest.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn change_bundle(&self, id: &str, change: &Change) -> Result<Bundle, ApiError> {
        self.call(
            Method::PATCH,
            &format!("/resource-bundles/{id}"),
            Some(change),
        )
        .await
    }

    /// Marks a bundle for deletion.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn delete_bundle(&self, id: &str) -> Result<(), ApiError> {
        let path = format!("/resource-bundles/{id}");
        self.send(Method::DELETE, &path, NOTHING).await.map(drop)
    }

    /// One bundle; `None` when it is not there or no longer.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn bundle(&self, id: &str) -> Result<Option<Bundle>, ApiError> {
        let path = format!("/resource-bundles/{id}");
        match self.call(Method::GET, &path, NOTHING).await {
            Ok(bundle) => Ok(Some(bundle)),
            Err(ApiError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of bundles; `query` as in [`Self::consumers`].
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn bundles(&self, query: &str) -> Result<ListPage<Bundle>, ApiError> {
        self.call(Method::GET, &format!("/resource-bundles?{query}"), NOTHING)
            .await
    }

    /// Any other request below `/api/maestro/v1`, answered with the status and the body whatever they are.
    ///
    /// # Errors
    /// Only when there is no answer.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, String), ApiError> {
        let transport = transport(&method, path);
        let mut request = self
            .http
            .request(method, format!("{}{ROOT}{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(&transport)?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(&transport)?))
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ApiError> {
        let text = self.send(method.clone(), path, body).await?;
        serde_json::from_str(&text).map_err(|source| ApiError::Body {
            method,
            path: path.to_owned(),
            body: text,
            source,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<String, ApiError> {
        let body = body.map(serde_json::to_value).transpose();
        let body = body.map_err(|source| ApiError::Body {
            method: method.clone(),
            path: path.to_owned(),
            body: "the request's own".into(),
            source,
        })?;
        let (status, text) = self.raw(method.clone(), path, body.as_ref()).await?;
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let error: Value = serde_json::from_str(&text).unwrap_or_default();
        let field = |name: &str| error[name].as_str().map(str::to_owned);
        Err(ApiError::Refused {
            method,
            path: path.to_owned(),
            status,
            code: field("code").unwrap_or_default(),
            reason: field("reason").unwrap_or(text),
        })
    }
}

// === impl Bundle ===

impl Bundle {
    /// The version the last status speaks of; 0 before the first.
    pub fn observed_version(&self) -> i64 {
        self.status["ObservedVersion"].as_i64().unwrap_or_default()
    }

    /// Whether the condition of this type is `True` on the bundle as a whole.
    pub fn is(&self, condition: &str) -> bool {
        let conditions = self.status["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|found| found["type"] == condition && found["status"] == "True")
    }
}

// === impl Change ===

impl Change {
    /// A bundle to create.
    pub fn create(consumer: &str, manifests: Vec<Value>) -> Self {
        Self {
            consumer_name: Some(consumer.to_owned()),
            manifests,
            ..Self::default()
        }
    }

    /// A change of one that has this version.
    pub fn of(version: i64, manifests: Vec<Value>) -> Self {
        Self {
            version: Some(version),
            manifests,
            ..Self::default()
        }
    }
}

/// A ConfigMap with one value: the smallest manifest whose content a test can follow to the target.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": { "value": value },
    })
}

fn transport(method: &Method, path: &str) -> impl Fn(reqwest::Error) -> ApiError + use<> {
    let (method, path) = (method.clone(), path.to_owned());
    move |source| ApiError::Transport {
        method: method.clone(),
        path: path.clone(),
        source,
    }
}

const ROOT: &str = "/api/maestro/v1";
const NOTHING: Option<&Value> = None;

// The longest answer a test asks for (6 000 bundles) takes about a second.
const TIMEOUT: Duration = Duration::from_secs(30);
