//! Readiness checks as a metric, made for each scrape: which one fails, and for how long. The names are a closed set.

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use super::Report;

/// The family of all checks.
pub(super) fn families(report: &Report) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let failing = IntGaugeVec::new(
        Opts::new(
            "readiness_check_failing_seconds",
            "For how long a readiness check has failed, at least 1; 0 while it passes. Absent while the process stops",
        ),
        &["check"],
    )?;
    for check in &report.checks {
        let seconds = match check.ok {
            true => 0,
            // A failure of this moment is one.
            false => i64::try_from(check.since_seconds.max(1)).unwrap_or(i64::MAX),
        };
        failing.with_label_values(&[&check.name]).set(seconds);
    }
    let mut families = failing.collect();
    // A family without a metric cannot be encoded.
    families.retain(|family| !family.get_metric().is_empty());
    Ok(families)
}
