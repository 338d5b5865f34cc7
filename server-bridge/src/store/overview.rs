//! Contents and state of a store for an operator; reading it changes nothing and works beside running bridges.
//!
//! The same struct for both engines; what an engine does not have is absent.

use jiff::Timestamp;
use serde::Serialize;

use super::OpenError;

/// What a store holds, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// `postgres` or `sqlite`.
    pub engine: &'static str,
    /// The file; or user, host, port, database and schema.
    pub place: String,
    /// The state of the tables.
    pub schema: Tables,
    /// What they hold; absent while there are none.
    pub holds: Option<Holds>,
    /// Connections of the server; absent for a file.
    pub connections: Option<ConnectionCounts>,
    /// What is remembered of the store's past; absent while there are no tables for it.
    pub history: Option<HistorySummary>,
    /// Consumers whose agent has reported of itself; absent while there are no tables for it.
    pub reporting: Option<u64>,
    /// Who shares the store, by slot; absent for a file.
    pub replicas: Option<Vec<Member>>,
    /// Whether replicas with these flags notify each other; absent for a file.
    pub notify: Option<bool>,
}

/// The state of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tables {
    /// The newest change made to them; 0 when there are none.
    pub version: i64,
    /// The newest change this program knows.
    pub known: i64,
    /// Whether they are as this program makes them.
    pub current: bool,
    /// Whether a copy into them is not finished.
    pub copying: bool,
}

/// How much there is of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holds {
    /// Registered consumers.
    pub consumers: u64,
    /// Bundles, those being deleted too.
    pub bundles: u64,
    /// Bundles being deleted.
    pub deleting: u64,
    /// Bundles of which the broker has not acknowledged the newest version, or the deletion.
    pub unsent: u64,
    /// For how long the oldest of those has waited, by its last change, in seconds.
    pub oldest_unsent_seconds: Option<u64>,
    /// Deletions that are remembered.
    pub tombstones: u64,
}

/// What is remembered of the store's past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistorySummary {
    /// The last epochs, the present one first.
    pub epochs: Vec<Began>,
    /// Bundles that no agent has confirmed in the present epoch.
    pub unconfirmed: u64,
    /// Consumers with such a bundle.
    pub unconfirmed_consumers: u64,
}

/// An epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Began {
    /// From 1, one more for each.
    pub number: i64,
    /// When it began.
    pub began_at: Timestamp,
    /// Why.
    pub why: String,
}

/// A bridge among others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Which of the numbered client ids it connects under.
    pub slot: u64,
    /// What people know it by.
    pub name: String,
    /// How many of the 256 buckets of consumers it sends to.
    pub buckets: u64,
    /// Whether it has not renewed its lease in time.
    pub expired: bool,
}

/// Connections of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionCounts {
    /// In use now, by everybody.
    pub used: u64,
    /// At most, of everybody.
    pub limit: u64,
    /// At most, of a bridge with these flags, the one for rings included.
    pub each: u32,
}

// === impl Tables ===

impl Tables {
    /// Why they cannot be read as they are, if there are any.
    pub(super) fn unreadable(&self) -> Option<OpenError> {
        let (found, known) = (self.version, self.known);
        match found {
            0 => None,
            _ if self.copying => Some(OpenError::Copying),
            _ => (found < known).then_some(OpenError::Older { found, known }),
        }
    }

    /// Why bundles in them cannot be explained. Tables of a newer program have what this one looks at.
    pub(super) fn unexplainable(&self) -> Option<OpenError> {
        match self.version {
            found @ 0 => Some(OpenError::Older {
                found,
                known: self.known,
            }),
            _ => self.unreadable(),
        }
    }
}
