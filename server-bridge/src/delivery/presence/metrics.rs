//! Metrics of agents. Labels are states, releases of which there are a few, and spans; consumers are never labels.

use jiff::Timestamp;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{Counts, WITHIN};
use crate::store::PresenceState;

/// How agents are.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct PresenceMetrics {
    states: IntGaugeVec,
    versions: IntGaugeVec,
    /// Without labels; of no series while no end is known.
    expiry_seconds: IntGaugeVec,
    expiring: IntGaugeVec,
    refusing: IntGauge,
    refusals: IntGauge,
    pub(super) done: IntCounter,
    pub(super) failed: IntCounter,
}

// === impl PresenceMetrics ===

impl PresenceMetrics {
    pub(in crate::delivery) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let states = IntGaugeVec::new(
            Opts::new(
                "bridge_agents",
                "Consumers by how their agent is: connected, it is there and something is on its way to it; idle, it is there and has nothing to do; away; never heard of; unknown, it reports nothing of itself or the bridge has not listened for long enough. 0 at replicas that do not look",
            ),
            &["state"],
        )?;
        let versions = IntGaugeVec::new(
            Opts::new(
                "bridge_agent_versions",
                "Agents that report of themselves, by release: the ten that most have, and other",
            ),
            &["version"],
        )?;
        let expiry_seconds = IntGaugeVec::new(
            Opts::new(
                "bridge_agent_certificate_expiry_seconds",
                "Seconds until the first certificate of an agent ends, negative afterwards; absent while none reports its certificate",
            ),
            &[],
        )?;
        let expiring = IntGaugeVec::new(
            Opts::new(
                "bridge_agent_certificates_expiring",
                "Agents whose certificate ends within 7d, within 30d, or has ended",
            ),
            &["within"],
        )?;
        let refusing = IntGauge::new(
            "bridge_agents_refusing",
            "Agents that refuse a bundle as it was sent",
        )?;
        let refusals = IntGauge::new(
            "bridge_agent_refusals",
            "Versions of bundles that agents say they refused, and that no newer one has replaced",
        )?;
        let looks = IntCounterVec::new(
            Opts::new(
                "bridge_presence_looks_total",
                "Looks at how agents are, by outcome: done, failed. Only one replica looks",
            ),
            &["outcome"],
        )?;
        for vec in [&states, &versions, &expiry_seconds, &expiring] {
            registry.register(Box::new(vec.clone()))?;
        }
        registry.register(Box::new(refusing.clone()))?;
        registry.register(Box::new(refusals.clone()))?;
        registry.register(Box::new(looks.clone()))?;
        let metrics = Self {
            states,
            versions,
            expiry_seconds,
            expiring,
            refusing,
            refusals,
            done: looks.with_label_values(&["done"]),
            failed: looks.with_label_values(&["failed"]),
        };
        metrics.show(&Counts::default(), Timestamp::UNIX_EPOCH);
        Ok(metrics)
    }

    pub(super) fn show(&self, counts: &Counts, now: Timestamp) {
        for state in PresenceState::ALL {
            let count = counts.states.get(&state).copied().unwrap_or_default();
            let gauge = self.states.with_label_values(&[state.as_str()]);
            gauge.set(whole(count));
        }
        self.versions.reset();
        let (versions, others) = counts.versions();
        for (version, agents) in versions {
            self.versions
                .with_label_values(&[version])
                .set(whole(agents));
        }
        if others > 0 {
            self.versions
                .with_label_values(&["other"])
                .set(whole(others));
        }
        self.expiry_seconds.reset();
        if let Some(end) = counts.expiry {
            let seconds = end.duration_since(now).as_secs();
            self.expiry_seconds
                .with_label_values(&[] as &[&str])
                .set(seconds);
        }
        for ((label, _), count) in WITHIN.iter().zip(counts.expiring) {
            self.expiring.with_label_values(&[label]).set(whole(count));
        }
        self.refusing.set(whole(counts.refusing));
        self.refusals.set(whole(counts.refusals));
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
