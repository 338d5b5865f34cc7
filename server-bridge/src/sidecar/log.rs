//! Kinds of log lines of the sidecar; each kind is throttled by itself ([`EventLog`](crate::event_log::EventLog)).

/// A kind of line, with the outcome of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SidecarLine {
    /// About an event of the server.
    Down(&'static str),
    /// About an event of an agent.
    Up(&'static str),
    /// About a filter that was refused.
    Filter,
    /// About a connection that was turned away.
    Rejection(&'static str),
}
