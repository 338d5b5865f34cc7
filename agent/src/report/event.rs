//! The status event of one work (wire.md §2.3, §3.2, §3.4).

use jiff::Timestamp;
use link::bundle::{Status, go_json};
use link::clock::{Clock, rfc3339_nanos, rfc3339_seconds};
use link::event::{APPLIED_AT, Action, Event, Kind, MANIFEST_BUNDLES, RECEIVED_AT, encode};
use link::id::ConsumerName;
use link::message::Message;
use link::order::SequenceId;
use serde::Serialize;
use serde_json::{Map, Value};

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

// === impl Reporter ===

impl Reporter {
    /// The message that tells the source of a work its status.
    pub fn message(
        &self,
        head: &Head,
        record: &StatusRecord,
        sequence: SequenceId,
        action: Action,
    ) -> Message {
        let now = self.clock.now();
        let data = go_json::to_string(&record.status).unwrap_or_default();
        let mut event = Event::new(&self.agent, Kind::status(action), &self.consumer, now)
            .about(head.id.as_str(), record.version)
            .with_data(data.into_bytes());
        event.original_source = Some(head.source.clone());
        event.sequence_id = Some(sequence);
        event.status_hash = Some(record.hash.clone());
        event.metadata = Some(self.metadata(head, record));
        event.log_tracing.clone_from(&head.log_tracing);
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
        encode(&event, self.topic.as_str())
    }

    fn metadata(&self, head: &Head, record: &StatusRecord) -> String {
        let spec: Map<String, Value> = head
            .metadata
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let text = self.metadata_of(head, &record.status, &spec);
        if text.len() <= LONGEST_METADATA {
            return text;
        }
        // Labels and annotations are an echo; better none than an event that cannot be sent.
        self.metadata_of(head, &record.status, &Map::new())
    }

    fn metadata_of(&self, head: &Head, status: &Status, spec: &Map<String, Value>) -> String {
        let map = |key: &str, ours: (&str, &str)| {
            let mut map = spec
                .get(key)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
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
            labels: map("labels", (SOURCE_LABEL, &head.source)),
            annotations: map("annotations", (DATA_TYPE_ANNOTATION, MANIFEST_BUNDLES)),
            finalizers: if status.is_deleted() {
                &[]
            } else {
                &[FINALIZER]
            },
        };
        go_json::to_string(&meta).unwrap_or_default()
    }
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
// An MQTT text holds at most 65 535 bytes.
const LONGEST_METADATA: usize = 65_535;

#[cfg(test)]
mod tests {
    use link::order::Version;

    use super::*;

    #[test]
    fn the_metadata_equals_the_go_agent_s() {
        let at: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let reporter = Reporter {
            consumer: ConsumerName::new("cluster1").unwrap(),
            agent: "cluster1-work-agent".into(),
            topic: "t".into(),
            clock: Clock::fixed(at),
        };
        let id = "55c61e54-a3f6-563d-9fec-b1fe297bdfdb";
        let mut head = Head {
            id: id.into(),
            version: Version::FIRST,
            source: "maestro".into(),
            metadata: None,
            log_tracing: Some("{}".into()),
            deleting_since: None,
            received_at: None,
            content: String::new(),
            rejected: None,
        };
        let mut record = StatusRecord {
            version: Version::FIRST,
            status: Status::default(),
            hash: "h".into(),
            acknowledged: false,
            applied_at: None,
        };
        let metadata = |head: &Head, record: &StatusRecord| {
            let message = reporter.message(head, record, "1".parse().unwrap(), Action::Update);
            let event = link::event::decode(&message).unwrap();
            assert_eq!(event.original_source.as_deref(), Some("maestro"));
            assert_eq!(event.status_hash.as_deref(), Some("h"));
            event.metadata.unwrap()
        };
        // The sample of wire.md §2.3.
        assert_eq!(
            metadata(&head, &record),
            r#"{"name":"55c61e54-a3f6-563d-9fec-b1fe297bdfdb","namespace":"cluster1","uid":"55c61e54-a3f6-563d-9fec-b1fe297bdfdb","generation":1,"labels":{"cloudevents.open-cluster-management.io/originalsource":"maestro"},"annotations":{"cloudevents.open-cluster-management.io/datatype":"io.open-cluster-management.works.v1alpha1.manifestbundles"},"finalizers":["cluster.open-cluster-management.io/manifest-work-cleanup"]}"#
        );
        head.deleting_since = Some(at);
        record.status.conditions.push(link::bundle::Condition::new(
            "Deleted", "True", "R", "m", 0, at,
        ));
        let deleted = metadata(&head, &record);
        assert!(deleted.contains(r#""deletionTimestamp":"2026-08-01T10:00:00Z""#));
        assert!(!deleted.contains("finalizers"));
    }
}
