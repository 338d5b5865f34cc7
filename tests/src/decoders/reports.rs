//! What agents report of themselves.

use jiff::Timestamp;
use link::event::agent_report::{AgentReport, kind};
use link::event::{Event, encode};
use link::id::ConsumerName;
use link::iot::limits::fits;

pub(super) const SEED: &str = r#"{"version":"1","commit":"c","extensions":["agentreports"],"startedAt":"2026-11-23T09:22:41Z",
    "certificate":{"notAfter":"2027-11-23T09:22:41Z","serial":"0a"},"target":"directory","works":{"count":1,"digest":"e3b0"},
    "refusals":[{"resourceId":"r","resourceVersion":3,"at":"2026-11-23T09:22:41Z","reason":"departed","message":"m"}],
    "truncated":true}"#;

/// A report that was read is within its bounds, fits one message, and reads the same again.
pub(super) fn report(bytes: &[u8]) {
    let consumer = ConsumerName::new("cluster1").expect("a name");
    let received = Event::new("a", kind(), &consumer, Timestamp::UNIX_EPOCH);
    let Ok(report) = AgentReport::read(&received.with_data(bytes.to_vec())) else {
        return;
    };
    let copy = report.clone();
    let sent = copy.event("a", &consumer, "s", Timestamp::UNIX_EPOCH);
    assert_eq!(fits(&encode(&sent, "t")), Ok(()));
    assert_eq!(AgentReport::read(&sent).ok(), Some(report));
}
