//! Why a connection failed, as an exit code and as the statement that a policy lacks.

use std::sync::Arc;
use std::time::Duration;

use link::error::{ExitKind, Failure, Hint};
use link::iot::ArnPrefix;
use link::mqtt::{ConnectError, PublishError, State, SubscribeError};
use link::tls;

use super::told;
use crate::peer::Peer;
use crate::target::Target;

/// Why there is no connection, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Refused, unreachable or broken.
    #[error("connect to `{address}`")]
    Connect {
        /// Host and port.
        address: String,
        /// What happened.
        #[source]
        source: Arc<ConnectError>,
    },
    /// Another protocol is spoken at the port.
    #[error("connect to `{address}`")]
    Peer {
        /// Host and port.
        address: String,
        /// Which.
        #[source]
        source: Peer,
    },
    /// Connected, but a filter was refused.
    #[error("listen on `{address}`")]
    Subscribe {
        /// Host and port.
        address: String,
        /// Which filter and why.
        #[source]
        source: Arc<SubscribeError>,
    },
    /// Nothing came in time.
    #[error("`{address}` did not get ready within {} s", within.as_secs_f32())]
    Timeout {
        /// Host and port.
        address: String,
        /// The deadline.
        within: Duration,
    },
    /// The identity makes no TLS configuration.
    #[error("prepare TLS")]
    Tls(#[source] tls::TlsError),
    /// Our own parts could not be made; a mistake in the program.
    #[error("prepare the session")]
    Metrics(#[source] prometheus::Error),
    /// The session ended by itself.
    #[error("the session ended")]
    Closed,
}

// === impl ConnectionError ===

impl ConnectionError {
    /// The exit code's kind.
    pub fn kind(&self) -> ExitKind {
        match self {
            Self::Connect { source, .. } => connect_kind(source),
            Self::Subscribe { .. } => ExitKind::Refused,
            Self::Timeout { .. } => ExitKind::Timeout,
            Self::Peer { .. } | Self::Tls(_) | Self::Metrics(_) | Self::Closed => ExitKind::Failed,
        }
    }

    /// For the end of a command, with the resource name that a policy would need.
    pub fn into_failure(self, target: &Target) -> Failure {
        let hint = match &self {
            Self::Connect { source, .. } => connect_hint(source, target),
            Self::Peer { source, .. } => source.hint(),
            Self::Subscribe { source, .. } if source.code == 0x87 => {
                Some(subscribe_denied_hint(&target.arn, &source.filter))
            }
            Self::Subscribe { source, .. } => source.hint(),
            Self::Timeout { .. } => Some("run `probe doctor` with the same options: it says which hop fails and why (or give more time with `-W`)".into()),
            Self::Tls(source) => source.hint(),
            Self::Metrics(_) | Self::Closed => None,
        };
        Failure::new(self.kind(), self).with_hint(hint)
    }
}

/// The hint for a connection that was refused or could not be made, with the port that was dialled and the statement that
/// a policy lacks.
pub fn connect_hint(error: &ConnectError, target: &Target) -> Option<String> {
    match error {
        ConnectError::Refused { code: 0x87, .. } => {
            Some(connect_denied_hint(&target.arn, target.client_id.as_str()))
        }
        ConnectError::Refused {
            code: 0x89 | 0x97 | 0x9f,
            ..
        } => Some(
            "AWS IoT Core takes a client id again some seconds after its last connection: wait a little, or leave out `-i`"
                .into(),
        ),
        ConnectError::Timeout | ConnectError::Network(_) => Some(format!(
            "check the host, port {} and the way out of the network; `probe doctor` with the same options says which hop fails and why",
            target.port
        )),
        other => other.hint(),
    }
}

/// Refusals are exit code 4, silence 3, everything else 1.
pub fn publish_kind(error: &PublishError) -> ExitKind {
    match error {
        PublishError::Refused { .. } | PublishError::Poison { .. } => ExitKind::Refused,
        PublishError::Limit { .. } => ExitKind::Usage,
        PublishError::Closed => ExitKind::Failed,
    }
}

/// The statement a connection lacks.
pub fn connect_denied_hint(arn: &ArnPrefix, client_id: &str) -> String {
    format!(
        "allow `iot:Connect` on `{arn}:client/{client_id}`, or give the client id that the policy allows with `-i`; policy edits take some minutes"
    )
}

/// The statement a subscription lacks. A policy names the filter literally: its `+` and `#` are no wildcards there.
pub fn subscribe_denied_hint(arn: &ArnPrefix, filter: &str) -> String {
    format!(
        "allow `iot:Subscribe` on `{arn}:topicfilter/{filter}`, and `iot:Receive` on `{arn}:topic/…` for the topics it matches; policy edits take some minutes"
    )
}

/// The hint for a refused publish, with the statement it lacks.
pub fn publish_hint(error: &PublishError, arn: &ArnPrefix, retain: bool) -> Option<String> {
    match error {
        PublishError::Refused {
            topic, code: 0x87, ..
        } => {
            let retained = if retain {
                "`iot:Publish` and `iot:RetainPublish`"
            } else {
                "`iot:Publish`"
            };
            Some(format!(
                "allow {retained} on `{arn}:topic/{topic}`; policy edits take some minutes"
            ))
        }
        other => other.hint(),
    }
}

/// What a state that is no success says.
pub(super) fn of_state(state: &State, address: String) -> ConnectionError {
    match state {
        State::Waiting { error, .. } => ConnectionError::Connect {
            address,
            source: told::connect_error(error),
        },
        State::Unsubscribed(error) => ConnectionError::Subscribe {
            address,
            source: error.clone(),
        },
        State::Connecting | State::Ready { .. } | State::Closed => ConnectionError::Closed,
    }
}

fn connect_kind(error: &ConnectError) -> ExitKind {
    match error {
        ConnectError::Timeout | ConnectError::Stalled(_) => ExitKind::Timeout,
        ConnectError::Tls(problem) if !problem.is_client_refused() => ExitKind::Failed,
        ConnectError::Refused { .. } => ExitKind::Refused,
        other if other.is_refusal() => ExitKind::Refused,
        _ => ExitKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_refusal_and_failure_have_their_own_exit_codes() {
        let refused = |code| ConnectError::Refused { code, reason: "x" };
        for (error, kind) in [
            (ConnectError::Timeout, ExitKind::Timeout),
            (refused(0x87), ExitKind::Refused),
            (refused(0x97), ExitKind::Refused),
            (ConnectError::ClosedBeforeConnAck, ExitKind::Refused),
            (
                ConnectError::Tls(tls::TlsProblem::UnknownIssuer { detail: None }),
                ExitKind::Failed,
            ),
            (
                ConnectError::Network(std::io::ErrorKind::ConnectionRefused.into()),
                ExitKind::Failed,
            ),
        ] {
            assert_eq!(connect_kind(&error), kind, "{error}");
        }
    }
}
