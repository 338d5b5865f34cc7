//! What the verifier found, as numbers for alerts.

use link::clock::Clock;
use link::fault::Code;
use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{ACKNOWLEDGED, CANARY, DIGEST, INVARIANTS, LEDGER, Round};

/// The verifier's metrics.
#[derive(Clone, Debug)]
pub struct VerifyMetrics {
    violations: IntGaugeVec,
    checked: IntGaugeVec,
    rounds: IntCounterVec,
    last_round: IntGauge,
    slowest_canary: Gauge,
    remembered: IntGauge,
}

// === impl VerifyMetrics ===

impl VerifyMetrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// When one of the names is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            violations: IntGaugeVec::new(
                Opts::new(
                    "bridge_verify_violations",
                    "What the verifier found in the last 15 minutes that must not be, by invariant; of a cluster's canary until its next one comes back",
                ),
                &["invariant"],
            )?,
            checked: IntGaugeVec::new(
                Opts::new(
                    "bridge_verify_checked",
                    "What the verifier compared or sent in its last round, by invariant",
                ),
                &["invariant"],
            )?,
            rounds: IntCounterVec::new(
                Opts::new(
                    "bridge_verify_rounds_total",
                    "Rounds of the verifier, by whether it could look",
                ),
                &["outcome"],
            )?,
            last_round: IntGauge::new(
                "bridge_verify_last_round_timestamp_seconds",
                "When the verifier last could look at everything it wanted to see, in Unix seconds; 0 before",
            )?,
            slowest_canary: Gauge::new(
                "bridge_verify_slowest_canary_seconds",
                "How long the slowest canary of the last round took that came back",
            )?,
            remembered: IntGauge::new(
                "bridge_verify_remembered",
                "Bundles that the verifier remembers from look to look; clusters beyond 100000 are not compared",
            )?,
        };
        registry.register(Box::new(metrics.violations.clone()))?;
        registry.register(Box::new(metrics.checked.clone()))?;
        registry.register(Box::new(metrics.rounds.clone()))?;
        registry.register(Box::new(metrics.last_round.clone()))?;
        registry.register(Box::new(metrics.slowest_canary.clone()))?;
        registry.register(Box::new(metrics.remembered.clone()))?;
        for code in INVARIANTS {
            metrics.violations.with_label_values(&[word(code)]);
            metrics.checked.with_label_values(&[word(code)]);
        }
        for outcome in ["looked", "failed"] {
            metrics.rounds.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }

    /// Shows a round.
    pub fn show(&self, round: &Round, clock: &Clock) {
        let number = |count: Option<&u64>| {
            let count = count.copied().unwrap_or_default();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        for code in INVARIANTS {
            let violations = self.violations.with_label_values(&[word(code)]);
            violations.set(number(round.violations.get(&code)));
            let checked = self.checked.with_label_values(&[word(code)]);
            checked.set(number(round.checked.get(&code)));
        }
        let outcome = if round.looked { "looked" } else { "failed" };
        self.rounds.with_label_values(&[outcome]).inc();
        if round.looked {
            self.last_round.set(clock.now().as_second());
        }
        let slowest = round.slowest.unwrap_or_default();
        self.slowest_canary.set(slowest.as_secs_f64());
        let remembered = i64::try_from(round.remembered);
        self.remembered.set(remembered.unwrap_or(i64::MAX));
    }
}

fn word(code: Code) -> &'static str {
    match code {
        CANARY => "canary",
        LEDGER => "ledger",
        DIGEST => "digest",
        ACKNOWLEDGED => "acknowledged",
        _ => "other",
    }
}
