//! Metrics of authentication and authorisation. Callers' names are never labels: their number is unbounded.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{Caller, Denied};

/// The metrics of all callers.
#[derive(Clone, Debug)]
pub(super) struct CallersMetrics {
    open: IntGauge,
    calls: IntCounterVec,
    expiry: IntGaugeVec,
    refused_files: IntGaugeVec,
    pub(super) failed_handshakes: IntCounter,
}

// === impl CallersMetrics ===

impl CallersMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            open: IntGauge::new(
                "bridge_callers_open",
                "1 while callers are not asked who they are, else 0",
            )?,
            calls: IntCounterVec::new(
                Opts::new(
                    "bridge_calls_total",
                    "Calls by how the caller was known and what came of it: known, unauthenticated, forbidden, unavailable",
                ),
                &["by", "outcome"],
            )?,
            expiry: IntGaugeVec::new(
                Opts::new(
                    "bridge_tls_certificate_expiry_timestamp_seconds",
                    "When the server certificate in use expires, in seconds since the epoch",
                ),
                &["listener"],
            )?,
            refused_files: IntGaugeVec::new(
                Opts::new(
                    "bridge_caller_files_refused",
                    "1 while files that callers are known or allowed by are refused and older ones stay in use, else 0",
                ),
                &["files"],
            )?,
            failed_handshakes: IntCounter::new(
                "bridge_tls_handshakes_failed_total",
                "TLS handshakes of callers that came to nothing",
            )?,
        };
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.calls.clone()))?;
        registry.register(Box::new(metrics.expiry.clone()))?;
        registry.register(Box::new(metrics.refused_files.clone()))?;
        registry.register(Box::new(metrics.failed_handshakes.clone()))?;
        Ok(metrics)
    }

    pub(super) fn open(&self, open: bool) {
        self.open.set(i64::from(open));
    }

    pub(super) fn refused(&self, files: &str) -> IntGauge {
        self.refused_files.with_label_values(&[files])
    }

    pub(super) fn expiry(&self, listener: &str) -> IntGauge {
        self.expiry.with_label_values(&[listener])
    }

    pub(super) fn authenticated(&self, outcome: &Result<Caller, Denied>) {
        match outcome {
            Ok(caller) => {
                let by = caller.by.to_string();
                self.calls.with_label_values(&[by.as_str(), "known"]).inc();
            }
            Err(denied) => self.denied("none", denied),
        }
    }

    pub(super) fn denied(&self, by: &str, denied: &Denied) {
        let outcome = match denied {
            Denied::Unauthenticated(_) => "unauthenticated",
            Denied::Forbidden(_) => "forbidden",
            Denied::Unavailable(_) => "unavailable",
        };
        self.calls.with_label_values(&[by, outcome]).inc();
    }
}
