//! From a published event to what it asks for, or why it is refused. Pure; what a bundle must be is `validate`'s affair.

use std::collections::BTreeMap;

use link::bundle::resync::{HeldStatus, StatusRequest};
use link::clock::rfc3339_nanos;
use link::event::{Action, Event, SubResource};
use link::id::ConsumerName;
use link::order::Version;
use link::telemetry::clip;
use serde_json::{Map, Value, json};

use super::error::Refusal;
use crate::callers::Verb;
use crate::store::{Json, SourceName};
use crate::validate::{Draft, Unreadable, check_id, count, kind, read, unknown_members};

/// What a source asks for.
#[derive(Debug)]
pub(super) enum SourceRequest {
    /// Another state of one bundle.
    Store(Box<SourceCommand>),
    /// The statuses that it does not have: all if the list is empty, else those of the list whose hash is another.
    Resync(Vec<HeldStatus>),
}

/// What is to become of a bundle.
#[derive(Debug)]
pub(super) enum SourceCommand {
    /// A new bundle.
    Create(PublishedBundle),
    /// Another content for one. `expected` is the version it starts from; `None` is the latest, whichever that is.
    Update {
        given: PublishedBundle,
        expected: Option<Version>,
    },
    /// The end of one.
    Delete { id: String, consumer: ConsumerName },
}

/// A bundle as it was published.
#[derive(Debug)]
pub(super) struct PublishedBundle {
    pub(super) id: String,
    pub(super) consumer: ConsumerName,
    /// Metadata and content, unchecked.
    pub(super) draft: Draft,
    /// What of the event travels again.
    pub(super) origin: Json,
}

/// What the attributes of an event say, before anything of its data is read.
#[derive(Debug)]
pub(super) struct RequestHead {
    /// Who speaks.
    pub(super) source: SourceName,
    /// The bundle, for which cluster it is said to be, and what is to become of it; `None` for a resync.
    pub(super) bundle: Option<(String, ConsumerName, Verb)>,
}

/// Reads who wants what of which bundle.
///
/// # Errors
/// Names the attribute that is missing, unknown or unreadable.
pub(super) fn request_head(event: &Event) -> Result<RequestHead, Refusal> {
    let source = SourceName::new(event.source.clone())
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    let verb = match (event.kind.sub_resource, event.kind.action) {
        _ if !event.kind.is_manifest_bundle() => return Err(unsupported(event)),
        // The library names an update by its type; a deletion by its type or by its time alone, as agents take it.
        (SubResource::Spec, Action::Create | Action::Update | Action::Delete)
            if event.kind.action == Action::Delete || event.deletion_timestamp.is_some() =>
        {
            Some(Verb::Delete)
        }
        (SubResource::Spec, Action::Create) => Some(Verb::Create),
        (SubResource::Spec, Action::Update) => Some(Verb::Update),
        (SubResource::Status, Action::ResyncRequest) => None,
        _ => return Err(unsupported(event)),
    };
    let bundle = match verb {
        None => None,
        Some(verb) => {
            let (id, consumer) = addressed(event)?;
            Some((id, consumer, verb))
        }
    };
    Ok(RequestHead { source, bundle })
}

/// How many JSON values an event has, at least.
pub(super) fn values(event: &Event) -> usize {
    let attributes = [&event.metadata, &event.log_tracing].into_iter().flatten();
    let attributes: usize = attributes.map(|text| count(text.as_bytes())).sum();
    count(event.data_bytes()) + attributes
}

/// Reads what an event asks for.
///
/// # Errors
/// Names the attribute or field that is missing, unknown or unreadable.
pub(super) fn understand(event: &Event) -> Result<SourceRequest, Refusal> {
    let Some((id, consumer, verb)) = request_head(event)?.bundle else {
        let request = serde_json::from_slice(event.data_bytes());
        let request: StatusRequest = request.map_err(|error| {
            Refusal::invalid(format!(
                "the data is no status resync request, such as {{\"statusHashes\":[]}}: {error}"
            ))
        })?;
        return Ok(SourceRequest::Resync(request.status_hashes));
    };
    let command = match verb {
        Verb::Delete => SourceCommand::Delete { id, consumer },
        Verb::Create => SourceCommand::Create(given(event, id, consumer)?),
        _ => {
            let version = event.resource_version.ok_or_else(|| {
                Refusal::invalid(format!(
                    "{}; 0 stands for the latest",
                    missing("resourceversion")
                ))
            })?;
            SourceCommand::Update {
                given: given(event, id, consumer)?,
                expected: Some(version).filter(|version| *version != Version::UNVERSIONED),
            }
        }
    };
    Ok(SourceRequest::Store(Box::new(command)))
}

fn unsupported(event: &Event) -> Refusal {
    let shown = event.kind.to_string();
    Refusal::invalid(format!(
        "type: `{}` is not taken here; sources publish \
         `io.open-cluster-management.works.v1alpha1.manifestbundles` with `spec.create_request`, \
         `spec.update_request`, `spec.delete_request` or `status.resync_request`",
        clip(&shown, NAME_BYTES)
    ))
}

