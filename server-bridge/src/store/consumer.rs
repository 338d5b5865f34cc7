//! Consumers: the management clusters a bundle can be meant for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use link::id::ConsumerName;

/// Labels by name, in order.
pub type Labels = BTreeMap<String, String>;

/// A registered management cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Stable id, a UUID unless the caller chose otherwise.
    pub id: String,
    /// Its name in topics and policies; unique.
    pub name: ConsumerName,
    /// Free labels to search by.
    pub labels: Labels,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its labels last changed.
    pub updated_at: Timestamp,
    /// When its agent was heard last, about a minute late; `None` if it never was.
    pub last_seen_at: Option<Timestamp>,
}

/// A consumer to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConsumer {
    /// The id it will have.
    pub id: String,
    /// Its unique name.
    pub name: ConsumerName,
    /// Its labels.
    pub labels: Labels,
}
