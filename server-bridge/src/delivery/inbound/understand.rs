//! Decodes and validates a message of an agent. Does no I/O: what is refused here is refused by its content, and would be
//! again.

use std::collections::HashMap;

use jiff::Timestamp;
use link::bundle::Status;
use link::bundle::resync::{HeldVersion, SpecRequest};
use link::event::agent_report::{self, AgentReport, InvalidAgentReport};
use link::event::{APPLIED_AT, Action, Event, RECEIVED_AT, SubResource, decode};
use link::id::ConsumerName;
use link::iot::lifecycle::{self, LifecycleEvent};
use link::message::Message;
use link::party::Party;
use link::telemetry::clip;
use link::topic::Channel;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::delivery::DeliveryConfig;
use crate::delivery::resync::{self, Listed};
use crate::store::{ConnectionEvent, Json, ReportedPresence, ResyncPart, StatusUpdate};

/// What an event asks for.
#[derive(Debug)]
pub(super) enum AgentRequest {
    /// Take a status.
    Status(Box<StatusUpdate>),
    /// Bring the agent what it lacks, compared with all it holds.
    Resync {
        held: Vec<HeldVersion>,
        /// When its agent made the list, by the agent's clock.
        made_at: Timestamp,
        /// When it came, or its last part.
        came: Timestamp,
        /// The id of a list that came in parts, which are forgotten then.
        joined: Option<String>,
    },
    /// Keep a part of a list, and bring the agent what it lacks once all are there.
    Part(ResyncPart),
    /// Keep what the agent says of itself.
    Report(Box<ReportedPresence>),
    /// Keep what the broker says of the agent's connection.
    Connection(ConnectionEvent),
}

/// Whether it is a lifecycle event of a client that is no consumer's agent.
pub(super) fn is_of_other_client(topic: &str) -> bool {
    lifecycle::client_of(topic).is_some_and(|(_, id)| Party::consumer_of_agent(id).is_none())
}

/// Why an event is refused: an outcome from a closed set, and a sentence without anything of the payload.
#[derive(Debug)]
pub(super) struct EventRefusal {
    pub(super) outcome: &'static str,
    pub(super) reason: String,
}

pub(super) fn refusal(outcome: &'static str, reason: impl Into<String>) -> EventRefusal {
    EventRefusal {
        outcome,
        reason: reason.into(),
    }
}

/// Reads an event; `consumer` is whom its topic speaks for.
pub(super) fn understand(
    config: &DeliveryConfig,
    message: &Message,
    at: Timestamp,
) -> Result<(ConsumerName, AgentRequest), EventRefusal> {
    if let Some((connected, client_id)) = lifecycle::client_of(&message.topic) {
        return connection(connected, client_id, &message.payload, at);
    }
    let Some((Channel::AgentEvents, consumer)) = config.scheme.recognise(&message.topic) else {
        return Err(refusal(
            "foreign_topic",
            "the topic is no agent's topic of this deployment",
        ));
    };
    let event = decode(message).map_err(|error| {
        let error = link::error::chain(&error);
        refusal("undecodable", clip(&error, ERROR_BYTES))
    })?;
    // The topic is what the broker's policy let the sender write to; the event only claims.
    if event.cluster_name.as_deref() != Some(consumer.as_str()) {
        let claimed = clip(
            event.cluster_name.as_deref().unwrap_or_default(),
            NAME_BYTES,
        );
        return Err(refusal(
            "foreign_consumer",
            format!("it speaks for `{claimed}` on the topic of `{consumer}`"),
        ));
    }
    let kind = || {
        format!(
            "its type is `{}`",
            clip(&event.kind.to_string(), NAME_BYTES)
        )
    };
    if agent_report::is_report(&event) {
        let report = report(config, &consumer, &event, at)?;
        return Ok((consumer, AgentRequest::Report(Box::new(report))));
    }
    if !event.kind.is_manifest_bundle() {
        return Err(refusal("data_type", kind()));
    }
    match (event.kind.sub_resource, event.kind.action) {
        (SubResource::Spec, Action::ResyncRequest) => {
            let request: SpecRequest =
                serde_json::from_slice(event.data_bytes()).map_err(|error| {
                    refusal(
                        "bad_resync",
                        format!("its data is no resync request: {}", place(&error)),
                    )
                })?;
            let listed = resync::listed(&consumer, &event, request.resource_versions, at)
                .map_err(|reason| refusal("bad_resync", reason))?;
            let request = match listed {
                Listed::Whole(held) => AgentRequest::Resync {
                    held,
                    made_at: event.time.unwrap_or(at),
                    came: at,
                    joined: None,
                },
                Listed::Part(part) => AgentRequest::Part(part),
            };
            Ok((consumer, request))
        }
        (SubResource::Status, Action::Create | Action::Update | Action::ResyncResponse) => {
            check_source(config, &event)?;
            let update = status_update(&consumer, &event, at)?;
            Ok((consumer, AgentRequest::Status(Box::new(update))))
        }
        _ => Err(refusal("not_for_a_bridge", kind())),
    }
}

fn connection(
    connected: bool,
    client_id: &str,
    payload: &[u8],
    at: Timestamp,
) -> Result<(ConsumerName, AgentRequest), EventRefusal> {
    let bad = |reason: String| refusal("bad_lifecycle_event", reason);
    let consumer = Party::consumer_of_agent(client_id)
        .ok_or_else(|| bad("its client is no agent of this deployment".into()))?;
    let event = LifecycleEvent::read(connected, client_id, payload)
        .map_err(|error| bad(error.to_string()))?;
    let event = ConnectionEvent {
        client_id: event.client_id,
        connected,
        version: event.version,
        at: event.at,
        reason: event.reason,
        heard_at: at,
    };
    Ok((consumer, AgentRequest::Connection(event)))
}

