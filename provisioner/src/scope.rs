//! Whose account something lives in.

use std::fmt;

use link::id::ConsumerName;

/// Whose account a resource lives in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The region's account: broker, database, server.
    Region,
    /// The account of a management cluster.
    Cluster(ConsumerName),
}

// === impl Scope ===

impl Scope {
    /// The party whose key is kept there, as verbs name it: `server`, or the management cluster's id.
    pub fn party(&self) -> &str {
        match self {
            Self::Region => "server",
            Self::Cluster(id) => id.as_str(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region => f.write_str("region"),
            Self::Cluster(cluster) => cluster.fmt(f),
        }
    }
}
