//! Throttled log lines about single events: at most one per kind, consumer and minute, with how many were suppressed.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use link::id::ConsumerName;
use link::telemetry::Throttle;
use tokio::time::Instant;

/// Holds lines back. `K` is the kind of a line, a closed set, so that what others send makes no kinds. Clones share it.
#[derive(Debug)]
pub(crate) struct EventLog<K>(Arc<Throttle<(K, Option<ConsumerName>)>>);

// === impl EventLog ===

impl<K: Clone + Eq + Hash> EventLog<K> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Throttle::new(INTERVAL, KINDS)))
    }

    /// Whether a line may be written; how many were held back since the last one.
    pub(crate) fn admit(&self, kind: K, consumer: Option<&ConsumerName>) -> Option<u64> {
        self.0.admit(&(kind, consumer.cloned()), Instant::now())
    }
}

impl<K> Clone for EventLog<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
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
        let log = EventLog::new();
        let consumer = |name: &str| ConsumerName::new(name).unwrap();
        let (one, other) = (consumer("c1"), consumer("c2"));
        let lines = (0..10_000).filter(|_| log.admit("undecodable", Some(&one)).is_some());
        assert_eq!(lines.count(), 1);
        assert_eq!(log.admit("undecodable", Some(&other)), Some(0));
        assert_eq!(log.admit("incomplete", Some(&one)), Some(0));
        assert_eq!(log.admit("undecodable", None), Some(0));
    }
}
