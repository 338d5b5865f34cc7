//! What a running bridge tells of itself: its readiness checks, and whether it sends to a consumer.

use std::time::Instant;

use link::admin::Checks;
use link::id::ConsumerName;

use super::facts::{ProcessFacts, UnmetCheck};
use crate::replicas::Ownership;

/// Where to look. Clones look at the same process.
#[derive(Clone)]
pub struct ProcessView {
    checks: Checks,
    ownership: Ownership,
}

// === impl ProcessView ===

impl ProcessView {
    /// Of a process with these checks, which sends to what it owns.
    pub const fn new(checks: Checks, ownership: Ownership) -> Self {
        Self { checks, ownership }
    }

    /// What it knows with regard to a consumer.
    pub fn facts(&self, consumer: &ConsumerName) -> ProcessFacts {
        let report = self.checks.report(Instant::now());
        let failing = report.checks.into_iter().filter(|check| !check.ok);
        ProcessFacts {
            owns: self.ownership.fence(consumer).is_ok(),
            failing: failing
                .map(|check| UnmetCheck {
                    reason: check.reason,
                    name: check.name,
                })
                .collect(),
        }
    }
}

impl std::fmt::Debug for ProcessView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessView")
    }
}
