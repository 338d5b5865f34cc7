//! The status event of one work (docs/MAESTRO.md §2.3, §3.2, §3.4).

use jiff::Timestamp;
use link::bundle::resync::PART_BYTES;
use link::bundle::{Status, go_json};
use link::clock::{Clock, rfc3339_nanos, rfc3339_seconds};
use link::event::{APPLIED_AT, Action, Event, Kind, MANIFEST_BUNDLES, RECEIVED_AT, encode};
use link::id::ConsumerName;
use link::iot::limits::fits;
use link::message::Message;
use link::order::SequenceId;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::debug;

use crate::status;
use crate::work::{Head, StatusRecord};

/// Who reports, and where.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The consumer this agent is.
    pub consumer: ConsumerName,
    /// The CloudEvents source of this agent.
    pub agent: String,
    /// Topic of this agent's events, given the source the status is for.
    pub topic: String,
    /// Wall clock.
    pub clock: Clock,
}

/// How much of the metadata that the source sent goes back with the status; less from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Echo {
    Everything,
    /// Without annotations.
    Labels,
    /// Without labels too.
    Name,
    /// Without name, time of creation and tracing too: what is left is short whatever the source said.
    Nothing,
}

// === impl Reporter ===

impl Reporter {
    /// The message with the status of a work for its source, small enough to be sent: what only echoes the source is left
    /// out first (annotations, labels, tracing, name), then texts of the status are shortened ([`status::fit`]).
    pub fn message(
        &self,
        head: &Head,
        record: &StatusRecord,
        sequence: SequenceId,
        action: Action,
    ) -> Message {
        let now = self.clock.now();
        let mut event = self.event(head, record, sequence, action, now);
        let mut say = |status: &Status, echo: Echo| {
            let data = go_json::to_string(status).unwrap_or_default();
            event.data = Some(data.into());
            event.metadata = Some(self.metadata(head, status, echo));
            event.log_tracing = head.log_tracing.clone().filter(|_| echo != Echo::Nothing);
            encode(&event, self.topic.as_str())
        };
        let mut misfit = None;
        for echo in Echo::ALL {
            let message = say(&record.status, echo);
            match fits(&message) {
                Ok(()) => return message,
                Err(error) => misfit = Some(error),
            }
        }
        if let Some(misfit) = misfit {
            debug!(resource.id = %head.id, "Shortened the status of work `{}`: {misfit}", head.id);
        }
        let mut status = record.status.clone();
        let mut limit = PART_BYTES;
        loop {
            status::fit(&mut status, limit, now);
            let message = say(&status, Echo::Nothing);
            if fits(&message).is_ok() || limit < SMALLEST {
                return message;
            }
            limit /= 2;
        }
    }

    fn event(
        &self,
        head: &Head,
        record: &StatusRecord,
        sequence: SequenceId,
        action: Action,
        now: Timestamp,
    ) -> Event {
        let mut event = Event::new(&self.agent, Kind::status(action), &self.consumer, now)
            .about(head.id.as_str(), record.version);
        event.original_source = Some(head.source.clone());
        event.sequence_id = Some(sequence);
        event.status_hash = Some(record.hash.clone());
        let mut hop = |name: &str, at: Option<Timestamp>| {
            event
                .extensions
                .extend(at.map(|at| (name.to_string(), rfc3339_nanos(at))));
        };
        // Of the version the status describes; a newer one may have come in meanwhile.
        if record.version == head.version {
            hop(RECEIVED_AT, head.received_at);
        }
        hop(APPLIED_AT, record.applied_at);
        event
    }

    fn metadata(&self, head: &Head, status: &Status, echo: Echo) -> String {
        let spec: Map<String, Value> = head
            .metadata
            .as_deref()
            .filter(|_| echo != Echo::Nothing)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let map = |echoed: bool, key: &str, ours: (&str, &str)| {
            let theirs = spec.get(key).filter(|_| echoed).and_then(Value::as_object);
            let mut map = theirs.cloned().unwrap_or_default();
            map.insert(ours.0.into(), ours.1.into());
            map
        };
        let text = |key: &str| spec.get(key).and_then(Value::as_str).map(str::to_string);
        let meta = ObjectMeta {
            name: text("name")
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| head.id.to_string()),
            namespace: self.consumer.as_str(),
            uid: head.id.as_str(),
            generation: head.version.get(),
            creation_timestamp: text("creationTimestamp"),
            deletion_timestamp: head.deleting_since.map(rfc3339_seconds),
            labels: map(echo <= Echo::Labels, "labels", (SOURCE_LABEL, &head.source)),
            annotations: map(
                echo <= Echo::Everything,
                "annotations",
                (DATA_TYPE_ANNOTATION, MANIFEST_BUNDLES),
            ),
            finalizers: if status.is_deleted() {
                &[]
            } else {
                &[FINALIZER]
            },
        };
        go_json::to_string(&meta).unwrap_or_default()
    }
}

// === impl Echo ===

impl Echo {
    const ALL: [Self; 4] = [Self::Everything, Self::Labels, Self::Name, Self::Nothing];
}

/// ObjectMeta in the key order of Go's struct.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectMeta<'a> {
    name: String,
    namespace: &'a str,
    uid: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    generation: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_timestamp: Option<String>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    finalizers: &'a [&'a str],
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

const SOURCE_LABEL: &str = "cloudevents.open-cluster-management.io/originalsource";
const DATA_TYPE_ANNOTATION: &str = "cloudevents.open-cluster-management.io/datatype";
const FINALIZER: &str = "cluster.open-cluster-management.io/manifest-work-cleanup";
// No status is cut to less: the conditions of a work alone are shorter.
const SMALLEST: usize = 4_096;

#[cfg(test)]
mod tests;
