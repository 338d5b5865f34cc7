//! Extractor of the id or name at the end of a path.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::error::ApiError;

/// What an object is asked for by, decoded. Like [`Path`], but what cannot be decoded is told as any other failure.
#[derive(Debug)]
pub(super) struct Reference(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Reference {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(ApiError::bad_request(
                "the id in the path is not UTF-8 text",
            )),
        }
    }
}
