//! Kinds of log lines of delivery; each kind is throttled by itself ([`EventLog`](crate::event_log::EventLog)).

/// A kind of line. A closed set, so that what an agent sends makes no kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum DeliveryLine {
    /// An event was refused or ignored, with this outcome.
    Event(&'static str),
    /// A resync was answered.
    Answered,
    /// An agent holds works that nobody here knows.
    UnknownWorks,
    /// More works are to be deleted than can wait.
    TooManyOrphans,
    /// A consumer could not be asked for statuses.
    Ask,
    /// The store failed on something that is tried again.
    Store,
    /// Bundles wait for too long.
    Waiting,
    /// Taking an event panicked.
    Panic,
    /// A bundle could not be published, with this outcome.
    Publish(&'static str),
    /// A bundle is sent again, or deleted again, because of what its agent said.
    Repaired(&'static str),
    /// An agent holds a newer version than the store, with what came of it.
    Raised(&'static str),
}
