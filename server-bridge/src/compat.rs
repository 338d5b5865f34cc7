//! Metrics under the names that upstream's server has, for dashboards and alerts that were made for it (`--compat-metrics`).
//!
//! Made anew for each scrape from what this process counts anyway, and only where the number means the same: whoever reads
//! it must not be told something else under an old name. What upstream has beyond that is absent, so that a rule about it
//! is silent instead of wrong; `docs/MONITORING.md` lists both.

use link::event::MANIFEST_BUNDLES;
use link::id::SourceId;
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// Everything that a registry has, and the same under upstream's names.
struct Both {
    own: Registry,
    source: SourceId,
}

/// A name of upstream's, and what it is made from.
struct Name {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: &'static [Sample],
}

/// One sample: the sum of those of `from` whose label `by` is one of `values`.
struct Sample {
    from: &'static str,
    by: &'static str,
    /// All of them if there is none.
    values: &'static [&'static str],
    labels: &'static [(&'static str, &'static str)],
    /// Whether upstream says which source it was.
    with_source: bool,
}

/// A registry that shows what this one has, and upstream's names beside it.
///
/// # Errors
/// Never: nothing else is registered there.
pub fn beside(own: Registry, source: SourceId) -> Result<Registry, prometheus::Error> {
    let shown = Registry::new();
    shown.register(Box::new(Both { own, source }))?;
    Ok(shown)
}

impl Collector for Both {
    /// None: what is shown comes and goes with what is counted.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.own.gather();
        let translated: Vec<_> = NAMES
            .iter()
            .filter_map(|name| name.of(&families, &self.source))
            .collect();
        families.extend(translated);
        families
    }
}

// === impl Name ===

impl Name {
    /// Nothing where nothing is counted yet that it is made from.
    fn of(&self, families: &[MetricFamily], source: &SourceId) -> Option<MetricFamily> {
        let metrics: Vec<Metric> = self
            .samples
            .iter()
            .filter_map(|sample| sample.of(families, self.kind, source))
            .collect();
        if metrics.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(metrics);
        Some(family)
    }
}

// === impl Sample ===

