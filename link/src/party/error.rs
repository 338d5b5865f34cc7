//! Why a party could not be named, and what to do about it.

use crate::error::Hint;
use crate::id::{ClientId, InvalidName};
use crate::topic::SchemeError;

/// Why a party could not be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartyError {
    /// The topics belong to another consumer or source.
    #[error("give topics to the {party}")]
    Scheme {
        /// Which kind of party.
        party: &'static str,
        /// Whose topics they are.
        #[source]
        source: SchemeError,
    },
    /// A client id would not be accepted.
    #[error("name the connections of the {party}")]
    ClientId {
        /// Which kind of party.
        party: &'static str,
        /// Which rule it breaks.
        #[source]
        source: InvalidName,
    },
    /// Replicas share a subscription whose group is named like their client ids, and a group allows fewer characters.
    #[error(
        "client id `{id}` of several replicas cannot be the name of the group that shares their subscription"
    )]
    Group {
        /// What their client ids begin with (`--client-id`).
        id: ClientId,
    },
    /// A bridge without connections, or without slots.
    #[error("bridge has 0 connections")]
    NoConnections,
}

// === impl PartyError ===

impl Hint for PartyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Scheme { source, .. } => source.hint(),
            Self::ClientId { .. } => Some(
                "use a shorter id of letters, digits and `-_.:`; a suffix is added to it".into(),
            ),
            Self::Group { .. } => Some(
                "with PostgreSQL use a `--client-id` of lower-case letters, digits and `-` only, or name a group in \
                 `topics.agentEvents`: `$share/NAME/…`"
                    .into(),
            ),
            Self::NoConnections => Some("use at least 1 connection".into()),
        }
    }
}
