//! What an error of the driver means, during an operation and while opening.

use std::io;
use std::time::Duration;

use link::tls::diagnose;
use sqlx::postgres::PgDatabaseError;

use super::super::sql::rows;
use super::super::{FailureClass, OpenError, StoreError};

/// Names the operation a driver error interrupted. Whatever fails in reading and writing here is the network.
pub(super) fn driver(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| rows::driver(operation)(network(source))
}

/// An error whose class is [`FailureClass::Unreachable`] where it is one of the way to the server, such as a name that
/// does not resolve.
pub(super) fn network(error: sqlx::Error) -> sqlx::Error {
    match error {
        sqlx::Error::Io(inner)
            if FailureClass::of(&sqlx::Error::Io(copy(&inner))) == FailureClass::Io =>
        {
            sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, inner))
        }
        error => error,
    }
}

/// The same kind, which is all that a class looks at.
fn copy(error: &io::Error) -> io::Error {
    error.kind().into()
}

/// Whether the connection can be used again after this.
pub(super) fn keeps_connection(error: &StoreError) -> bool {
    match error.class() {
        // Nothing says so but a connection that was lost.
        None => !matches!(error, StoreError::Unavailable { .. }),
        Some(class) => matches!(
            class,
            FailureClass::Content | FailureClass::Busy | FailureClass::Full
        ),
    }
}

/// The error in words for whoever opens a store, or looks why it does not work.
pub(super) fn opening(error: sqlx::Error, schema: &str, root_given: bool) -> OpenError {
    let error = network(error);
    if let Some(state) = state(&error) {
        return match state {
            "3D000" => OpenError::NoDatabase(error),
            "53300" => OpenError::Connections(error),
            "53100" => OpenError::Full(error),
            "25006" => OpenError::ReadOnly,
            "42501" => OpenError::Privileges {
                schema: schema.to_owned(),
                source: error,
            },
            state if state.starts_with("28") => OpenError::Denied(error),
            // A statement that took too long was stopped by the server, which is there.
            state if state.starts_with("57") && state != "57014" => OpenError::Unreachable(error),
            _ => OpenError::Server(error),
        };
    }
    match &error {
        sqlx::Error::Tls(problem) if problem.to_string().contains("does not support TLS") => {
            OpenError::NoTls
        }
        sqlx::Error::Tls(problem) => OpenError::Tls {
            problem: diagnose(problem.as_ref()),
            given: root_given,
        },
        sqlx::Error::Io(problem) if speaks_tls(problem) => OpenError::Tls {
            problem: diagnose(problem),
            given: root_given,
        },
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => OpenError::Unreachable(error),
        _ => OpenError::Server(error),
    }
}

/// For how long trying again may help, with nobody doing anything, at most `patience`: a server that starts, one without a
/// free connection, or two files of which only one was replaced yet.
pub(super) fn worth_waiting(error: &OpenError, patience: Duration) -> Duration {
    match error {
        OpenError::Unreachable(_) | OpenError::Connections(_) | OpenError::Token { .. } => patience,
        OpenError::Denied(_) | OpenError::TokenDenied { .. } => patience.min(TORN),
        _ => Duration::ZERO,
    }
}

// Both files are replaced by one writer, one right after the other.
const TORN: Duration = Duration::from_secs(5);

/// Whether the server did not let the user in.
pub(super) fn is_denied(error: &sqlx::Error) -> bool {
    state(error).is_some_and(|state| state.starts_with("28"))
}

/// Whether a lock was not had in time, or others waited in turn for one of ours: trying again helps.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    matches!(state(error), Some("55P03" | "40P01"))
}

fn state(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// Whether an I/O error is one of TLS, which comes wrapped.
fn speaks_tls(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData && error.get_ref().is_some()
}