fn addressed(event: &Event) -> Result<(String, ConsumerName), Refusal> {
    let id = event.resource_id.clone();
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| Refusal::invalid(missing("resourceid")))?;
    check_id("resourceid", &id)?;
    let consumer = event
        .cluster_name
        .clone()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Refusal::invalid(missing("clustername")))?;
    let consumer = ConsumerName::new(consumer)
        .map_err(|error| Refusal::invalid(format!("clustername: {error}")).about(&id))?;
    Ok((id, consumer))
}

/// By the name that it has in the map of attributes, where one without `ce-` is not looked at.
fn missing(name: &str) -> String {
    format!("attribute `ce-{name}` is missing (`{name}` in a structured event)")
}

fn given(event: &Event, id: String, consumer: ConsumerName) -> Result<PublishedBundle, Refusal> {
    let mut data = data(event).map_err(|refusal| refusal.about(&id))?;
    let mut take = |member: &str| data.remove(member).filter(|value| !value.is_null());
    let draft = Draft {
        metadata: metadata(event).map_err(|refusal| refusal.about(&id))?,
        manifests: take("manifests"),
        manifest_configs: take("manifestConfigs"),
        delete_option: take("deleteOption"),
        executer: take("executer"),
        stored: None,
    };
    Ok(PublishedBundle {
        origin: origin(event)?,
        id,
        consumer,
        draft,
    })
}

/// The members of the spec data.
fn data(event: &Event) -> Result<Map<String, Value>, Refusal> {
    if event.data.is_none() {
        return Err(Refusal::invalid(
            "the event carries no data; a bundle has at least `manifests`",
        ));
    }
    let bytes = event.data_bytes().len();
    if bytes > DATA_BYTES {
        return Err(Refusal::invalid(format!(
            "data: {bytes} bytes, and a bundle has {DATA_BYTES} at most"
        )));
    }
    let members = object("data", event.data_bytes())?;
    match unknown_members(&members, DATA) {
        None => Ok(members),
        Some(told) => Err(Refusal::invalid(format!("data: {told}"))),
    }
}

/// The metadata as the source will be given it again: as it sent it, without the version, which is this event's
/// (docs/GRPC.md rule 9).
fn metadata(event: &Event) -> Result<Option<Value>, Refusal> {
    let Some(text) = event.metadata.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mut members = object("attribute `metadata`", text.as_bytes())?;
    members.remove("resourceVersion");
    Ok(Some(Value::Object(members)))
}

/// What of the event travels again (docs/MAESTRO.md §2.3): who it was, when, and every attribute that has no meaning here.
fn origin(event: &Event) -> Result<Json, Refusal> {
    let mut extensions: BTreeMap<&str, &str> = event
        .extensions
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    if let Some(tracing) = event.log_tracing.as_deref().filter(|text| !text.is_empty()) {
        let members = object("attribute `logtracing`", tracing.as_bytes())?;
        if !members.values().all(Value::is_string) {
            return Err(Refusal::invalid(
                "attribute `logtracing` must be a JSON object of strings",
            ));
        }
        extensions.insert("logtracing", tracing);
    }
    let mut origin = json!({"id": event.id});
    if let Some(time) = event.time {
        origin["time"] = rfc3339_nanos(time).into();
    }
    if !extensions.is_empty() {
        origin["extensions"] = json!(extensions);
    }
    Ok(Json::from_value(&origin))
}

fn object(what: &str, text: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match read(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => Err(Refusal::invalid(format!(
            "{what} must be a JSON object, not {}",
            kind(&other)
        ))),
        Err(Unreadable::Invalid(invalid)) => Err(Refusal::invalid(format!("{what}: {invalid}"))),
        Err(Unreadable::Malformed(error)) => {
            Err(Refusal::invalid(format!("{what} is not JSON: {error}")))
        }
    }
}

/// The members of spec data (docs/MAESTRO.md §3.1).
const DATA: &[&str] = &["manifests", "deleteOption", "manifestConfigs", "executer"];

const NAME_BYTES: usize = 200;

