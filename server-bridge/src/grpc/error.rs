//! What a caller is told when a call fails. Go clients read the status message as JSON of a Kubernetes `StatusError`
//! (docs/GRPC.md §3), so that `IsConflict`, `IsAlreadyExists` and their like answer; other JSON reads as an empty error, and any
//! other text as "publish error". A message of `CloudEventService` is therefore exactly that JSON, also where `tonic` or
//! [`super::admission`] refuse a call by themselves. Without any message are only what HTTP/2 refuses before there is a call (a
//! head of more than 32 KiB is answered with HTTP status 431) and streams that are reset.

use link::error::{Hint as _, chain};
use link::telemetry::clip;
use serde_json::json;
use tonic::{Code, Status};
use tracing::{debug, error};

use crate::callers::Denied;
use crate::store::StoreError;
use crate::validate::Invalid;

/// Why a call is refused or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    reason: Reason,
    message: String,
    /// The bundle it is about.
    name: Option<String>,
}

/// A reason that Kubernetes clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Conflict,
    NotFound,
    AlreadyExists,
    Invalid,
    Forbidden,
    Unauthorized,
    TooLarge,
    UnknownMethod,
    Encoding,
    Unavailable,
    Internal,
}

// === impl Reason ===

impl Reason {
    const fn word(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Invalid => "Invalid",
            Self::Forbidden => "Forbidden",
            Self::Unauthorized => "Unauthorized",
            Self::TooLarge => "RequestEntityTooLarge",
            Self::UnknownMethod => "MethodNotAllowed",
            Self::Encoding => "UnsupportedMediaType",
            Self::Unavailable => "ServiceUnavailable",
            Self::Internal => "InternalError",
        }
    }

    /// The HTTP status that Kubernetes gives it.
    const fn number(self) -> u16 {
        match self {
            Self::Conflict | Self::AlreadyExists => 409,
            Self::NotFound => 404,
            Self::Invalid => 422,
            Self::Forbidden => 403,
            Self::Unauthorized => 401,
            Self::TooLarge => 413,
            Self::UnknownMethod => 405,
            Self::Encoding => 415,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    const fn code(self) -> Code {
        match self {
            Self::Conflict => Code::Aborted,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::Invalid => Code::InvalidArgument,
            Self::Forbidden => Code::PermissionDenied,
            Self::Unauthorized => Code::Unauthenticated,
            Self::TooLarge => Code::ResourceExhausted,
            Self::UnknownMethod | Self::Encoding => Code::Unimplemented,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            name: None,
        }
    }

    /// What was sent breaks a rule.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::Invalid, message)
    }

    /// It may be tried again.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::Unavailable, message)
    }

    /// Another source's bundle is as unknown to a source as none.
    pub(super) fn not_found(id: &str) -> Self {
        Self::new(
            Reason::NotFound,
            format!("resource bundle `{}` does not exist", clip(id, NAME_BYTES)),
        )
        .about(id)
    }

    /// The id is taken by something else than what is asked for.
    pub(super) fn already_exists(id: &str, why: &str) -> Self {
        let shown = clip(id, NAME_BYTES);
        Self::new(
            Reason::AlreadyExists,
            format!("resource bundle `{shown}` already exists{why}"),
        )
        .about(id)
    }

    /// Names the bundle it is about.
    pub(super) fn about(mut self, id: &str) -> Self {
        self.name = Some(clip(id, NAME_BYTES).into_owned());
        self
    }

    #[cfg(test)]
    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whether the caller or its request is why, as opposed to this server.
    pub(super) fn is_the_callers(&self) -> bool {
        !matches!(self.reason, Reason::Unavailable | Reason::Internal)
    }

    /// What the store says of the bundle `id`.
    pub(super) fn of_store(error: &StoreError, id: &str) -> Self {
        match error {
            StoreError::ConsumerNotFound { consumer } => Self::invalid(format!(
                // Go users look for the name of Maestro's constraint (docs/GRPC.md rule 11).
                "consumer `{consumer}` is not registered (violates foreign key constraint \
                 \"fk_resources_consumers\"); register it with `POST /api/maestro/v1/consumers`"
            ))
            .about(id),
            StoreError::BundleNotFound { .. } => Self::not_found(id),
            StoreError::BundleExists { .. } => Self::already_exists(id, ""),
            StoreError::VersionConflict { .. } => {
                Self::new(Reason::Conflict, error.to_string()).about(id)
            }
            StoreError::BundleDeleting { .. } => Self::deleting(id),
            StoreError::VersionExhausted { .. } => {
                Self::new(Reason::Conflict, error.to_string()).about(id)
            }
            _ if error.is_retryable() => {
                // The store logs its failures, once per kind and minute.
                debug!(error = chain(error), "A call failed in the store");
                let hint = error.hint().map(|hint| format!("; {hint}"));
                let class = error.class().map_or("", |class| class.meaning());
                Self::unavailable(format!(
                    "the store is not available now{}{class}{}",
                    if class.is_empty() { "" } else { ": " },
                    hint.unwrap_or_default()
                ))
            }
            _ => {
                error!(error = chain(error), "A call failed in the store");
                Self::new(Reason::Internal, "the store failed on this call")
            }
        }
    }

    /// A bundle that is being deleted takes no change; the words are Maestro's.
    pub(super) fn deleting(id: &str) -> Self {
        let shown = clip(id, NAME_BYTES);
        Self::new(
            Reason::Conflict,
            format!("the resource is under deletion, id: {shown}"),
        )
        .about(id)
    }

    /// What `tonic` says by itself, before or after a handler, in words that a Go client understands.
    pub(super) fn of_status(status: &Status) -> Self {
        let message = status.message();
        let reason = match status.code() {
            _ if message.contains("message length too large") => {
                return Self::new(
                    Reason::TooLarge,
                    format!("the message is longer than {} bytes", super::MESSAGE_BYTES),
                );
            }
            // Of a method nobody knows `tonic` says nothing but the code.
            Code::Unimplemented if message.is_empty() => {
                return Self::new(
                    Reason::UnknownMethod,
                    "there is no such method; `io.cloudevents.v1.CloudEventService` has `Publish` and `Subscribe`",
                );
            }
            Code::Unimplemented => Reason::Encoding,
            _ if message.contains("decode Protobuf") || message.contains("decoding") => {
                Reason::Invalid
            }
            Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => Reason::Invalid,
            Code::ResourceExhausted => Reason::TooLarge,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Reason::Unavailable,
            _ => Reason::Internal,
        };
        Self::new(reason, message)
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.0)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated(why) => Self::new(Reason::Unauthorized, why),
            Denied::Forbidden(why) => Self::new(Reason::Forbidden, why),
            Denied::Unavailable(why) => Self::unavailable(why),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let Refusal {
            reason,
            message,
            name,
        } = refusal;
        let mut status = json!({
            "status": "Failure",
            "reason": reason.word(),
            "code": reason.number(),
            "message": clip(&message, TEXT_BYTES),
        });
        if let Some(name) = name {
            status["details"] = json!({"group": GROUP, "kind": KIND, "name": name});
        }
        Self::new(reason.code(), json!({ "ErrStatus": status }).to_string())
    }
}

