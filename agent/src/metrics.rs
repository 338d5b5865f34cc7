//! Everything the agent counts, with labels from closed sets.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::received::{RefusalReason, Taken};

/// The agent's metrics; clones share the numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    taken: IntCounterVec,
    refused: IntCounterVec,
    /// Repeated events without effect.
    pub duplicates: IntCounter,
    /// Spec resync requests that were taken by the broker.
    pub resync_requests: IntCounter,
    /// Works held.
    pub works: IntGauge,
    reconciles: IntCounterVec,
    /// Seconds one reconcile took.
    pub reconcile_seconds: Histogram,
    reports: IntCounterVec,
    self_reports: IntCounterVec,
    /// Statuses the broker has not acknowledged.
    pub unacknowledged: IntGauge,
}

/// How a reconcile or a report ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultCode {
    /// It did what it should.
    Success,
    /// It will be tried again.
    Retry,
    /// Trying again cannot help.
    Failure,
    /// The broker took it and nobody was subscribed.
    NoSubscribers,
}

// === impl Metrics ===

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// When one of the names is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            taken: IntCounterVec::new(
                Opts::new("agent_events_taken_total", "Spec events taken, by meaning"),
                &["kind"],
            )?,
            refused: IntCounterVec::new(
                Opts::new("agent_events_refused_total", "Events refused, by reason"),
                &["reason"],
            )?,
            duplicates: IntCounter::new(
                "agent_events_duplicate_total",
                "Spec events that repeated what is held",
            )?,
            resync_requests: IntCounter::new(
                "agent_resync_requests_total",
                "Spec resync requests taken by the broker",
            )?,
            works: IntGauge::new("agent_works", "Works held")?,
            reconciles: IntCounterVec::new(
                Opts::new(
                    "manifestworks_processed_total",
                    "Reconciles of works, by outcome",
                ),
                &["code"],
            )?,
            reconcile_seconds: Histogram::with_opts(HistogramOpts::new(
                "agent_reconcile_duration_seconds",
                "Seconds one reconcile of a work took",
            ))?,
            reports: IntCounterVec::new(
                Opts::new("agent_status_reports_total", "Status publishes, by outcome"),
                &["code"],
            )?,
            self_reports: IntCounterVec::new(
                Opts::new(
                    "agent_self_reports_total",
                    "Reports of this agent on itself, by outcome",
                ),
                &["code"],
            )?,
            unacknowledged: IntGauge::new(
                "agent_status_unacknowledged",
                "Works whose newest status the broker has not acknowledged",
            )?,
        };
        registry.register(Box::new(metrics.taken.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.duplicates.clone()))?;
        registry.register(Box::new(metrics.resync_requests.clone()))?;
        registry.register(Box::new(metrics.works.clone()))?;
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.reconcile_seconds.clone()))?;
        registry.register(Box::new(metrics.reports.clone()))?;
        registry.register(Box::new(metrics.self_reports.clone()))?;
        registry.register(Box::new(metrics.unacknowledged.clone()))?;
        for reason in RefusalReason::ALL {
            metrics.refused.with_label_values(&[reason.as_str()]);
        }
        for taken in Taken::ALL {
            metrics.taken.with_label_values(&[taken.as_str()]);
        }
        Ok(metrics)
    }

    /// Counts an event that was made durable.
    pub fn taken(&self, taken: Taken) {
        self.taken.with_label_values(&[taken.as_str()]).inc();
    }

    /// Counts a refused event.
    pub fn refused(&self, reason: RefusalReason) {
        self.refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// How often events were refused for a reason.
    pub fn refusals(&self, reason: RefusalReason) -> u64 {
        self.refused.with_label_values(&[reason.as_str()]).get()
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, outcome: ResultCode) {
        self.reconciles.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts a report of the agent on itself.
    pub fn self_reported(&self, outcome: ResultCode) {
        let counter = self.self_reports.with_label_values(&[outcome.as_str()]);
        counter.inc();
    }

    /// Counts a status publish.
    pub fn reported(&self, outcome: ResultCode) {
        self.reports.with_label_values(&[outcome.as_str()]).inc();
    }
}

// === impl ResultCode ===

impl ResultCode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Retry => "retry",
            Self::Failure => "failure",
            Self::NoSubscribers => "unheard",
        }
    }
}
