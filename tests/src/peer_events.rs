//! Events as some other party sends them: a source or an agent of another make, a late copy, an agent that lies.
//!
//! They go out through a [`crate::region::Region::peer`], which the broker lets do everything.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use link::clock::Clock;
use link::event::{Action, Event, Kind};
use link::id::ConsumerName;
use link::message::Message;
use link::order::{SequenceId, Version};
use serde_json::{Value, json};

use crate::region::SOURCE;
use crate::session::Client;

/// Where an agent speaks.
pub fn agent_topic(consumer: &str) -> String {
    format!("maestro/consumers/{consumer}/agentevents")
}

/// Where the source speaks to an agent.
pub fn source_topic(consumer: &str) -> String {
    format!("maestro/consumers/{consumer}/sourceevents")
}

/// The status of a version with one condition of this type, which holds.
pub fn status(consumer: &str, id: &str, version: i64, sequence: SequenceId, kind: &str) -> Event {
    let conditions = json!({ "conditions": [condition(kind)] });
    let mut event = about(consumer, Kind::status(Action::Update), id, version);
    event.source = format!("{consumer}-work-agent");
    event.original_source = Some(SOURCE.into());
    event.sequence_id = Some(sequence);
    event.with_data(conditions.to_string())
}

/// A condition of this type, which holds.
pub fn condition(kind: &str) -> Value {
    json!({
        "type": kind,
        "status": "True",
        "lastTransitionTime": "2026-08-01T10:05:00Z",
        "reason": "Forged",
        "message": "",
    })
}

/// A version of a bundle.
pub fn spec(consumer: &str, id: &str, version: i64, manifests: &[Value]) -> Event {
    let event = about(consumer, Kind::spec(Action::Create), id, version);
    event.with_data(json!({ "manifests": manifests }).to_string())
}

/// The deletion of a bundle.
pub fn deletion(consumer: &str, id: &str, version: i64) -> Event {
    let mut event = about(consumer, Kind::spec(Action::Delete), id, version);
    event.deletion_timestamp = Some(now());
    event
}

/// Publishes what somebody listens to.
///
/// # Errors
/// When the broker does not take it, or nobody is there to hear it.
pub async fn publish(peer: &Client, message: Message) -> Result<()> {
    let topic = message.topic.clone();
    let ack = peer.session.publish(message).await?.await?;
    ensure!(ack.matched, "nobody listens on `{topic}`");
    Ok(())
}

/// The wall clock, which only events of others are stamped with.
pub fn now() -> Timestamp {
    Clock::system().now()
}

fn about(consumer: &str, kind: Kind, id: &str, version: i64) -> Event {
    let consumer = ConsumerName::new(consumer).expect("the test's own name");
    let version = Version::new(version).expect("the test's own version");
    let mut event = Event::new(SOURCE, kind, &consumer, now()).about(id, version);
    event.log_tracing = Some("{}".into());
    event
}
