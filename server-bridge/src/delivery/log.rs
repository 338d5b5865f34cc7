//! What delivery writes about agents and bundles: one line per kind, consumer and minute, with how many were held back.

use std::sync::Arc;
use std::time::Duration;

use link::id::ConsumerName;
use link::telemetry::Throttle;
use tokio::time::Instant;

/// A kind of line. A closed set, so that what an agent sends makes no kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Line {
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

// A thousand consumers that all do three kinds of thing wrong: 34 lines a second at worst, 200 bytes each to remember.
const KINDS: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_consumer_s_flood_is_one_line_and_hides_nobody_else_s() {
        let log = Log::new();
        let consumer = |name: &str| ConsumerName::new(name).unwrap();
        let (one, other) = (consumer("c1"), consumer("c2"));
        let lines = (0..10_000).filter(|_| {
            let line = Line::Event("undecodable");
            log.admit(line, Some(&one)).is_some()
        });
        assert_eq!(lines.count(), 1);
        assert_eq!(log.admit(Line::Event("undecodable"), Some(&other)), Some(0));
        assert_eq!(log.admit(Line::Event("incomplete"), Some(&one)), Some(0));
        assert_eq!(log.admit(Line::Event("undecodable"), None), Some(0));
    }
}
