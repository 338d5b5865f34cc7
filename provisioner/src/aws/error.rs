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
pub struct Error {
    action: String,
    object: String,
    kind: ErrorKind,
    code: Option<String>,
    message: String,
}

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
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

/// Gives the outcome of a call its [`Error`].
pub trait Outcome<T> {
    /// `action` is the permission, such as `iot:CreatePolicy`; `object` the name of what it was done to.
    ///
    /// # Errors
    /// The classified failure.
    fn during(self, action: &'static str, object: &str) -> Result<T, Error>;

    /// The same for a request that carried a secret: only the error's code is kept.
    ///
    /// # Errors
    /// The classified failure.
    fn during_secret(self, action: &'static str, object: &str) -> Result<T, Error>;
}

/// Turns "not found" into `None`.
pub trait Optional<T> {
    /// `Ok(None)` for [`ErrorKind::NotFound`].
    ///
    /// # Errors
    /// Every other failure.
    fn optional(self) -> Result<Option<T>, Error>;

    /// Whether it was there to be changed: `Ok(false)` for [`ErrorKind::NotFound`].
    ///
    /// # Errors
    /// Every other failure.
    fn was_there(self) -> Result<bool, Error>;
}

impl<T, E, R> Outcome<T> for Result<T, SdkError<E, R>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    fn during(self, action: &'static str, object: &str) -> Result<T, Error> {
        self.map_err(|error| Error::of(action, object, &error, true))
    }

    fn during_secret(self, action: &'static str, object: &str) -> Result<T, Error> {
        self.map_err(|error| Error::of(action, object, &error, false))
    }
}

impl<T> Optional<T> for Result<T, Error> {
    fn optional(self) -> Result<Option<T>, Error> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn was_there(self) -> Result<bool, Error> {
        self.optional().map(|found| found.is_some())
    }
}

// === impl Error ===

impl Error {
    /// An error that does not come from the SDK, such as an answer without a field that is always there.
    pub fn new(
        kind: ErrorKind,
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
    pub fn kind(&self) -> ErrorKind {
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
            ErrorKind::NoCredentials,
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
                (ErrorKind::Invalid, None, said)
            }
            SdkError::TimeoutError(_) => (ErrorKind::Unreachable, None, "no answer in time".into()),
            SdkError::DispatchFailure(failure) => {
                let inner = failure.as_connector_error();
                let said = inner.map_or_else(
                    || "the request could not be sent".to_owned(),
                    |error| link::error::chain(error),
                );
                let credentials = said.contains("credentials") || said.contains("identity");
                let kind = if credentials {
                    ErrorKind::Credentials
                } else {
                    ErrorKind::Unreachable
                };
                (kind, None, said)
            }
            _ => (
                ErrorKind::Other,
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

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let action = &self.action;
        Some(match self.kind {
            ErrorKind::Denied => {
                format!("give the caller permission `{action}` on `{}`", self.object)
            }
            ErrorKind::Throttled => {
                "run the same command again in a minute; it goes on where it stopped".into()
            }
            ErrorKind::Settling => "run the same command again; it goes on where it stopped".into(),
            ErrorKind::Limit => {
                "raise the quota in Service Quotas, or remove what is not needed".into()
            }
            ErrorKind::Credentials => {
                "sign in again, or name another profile with `--profile`".into()
            }
            ErrorKind::NoCredentials => format!(
                "give a profile with `--profile {}=NAME`, or `access:` in the file",
                self.object
            ),
            ErrorKind::Unreachable => "check the network and the region's name".into(),
            ErrorKind::NotFound | ErrorKind::Exists | ErrorKind::Invalid | ErrorKind::Other => {
                return None;
            }
        })
    }
}

/// The class of AWS's error code; for some services only the message tells.
fn classify(code: Option<&str>, message: &str) -> ErrorKind {
    let Some(code) = code else {
        return ErrorKind::Other;
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
            found.map_or(ErrorKind::Other, |(_, kind)| *kind)
        }
        _ if settling.iter().any(|words| message.contains(words)) => ErrorKind::Settling,
        _ if code.contains("NotFound") || code.contains("NoSuchEntity") => ErrorKind::NotFound,
        _ if code.contains("AlreadyExists") || code.ends_with(".Duplicate") => ErrorKind::Exists,
        _ if code.contains("AccessDenied") || code.contains("Unauthorized") => ErrorKind::Denied,
        _ if code.contains("Throttl") || code.contains("TooManyRequests") => ErrorKind::Throttled,
        _ if code.contains("LimitExceeded") || code.contains("QuotaExceeded") => ErrorKind::Limit,
        _ if code.contains("Invalid")
            || code.contains("Malformed")
            || code.contains("Validation") =>
        {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Other,
    }
}

// Codes that the words in them would put into the wrong class.
const CODES: &[(&str, ErrorKind)] = &[
    ("DeleteConflictException", ErrorKind::Settling),
    ("DeleteConflict", ErrorKind::Settling),
    ("CertificateStateException", ErrorKind::Settling),
    ("ConflictingResourceUpdateException", ErrorKind::Settling),
    ("ConcurrentModification", ErrorKind::Settling),
    ("DependencyViolation", ErrorKind::Settling),
    ("InvalidDBInstanceState", ErrorKind::Settling),
    ("InvalidDBSubnetGroupStateFault", ErrorKind::Settling),
    ("InvalidDBSubnetStateFault", ErrorKind::Settling),
    ("DBSubnetGroupDoesNotCoverEnoughAZs", ErrorKind::Invalid),
    ("DBUpgradeDependencyFailure", ErrorKind::Invalid),
    ("KMSKeyNotAccessibleFault", ErrorKind::Invalid),
    ("EncryptionFailure", ErrorKind::Invalid),
    ("DecryptionFailure", ErrorKind::Denied),
    ("ResourceInUseException", ErrorKind::Exists),
    ("EntityAlreadyExists", ErrorKind::Exists),
    ("ResourceExistsException", ErrorKind::Exists),
    ("InvalidGroup.Duplicate", ErrorKind::Exists),
    ("InvalidPermission.Duplicate", ErrorKind::Exists),
    ("InvalidGroup.NotFound", ErrorKind::NotFound),
    ("InvalidPermission.NotFound", ErrorKind::NotFound),
    ("InvalidSubnetID.NotFound", ErrorKind::NotFound),
    ("InvalidVpcID.NotFound", ErrorKind::NotFound),
    ("InvalidClientTokenId", ErrorKind::Credentials),
    ("UnrecognizedClientException", ErrorKind::Credentials),
    ("SignatureDoesNotMatch", ErrorKind::Credentials),
    ("ExpiredToken", ErrorKind::Credentials),
    ("ExpiredTokenException", ErrorKind::Credentials),
    (
        "MissingAuthenticationTokenException",
        ErrorKind::Credentials,
    ),
    ("AuthFailure", ErrorKind::Credentials),
    ("RequestLimitExceeded", ErrorKind::Throttled),
    ("VersionsLimitExceededException", ErrorKind::Limit),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_words_tell_is_tried_again() {
        let eks = |message| classify(Some("InvalidParameterException"), message);
        assert_eq!(
            eks("Role provided in the request does not exist."),
            ErrorKind::Settling
        );
        assert_eq!(eks("Namespace is not valid"), ErrorKind::Invalid);
        let secrets = |message| classify(Some("InvalidRequestException"), message);
        assert_eq!(
            secrets(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            ),
            ErrorKind::Settling
        );
    }

    #[test]
    fn a_group_that_is_still_used_is_tried_again_and_a_missing_zone_is_not() {
        let class = |code| classify(Some(code), "");
        assert_eq!(class("DependencyViolation"), ErrorKind::Settling);
        assert_eq!(class("InvalidDBSubnetGroupStateFault"), ErrorKind::Settling);
        assert_eq!(
            class("DBSubnetGroupDoesNotCoverEnoughAZs"),
            ErrorKind::Invalid
        );
        assert_eq!(class("DBInstanceNotFound"), ErrorKind::NotFound);
        assert_eq!(class("DBInstanceAlreadyExists"), ErrorKind::Exists);
    }
}