impl Sample {
    fn of(&self, families: &[MetricFamily], kind: MetricType, source: &SourceId) -> Option<Metric> {
        let found = families.iter().find(|family| family.name() == self.from)?;
        let counted = found
            .get_metric()
            .iter()
            .filter(|metric| self.counts(metric));
        let values: Vec<f64> = counted
            .map(|metric| match found.get_field_type() {
                MetricType::COUNTER => metric.get_counter().get_value(),
                _ => metric.get_gauge().get_value(),
            })
            .collect();
        if values.is_empty() {
            return None;
        }
        let value = values.iter().sum();
        let mut metric = Metric::default();
        let own = self.with_source.then(|| ("source", source.as_str()));
        let labels = self.labels.iter().copied().chain(own);
        metric.set_label(labels.map(|(name, value)| pair(name, value)).collect());
        match kind {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        Some(metric)
    }

    fn counts(&self, metric: &Metric) -> bool {
        self.values.is_empty()
            || metric
                .get_label()
                .iter()
                .any(|label| label.name() == self.by && self.values.contains(&label.value()))
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

const NAMES: &[Name] = &[
    Name {
        name: "spec_controller_event_oldest_unreconciled_age_seconds",
        help: "For how long the bundle has waited that waits longest for the broker",
        kind: MetricType::GAUGE,
        samples: &[Sample {
            from: "bridge_waiting_oldest_seconds",
            by: "hop",
            values: &["unsent"],
            labels: &[],
            with_source: false,
        }],
    },
    Name {
        name: "spec_controller_event_reconcile_total",
        help: "Spec events by what became of their publication: success, the broker took it; error, it did not",
        kind: MetricType::COUNTER,
        samples: &[
            Sample {
                from: "bridge_spec_events_total",
                by: "outcome",
                values: &["acked", "unmatched"],
                labels: &[("status", "success")],
                with_source: false,
            },
            Sample {
                from: "bridge_spec_events_total",
                by: "outcome",
                values: &["refused", "limit", "retried"],
                labels: &[("status", "error")],
                with_source: false,
            },
        ],
    },
    Name {
        name: "workqueue_depth",
        help: "Bundles that wait for the broker",
        kind: MetricType::GAUGE,
        samples: &[Sample {
            from: "bridge_waiting_bundles",
            by: "hop",
            values: &["unsent"],
            labels: &[("queue_name", "event-controller")],
            with_source: false,
        }],
    },
    Name {
        name: "cloudevents_sent_total",
        help: "CloudEvents that the broker took, of all clusters",
        kind: MetricType::COUNTER,
        samples: &[Sample {
            from: "mqtt_published_total",
            by: "outcome",
            values: &["acked", "unmatched"],
            labels: &[("type", MANIFEST_BUNDLES)],
            with_source: true,
        }],
    },
    Name {
        name: "cloudevents_received_total",
        help: "CloudEvents that came from agents, of all clusters",
        kind: MetricType::COUNTER,
        samples: &[Sample {
            from: "mqtt_received_total",
            by: "",
            values: &[],
            labels: &[("type", MANIFEST_BUNDLES)],
            with_source: false,
        }],
    },
    Name {
        name: "postgres_notification_queue_usage",
        help: "How much of the server's queue of notifications is used, from 0 to 1",
        kind: MetricType::GAUGE,
        samples: &[Sample {
            from: "bridge_notification_queue_usage",
            by: "",
            values: &[],
            labels: &[],
            with_source: false,
        }],
    },
];

#[cfg(test)]
mod tests {
    use link::supervise::Restarts;
    use prometheus::{IntCounter, TextEncoder};

    use super::*;
    use crate::{delivery, store};

    fn page(registry: &Registry) -> String {
        TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    }

    /// The value of an expression such as a rule has: the sum over the samples with this text in their labels.
    fn sum(page: &str, name: &str, label: &str) -> Option<f64> {
        let samples = page.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            (rest.starts_with('{') || rest.starts_with(' ')) && line.contains(label)
        });
        let values: Vec<f64> = samples
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    #[test]
    fn what_upstreams_rules_ask_has_values_from_what_is_counted_and_the_rest_stays() {
        let own = Registry::new();
        let _delivery = delivery::DeliveryMetrics::register(&own).unwrap();
        let _rings = store::postgres::NotifyMetrics::register(&own).unwrap();
        let _restarts = Restarts::register(&own).unwrap();
        let received = IntCounter::new("mqtt_received_total", "h").unwrap();
        own.register(Box::new(received.clone())).unwrap();
        received.inc_by(7);
        let shown = beside(own, SourceId::new("maestro").unwrap()).unwrap();
        let page = page(&shown);
        for (name, label, value) in [
            (
                "spec_controller_event_oldest_unreconciled_age_seconds",
                "",
                0.0,
            ),
            (
                "spec_controller_event_reconcile_total",
                "status=\"error\"",
                0.0,
            ),
            (
                "spec_controller_event_reconcile_total",
                "status=\"success\"",
                0.0,
            ),
            ("workqueue_depth", "queue_name=\"event-controller\"", 0.0),
            ("cloudevents_received_total", "manifestbundles", 7.0),
            ("postgres_notification_queue_usage", "", 0.0),
            // The bridge's own are beside them.
            ("mqtt_received_total", "", 7.0),
            ("bridge_waiting_bundles", "hop=\"unsent\"", 0.0),
        ] {
            assert_eq!(
                sum(&page, name, label),
                Some(value),
                "{name}{{{label}}} in\n{page}"
            );
        }
        // Made from what nobody has counted yet.
        assert_eq!(sum(&page, "cloudevents_sent_total", ""), None);
        // Help and type once each, as Prometheus demands.
        let types = page
            .lines()
            .filter(|line| line.starts_with("# TYPE workqueue_depth "));
        assert_eq!(types.count(), 1);
    }

    #[test]
    fn every_source_of_a_name_is_a_metric_that_is_made_here() {
        let text = include_str!("delivery/metrics.rs").to_owned()
            + include_str!("delivery/waiting.rs")
            + include_str!("store/postgres/metrics.rs")
            + include_str!("../../link/src/mqtt/metrics.rs");
        for sample in NAMES.iter().flat_map(|name| name.samples) {
            assert!(
                text.contains(&format!("\"{}\"", sample.from)),
                "{}",
                sample.from
            );
        }
    }
}
