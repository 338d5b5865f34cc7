//! Expiry and reloads as metrics.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::certificate::Description;

/// The metrics of one watched identity.
#[derive(Clone, Debug)]
pub struct IdentityMetrics {
    expiry: IntGauge,
    refused_set: IntGauge,
    accepted: IntCounter,
    refused: IntCounter,
    unchanged: IntCounter,
}

// === impl IdentityMetrics ===

impl IdentityMetrics {
    /// Creates the metrics and registers them; fails when the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let expiry = IntGauge::with_opts(Opts::new(
            "identity_expiry_timestamp_seconds",
            "When the client certificate in use expires, in seconds since the epoch.",
        ))?;
        let refused_set = IntGauge::with_opts(Opts::new(
            "identity_set_refused",
            "1 while the identity files hold a set that is refused or the set in use has expired, else 0.",
        ))?;
        let reloads = IntCounterVec::new(
            Opts::new(
                "identity_reloads_total",
                "Looks at the identity files after the first: a new good set was accepted, a new bad set was refused, or nothing was new.",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(expiry.clone()))?;
        registry.register(Box::new(refused_set.clone()))?;
        registry.register(Box::new(reloads.clone()))?;
        Ok(Self {
            expiry,
            refused_set,
            accepted: reloads.with_label_values(&["accepted"]),
            refused: reloads.with_label_values(&["refused"]),
            unchanged: reloads.with_label_values(&["unchanged"]),
        })
    }

    pub(super) fn in_use(&self, description: &Description) {
        self.expiry.set(description.not_after.as_second());
    }

    pub(super) fn accepted(&self) {
        self.accepted.inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }

    pub(super) fn unchanged(&self) {
        self.unchanged.inc();
    }

    pub(super) fn problem(&self, present: bool) {
        self.refused_set.set(i64::from(present));
    }
}
