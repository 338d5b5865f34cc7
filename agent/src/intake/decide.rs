//! The pure half of intake: one event and what is held, in; one decision, out (docs/MAESTRO.md §4.2, stricter where the
//! Go agent loses data or trusts too much).

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use link::bundle::Spec;
use link::bundle::resync::StatusRequest;
use link::event::{Action, Event, SubResource};
use link::id::ConsumerName;
use link::order::Version;

use crate::digest::sha256_hex;
use crate::received::{RefusalReason, Taken};
use crate::work::{Entry, Head, Work, WorkId, created};

use self::refusal::{cut, refuse, refused};

mod refusal;

pub use self::refusal::Refused;

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
    /// A deletion of a work that is not held: say that it is gone, then ack.
    Absent(Head),
    /// A deletion of a work that is being deleted: its `Deleted` answers this one too, unless it is on its way already.
    Leaving(Head),
    /// The source asks for statuses: answer those that differ.
    AnswerStatuses(StatusRequest),
    /// Ack, count, explain, change nothing.
    Refuse(Refused),
}

/// Decides what becomes of an event that came in on `topic_consumer`'s topic, given what is held for its id, and whether
/// what is not held was deleted after the event was written.
pub fn decide(
    event: &Event,
    topic_consumer: Option<&ConsumerName>,
    rules: &Rules,
    held: impl FnOnce(&WorkId) -> Option<Entry>,
    late: impl FnOnce(&WorkId) -> bool,
) -> Decision {
    match check(event, topic_consumer, rules) {
        Err(refused) => Decision::Refuse(refused),
        Ok(Request::Statuses(request)) => Decision::AnswerStatuses(request),
        Ok(Request::Spec(id)) => {
            let entry = held(&id);
            if event.deletion_timestamp.is_some() || event.kind.action == Action::Delete {
                delete(event, id, entry.as_ref())
            } else if entry.is_none() && late(&id) {
                refused(
                    RefusalReason::Tombstoned,
                    format!("work `{id}` was deleted after this was written"),
                )
            } else {
                upsert(event, id, entry.as_ref())
            }
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
            RefusalReason::ForeignTopic,
            format!("the topic speaks for {whose}, not for `{consumer}`"),
        );
    }
    match event.cluster_name.as_deref() {
        Some(name) if name == consumer.as_str() => {}
        // A Go source leaves the name out of a status resync request to all; the topic has already said enough.
        None | Some("") if event.kind.sub_resource == SubResource::Status => {}
        None => {
            return refuse(
                RefusalReason::ForeignConsumer,
                "attribute `clustername` is missing".into(),
            );
        }
        Some(other) => {
            return refuse(
                RefusalReason::ForeignConsumer,
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
            RefusalReason::ForeignSource,
            format!(
                "source `{}` is not among the allowed sources",
                cut(&event.source)
            ),
        );
    }
    if !event.kind.is_manifest_bundle() {
        return refuse(
            RefusalReason::DataType,
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
                    RefusalReason::Payload,
                    format!("the status resync request cannot be read: {error}"),
                ),
            }
        }
        (
            SubResource::Spec,
            Action::Create | Action::Update | Action::Delete | Action::ResyncResponse,
        ) => match event.resource_id.as_deref() {
            Some(id) if id.len().max(event.source.len()) > LONGEST_NAME => refuse(
                RefusalReason::TooLong,
                format!(
                    "`resourceid` has {} bytes and `source` {}, and a status could carry at most {LONGEST_NAME} of each",
                    id.len(),
                    event.source.len()
                ),
            ),
            Some(id) if !id.is_empty() => Ok(Request::Spec(id.into())),
            _ => refuse(
                RefusalReason::MissingResourceId,
                "attribute `resourceid` is missing or empty".into(),
            ),
        },
        _ => refuse(
            RefusalReason::Action,
            format!("event type `{}` is not for an agent", event.kind),
        ),
    }
}

fn delete(event: &Event, id: WorkId, held: Option<&Entry>) -> Decision {
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
    match held {
        None => Decision::Absent(head),
        Some(entry) if is_of_an_earlier_bundle(event, entry) => refused(
            RefusalReason::Tombstoned,
            format!(
                "work `{}` was made again since this deletion was asked for",
                head.id
            ),
        ),
        // A source waits for the `Deleted` of the version it asked to delete.
        Some(entry)
            if entry.deleting && head.version <= entry.version && *head.source == *entry.source =>
        {
            Decision::Leaving(head)
        }
        Some(_) => Decision::Store {
            head,
            payload: None,
            taken: Taken::Deletion,
        },
    }
}

fn upsert(event: &Event, id: WorkId, held: Option<&Entry>) -> Decision {
    let Some(version) = event.resource_version else {
        return refused(
            RefusalReason::MissingVersion,
            "attribute `resourceversion` is missing".into(),
        );
    };
    let content = sha256_hex(event.data_bytes());
    if let Some(entry) = held {
        if entry.deleting && repeats(event, version, entry) {
            // A copy of what led to the version that goes.
            return Decision::Duplicate;
        }
        if entry.deleting {
            return refused(
                RefusalReason::Deleting,
                format!("work `{id}` is being deleted and nothing takes that back"),
            );
        }
        if version != Version::UNVERSIONED && version < entry.version {
            return refused(
                RefusalReason::OldVersion,
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

// Whether a deletion was asked for before the bundle that is held was made, and names another one. A source that was
// restored from a backup asks for its deletions after that.
fn is_of_an_earlier_bundle(event: &Event, entry: &Entry) -> bool {
    let meant = created(event.metadata.as_deref());
    let (Some(meant), Some(held)) = (meant.as_deref(), entry.created.as_deref()) else {
        return false;
    };
    let asked = event.deletion_timestamp;
    meant != held
        && held
            .parse::<Timestamp>()
            .is_ok_and(|made| asked.is_some_and(|asked| asked < made))
}

// Whether an upsert for a work that is being deleted is about that very bundle, and from before. Where a source does not
// say which bundle it means, it may have made another one of the same id.
fn repeats(event: &Event, version: Version, entry: &Entry) -> bool {
    let meant = created(event.metadata.as_deref());
    meant.is_some() && meant.as_deref() == entry.created.as_deref() && version <= entry.version
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

// A status names both several times, each at worst six times as long in JSON, in a packet that has 29 KB beside the status.
const LONGEST_NAME: usize = 1024;
// Ten name every mistake a person makes at once; a condition message must stay readable.
const PROBLEMS_SHOWN: usize = 10;

#[cfg(test)]
mod tests;
