//! Counters of the notifications between replicas.

use link::telemetry::register;
use prometheus::{Gauge, IntCounter, Registry};

/// Counts notifications.
#[derive(Clone, Debug)]
pub struct NotifyMetrics {
    pub(super) sent: IntCounter,
    pub(super) heard: IntCounter,
    pub(super) reconnects: IntCounter,
    pub(super) usage: Gauge,
}

// === impl NotifyMetrics ===

impl NotifyMetrics {
    /// Creates and registers the counters.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::made()?;
        for counter in [&metrics.sent, &metrics.heard, &metrics.reconnects] {
            register(registry, counter.clone())?;
        }
        registry.register(Box::new(metrics.usage.clone()))?;
        Ok(metrics)
    }

    /// Counters that nobody scrapes.
    ///
    /// # Panics
    /// Never: the names are valid.
    pub fn unregistered() -> Self {
        Self::made().expect("valid names")
    }

    /// Notifications sent to other replicas.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Notifications received from other replicas.
    pub fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// Times the listener's connection was made again.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.get()
    }

    fn made() -> Result<Self, prometheus::Error> {
        Ok(Self {
            sent: IntCounter::new(
                "bridge_rings_sent_total",
                "Rings sent to other replicas on the same PostgreSQL schema",
            )?,
            heard: IntCounter::new(
                "bridge_rings_heard_total",
                "Rings heard from other replicas on the same PostgreSQL schema",
            )?,
            reconnects: IntCounter::new(
                "bridge_listener_reconnects_total",
                "Times the connection that hears rings was lost",
            )?,
            usage: Gauge::new(
                "bridge_notification_queue_usage",
                "How much of the PostgreSQL server's queue of notifications is used, from 0 to 1, as seen every few seconds by whoever listens for rings",
            )?,
        })
    }
}