/// The longest data: as the longest body of REST.
const DATA_BYTES: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use link::event::Kind;

    use super::*;

    fn event(kind: Kind) -> Event {
        let mut event = Event::new(
            "mw-client",
            kind,
            &ConsumerName::new("c1").unwrap(),
            "2026-08-01T10:00:00Z".parse().unwrap(),
        )
        .about("b1", Version::new(3).unwrap())
        .with_data("{\"manifests\":[{}],\"executer\":null}");
        event.id = "1".into();
        event
    }

    fn command(event: &Event) -> SourceCommand {
        match understand(event).unwrap() {
            SourceRequest::Store(command) => *command,
            resync @ SourceRequest::Resync(_) => panic!("{resync:?}"),
        }
    }

    #[test]
    fn metadata_is_kept_without_its_version_and_what_travels_again_is_noted() {
        let mut event = event(Kind::spec(Action::Create));
        event.metadata = Some(r#"{"name":"w1","resourceVersion":"7","labels":{"a":"b"}}"#.into());
        event.log_tracing = Some(r#"{"logging.open-cluster-management.io/op-id":"x"}"#.into());
        event.extensions = [("team".to_owned(), "a".to_owned())].into();
        let SourceCommand::Create(given) = command(&event) else {
            panic!("a creation");
        };
        assert_eq!(
            given.draft.metadata,
            Some(json!({"name": "w1", "labels": {"a": "b"}}))
        );
        assert_eq!(given.draft.executer, None);
        insta::assert_snapshot!(given.origin, @r#"{"extensions":{"logtracing":"{\"logging.open-cluster-management.io/op-id\":\"x\"}","team":"a"},"id":"1","time":"2026-08-01T10:00:00Z"}"#);
    }

    #[test]
    fn version_zero_is_the_latest_and_a_deletion_needs_neither_data_nor_version() {
        let mut any = event(Kind::spec(Action::Update));
        let SourceCommand::Update { expected, .. } = command(&any) else {
            panic!("an update");
        };
        assert_eq!(expected, Version::new(3));
        any.resource_version = Some(Version::UNVERSIONED);
        let SourceCommand::Update { expected, .. } = command(&any) else {
            panic!("an update");
        };
        assert_eq!(expected, None);
        any.kind = Kind::spec(Action::Delete);
        (any.data, any.resource_version) = (None, None);
        assert!(matches!(command(&any), SourceCommand::Delete { .. }));
        any.kind = Kind::spec(Action::Update);
        any.deletion_timestamp = Some(Timestamp::UNIX_EPOCH);
        assert!(matches!(command(&any), SourceCommand::Delete { .. }));
    }

    #[test]
    fn whatever_is_not_asked_of_a_source_endpoint_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut Event)| {
            let mut event = event(Kind::spec(Action::Create));
            change(&mut event);
            understand(&event).unwrap_err().message().to_owned()
        };
        let told = [
            refused(&|event| event.kind = Kind::spec(Action::ResyncRequest)),
            refused(&|event| event.kind = Kind::status(Action::Update)),
            refused(&|event| event.kind.data_type = "a.b.v1.things".into()),
            refused(&|event| event.source = "a b".into()),
            refused(&|event| event.source = String::new()),
            refused(&|event| event.resource_id = None),
            refused(&|event| event.resource_id = Some("A_1".into())),
            refused(&|event| event.cluster_name = None),
            refused(&|event| event.cluster_name = Some("C_1".into())),
            refused(&|event| event.data = None),
            refused(&|event| event.data = Some("[]".into())),
            refused(&|event| event.data = Some("{".into())),
            refused(&|event| event.data = Some("{\"manifest\":[]}".into())),
            refused(&|event| event.data = Some("{\"manifests\":[],\"manifests\":[]}".into())),
            refused(&|event| event.metadata = Some("7".into())),
            refused(&|event| event.log_tracing = Some("{\"a\":1}".into())),
            refused(&|event| {
                event.kind = Kind::spec(Action::Update);
                event.resource_version = None;
            }),
            refused(&|event| {
                event.kind = Kind::status(Action::ResyncRequest);
                event.data = None;
            }),
        ];
        insta::assert_snapshot!(told.join("\n"), @r#"
type: `io.open-cluster-management.works.v1alpha1.manifestbundles.spec.resync_request` is not taken here; sources publish `io.open-cluster-management.works.v1alpha1.manifestbundles` with `spec.create_request`, `spec.update_request`, `spec.delete_request` or `status.resync_request`
type: `io.open-cluster-management.works.v1alpha1.manifestbundles.status.update_request` is not taken here; sources publish `io.open-cluster-management.works.v1alpha1.manifestbundles` with `spec.create_request`, `spec.update_request`, `spec.delete_request` or `status.resync_request`
type: `a.b.v1.things.spec.create_request` is not taken here; sources publish `io.open-cluster-management.works.v1alpha1.manifestbundles` with `spec.create_request`, `spec.update_request`, `spec.delete_request` or `status.resync_request`
source `a b` may hold only visible ASCII characters other than quotes, `\` and `,`
source `` is empty
attribute `ce-resourceid` is missing (`resourceid` in a structured event)
resourceid: `A_1` may hold only lower-case letters, digits, `-` and `.`
attribute `ce-clustername` is missing (`clustername` in a structured event)
clustername: consumer name `C_1` may hold only lower-case letters, digits and `-`
the event carries no data; a bundle has at least `manifests`
data must be a JSON object, not an array
data is not JSON: EOF while parsing an object at line 1 column 1
data: unknown field `manifest`, did you mean `manifests`?
data: manifests: is there twice, and only one of the two can count
attribute `metadata` must be a JSON object, not a number
attribute `logtracing` must be a JSON object of strings
attribute `ce-resourceversion` is missing (`resourceversion` in a structured event); 0 stands for the latest
the data is no status resync request, such as {"statusHashes":[]}: EOF while parsing a value at line 1 column 0
"#);
    }
}
