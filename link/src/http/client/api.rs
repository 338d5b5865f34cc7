//! The REST API of a region: JSON, a token read from its file, errors with the API's own words.

use std::path::PathBuf;

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use serde_json::Value;

use super::error::ApiError;
use super::{HttpAddress, HttpClient};
use crate::file;
use crate::printable::is_hidden;

/// What stands before every path of the API (docs/MAESTRO.md §5).
pub const API_PREFIX: &str = "/api/maestro/v1";

/// Calls the API of one region. Paths begin with `/` and are below [`API_PREFIX`], which is added unless it is there.
#[derive(Debug)]
pub struct ApiClient {
    http: HttpClient,
    token: Option<PathBuf>,
}

// === impl ApiClient ===

impl ApiClient {
    /// With `token` each call shows the bearer token that the file holds then.
    pub fn new(http: HttpClient, token: Option<PathBuf>) -> Self {
        Self { http, token }
    }

    /// Reads at most so many bytes of an answer; [`ANSWER_BYTES`](super::ANSWER_BYTES) else.
    #[must_use]
    pub fn answer_bytes(self, bytes: usize) -> Self {
        let http = self.http.answer_bytes(bytes);
        Self { http, ..self }
    }

    /// Reads the token once, so that a file that holds none is said at the start.
    ///
    /// # Errors
    /// [`ApiError::Token`], [`ApiError::NotToken`].
    pub fn check_token(&self) -> Result<(), ApiError> {
        self.bearer().map(drop)
    }

    /// Where the API is.
    pub fn address(&self) -> &HttpAddress {
        self.http.address()
    }

    /// What is at `path`. Parameters are escaped already ([`query`](super::query)).
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Method::GET, path, None).await
    }

    /// One call with a body of JSON or without; an answer without content is `null`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = self
            .whole(path)
            .parse()
            .map_err(|_| ApiError::Path { path: path.into() })?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(bearer) = self.bearer()? {
            headers.insert(AUTHORIZATION, bearer);
        }
        if let Some(body) = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = body.to_string().into();
        }
        let answer = self.http.send(request).await.map_err(ApiError::Http)?;
        let (status, bytes) = (answer.status(), answer.into_body());
        if !status.is_success() {
            let (reason, operation) = words(status.as_u16(), &bytes);
            return Err(ApiError::of_status(
                status.as_u16(),
                path,
                reason,
                operation,
            ));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| ApiError::NotJson { path: path.into() })
    }

    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        self.http.idle_connections()
    }

    fn whole(&self, path: &str) -> String {
        let base = self.http.address().base();
        let prefix = match path.starts_with(API_PREFIX) || base.ends_with(API_PREFIX) {
            true => "",
            false => API_PREFIX,
        };
        format!("{base}{prefix}{path}")
    }

    fn bearer(&self) -> Result<Option<HeaderValue>, ApiError> {
        let Some(path) = &self.token else {
            return Ok(None);
        };
        let text = file::read_text(path, TOKEN_BYTES).map_err(|source| ApiError::Token {
            path: path.clone(),
            source,
        })?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiError::NotToken { path: path.clone() });
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| ApiError::NotToken { path: path.clone() })?;
        // Left out wherever headers are shown.
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// Reason and operation id of an error's body; of one that is not the API's, its beginning.
fn words(status: u16, body: &[u8]) -> (String, String) {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key| {
        let value: Option<&str> = parsed.get(key).and_then(Value::as_str);
        value.map(|text| clean(text, REASON_CHARS))
    };
    let reason = text("reason").unwrap_or_else(|| {
        let shown = clean(&String::from_utf8_lossy(body), FOREIGN_CHARS);
        match shown.is_empty() {
            true => format!("status {status}, without a reason"),
            false => format!("`{shown}`"),
        }
    });
    (reason, text("operation_id").unwrap_or_default())
}

/// One line of bounded length, without what a terminal would act on.
fn clean(text: &str, chars: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|char| !is_hidden(*char))
        .take(chars)
        .collect()
}

// Tokens of Kubernetes and of issuers are one to a few KiB; headers of more are refused by servers.
const TOKEN_BYTES: u64 = 32 * 1024;
const REASON_CHARS: usize = 2000;
const FOREIGN_CHARS: usize = 120;
