//! What happened to messages that were not simply delivered; IoT Core shows the same as CloudWatch metrics
//! (docs/IOT-CORE.md §1.4).

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

/// The broker's counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connected: Counter,
    pub(super) published: Counter,
    pub(super) delivered: Counter,
    pub(super) publish_denied: Counter,
    pub(super) publish_throttled: Counter,
    pub(super) connect_denied: Counter,
    pub(super) connect_throttled: Counter,
    pub(super) receive_denied: Counter,
    pub(super) queue_full: Counter,
    pub(super) qos0_dropped: Counter,
    pub(super) expired: Counter,
    pub(super) redelivered: Counter,
    pub(super) too_large_for_client: Counter,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `Connect.Success`: CONNECTs accepted.
    pub connected: u64,
    /// Publishes taken from clients.
    pub published: u64,
    /// Publishes sent to clients, repetitions included.
    pub delivered: u64,
    /// `PublishIn.AuthError`: publishes the policy refused.
    pub publish_denied: u64,
    /// `PublishIn.Throttle`: publishes over the rate.
    pub publish_throttled: u64,
    /// `Connect.AuthError`: CONNECTs refused by certificate or policy.
    pub connect_denied: u64,
    /// `Connect.ClientIDThrottle`: CONNECTs over the rate of their client id.
    pub connect_throttled: u64,
    /// `PublishOut.AuthError`: deliveries withheld because the policy grants no Receive.
    pub receive_denied: u64,
    /// QoS 1 messages dropped because the session's queue was full.
    pub queue_full: u64,
    /// QoS 0 messages dropped because the connection was slow or over its rate.
    pub qos0_dropped: u64,
    /// Messages that outlived their expiry, or an hour without acknowledgement.
    pub expired: u64,
    /// Messages sent again on a live connection.
    pub redelivered: u64,
    /// Messages larger than the receiver's Maximum Packet Size.
    pub too_large_for_client: u64,
}

// === impl Counter ===

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Counters ===

impl Counters {
    pub(super) fn snapshot(&self) -> Counts {
        Counts {
            connected: self.connected.get(),
            published: self.published.get(),
            delivered: self.delivered.get(),
            publish_denied: self.publish_denied.get(),
            publish_throttled: self.publish_throttled.get(),
            connect_denied: self.connect_denied.get(),
            connect_throttled: self.connect_throttled.get(),
            receive_denied: self.receive_denied.get(),
            queue_full: self.queue_full.get(),
            qos0_dropped: self.qos0_dropped.get(),
            expired: self.expired.get(),
            redelivered: self.redelivered.get(),
            too_large_for_client: self.too_large_for_client.get(),
        }
    }
}
