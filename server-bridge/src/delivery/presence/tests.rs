use link::event::agent_report::{AgentCertificate, AgentReport};
use prometheus::{Encoder as _, Registry, TextEncoder};

use super::*;
use crate::store::fixture;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second).unwrap()
}

fn agent(name: &str, version: &str, days: Option<i64>, heard: i64) -> Presence {
    let report = AgentReport {
        certificate: days.map(|days| AgentCertificate {
            not_after: at(days * 86_400),
            serial: None,
            subject: None,
        }),
        ..fixture::report(version, at(-100))
    };
    Presence {
        consumer: ConsumerName::new(name).unwrap(),
        last_seen_at: None,
        report: Some(report),
        refusals: 0,
        report_at: Some(at(heard)),
        missed_at: None,
        connection: None,
    }
}

#[test]
fn agents_are_counted_by_state_release_and_certificate_with_a_bounded_number_of_series() {
    let circumstances = Circumstances {
        now: at(0),
        listening_since: Some(at(-86_400)),
        waits: false,
    };
    let mut counts = Counts::default();
    counts.add(&agent("a", "1.0", Some(-1), -5), circumstances);
    counts.add(&agent("b", "1.0", Some(7), -5), circumstances);
    counts.add(&agent("c", "1.0", Some(30), -9_000), circumstances);
    let refuses = Presence {
        refusals: 3,
        ..agent("d", "2.0", Some(31), -5)
    };
    let waits = Circumstances {
        waits: true,
        ..circumstances
    };
    counts.add(&refuses, waits);
    // Of one that was replaced by an agent that reports nothing, neither release nor certificate counts.
    let replaced = Presence {
        last_seen_at: Some(at(-5)),
        ..agent("e", "0.1", Some(-9), -90_000)
    };
    counts.add(&replaced, circumstances);
    for number in 0..100 {
        let (name, version) = (format!("x{number}"), format!("0.{number}"));
        counts.add(&agent(&name, &version, None, -5), circumstances);
    }
    let registry = Registry::new();
    let metrics = PresenceMetrics::register(&registry).unwrap();
    let text = || {
        let mut text = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    assert!(!text().contains("\nbridge_agent_certificate_expiry_seconds"));
    metrics.show(&counts, at(0));
    let shown = text();
    for line in [
        "bridge_agents{state=\"away\"} 1",
        "bridge_agents{state=\"connected\"} 1",
        "bridge_agents{state=\"idle\"} 102",
        "bridge_agents{state=\"never\"} 0",
        "bridge_agent_versions{version=\"1.0\"} 3",
        "bridge_agent_versions{version=\"other\"} 92",
        "bridge_agent_certificate_expiry_seconds -86400",
        "bridge_agent_certificates_expiring{within=\"7d\"} 2",
        "bridge_agent_certificates_expiring{within=\"30d\"} 3",
        "bridge_agents_refusing 1",
        "bridge_agent_refusals 3",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
    }
    assert_eq!(shown.matches("bridge_agent_versions{").count(), 11);
    // Another replica looks from now on.
    metrics.show(&Counts::default(), at(0));
    assert!(!text().contains("\nbridge_agent_versions{"));
}
