//! What can go wrong with a call, each with what to do.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::address::{HttpAddress, HttpAddressError};
use crate::error::{ExitKind, Failure, Hint};
use crate::file::ReadError;
use crate::tls::{HttpsError, TlsProblem};

/// No answer came.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// CA, certificate or key cannot be used.
    #[error("prepare TLS")]
    Files(#[source] HttpsError),
    /// The name has no address.
    #[error("look up the host of `{address}`")]
    Name {
        /// Whom it called.
        address: HttpAddress,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nobody there, or nobody lets us through.
    #[error("connect to `{address}`")]
    Connect {
        /// Whom it called.
        address: HttpAddress,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The handshake failed, or our certificate was refused after it.
    #[error("TLS with `{address}`")]
    Tls {
        /// Whom it called.
        address: HttpAddress,
        /// Why.
        #[source]
        problem: Box<TlsProblem>,
    },
    /// Nothing in time.
    #[error("`{address}` gave no answer within {} s", within.as_secs_f32())]
    NoAnswer {
        /// Whom it called.
        address: HttpAddress,
        /// How long was waited.
        within: Duration,
    },
    /// The connection ended, or something else than HTTP came.
    #[error("read an answer of `{address}`")]
    Broken {
        /// Whom it called.
        address: HttpAddress,
        /// What the library said.
        #[source]
        source: Box<dyn StdError + Send + Sync + 'static>,
    },
    /// More than is read.
    #[error("the answer of `{address}` is larger than {limit} bytes")]
    TooLarge {
        /// Whom it called.
        address: HttpAddress,
        /// The bound.
        limit: usize,
    },
}

/// A call of the region's API did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is not taken.
    #[error("option `--api`")]
    Address(#[source] HttpAddressError),
    /// A file of TLS is given for an address without TLS, where nobody would look at it.
    #[error("option `{option}` has no meaning for `{address}`, which is without TLS")]
    WithoutTls {
        /// The option as it is written.
        option: &'static str,
        /// The address.
        address: HttpAddress,
    },
    /// No answer.
    #[error("call the region's API")]
    Http(#[source] HttpError),
    /// The token cannot be read.
    #[error("token file `{}`", path.display())]
    Token {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// The token's file holds no token; what it holds is not said.
    #[error("token file `{}` holds no token: one line of visible characters", path.display())]
    NotToken {
        /// Which file.
        path: PathBuf,
    },
    /// 401: the caller is not known.
    #[error("the API does not know the caller: {reason}")]
    Unauthorized {
        /// The API's words.
        reason: String,
        /// The number under which its log tells more.
        operation: String,
    },
    /// 403: the caller is known and may not.
    #[error("the API refuses `{path}`: {reason}")]
    Forbidden {
        /// What was asked for.
        path: String,
        /// The API's words.
        reason: String,
        /// The number under which its log tells more.
        operation: String,
    },
    /// 404: there is no such thing.
    #[error("the API has no `{path}`: {reason}")]
    NotFound {
        /// What was asked for.
        path: String,
        /// The API's words.
        reason: String,
        /// The number under which its log tells more.
        operation: String,
    },
    /// Any other status that is no success.
    #[error("the API answered `{path}` with {status}: {reason}")]
    Status {
        /// What was asked for.
        path: String,
        /// The status.
        status: u16,
        /// The API's words.
        reason: String,
        /// The number under which its log tells more.
        operation: String,
    },
    /// A success that is no JSON: somebody else answers there.
    #[error("the answer to `{path}` is not the API's: no JSON")]
    NotJson {
        /// What was asked for.
        path: String,
    },
    /// JSON of something else: somebody else answers there.
    #[error("the answer to `{path}` is not the API's: JSON of something else")]
    Foreign {
        /// What was asked for.
        path: String,
    },
    /// A path that cannot be written in a request.
    #[error("`{path}` is no path")]
    Path {
        /// What was asked for.
        path: String,
    },
}

// === impl HttpError ===

impl Hint for HttpError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Files(source) => return source.hint(),
            Self::Name { .. } => "check the host's name, and DNS where this runs".into(),
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there: check the port, that the process runs, and a port-forward that ended".into()
            }
            Self::Connect { .. } => {
                "check the route, and what a firewall, security group or NetworkPolicy lets through".into()
            }
            Self::Tls { problem, .. } => match problem.as_ref() {
                TlsProblem::UnknownIssuer { .. } => {
                    "name the authority of the server's certificate as CA file".into()
                }
                TlsProblem::NameMismatch { .. } => {
                    "call the server by a name that its certificate has".into()
                }
                TlsProblem::ClientRefused { .. } | TlsProblem::ClientExpired => {
                    "give a client certificate that the server's CA for clients has signed and that is valid now".into()
                }
                TlsProblem::NotTls => "this port speaks no TLS: check the port, or `http://`".into(),
                TlsProblem::ServerExpired { .. } | TlsProblem::ServerNotYetValid { .. } => {
                    "check the clock of this machine first, then the server's certificate".into()
                }
                _ => return None,
            },
            Self::NoAnswer { .. } => {
                "packets may be dropped on the way, or the server is overloaded: try again, then look at its log".into()
            }
            Self::Broken { .. } => {
                "check that the port is the API's; with TLS the address begins with `https://`".into()
            }
            Self::TooLarge { .. } => "ask for less: a smaller page, or a search".into(),
        })
    }
}

