//! Error responses of the REST API, in Maestro's form (docs/MAESTRO.md §5.2).

mod code;

use std::any::Any;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use link::error::{Hint, chain};
use tracing::{debug, error};

use crate::callers::Denied;
use crate::store::StoreError;
use crate::validate::Invalid;

pub(super) use self::code::Code;

/// A failed request. The operation id is added on the way out.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    code: Code,
    status: StatusCode,
    reason: String,
    latest_version: Option<i32>,
    allow: Option<HeaderValue>,
}

// === impl ApiError ===

impl ApiError {
    pub(super) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status(),
            reason: reason.into(),
            latest_version: None,
            allow: None,
        }
    }

    /// A field of the request breaks a rule.
    pub(super) fn validation(reason: impl Into<String>) -> Self {
        Self::new(Code::Validation, reason)
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, reason)
    }

    pub(super) fn not_found(kind: &str, id: &str) -> Self {
        Self::new(Code::NotFound, format!("{kind} with id='{id}' not found"))
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            ..Self::new(
                Code::BadRequest,
                format!("the request body is longer than {limit} bytes"),
            )
        }
    }

    /// The body is of another type.
    pub(super) fn not_json() -> Self {
        Self {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ..Self::new(
                Code::BadRequest,
                "the request body must be JSON: send it with `Content-Type: application/json`",
            )
        }
    }

    /// The body did not arrive in time.
    pub(super) fn too_slow(limit: Duration) -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            ..Self::new(
                Code::BadRequest,
                format!(
                    "the request body did not arrive within {} s",
                    limit.as_secs()
                ),
            )
        }
    }

    /// There is no room for this request now.
    pub(super) fn busy(what: &str) -> Self {
        Self::unavailable(format!("{what}, try again later"))
    }

    /// The server cannot do this now.
    fn unavailable(reason: String) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..Self::new(Code::General, reason)
        }
    }

    /// What a panicking handler is answered with.
    pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
        error!("A request handler panicked");
        Self::new(Code::General, "the server failed on this request").into_response()
    }

    /// The body, once the operation id is known.
    pub(super) fn render(&self, operation_id: &str) -> Response {
        let mut body = self.code.entry();
        body["reason"] = self.reason.as_str().into();
        body["operation_id"] = operation_id.into();
        if let Some(latest) = self.latest_version {
            body["latest_version"] = latest.into();
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
            }
            // Every refusal names a way in (RFC 9110 §11.6.1).
            StatusCode::UNAUTHORIZED => {
                let way = HeaderValue::from_static("Bearer realm=\"server-bridge\"");
                headers.insert(header::WWW_AUTHENTICATE, way);
                // Whoever is not known keeps no connection.
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            // What is left of the body would be taken for the next request, or read for nothing.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        if let Some(allow) = &self.allow {
            headers.insert(header::ALLOW, allow.clone());
        }
        (self.status, headers, body.to_string()).into_response()
    }

    /// Whether something that is there stands in the way.
    pub(super) fn is_conflict(&self) -> bool {
        self.code == Code::Conflict
    }

    /// Whether it is no fault of the request.
    pub(super) fn is_failure(&self) -> bool {
        self.status.is_server_error()
    }

    /// Says how to go on.
    pub(super) fn with_advice(mut self, advice: &str) -> Self {
        self.reason = format!("{}: {advice}", self.reason);
        self
    }

    #[cfg(test)]
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// Keeps the methods the router says are allowed.
    pub(super) fn with_allow(mut self, allow: Option<HeaderValue>) -> Self {
        self.allow = allow;
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::validation(invalid.0)
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated(reason) => Self::new(Code::Unauthenticated, reason),
            Denied::Forbidden(reason) => Self::new(Code::Forbidden, reason),
            Denied::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let with_hint = |error: &StoreError| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        match &error {
            StoreError::ConsumerNotFound { .. } => Self::validation(with_hint(&error)),
            StoreError::BundleNotFound { id } => Self::not_found("ResourceBundle", id),
            StoreError::ConsumerInUse { .. } => Self::new(Code::Forbidden, with_hint(&error)),
            StoreError::ConsumerExists { .. }
            | StoreError::ConsumerSeen { .. }
            | StoreError::BundleExists { .. }
            | StoreError::BundleDeleting { .. }
            | StoreError::VersionExhausted { .. } => Self::new(Code::Conflict, with_hint(&error)),
            StoreError::VersionConflict { latest, .. } => Self {
                latest_version: Some(latest.get()),
                ..Self::new(Code::Conflict, error.to_string())
            },
            StoreError::Corrupt { .. }
            | StoreError::Panicked
            | StoreError::Fenced { .. }
            | StoreError::PositionLost => {
                error!(error = chain(&error), "A request failed in the store");
                Self::new(Code::General, FAILED)
            }
            StoreError::Unavailable { reason } => {
                Self::unavailable(format!("the store is not available: {reason}"))
            }
            StoreError::Overloaded { .. } => Self::busy(&error.to_string()),
            StoreError::Deadline { .. } => {
                Self::unavailable(format!("{error}; ask for less, or try again later"))
            }
            StoreError::Open { .. } | StoreError::Driver { .. } | StoreError::Closed => {
                // The store logs its failures, once per kind and minute.
                debug!(error = chain(&error), "A request failed in the store");
                match error.class() {
                    // Details of the database stay in the log.
                    Some(class) if error.is_retryable() => {
                        Self::unavailable(format!("{FAILED}: {}", class.meaning()))
                    }
                    _ => Self::new(Code::General, FAILED),
                }
            }
        }
    }
}

const FAILED: &str = "the store failed on this request";

// Long enough for a full disk to be noticed and short enough for a script.
const RETRY_SECONDS: &str = "5";
