//! Request bodies: one JSON object whose every member is known, or a refusal that names the one that is not.
//!
//! Reading is bounded: bytes of one body, time for one body, bytes of all bodies that are in hand (a client that sends
//! nothing holds nothing of them), and the JSON values of one body and of all ([`room`]).

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Context;
use super::error::{ApiError, Code};
use crate::store::Store;
use crate::validate::{Room, Unreadable, apart, count, kind, read, room, unknown_members};

/// The members of a JSON object.
#[derive(Debug)]
pub(super) struct Object {
    members: Map<String, Value>,
    /// Given back when the request is done with what was read.
    _held: Option<(Option<OwnedSemaphorePermit>, Room)>,
}

/// What all requests together may hold of bodies.
#[derive(Clone, Debug)]
pub(super) struct BodyReader {
    bytes: Arc<Semaphore>,
    within: Duration,
}

// === impl BodyReader ===

impl Default for BodyReader {
    fn default() -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(INTAKE_BYTES)),
            within: BODY_WITHIN,
        }
    }
}

impl BodyReader {
    /// The whole body, and the permit for its bytes.
    async fn read(&self, body: Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), ApiError> {
        match timeout(self.within, self.collect(body)).await {
            Ok(read) => read,
            Err(_) => Err(ApiError::too_slow(self.within)),
        }
    }

    async fn collect(
        &self,
        body: Body,
    ) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), ApiError> {
        let mut held: Option<OwnedSemaphorePermit> = None;
        let mut text = Vec::new();
        let mut discarded = 0;
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk: Bytes = chunk
                .map_err(|_| ApiError::new(Code::Malformed, "the request body ended too early"))?;
            if discarded > 0 || text.len() + chunk.len() > BODY_BYTES {
                // Read on and kept no more: a client that is cut off while it writes does not see its answer.
                discarded += text.len() + chunk.len();
                text = Vec::new();
                held = None;
                if discarded > DISCARD_BYTES {
                    break;
                }
                continue;
            }
            let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let permit = self.bytes.clone().try_acquire_many_owned(length);
            let permit = permit.map_err(|_| ApiError::busy("too many request bodies at once"))?;
            match &mut held {
                Some(held) => held.merge(permit),
                None => held = Some(permit),
            }
            text.extend_from_slice(&chunk);
        }
        if discarded > 0 {
            return Err(ApiError::too_large(BODY_BYTES));
        }
        Ok((text, held))
    }
}

// === impl Object ===

impl Object {
    /// Refuses members that are not in the list, each with the nearest known one.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, ApiError> {
        match unknown_members(&self.members, known) {
            None => Ok(self),
            Some(told) => Err(ApiError::validation(told)),
        }
    }

    /// Takes a member; `null` counts as absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.members.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a member where `null` means "clear": outer `None` is absent, inner `None` is `null`.
    pub(super) fn take_nullable(&mut self, key: &str) -> Option<Option<Value>> {
        let value = self.members.remove(key)?;
        Some(Some(value).filter(|value| !value.is_null()))
    }

    /// Members that clients send back as they got them, strings that change nothing.
    pub(super) fn pass_over(&mut self, keys: &[&str]) -> Result<(), ApiError> {
        for key in keys {
            self.take_string(key)?;
        }
        Ok(())
    }

    /// Takes a member that must be a string.
    pub(super) fn take_string(&mut self, key: &str) -> Result<Option<String>, ApiError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(key, "a string", &other)),
        }
    }
}

impl<S: Store> FromRequest<Context<S>> for Object {
    type Rejection = ApiError;

    async fn from_request(request: Request, context: &Context<S>) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::not_json());
        }
        let (text, held) = context.intake.read(request.into_body()).await?;
        let values = count(&text);
        let room = room(values).await;
        let room = room.ok_or_else(|| ApiError::busy("too much JSON at once"))?;
        let parsed = apart(values, move || read(&text)).await;
        match parsed.ok_or_else(|| ApiError::busy("the request body could not be read"))? {
            Ok(Value::Object(members)) => Ok(Self {
                members,
                _held: Some((held, room)),
            }),
            Ok(other) => Err(ApiError::new(
                Code::Malformed,
                format!(
                    "the request body must be a JSON object, not {}",
                    kind(&other)
                ),
            )),
            Err(Unreadable::Invalid(invalid)) => Err(invalid.into()),
            Err(Unreadable::Malformed(error)) => Err(ApiError::new(
                Code::Malformed,
                format!("the request body is not JSON: {error}"),
            )),
        }
    }
}

