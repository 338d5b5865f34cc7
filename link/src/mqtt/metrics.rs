//! Metrics of a session. Labels come from closed sets; nothing is labelled by topic or bundle.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Metrics of the sessions of one process.
#[derive(Clone, Debug)]
pub struct SessionMetrics {
    pub(super) connected: IntGauge,
    pub(super) connections: IntCounter,
    pub(super) disconnections: IntCounterVec,
    pub(super) identity_refusals: IntCounter,
    pub(super) published: IntCounterVec,
    pub(super) publish_seconds: Histogram,
    pub(super) in_flight: IntGauge,
    pub(super) received: IntCounter,
    pub(super) reading_stopped: IntCounter,
    pub(super) throttled_seconds: prometheus::Counter,
}

// === impl SessionMetrics ===

impl SessionMetrics {
    /// Creates and registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::unregistered()?;
        registry.register(Box::new(metrics.connected.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.disconnections.clone()))?;
        registry.register(Box::new(metrics.identity_refusals.clone()))?;
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.publish_seconds.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.received.clone()))?;
        registry.register(Box::new(metrics.reading_stopped.clone()))?;
        registry.register(Box::new(metrics.throttled_seconds.clone()))?;
        // There from the start, so that the first one is an increase too.
        for cause in CAUSES {
            metrics.disconnections.with_label_values(&[cause]);
        }
        Ok(metrics)
    }

    /// Metrics that are not registered, for short-lived commands.
    ///
    /// # Errors
    /// Never in practice: the names are constants.
    pub fn unregistered() -> Result<Self, prometheus::Error> {
        Ok(Self {
            connected: IntGauge::new(
                "mqtt_connected_sessions",
                "Sessions that are connected and subscribed",
            )?,
            connections: IntCounter::new(
                "mqtt_connections_total",
                "Connections that reached CONNACK",
            )?,
            disconnections: IntCounterVec::new(
                Opts::new(
                    "mqtt_disconnections_total",
                    "Connections that ended or could not be made, by cause",
                ),
                &["cause"],
            )?,
            identity_refusals: IntCounter::new(
                "mqtt_identity_refusals_total",
                "New certificates that the broker refused, after which the old one was used again",
            )?,
            published: IntCounterVec::new(
                Opts::new("mqtt_published_total", "Publishes by outcome"),
                &["outcome"],
            )?,
            publish_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "mqtt_publish_seconds",
                    "Time from handing a publish to the connection to its PUBACK",
                )
                .buckets(vec![
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                    30.0,
                ]),
            )?,
            in_flight: IntGauge::new(
                "mqtt_publishes_in_flight",
                "Publishes waiting for their PUBACK",
            )?,
            received: IntCounter::new(
                "mqtt_received_total",
                "Messages received, duplicates included",
            )?,
            reading_stopped: IntCounter::new(
                "mqtt_reading_stopped_total",
                "Times reading from the broker stopped because the consumer of the messages was behind",
            )?,
            throttled_seconds: prometheus::Counter::new(
                "mqtt_throttled_seconds_total",
                "Time publishes waited for the broker's rate limits",
            )?,
        })
    }
}

/// Why connections end or cannot be made: [`super::ConnectError::label`].
const CAUSES: [&str; 12] = [
    "timeout",
    "network",
    "tls",
    "closed_before_connack",
    "refused",
    "takeover",
    "disconnected",
    "broken",
    "stalled",
    "protocol",
    "deliberate",
    "withheld",
];
