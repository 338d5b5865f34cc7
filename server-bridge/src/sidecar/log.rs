//! What the sidecar writes about single events: one line per kind, consumer and minute, with how many were held back.

use std::sync::Arc;
use std::time::Duration;

use link::id::ConsumerName;
use link::telemetry::Throttle;
use tokio::time::Instant;

/// A kind of line, with the outcome of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Line {
    /// About an event of the server.
    Down(&'static str),
    /// About an event of an agent.
    Up(&'static str),
    /// About a filter that was refused.
    Filter,
    /// About a connection that was turned away.
    Turned(&'static str),
}

/// Holds lines back. Clones share it.
#[derive(Clone)]
pub(super) struct Log(Arc<Throttle<(Line, Option<ConsumerName>)>>);

// === impl Log ===

impl Log {
    pub(super) fn new() -> Self {
        Self(Arc::new(Throttle::new(INTERVAL, KINDS)))
    }

    /// Whether a line may be written; how many were held back since the last one.
    pub(super) fn admit(&self, line: Line, consumer: Option<&ConsumerName>) -> Option<u64> {
        self.0.admit(&(line, consumer.cloned()), Instant::now())
    }
}

const INTERVAL: Duration = Duration::from_secs(60);

// As many as the bridge's own log remembers.
const KINDS: usize = 2048;
