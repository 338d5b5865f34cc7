//! Metric helpers: base units in the name, buckets that fit the link, one place for build information.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntGauge, Opts, Registry};

use crate::iot::limits::PAYLOAD_BYTES;

/// Buckets for durations in seconds: from a local round trip to the longest reconnect backoff.
pub const SECONDS_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// Buckets for sizes in bytes, doubling up to the largest payload IoT Core takes, 128 KiB, and two above for what is
/// refused.
pub const BYTES_BUCKETS: &[f64] = &[
    256.0,
    512.0,
    1024.0,
    2048.0,
    4096.0,
    8192.0,
    16384.0,
    32768.0,
    65536.0,
    PAYLOAD_BYTES as f64,
    524_288.0,
    1_048_576.0,
];

/// A registered histogram of durations. The name must end in `_seconds`.
///
/// # Errors
/// The name is taken or not valid, or has another unit.
pub fn seconds_histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    histogram(registry, name, help, labels, "_seconds", SECONDS_BUCKETS)
}

/// A registered histogram of sizes. The name must end in `_bytes`.
///
/// # Errors
/// The name is taken or not valid, or has another unit.
pub fn bytes_histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    histogram(registry, name, help, labels, "_bytes", BYTES_BUCKETS)
}

/// Registers a collector and gives it back, so that a `Metrics` struct is one expression.
///
/// # Errors
/// The name is taken.
pub fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// Registers `build_info{component, version, commit} 1`. Several components may share a registry.
///
/// # Errors
/// The component is already registered.
pub fn register_build_info(registry: &Registry, component: &str) -> Result<(), prometheus::Error> {
    let options = Opts::new("build_info", "What is running; the value is always 1")
        .const_label("component", component)
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("commit", option_env!("BUILD_COMMIT").unwrap_or("unknown"));
    register(registry, IntGauge::with_opts(options)?)?.set(1);
    Ok(())
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    unit: &str,
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    if !name.ends_with(unit) {
        return Err(prometheus::Error::Msg(format!(
            "histogram `{name}` must end in `{unit}`"
        )));
    }
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(options, labels)?)
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn two_components_of_one_process_show_their_build() {
        let registry = Registry::new();
        register_build_info(&registry, "agent").unwrap();
        register_build_info(&registry, "server-bridge").unwrap();
        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert!(text.contains("build_info{commit="), "{text}");
        assert!(text.contains("component=\"agent\""), "{text}");
        assert!(text.contains("component=\"server-bridge\""), "{text}");
        assert!(register_build_info(&registry, "agent").is_err());
    }

    #[test]
    fn histogram_names_carry_their_base_unit() {
        let registry = Registry::new();
        let histogram = seconds_histogram(
            &registry,
            "publish_ack_seconds",
            "Publish to ack",
            &["lane"],
        )
        .unwrap();
        histogram.with_label_values(&["spec"]).observe(0.02);
        let error = bytes_histogram(&registry, "payload_kb", "Payload", &[]).unwrap_err();
        assert!(error.to_string().contains("must end in `_bytes`"));
    }
}
