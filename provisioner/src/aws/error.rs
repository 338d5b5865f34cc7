//! What went wrong in a call to AWS, in classes that decide what to do next.
//!
//! ```text
//! aws.iot.get_policy().policy_name(name).send().await.during("iot:GetPolicy", name).optional()?
//! ```
//! A request that carries a secret uses [`Outcome::during_secret`]: AWS sometimes repeats the input it did not like.

use aws_sdk_iot::error::{ProvideErrorMetadata, SdkError};
use link::error::Hint;

use crate::scope::Scope;

/// A call to AWS did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} `{object}`: {message}")]
pub struct AwsError {
    action: String,
    object: String,
    kind: AwsErrorKind,
    code: Option<String>,
    message: String,
}

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AwsErrorKind {
    /// There is nothing of that name.
    NotFound,
    /// Something of that name is there already.
    Exists,
    /// The caller lacks the permission the action is named after.
    Denied,
    /// Too many calls; the SDK has tried again several times already.
    Throttled,
    /// Another change has not settled yet (a role that is not visible everywhere, an attachment that is still being
    /// taken off, a database that is being modified): the same call succeeds later.
    Settling,
    /// A limit of the account or the resource is reached.
    Limit,
    /// AWS does not accept the input.
    Invalid,
    /// The credentials are wrong, expired or missing.
    Credentials,
    /// This command has no credentials for the account.
    NoCredentials,
    /// No answer: network, name, timeout.
    Unreachable,
    /// AWS failed, or answered in a way that is not known.
    Other,
}

/// Gives the outcome of a call its [`AwsError`].
pub trait Outcome<T> {
    /// `action` is the permission, such as `iot:CreatePolicy`; `object` the name of what it was done to.
    ///
    /// # Errors
    /// The classified failure.
    fn during(self, action: &'static str, object: &str) -> Result<T, AwsError>;

    /// The same for a request that carried a secret: only the error's code is kept.
    ///
    /// # Errors
    /// The classified failure.
    fn during_secret(self, action: &'static str, object: &str) -> Result<T, AwsError>;
}

/// Turns "not found" into `None`.
pub trait Optional<T> {
    /// `Ok(None)` for [`AwsErrorKind::NotFound`].
    ///
    /// # Errors
    /// Every other failure.
    fn optional(self) -> Result<Option<T>, AwsError>;

    /// Whether it was there to be changed: `Ok(false)` for [`AwsErrorKind::NotFound`].
    ///
    /// # Errors
    /// Every other failure.
    fn was_there(self) -> Result<bool, AwsError>;
}

impl<T, E, R> Outcome<T> for Result<T, SdkError<E, R>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    fn during(self, action: &'static str, object: &str) -> Result<T, AwsError> {
        self.map_err(|error| AwsError::of(action, object, &error, true))
    }

    fn during_secret(self, action: &'static str, object: &str) -> Result<T, AwsError> {
        self.map_err(|error| AwsError::of(action, object, &error, false))
    }
}

impl<T> Optional<T> for Result<T, AwsError> {
    fn optional(self) -> Result<Option<T>, AwsError> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn was_there(self) -> Result<bool, AwsError> {
        self.optional().map(|found| found.is_some())
    }
}

// === impl AwsError ===

impl AwsError {
    /// An error that does not come from the SDK, such as an answer without a field that is always there.
    pub fn new(
        kind: AwsErrorKind,
        action: impl Into<String>,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            action: action.into(),
            object: object.into(),
            kind,
            code: None,
            message: message.into(),
        }
    }

    /// What the failure means.
    pub fn kind(&self) -> AwsErrorKind {
        self.kind
    }