fn report(
    config: &DeliveryConfig,
    consumer: &ConsumerName,
    event: &Event,
    at: Timestamp,
) -> Result<ReportedPresence, EventRefusal> {
    check_source(config, event)?;
    // Its own words may quote the text.
    let report = AgentReport::read(event).map_err(|error| match &error {
        InvalidAgentReport::Json(why) => refusal(BAD_REPORT, format!("{error}: {}", place(why))),
        InvalidAgentReport::TooLong(_) => refusal(BAD_REPORT, error.to_string()),
    })?;
    Ok(ReportedPresence {
        consumer: consumer.clone(),
        report,
        made_at: event.time.unwrap_or(at),
        at,
    })
}

fn check_source(config: &DeliveryConfig, event: &Event) -> Result<(), EventRefusal> {
    let original = event.original_source.as_deref().unwrap_or_default();
    if original == config.source.as_str() {
        return Ok(());
    }
    Err(refusal(
        "foreign_source",
        format!(
            "it answers source `{}`, not `{}`",
            clip(original, NAME_BYTES),
            config.source
        ),
    ))
}

pub(super) fn status_update(
    consumer: &ConsumerName,
    event: &Event,
    at: Timestamp,
) -> Result<StatusUpdate, EventRefusal> {
    let missing = |name| refusal("incomplete", format!("attribute `{name}` is missing"));
    let bundle_id = event
        .resource_id
        .clone()
        .ok_or_else(|| missing("resourceid"))?;
    let version = event
        .resource_version
        .ok_or_else(|| missing("resourceversion"))?;
    let sequence_id = event.sequence_id.ok_or_else(|| missing("sequenceid"))?;
    let data = event.data_bytes();
    let status: Status = serde_json::from_slice(data).map_err(|error| {
        refusal(
            "undecodable",
            format!("its data is no status: {}", place(&error)),
        )
    })?;
    // It is spliced into lists: what one of their readers refuses would break the whole list for it.
    let payload = std::str::from_utf8(data)
        .map_err(|_| refusal("undecodable", "its data is no status: no UTF-8"))?;
    let payload = Json::parse(payload).map_err(|error| {
        let error = error.to_string();
        let problem = clip(&error, ERROR_BYTES);
        refusal("undecodable", format!("its data is no status: {problem}"))
    })?;
    if payload.object_members().is_none() {
        return Err(refusal("undecodable", "its data is no status: no object"));
    }
    let payload = without_ours(payload);
    let applied = status
        .condition("Applied")
        .filter(|applied| {
            applied.is_true() && applied.observed_generation == i64::from(version.get())
        })
        .and_then(|applied| applied.last_transition_time.parse().ok());
    Ok(StatusUpdate {
        bundle_id,
        consumer: consumer.clone(),
        version,
        sequence_id,
        status_hash: event.status_hash.clone().filter(|hash| is_hash(hash)),
        payload,
        metadata: event
            .metadata
            .as_deref()
            .and_then(|text| Json::parse(text).ok()),
        deleted: status.is_deleted(),
        received_at: extension_time(event, RECEIVED_AT),
        applied_at: extension_time(event, APPLIED_AT).or(applied),
        at,
    })
}

/// Without the members that this side adds when it shows a status, in any spelling that Go takes for theirs: behind ours
/// they would count.
fn without_ours(payload: Json) -> Json {
    let is_ours = |name: &str| OURS.contains(&name.to_uppercase().as_str());
    let members: HashMap<String, IgnoredAny> =
        serde_json::from_str(payload.as_str()).unwrap_or_default();
    if !members.keys().any(|name| is_ours(name)) {
        return payload;
    }
    let mut value = payload.to_value();
    if let Some(members) = value.as_object_mut() {
        members.retain(|name, _| !is_ours(name));
    }
    Json::from_value(&value)
}

/// Hashes are echoed in lists: what is no hash would make a list that cannot be sent. Without one the status is asked
/// for again, which costs only the agent that sent it.
fn is_hash(text: &str) -> bool {
    (1..=HASH_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_=.:".contains(&byte))
}

fn extension_time(event: &Event, name: &str) -> Option<Timestamp> {
    event.extensions.get(name)?.parse().ok()
}

/// Where and how JSON cannot be read. The library's own words may quote the text.
fn place(error: &serde_json::Error) -> String {
    let problem = match error.classify() {
        Category::Io | Category::Syntax => "no JSON",
        Category::Data => "another shape",
        Category::Eof => "it ends too early",
    };
    format!(
        "{problem} at line {} column {}",
        error.line(),
        error.column()
    )
}

// `ObservedVersion` and `SequenceID` (`api/render.rs`); in capitals, because Go compares names without case.
const OURS: [&str; 2] = ["OBSERVEDVERSION", "SEQUENCEID"];

// Names and types are shorter; what is longer is shown by its beginning and its length.
const NAME_BYTES: usize = 100;
const ERROR_BYTES: usize = 200;
const BAD_REPORT: &str = "bad_report";
// SHA-512 in hexadecimal, should an agent come to use it.
const HASH_BYTES: usize = 128;
