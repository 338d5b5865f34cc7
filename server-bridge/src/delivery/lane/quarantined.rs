//! A lane's share of the gauge of quarantined bundles; removed when the lane is dropped, also when it panics.

use prometheus::IntGauge;

pub(super) struct Quarantined {
    gauge: IntGauge,
    share: i64,
}

// === impl Quarantined ===

impl Quarantined {
    pub(super) fn new(gauge: IntGauge) -> Self {
        Self { gauge, share: 0 }
    }

    pub(super) fn show(&mut self, now: usize) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.gauge.add(now - self.share);
        self.share = now;
    }
}

impl Drop for Quarantined {
    fn drop(&mut self) {
        self.gauge.sub(self.share);
    }
}