impl HttpError {
    /// How a command ends that gives up for this.
    pub fn exit_kind(&self) -> ExitKind {
        match self {
            Self::Files(_) => ExitKind::Usage,
            Self::NoAnswer { .. } => ExitKind::Timeout,
            Self::Tls { .. } => ExitKind::Refused,
            _ => ExitKind::Failed,
        }
    }
}

// === impl ApiError ===

impl ApiError {
    /// How a command ends that gives up for this.
    pub fn exit_kind(&self) -> ExitKind {
        match self {
            Self::Address(_)
            | Self::WithoutTls { .. }
            | Self::Token { .. }
            | Self::NotToken { .. }
            | Self::Path { .. } => ExitKind::Usage,
            Self::Http(error) => error.exit_kind(),
            Self::Unauthorized { .. } | Self::Forbidden { .. } => ExitKind::Refused,
            Self::NotFound { .. }
            | Self::Status { .. }
            | Self::NotJson { .. }
            | Self::Foreign { .. } => ExitKind::Failed,
        }
    }

    /// The error as a command ends with it.
    pub fn into_failure(self) -> Failure {
        let (kind, hint) = (self.exit_kind(), self.hint());
        Failure::new(kind, self).with_hint(hint)
    }

    /// The API's answer with a status that is no success.
    pub(super) fn of_status(status: u16, path: &str, reason: String, operation: String) -> Self {
        let path = path.to_owned();
        match status {
            401 => Self::Unauthorized { reason, operation },
            403 => Self::Forbidden {
                path,
                reason,
                operation,
            },
            404 => Self::NotFound {
                path,
                reason,
                operation,
            },
            status => Self::Status {
                path,
                status,
                reason,
                operation,
            },
        }
    }
}

impl Hint for ApiError {
    fn hint(&self) -> Option<String> {
        let log = |operation: &str| match operation {
            "" => "look at the bridge's log".to_owned(),
            id => format!("look for `{id}` in the bridge's log"),
        };
        Some(match self {
            Self::Address(source) => return source.hint(),
            Self::WithoutTls { option, .. } => {
                format!("give `--api https://…`, or leave `{option}` out")
            }
            Self::Http(source) => return source.hint(),
            Self::Token { .. } | Self::NotToken { .. } => {
                "write the token alone into the file: `kubectl create token NAME > FILE`".into()
            }
            Self::Unauthorized { operation, .. } => format!(
                "give `--api-token-file`, or `--api-cert` and `--api-key`; a token may have expired; {}",
                log(operation)
            ),
            Self::Forbidden { .. } => {
                "ask for the right to read there: the rules of the bridge's callers, or RBAC".into()
            }
            Self::NotFound { .. } => {
                "check the id or name; an older bridge may not have this yet: compare the versions"
                    .into()
            }
            Self::Status {
                status: 429 | 503, ..
            } => "the bridge is busy or not ready: try again in a moment".into(),
            // The API numbers each failure of its own.
            Self::Status { operation, .. } if operation.is_empty() => {
                "check `--api`: a proxy or another server may answer there in the bridge's place"
                    .into()
            }
            Self::Status { operation, .. } => log(operation),
            Self::NotJson { .. } | Self::Foreign { .. } => {
                "check `--api`: a proxy or another server may answer there".into()
            }
            Self::Path { .. } => return None,
        })
    }
}
