//! The pure half of intake: one event and what is held, in; one decision, out (wire.md §4.2, stricter where the
//! Go agent loses data or trusts too much).

use std::collections::BTreeSet;

use bytes::Bytes;
use link::bundle::Spec;
use link::bundle::resync::StatusRequest;
use link::event::{Action, Event, SubResource};
use link::id::ConsumerName;
use link::order::Version;

use crate::work::{Entry, Head, Work, WorkId, sha256_hex};

/// Whom the agent listens to and as whom.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The consumer this agent is.
    pub consumer: ConsumerName,
    /// Sources that may send; `None` means any that the broker's policy lets through.
    pub sources: Option<BTreeSet<String>>,
}

/// What to do with an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Make this durable, then ack, then reconcile.
    Store {
        /// What will be held, without the time it came in. A payload of `None` keeps the one that is held.
        head: Head,
        /// The new payload.
        payload: Option<Bytes>,
        /// What it means, for counting.
        taken: Taken,
    },
    /// The same version with the same content is held already: ack.
    Duplicate,
    /// The source asks for statuses: answer those that differ.
    AnswerStatuses(StatusRequest),
    /// Ack, count, explain, change nothing.
    Refuse(Refused),
}

/// What a stored event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A work that was not held.
    New,
    /// A newer version, or other content under the same or no version.
    Changed,
    /// A version whose payload cannot be used; it is held so that its status can say so.
    Invalid,
    /// A deletion.
    Deletion,
}

/// Why an event was refused, with a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For counting.
    pub reason: Refusal,
    /// For reading.
    pub explanation: String,
}

/// Bounded set of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The message is no CloudEvent this link reads.
    NotAnEvent,
    /// The topic speaks for another consumer.
    ForeignTopic,
    /// `clustername` is missing or another consumer's.
    ForeignConsumer,
    /// The source is not on the allow-list.
    ForeignSource,
    /// Another data type than manifest bundles.
    DataType,
    /// An action that is not for agents.
    Action,
    /// `resourceid` is missing or empty.
    MissingResourceId,
    /// `resourceversion` is missing on an upsert.
    MissingVersion,
    /// A newer version is held.
    OldVersion,
    /// The work is being deleted.
    Deleting,
    /// A resync request whose data cannot be read.
    Payload,
}

/// Decides what becomes of an event that came in on `topic_consumer`'s topic, given what is held for its id.
pub fn decide(
    event: &Event,
    topic_consumer: Option<&ConsumerName>,
    rules: &Rules,
    held: impl FnOnce(&WorkId) -> Option<Entry>,
) -> Decision {
    match check(event, topic_consumer, rules) {
        Err(refused) => Decision::Refuse(refused),
        Ok(Request::Statuses(request)) => Decision::AnswerStatuses(request),
        Ok(Request::Spec(id)) => {
            let entry = held(&id);
            if event.deletion_timestamp.is_some() || event.kind.action == Action::Delete {
                delete(event, id, entry.as_ref())
            } else {
                upsert(event, id, entry.as_ref())
            }
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// Every reason, so that each metric exists from the start.
    pub const ALL: [Self; 11] = [
        Self::NotAnEvent,
        Self::ForeignTopic,
        Self::ForeignConsumer,
        Self::ForeignSource,
        Self::DataType,
        Self::Action,
        Self::MissingResourceId,
        Self::MissingVersion,
        Self::OldVersion,
        Self::Deleting,
        Self::Payload,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnEvent => "not_an_event",
            Self::ForeignTopic => "foreign_topic",
            Self::ForeignConsumer => "foreign_consumer",
            Self::ForeignSource => "foreign_source",
            Self::DataType => "data_type",
            Self::Action => "action",
            Self::MissingResourceId => "missing_resource_id",
            Self::MissingVersion => "missing_version",
            Self::OldVersion => "old_version",
            Self::Deleting => "deleting",
            Self::Payload => "payload",
        }
    }
}

// === impl Taken ===

impl Taken {
    /// Every meaning.
    pub const ALL: [Self; 4] = [Self::New, Self::Changed, Self::Invalid, Self::Deletion];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Invalid => "invalid",
            Self::Deletion => "deletion",
        }
    }
}

enum Request {
    Spec(WorkId),
    Statuses(StatusRequest),
}