// What Go clients take a bundle for.
const GROUP: &str = "work.open-cluster-management.io";
const KIND: &str = "manifestworks";

// It travels in a header, of which some clients take 8 KiB, percent-encoded.
const TEXT_BYTES: usize = 2048;
const NAME_BYTES: usize = 253;

#[cfg(test)]
mod tests {
    use link::order::Version;

    use super::*;

    fn told(refusal: Refusal) -> String {
        let status = Status::from(refusal);
        format!("{:?} {}", status.code(), status.message())
    }

    #[test]
    fn a_message_is_the_json_that_go_clients_parse_and_keeps_the_known_phrases() {
        let conflict = StoreError::VersionConflict {
            id: "b".into(),
            expected: Version::FIRST,
            latest: Version::new(7).unwrap(),
        };
        let unknown = StoreError::ConsumerNotFound {
            consumer: "c".into(),
        };
        let told: Vec<String> = [
            Refusal::of_store(&conflict, "b"),
            Refusal::of_store(&unknown, "b"),
            Refusal::of_store(&StoreError::BundleDeleting { id: "b".into() }, "b"),
            Refusal::of_store(&StoreError::BundleNotFound { id: "b".into() }, "b"),
            Refusal::already_exists("b", ""),
            Refusal::invalid("type: \"x\" is no type"),
            Denied::Forbidden("no".into()).into(),
            Denied::Unauthenticated("who".into()).into(),
            Refusal::of_store(
                &StoreError::Unavailable {
                    reason: "away".into(),
                },
                "b",
            ),
            Refusal::of_store(&StoreError::Panicked, "b"),
        ]
        .map(told)
        .to_vec();
        insta::assert_snapshot!(told.join("\n"), @r#"
Aborted {"ErrStatus":{"code":409,"details":{"group":"work.open-cluster-management.io","kind":"manifestworks","name":"b"},"message":"the resource version is not the latest, the latest version: 7","reason":"Conflict","status":"Failure"}}
InvalidArgument {"ErrStatus":{"code":422,"details":{"group":"work.open-cluster-management.io","kind":"manifestworks","name":"b"},"message":"consumer `c` is not registered (violates foreign key constraint \"fk_resources_consumers\"); register it with `POST /api/maestro/v1/consumers`","reason":"Invalid","status":"Failure"}}
Aborted {"ErrStatus":{"code":409,"details":{"group":"work.open-cluster-management.io","kind":"manifestworks","name":"b"},"message":"the resource is under deletion, id: b","reason":"Conflict","status":"Failure"}}
NotFound {"ErrStatus":{"code":404,"details":{"group":"work.open-cluster-management.io","kind":"manifestworks","name":"b"},"message":"resource bundle `b` does not exist","reason":"NotFound","status":"Failure"}}
AlreadyExists {"ErrStatus":{"code":409,"details":{"group":"work.open-cluster-management.io","kind":"manifestworks","name":"b"},"message":"resource bundle `b` already exists","reason":"AlreadyExists","status":"Failure"}}
InvalidArgument {"ErrStatus":{"code":422,"message":"type: \"x\" is no type","reason":"Invalid","status":"Failure"}}
PermissionDenied {"ErrStatus":{"code":403,"message":"no","reason":"Forbidden","status":"Failure"}}
Unauthenticated {"ErrStatus":{"code":401,"message":"who","reason":"Unauthorized","status":"Failure"}}
Unavailable {"ErrStatus":{"code":503,"message":"the store is not available now","reason":"ServiceUnavailable","status":"Failure"}}
Internal {"ErrStatus":{"code":500,"message":"the store failed on this call","reason":"InternalError","status":"Failure"}}
"#);
    }

    #[test]
    fn what_the_library_says_is_worded_alike_and_bounded() {
        let large = Status::out_of_range(
            "Error, decoded message length too large: found 4194305 bytes, the limit is: 4194304 bytes",
        );
        let refusal = Refusal::of_status(&large);
        assert_eq!(refusal.reason(), Reason::TooLarge);
        assert_eq!(
            refusal.message(),
            "the message is longer than 4194304 bytes"
        );
        let broken = Status::internal("failed to decode Protobuf message: buffer underflow");
        assert_eq!(Refusal::of_status(&broken).reason(), Reason::Invalid);
        let long = Status::from(Refusal::invalid("x".repeat(100_000)));
        assert!(long.message().len() < 3000, "{}", long.message().len());
    }
}
