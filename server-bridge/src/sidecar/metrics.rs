//! What the sidecar counts. Labels come from closed sets; consumers are none.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::time::Instant;

/// Which way an event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the server to a consumer.
    Down,
    /// From an agent to the server.
    Up,
}

/// Metrics of a sidecar. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct SidecarMetrics {
    events: IntCounterVec,
    waiting: IntGaugeVec,
    oldest: GaugeVec,
    pub(super) connections: IntCounter,
    pub(super) disconnections: IntCounterVec,
    // Since when the oldest has waited, down and up.
    since: Arc<Mutex<[Option<Instant>; 2]>>,
}

// === impl Way ===

impl Way {
    fn label(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

// === impl SidecarMetrics ===

impl SidecarMetrics {
    /// Creates and registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            events: IntCounterVec::new(
                Opts::new(
                    "sidecar_events_total",
                    "Events that were done with, by the way they went and what became of them",
                ),
                &["way", "outcome"],
            )?,
            waiting: IntGaugeVec::new(
                Opts::new(
                    "sidecar_waiting_events",
                    "Events that one side gave and the other has not acknowledged",
                ),
                &["way"],
            )?,
            oldest: GaugeVec::new(
                Opts::new(
                    "sidecar_oldest_waiting_seconds",
                    "For how long the oldest of them has waited; 0 without any",
                ),
                &["way"],
            )?,
            connections: IntCounter::new(
                "sidecar_server_connections_total",
                "Connections of the Maestro server that were accepted",
            )?,
            disconnections: IntCounterVec::new(
                Opts::new(
                    "sidecar_server_disconnections_total",
                    "Connections of the Maestro server that ended or were refused, by cause",
                ),
                &["cause"],
            )?,
            since: Arc::default(),
        };
        registry.register(Box::new(metrics.events.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.disconnections.clone()))?;
        for way in [Way::Down, Way::Up] {
            metrics.note(way, 0, None);
        }
        metrics.show_ages();
        Ok(metrics)
    }

    /// Counts an event that was done with.
    pub(super) fn count(&self, way: Way, outcome: &'static str) {
        self.events.with_label_values(&[way.label(), outcome]).inc();
    }

    /// Notes how much waits, and since when the oldest of it has.
    pub(super) fn note(&self, way: Way, waiting: usize, since: Option<Instant>) {
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.waiting.with_label_values(&[way.label()]).set(waiting);
        self.locked()[way as usize] = since;
    }

    /// Shows for how long the oldest have waited by now.
    pub(super) fn show_ages(&self) {
        let since = *self.locked();
        for (way, since) in [Way::Down, Way::Up].into_iter().zip(since) {
            let age = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            self.oldest.with_label_values(&[way.label()]).set(age);
        }
    }

    // Two words, written whole.
    fn locked(&self) -> std::sync::MutexGuard<'_, [Option<Instant>; 2]> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