/// `application/json`, in UTF-8: a web page must ask before it may send that.
fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE);
    let Some(given) = given.and_then(|given| given.to_str().ok()) else {
        return false;
    };
    let mut parts = given
        .split(';')
        .map(|part| part.trim().to_ascii_lowercase());
    parts.next().as_deref() == Some("application/json")
        && parts.all(|parameter| match parameter.strip_prefix("charset=") {
            Some(charset) => matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"),
            None => true,
        })
}

/// `field `x` must be a string, not a number`
pub(super) fn wrong_type(key: &str, wanted: &str, found: &Value) -> ApiError {
    ApiError::validation(format!(
        "field `{key}` must be {wanted}, not {}",
        kind(found)
    ))
}

/// The longest body: 500 KiB of manifests (docs/MAESTRO.md §2.3), four times over for white space and escapes.
pub(super) const BODY_BYTES: usize = 2 * 1024 * 1024;

/// How much of a longer one is read before its client is cut off.
const DISCARD_BYTES: usize = 8 * BODY_BYTES;

// A body of that size arrives within it at 70 KB/s.
const BODY_WITHIN: Duration = Duration::from_secs(30);

// 32 of the longest bodies, 2 000 of the usual ones; what they are parsed into is bounded by its values.
const INTAKE_BYTES: usize = 32 * BODY_BYTES;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    fn intake(bytes: usize, within: Duration) -> BodyReader {
        BodyReader {
            bytes: Arc::new(Semaphore::new(bytes)),
            within,
        }
    }

    fn reason(read: Result<(Vec<u8>, Option<OwnedSemaphorePermit>), ApiError>) -> String {
        read.unwrap_err().reason().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up_and_gives_back_what_it_held() {
        let intake = intake(100, Duration::from_secs(30));
        let half = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"a\":"))]);
        let body = Body::from_stream(half.chain(stream::pending()));
        let refused = reason(intake.read(body).await);
        assert_eq!(refused, "the request body did not arrive within 30 s");
        assert_eq!(intake.bytes.available_permits(), 100);
    }

    #[tokio::test]
    async fn bodies_are_read_up_to_the_bytes_of_all_and_refused_one_past() {
        let intake = intake(10, Duration::from_secs(30));
        let (first, held) = intake.read(Body::from("1234567")).await.unwrap();
        assert_eq!(first.len(), 7);
        assert!(intake.read(Body::from("123")).await.is_ok());
        let refused = reason(intake.read(Body::from("1234")).await);
        assert_eq!(refused, "too many request bodies at once, try again later");
        drop(held);
        assert!(intake.read(Body::from("1234567890")).await.is_ok());
    }

    #[tokio::test]
    async fn the_longest_body_is_read_and_one_byte_more_is_refused() {
        let intake = BodyReader::default();
        let body = |bytes: usize| Body::from(vec![b' '; bytes]);
        assert!(intake.read(body(BODY_BYTES)).await.is_ok());
        let refused = reason(intake.read(body(BODY_BYTES + 1)).await);
        assert_eq!(refused, "the request body is longer than 2097152 bytes");
    }

    #[test]
    fn a_body_full_of_unknown_members_is_answered_by_the_first_ones_and_their_number() {
        let members: Map<String, Value> = (0..230_000)
            .map(|number| (format!("m{number:06}"), Value::Null))
            .collect();
        let object = |members: &Map<String, Value>, count| Object {
            members: members.clone().into_iter().take(count).collect(),
            _held: None,
        };
        let refused = object(&members, 230_000).only(&["name", "labels"]);
        let reason = refused.unwrap_err().reason().to_owned();
        assert!(reason.ends_with("; and 229990 more"), "{reason}");
        assert!(reason.len() < 1000, "{}", reason.len());
        let refused = object(&members, 10).only(&["name", "labels"]);
        let reason = refused.unwrap_err().reason().to_owned();
        assert!(reason.ends_with("unknown field `m000009`, known are `name`, `labels`"));
    }

    #[test]
    fn only_json_is_json() {
        let is = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is(good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "application/jsonp",
            "application/json; charset=utf-16",
            "text/plain; application/json",
        ] {
            assert!(!is(bad), "{bad}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