fn check(
    event: &Event,
    topic_consumer: Option<&ConsumerName>,
    rules: &Rules,
) -> Result<Request, Refused> {
    let consumer = &rules.consumer;
    if topic_consumer != Some(consumer) {
        let whose = topic_consumer.map_or("no consumer".into(), |c| format!("consumer `{c}`"));
        return refuse(
            Refusal::ForeignTopic,
            format!("the topic speaks for {whose}, not for `{consumer}`"),
        );
    }
    match event.cluster_name.as_deref() {
        Some(name) if name == consumer.as_str() => {}
        // A Go source leaves the name out of a status resync request to all; the topic has already said enough.
        None | Some("") if event.kind.sub_resource == SubResource::Status => {}
        None => {
            return refuse(
                Refusal::ForeignConsumer,
                "attribute `clustername` is missing".into(),
            );
        }
        Some(other) => {
            return refuse(
                Refusal::ForeignConsumer,
                format!(
                    "attribute `clustername` is `{}`, not `{consumer}`",
                    cut(other)
                ),
            );
        }
    }
    if let Some(sources) = &rules.sources
        && !sources.contains(&event.source)
    {
        return refuse(
            Refusal::ForeignSource,
            format!(
                "source `{}` is not among the allowed sources",
                cut(&event.source)
            ),
        );
    }
    if !event.kind.is_manifest_bundle() {
        return refuse(
            Refusal::DataType,
            format!(
                "data type `{}` is not manifest bundles",
                cut(&event.kind.data_type)
            ),
        );
    }
    match (event.kind.sub_resource, event.kind.action) {
        (SubResource::Status, Action::ResyncRequest) => {
            match serde_json::from_slice(event.data_bytes()) {
                Ok(request) => Ok(Request::Statuses(request)),
                Err(error) => refuse(
                    Refusal::Payload,
                    format!("the status resync request cannot be read: {error}"),
                ),
            }
        }
        (
            SubResource::Spec,
            Action::Create | Action::Update | Action::Delete | Action::ResyncResponse,
        ) => match event.resource_id.as_deref() {
            Some(id) if !id.is_empty() => Ok(Request::Spec(id.into())),
            _ => refuse(
                Refusal::MissingResourceId,
                "attribute `resourceid` is missing or empty".into(),
            ),
        },
        _ => refuse(
            Refusal::Action,
            format!("event type `{}` is not for an agent", event.kind),
        ),
    }
}

fn delete(event: &Event, id: WorkId, held: Option<&Entry>) -> Decision {
    if held.is_some_and(|entry| entry.deleting) {
        return Decision::Duplicate;
    }
    let head = Head {
        id,
        // A deletion counts whatever its version, and takes the event's, as Go does; some brokers send none.
        version: event
            .resource_version
            .or(held.map(|entry| entry.version))
            .unwrap_or(Version::UNVERSIONED),
        source: event.source.clone(),
        metadata: event.metadata.clone(),
        log_tracing: event.log_tracing.clone(),
        deleting_since: event.deletion_timestamp.or(event.time),
        received_at: None,
        content: held.map_or_else(|| sha256_hex(b""), |entry| entry.content.to_string()),
        rejected: None,
    };
    Decision::Store {
        head,
        payload: None,
        taken: Taken::Deletion,
    }
}

fn upsert(event: &Event, id: WorkId, held: Option<&Entry>) -> Decision {
    let Some(version) = event.resource_version else {
        return refused(
            Refusal::MissingVersion,
            "attribute `resourceversion` is missing".into(),
        );
    };
    let content = sha256_hex(event.data_bytes());
    if let Some(entry) = held {
        if entry.deleting {
            return refused(
                Refusal::Deleting,
                format!("work `{id}` is being deleted and nothing takes that back"),
            );
        }
        if version != Version::UNVERSIONED && version < entry.version {
            return refused(
                Refusal::OldVersion,
                format!(
                    "version {version} is older than version {} held",
                    entry.version
                ),
            );
        }
        let same_version = version == entry.version || version == Version::UNVERSIONED;
        if same_version && *entry.content == *content && *entry.source == *event.source {
            return Decision::Duplicate;
        }
    }
    let rejected = problem(event.data_bytes());
    let taken = match (&rejected, held) {
        (Some(_), _) => Taken::Invalid,
        (None, None) => Taken::New,
        (None, Some(_)) => Taken::Changed,
    };
    Decision::Store {
        payload: rejected
            .is_none()
            .then(|| event.data.clone().unwrap_or_default()),
        head: Head {
            id,
            version,
            source: event.source.clone(),
            metadata: event.metadata.clone(),
            log_tracing: event.log_tracing.clone(),
            deleting_since: None,
            received_at: None,
            content,
            rejected,
        },
        taken,
    }
}

// Every problem at once, as a person wants it; the text ends up in a condition's message.
fn problem(data: &[u8]) -> Option<String> {
    let spec: Spec = match serde_json::from_slice(data) {
        Ok(spec) => spec,
        Err(error) => return Some(format!("the spec is not a manifest bundle: {error}")),
    };
    let problems = spec.problems();
    if problems.is_empty() {
        return None;
    }
    let mut text: Vec<String> = problems
        .iter()
        .take(PROBLEMS_SHOWN)
        .map(ToString::to_string)
        .collect();
    if problems.len() > PROBLEMS_SHOWN {
        text.push(format!("and {} more", problems.len() - PROBLEMS_SHOWN));
    }
    Some(text.join("; "))
}

fn refuse<T>(reason: Refusal, explanation: String) -> Result<T, Refused> {
    Err(Refused {
        reason,
        explanation,
    })
}

fn refused(reason: Refusal, explanation: String) -> Decision {
    Decision::Refuse(Refused {
        reason,
        explanation,
    })
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Decision {
    /// The work to store, given the payload that is held.
    pub fn into_work(head: Head, payload: Option<Bytes>, held: Option<Work>) -> Work {
        Work {
            payload: payload
                .or(held.map(|work| work.payload))
                .unwrap_or_default(),
            head,
        }
    }
}

// Ten name every mistake a person makes at once; a condition message must stay readable.
const PROBLEMS_SHOWN: usize = 10;

#[cfg(test)]
mod tests;