    /// The permission that the call needs, such as `iot:CreatePolicy`.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// AWS's name for the failure, if it answered.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    pub(crate) fn no_credentials(scope: &Scope) -> Self {
        Self::new(
            AwsErrorKind::NoCredentials,
            "find credentials for",
            scope.to_string(),
            "this command has none",
        )
    }

    fn of<E, R>(action: &str, object: &str, error: &SdkError<E, R>, tell: bool) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let (kind, code, message) = match error {
            SdkError::ServiceError(answer) => {
                let meta = answer.err().meta();
                let code = meta.code().map(str::to_owned);
                let said = meta.message().unwrap_or("AWS gave no reason").to_owned();
                (classify(code.as_deref(), &said), code, said)
            }
            SdkError::ConstructionFailure(_) => {
                let said = "the request could not be made".to_owned();
                (AwsErrorKind::Invalid, None, said)
            }
            SdkError::TimeoutError(_) => {
                (AwsErrorKind::Unreachable, None, "no answer in time".into())
            }
            SdkError::DispatchFailure(failure) => {
                let inner = failure.as_connector_error();
                let said = inner.map_or_else(
                    || "the request could not be sent".to_owned(),
                    |error| link::error::chain(error),
                );
                let credentials = said.contains("credentials") || said.contains("identity");
                let kind = if credentials {
                    AwsErrorKind::Credentials
                } else {
                    AwsErrorKind::Unreachable
                };
                (kind, None, said)
            }
            _ => (
                AwsErrorKind::Other,
                None,
                "the answer could not be read".to_owned(),
            ),
        };
        let message = match (&code, tell) {
            (Some(code), true) => format!("{message} ({code})"),
            (Some(code), false) => code.clone(),
            (None, true) => message,
            (None, false) => "the call failed".to_owned(),
        };
        Self {
            action: action.to_owned(),
            object: object.to_owned(),
            kind,
            code,
            message,
        }
    }
}

impl Hint for AwsError {
    fn hint(&self) -> Option<String> {
        let action = &self.action;
        Some(match self.kind {
            AwsErrorKind::Denied => {
                format!("give the caller permission `{action}` on `{}`", self.object)
            }
            AwsErrorKind::Throttled => {
                "run the same command again in a minute; it goes on where it stopped".into()
            }
            AwsErrorKind::Settling => {
                "run the same command again; it goes on where it stopped".into()
            }
            AwsErrorKind::Limit => {
                "raise the quota in Service Quotas, or remove what is not needed".into()
            }
            AwsErrorKind::Credentials => {
                "sign in again, or name another profile with `--profile`".into()
            }
            AwsErrorKind::NoCredentials => format!(
                "give a profile with `--profile {}=NAME`, or `access:` in the file",
                self.object
            ),
            AwsErrorKind::Unreachable => "check the network and the region's name".into(),
            AwsErrorKind::NotFound
            | AwsErrorKind::Exists
            | AwsErrorKind::Invalid
            | AwsErrorKind::Other => {
                return None;
            }
        })
    }
}

/// The class of AWS's error code; for some services only the message tells.
fn classify(code: Option<&str>, message: &str) -> AwsErrorKind {
    let Some(code) = code else {
        return AwsErrorKind::Other;
    };
    let settling = [
        "try again",
        "in progress",
        "being modified",
        "cannot be assumed",
        "not in available state",
        // EKS does not see a role, or its trust, as soon as IAM has made it.
        "Role provided in the request does not exist",
        "Trust policy of the role provided is invalid",
        // Secrets Manager keeps a name for some seconds after a deletion without recovery.
        "already scheduled for deletion",
        "still attached",
    ];
    match code {
        _ if CODES.iter().any(|(known, _)| *known == code) => {
            let found = CODES.iter().find(|(known, _)| *known == code);
            found.map_or(AwsErrorKind::Other, |(_, kind)| *kind)
        }
        _ if settling.iter().any(|words| message.contains(words)) => AwsErrorKind::Settling,
        _ if code.contains("NotFound") || code.contains("NoSuchEntity") => AwsErrorKind::NotFound,
        _ if code.contains("AlreadyExists") || code.ends_with(".Duplicate") => AwsErrorKind::Exists,
        _ if code.contains("AccessDenied") || code.contains("Unauthorized") => AwsErrorKind::Denied,
        _ if code.contains("Throttl") || code.contains("TooManyRequests") => {
            AwsErrorKind::Throttled
        }
        _ if code.contains("LimitExceeded") || code.contains("QuotaExceeded") => {
            AwsErrorKind::Limit
        }
        _ if code.contains("Invalid")
            || code.contains("Malformed")
            || code.contains("Validation") =>
        {
            AwsErrorKind::Invalid
        }
        _ => AwsErrorKind::Other,
    }
}

