//! Maestro's catalogue of error codes (docs/MAESTRO.md §5.2).

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::PREFIX;

/// A kind of failure with its number, as clients of the Go server know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Code {
    Forbidden,
    Conflict,
    NotFound,
    Validation,
    General,
    NotImplemented,
    Unauthenticated,
    Malformed,
    BadRequest,
    Search,
    Route,
}

// === impl Code ===

impl Code {
    /// Every entry of the catalogue.
    pub(in crate::api) const ALL: &'static [Self] = &[
        Self::Forbidden,
        Self::Conflict,
        Self::NotFound,
        Self::Validation,
        Self::General,
        Self::NotImplemented,
        Self::Unauthenticated,
        Self::Malformed,
        Self::BadRequest,
        Self::Search,
        Self::Route,
    ];

    const fn number(self) -> u16 {
        match self {
            Self::Forbidden => 4,
            Self::Conflict => 6,
            Self::NotFound => 7,
            Self::Validation => 8,
            Self::General => 9,
            Self::NotImplemented => 10,
            Self::Unauthenticated => 15,
            Self::Malformed => 17,
            Self::BadRequest => 21,
            Self::Search => 23,
            Self::Route => 404,
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Conflict => StatusCode::CONFLICT,
            Self::NotFound | Self::Route => StatusCode::NOT_FOUND,
            Self::Validation | Self::Malformed | Self::BadRequest | Self::Search => {
                StatusCode::BAD_REQUEST
            }
            Self::General => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Forbidden => "Forbidden to perform this action",
            Self::Conflict => "An entity with the specified unique values already exists",
            Self::NotFound => "Resource not found",
            Self::Validation => "General validation failure",
            Self::General => "Unspecified error",
            Self::NotImplemented => "HTTP method not implemented for this endpoint",
            Self::Unauthenticated => "Account authentication could not be verified",
            Self::Malformed => "Unable to read request body",
            Self::BadRequest => "Bad request",
            Self::Search => "Failed to parse search query",
            Self::Route => "The requested resource doesn't exist",
        }
    }

    /// The catalogue's entry.
    pub(in crate::api) fn entry(self) -> Value {
        let number = self.number();
        json!({
            "id": number.to_string(),
            "kind": "Error",
            "href": format!("{PREFIX}/errors/{number}"),
            "code": format!("maestro-{number}"),
            "reason": self.meaning(),
        })
    }

    /// The entry with this number.
    pub(in crate::api) fn find(number: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.number().to_string() == number)
    }
}
