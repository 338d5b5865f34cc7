//! How answers and refusals are spelled: status, `x-amzn-errortype` and JSON of the API reference.

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::broker::{DirectError, RegistryError};
use crate::pki::SigningError;

/// What an operation comes to.
pub(super) type Answer = Result<Json<Value>, Refusal>;

/// What an operation comes to that gives no body, not even `{}`.
pub(super) type NoContent = Result<(), Refusal>;

/// An error as a client of AWS sees it.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: Kind,
    message: String,
    // Id and resource name of what is there already.
    existing: Option<(String, String)>,
}

/// Errors of AWS IoT that occur here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    CertificateState,
    DeleteConflict,
    Denied,
    Forbidden,
    GatewayTimeout,
    InternalFailure,
    InvalidRequest,
    LimitExceeded,
    MalformedPolicy,
    ResourceAlreadyExists,
    RequestEntityTooLarge,
    ResourceNotFound,
    Throttling,
    UnknownOperation,
    VersionConflict,
    VersionsLimitExceeded,
}

/// Nothing to say: `{}`.
pub(super) fn empty() -> Json<Value> {
    Json(json!({}))
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            existing: None,
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::ResourceNotFound, message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::DeleteConflict, message)
    }

    /// Names what is there already.
    pub(super) fn existing(message: String, id: &str, arn: String) -> Self {
        Self {
            existing: Some((id.to_owned(), arn)),
            ..Self::new(Kind::ResourceAlreadyExists, message)
        }
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        let kind = match &error {
            E::Pem(_) | E::Certificate(_) | E::ThingAttached(_) | E::TooManyAttributes { .. } => {
                Kind::InvalidRequest
            }
            E::UnknownCertificate(_)
            | E::UnknownPolicy(_)
            | E::UnknownVersion { .. }
            | E::UnknownThing(_) => Kind::ResourceNotFound,
            E::Revoked(_) | E::CertificateActive(_) => Kind::CertificateState,
            // LimitExceededException is not among CreatePolicy's errors.
            E::Policy { .. } => Kind::MalformedPolicy,
            E::TooManyPolicies { .. } | E::TooManyTags(_) => Kind::LimitExceeded,
            E::TooManyVersions(_) => Kind::VersionsLimitExceeded,
            E::PolicyExists(_) | E::ThingExists { .. } => Kind::ResourceAlreadyExists,
            E::PolicyHasVersions(_)
            | E::PolicyAttached(_)
            | E::DefaultVersion { .. }
            | E::CertificateHasPolicies(_)
            | E::CertificateHasThings(_) => Kind::DeleteConflict,
            E::ThingVersion { .. } => Kind::VersionConflict,
            E::File { .. } => Kind::InternalFailure,
        };
        Self::new(kind, chain(&error))
    }
}

impl From<DirectError> for Refusal {
    fn from(error: DirectError) -> Self {
        let kind = match error {
            DirectError::Topic => Kind::InvalidRequest,
            DirectError::TooLarge => Kind::RequestEntityTooLarge,
            DirectError::NotConnected => Kind::ResourceNotFound,
            DirectError::NotAllowed => Kind::Denied,
            DirectError::Full => Kind::Throttling,
            DirectError::NotConfirmed => Kind::GatewayTimeout,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<SigningError> for Refusal {
    fn from(error: SigningError) -> Self {
        let kind = match &error {
            SigningError::Pem(_) | SigningError::Request(_) | SigningError::Key => {
                Kind::InvalidRequest
            }
            SigningError::Sign(_) => Kind::InternalFailure,
        };
        Self::new(kind, chain(&error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({ "message": self.message });
        if let Some((id, arn)) = self.existing {
            body["resourceId"] = id.into();
            body["resourceArn"] = arn.into();
        }
        let kind = HeaderValue::from_static(self.kind.name());
        let headers = [("x-amzn-errortype", kind)];
        (self.kind.status(), headers, Json(body)).into_response()
    }
}

// === impl Kind ===

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::CertificateState => "CertificateStateException",
            Self::DeleteConflict => "DeleteConflictException",
            Self::Denied => "ForbiddenException",
            Self::GatewayTimeout => "GatewayTimeoutException",
            Self::RequestEntityTooLarge => "RequestEntityTooLargeException",
            Self::Throttling => "ThrottlingException",
            Self::Forbidden => "MissingAuthenticationTokenException",
            Self::InternalFailure => "InternalFailureException",
            Self::InvalidRequest => "InvalidRequestException",
            Self::LimitExceeded => "LimitExceededException",
            Self::MalformedPolicy => "MalformedPolicyException",
            Self::ResourceAlreadyExists => "ResourceAlreadyExistsException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::VersionConflict => "VersionConflictException",
            Self::VersionsLimitExceeded => "VersionsLimitExceededException",
        }
    }

    /// As in the API reference, which gives each error one status.
    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::MalformedPolicy => StatusCode::BAD_REQUEST,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::RequestEntityTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Throttling => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::ResourceNotFound | Self::UnknownOperation => StatusCode::NOT_FOUND,
            Self::CertificateState => StatusCode::NOT_ACCEPTABLE,
            Self::DeleteConflict
            | Self::ResourceAlreadyExists
            | Self::VersionConflict
            | Self::VersionsLimitExceeded => StatusCode::CONFLICT,
            Self::LimitExceeded => StatusCode::GONE,
            Self::InternalFailure => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