// Codes that the words in them would put into the wrong class.
const CODES: &[(&str, AwsErrorKind)] = &[
    ("DeleteConflictException", AwsErrorKind::Settling),
    ("DeleteConflict", AwsErrorKind::Settling),
    ("CertificateStateException", AwsErrorKind::Settling),
    ("ConflictingResourceUpdateException", AwsErrorKind::Settling),
    ("ConcurrentModification", AwsErrorKind::Settling),
    ("DependencyViolation", AwsErrorKind::Settling),
    ("InvalidDBInstanceState", AwsErrorKind::Settling),
    ("InvalidDBSubnetGroupStateFault", AwsErrorKind::Settling),
    ("InvalidDBSubnetStateFault", AwsErrorKind::Settling),
    ("DBSubnetGroupDoesNotCoverEnoughAZs", AwsErrorKind::Invalid),
    ("DBUpgradeDependencyFailure", AwsErrorKind::Invalid),
    ("KMSKeyNotAccessibleFault", AwsErrorKind::Invalid),
    ("EncryptionFailure", AwsErrorKind::Invalid),
    ("DecryptionFailure", AwsErrorKind::Denied),
    ("ResourceInUseException", AwsErrorKind::Exists),
    ("EntityAlreadyExists", AwsErrorKind::Exists),
    ("ResourceExistsException", AwsErrorKind::Exists),
    ("InvalidGroup.Duplicate", AwsErrorKind::Exists),
    ("InvalidPermission.Duplicate", AwsErrorKind::Exists),
    ("InvalidGroup.NotFound", AwsErrorKind::NotFound),
    ("InvalidPermission.NotFound", AwsErrorKind::NotFound),
    ("InvalidSubnetID.NotFound", AwsErrorKind::NotFound),
    ("InvalidVpcID.NotFound", AwsErrorKind::NotFound),
    ("InvalidClientTokenId", AwsErrorKind::Credentials),
    ("UnrecognizedClientException", AwsErrorKind::Credentials),
    ("SignatureDoesNotMatch", AwsErrorKind::Credentials),
    ("ExpiredToken", AwsErrorKind::Credentials),
    ("ExpiredTokenException", AwsErrorKind::Credentials),
    (
        "MissingAuthenticationTokenException",
        AwsErrorKind::Credentials,
    ),
    ("AuthFailure", AwsErrorKind::Credentials),
    ("RequestLimitExceeded", AwsErrorKind::Throttled),
    ("VersionsLimitExceededException", AwsErrorKind::Limit),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_words_tell_is_tried_again() {
        let eks = |message| classify(Some("InvalidParameterException"), message);
        assert_eq!(
            eks("Role provided in the request does not exist."),
            AwsErrorKind::Settling
        );
        assert_eq!(eks("Namespace is not valid"), AwsErrorKind::Invalid);
        let secrets = |message| classify(Some("InvalidRequestException"), message);
        assert_eq!(
            secrets(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            ),
            AwsErrorKind::Settling
        );
    }

    #[test]
    fn a_group_that_is_still_used_is_tried_again_and_a_missing_zone_is_not() {
        let class = |code| classify(Some(code), "");
        assert_eq!(class("DependencyViolation"), AwsErrorKind::Settling);
        assert_eq!(
            class("InvalidDBSubnetGroupStateFault"),
            AwsErrorKind::Settling
        );
        assert_eq!(
            class("DBSubnetGroupDoesNotCoverEnoughAZs"),
            AwsErrorKind::Invalid
        );
        assert_eq!(class("DBInstanceNotFound"), AwsErrorKind::NotFound);
        assert_eq!(class("DBInstanceAlreadyExists"), AwsErrorKind::Exists);
    }
}
