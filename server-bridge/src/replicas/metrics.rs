//! Metrics of replicas and their leases.

use link::telemetry::register;
use prometheus::{IntCounter, IntGauge, Registry};

/// Metrics of sharing the work between replicas; all stay 0 in a bridge that is alone on its store.
#[derive(Clone, Debug)]
pub struct ReplicaMetrics {
    /// Buckets this replica sends for.
    pub(super) owned: IntGauge,
    /// Buckets taken from replicas that went without a word.
    pub(super) taken_over: IntCounter,
    /// Writes that were refused.
    pub(super) fenced: IntCounter,
    /// Renewals that failed.
    pub(super) failures: IntCounter,
}

// === impl ReplicaMetrics ===

impl ReplicaMetrics {
    /// Creates and registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let owned = IntGauge::new(
            "bridge_buckets_owned",
            "Of the 256 buckets of consumers, those this replica sends for",
        )?;
        let taken_over = IntCounter::new(
            "bridge_bucket_takeovers_total",
            "Buckets taken over from replicas that were gone",
        )?;
        let fenced = IntCounter::new(
            "bridge_fenced_writes_total",
            "Writes refused because another replica had taken the bucket over",
        )?;
        let failures = IntCounter::new(
            "bridge_lease_failures_total",
            "Attempts to keep the lease that failed",
        )?;
        Ok(Self {
            owned: register(registry, owned)?,
            taken_over: register(registry, taken_over)?,
            fenced: register(registry, fenced)?,
            failures: register(registry, failures)?,
        })
    }
}
