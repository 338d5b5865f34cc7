//! Faults to switch on, so that the broker behaves as badly as IoT Core is allowed to (docs/IOT-CORE.md §2 points 16 and 18).
//!
//! All are off at first and take effect at once on live connections. Probabilities are 0.0 to 1.0.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::watch;

/// Handle to the faults; clones change the same ones.
#[derive(Clone, Debug)]
pub struct Faults {
    settings: watch::Sender<Arc<FaultSettings>>,
}

/// What goes wrong, and how often.
#[derive(Clone, Debug, Default)]
pub struct FaultSettings {
    /// Probability that a delivery is sent twice, the copy with another packet id.
    pub duplicate: f64,
    /// Probability that a delivery changes places with the one behind it.
    pub reorder: f64,
    /// Probability that a redelivery on a live connection takes a new packet id.
    pub new_packet_id: f64,
    /// Pause between a SUBACK and the first delivery after it.
    pub first_delivery_gap: Duration,
    /// Probability that a publish is treated as over the rate.
    pub throttle: f64,
    /// Lifetime of new connections: each ends at a random moment of this range, half of them with DISCONNECT
    /// 0x8B (assumed: IoT Core documents SERVER_INITIATED_DISCONNECT, not its code) and half with a bare close.
    pub lifetime: Option<(Duration, Duration)>,
    /// Clients whose publishes are all refused as if their policy denied them.
    pub refuse_publishes: HashSet<String>,
    /// Clients whose connection neither reads nor writes.
    pub stalled: HashSet<String>,
    /// Clients whose PUBACKs are kept back.
    pub hold_acks: HashSet<String>,
}

// === impl Faults ===

impl Faults {
    /// Everything off.
    pub fn new() -> Self {
        Self {
            settings: watch::Sender::new(Arc::default()),
        }
    }

    /// Changes the faults.
    pub fn set(&self, change: impl FnOnce(&mut FaultSettings)) {
        self.settings
            .send_modify(|settings| change(Arc::make_mut(settings)));
    }

    /// The faults as they are set now.
    pub fn get(&self) -> Arc<FaultSettings> {
        self.settings.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<FaultSettings>> {
        self.settings.subscribe()
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

/// True with the given probability.
pub(super) fn happens(probability: f64) -> bool {
    probability > 0.0 && rand::rng().random_bool(probability.min(1.0))
}

/// A random moment of the range.
pub(super) fn within((from, to): (Duration, Duration)) -> Duration {
    if to <= from {
        from
    } else {
        rand::rng().random_range(from..to)
    }
}
