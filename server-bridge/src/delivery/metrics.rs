//! Metrics of delivery. Outcomes come from closed sets; consumers and bundles are never labels.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::{presence, waiting};

/// Metrics of delivery.
#[derive(Clone, Debug)]
pub struct DeliveryMetrics {
    /// Spec events by outcome.
    pub(super) sent: IntCounterVec,
    /// Status and resync events by outcome.
    pub(super) received: IntCounterVec,
    /// Lanes that exist.
    pub(super) lanes: IntGauge,
    /// Bundles that wait out their retry budget.
    pub(super) quarantined: IntGauge,
    /// Time to commit a status.
    pub(super) status_seconds: Histogram,
    /// Works that agents hold and this bridge does not know.
    pub(super) unknown_works: IntCounter,
    /// What was put right because of what an agent said.
    pub(super) repairs: IntCounterVec,
    /// Bundles of which an agent held a newer version.
    pub(super) raises: IntCounterVec,
    /// Sweeps that found something no hint had told.
    pub(super) sweeps_late: IntCounter,
    /// What waits on its way.
    pub(super) waiting: waiting::WaitingMetrics,
    /// How agents are.
    pub(super) presence: presence::PresenceMetrics,
}

// === impl DeliveryMetrics ===

impl DeliveryMetrics {
    /// Creates and registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            sent: IntCounterVec::new(
                Opts::new(
                    "bridge_spec_events_total",
                    "Spec events by outcome: acked, unmatched, refused, limit, retried",
                ),
                &["outcome"],
            )?,
            received: IntCounterVec::new(
                Opts::new(
                    "bridge_agent_events_total",
                    "Events from agents and about them by outcome: stored, deleted, resync, reported, connection; unknown_bundle, deleted_here, stale_version, stale_sequence, late_report and late_connection are late or repeated; other_client is a lifecycle event of no agent; replaced had waited when a newer one came; ahead describes a version newer than this database's; check came from `probe check`; the rest was refused",
                ),
                &["outcome"],
            )?,
            lanes: IntGauge::new("bridge_lanes", "Consumers with a lane")?,
            quarantined: IntGauge::new(
                "bridge_quarantined_bundles",
                "Bundles that wait after failed publishes",
            )?,
            status_seconds: Histogram::with_opts(HistogramOpts::new(
                "bridge_status_commit_seconds",
                "Time from taking a status event to its commit",
            ))?,
            unknown_works: IntCounter::new(
                "bridge_unknown_works_total",
                "Works that agents hold and this bridge neither knows nor ever deleted",
            )?,
            repairs: IntCounterVec::new(
                Opts::new(
                    "bridge_repairs_total",
                    "Bundles that an agent lost or got back through a late copy of an old event: sent_again, deleted_again",
                ),
                &["action"],
            )?,
            raises: IntCounterVec::new(
                Opts::new(
                    "bridge_raises_total",
                    "Bundles of which an agent held a newer version than this database, by outcome: raised above it; held_back, because they were raised several times lately; exhausted, no version above it exists",
                ),
                &["outcome"],
            )?,
            sweeps_late: IntCounter::new(
                "bridge_sweep_found_total",
                "Lanes that a sweep woke and no hint had",
            )?,
            waiting: waiting::WaitingMetrics::register(registry)?,
            presence: presence::PresenceMetrics::register(registry)?,
        };
        registry.register(Box::new(metrics.sent.clone()))?;
        registry.register(Box::new(metrics.received.clone()))?;
        registry.register(Box::new(metrics.lanes.clone()))?;
        registry.register(Box::new(metrics.quarantined.clone()))?;
        registry.register(Box::new(metrics.status_seconds.clone()))?;
        registry.register(Box::new(metrics.unknown_works.clone()))?;
        registry.register(Box::new(metrics.repairs.clone()))?;
        registry.register(Box::new(metrics.raises.clone()))?;
        registry.register(Box::new(metrics.sweeps_late.clone()))?;
        // What is counted seldom is there from the start: the first one is an increase too.
        for outcome in SENT {
            metrics.sent.with_label_values(&[outcome]);
        }
        for outcome in RECEIVED {
            metrics.received.with_label_values(&[outcome]);
        }
        for outcome in RAISES {
            metrics.raises.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }

    /// Counts bundles of which an agent held a newer version.
    pub(super) fn raised(&self, outcome: &str, bundles: usize) {
        self.raises
            .with_label_values(&[outcome])
            .inc_by(bundles as u64);
    }
}

const SENT: [&str; 5] = ["acked", "unmatched", "refused", "limit", "retried"];

const RAISES: [&str; 3] = ["raised", "held_back", "exhausted"];

const RECEIVED: [&str; 19] = [
    "stored",
    "check",
    "deleted",
    "resync",
    "foreign_topic",
    "undecodable",
    "foreign_consumer",
    "wrong_consumer",
    "foreign_source",
    "data_type",
    "bad_resync",
    "not_for_a_bridge",
    "incomplete",
    "not_deleting",
    "panicked",
    "ahead",
    "bad_report",
    "too_many_reports",
    "bad_lifecycle_event",
];
