//! The CloudEvents in Maestro's rows, taken apart (docs/MAESTRO.md §5.5, §2.3). Pure.
//!
//! Maestro keeps the whole event as one JSON object, whose extension `metadata` is an object instead of text. What a spec
//! event carries is as its source published it: Maestro writes source, type, id, version, consumer and deletion anew
//! whenever it sends one, so these are taken from the row's columns instead.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use link::event::{Action, Event, Kind};
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use serde_json::Value;

use super::plain::Plain;
use crate::store::{Content, Json};

/// What a bundle's event carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// ObjectMeta as its source gave it.
    pub(super) metadata: Option<Json>,
    /// Nothing when the event has no data.
    pub(super) content: Option<Content>,
    /// Attributes of the publishing event that travel again.
    pub(super) origin: Option<Json>,
}

/// What a status event says besides what a status that has just come would.
#[derive(Debug)]
pub(super) struct Told {
    /// The event as it came.
    pub(super) event: Event,
    /// The source that owns the work.
    pub(super) original_source: Option<String>,
}

/// Reads a bundle's event.
///
/// # Errors
/// What is wrong with it, without anything of it.
pub(super) fn spec(text: &str) -> Result<Spec, String> {
    let event = object(text)?;
    let metadata = match event.some("metadata") {
        None => None,
        // Extensions of events are text, should Maestro ever have left it as it came.
        Some(quoted @ Plain::Text(_)) => match quoted.attribute().unwrap_or_default() {
            empty if empty.is_empty() => None,
            text => Some(part("metadata", &object(&text)?)?),
        },
        Some(object @ Plain::Object(_)) => Some(part("metadata", object)?),
        Some(_) => return Err("its `metadata` is no object".into()),
    };
    let data = data(&event)?;
    let content = match data.as_deref() {
        None => None,
        Some(text) => content(&object(text)?)?,
    };
    Ok(Spec {
        metadata,
        content,
        origin: origin(&event),
    })
}

/// Reads a status event as delivery does when one comes; `None` where there is no status yet.
///
/// # Errors
/// What is wrong with it, without anything of it.
pub(super) fn status(
    text: &str,
    id: &str,
    consumer: &ConsumerName,
) -> Result<Option<Told>, String> {
    let found = Plain::parse(text).map_err(|error| format!("it is no JSON: {error}"))?;
    match &found {
        nothing if nothing.is_null() => return Ok(None),
        Plain::Object(members) if members.is_empty() => return Ok(None),
        Plain::Object(_) => {}
        _ => return Err("it is no object".into()),
    }
    let attribute = |name: &str| found.get(name).and_then(Plain::attribute);
    for (name, of) in [("resourceid", id), ("clustername", consumer.as_str())] {
        if attribute(name).is_some_and(|said| said != of) {
            return Err(format!("its `{name}` is another's"));
        }
    }
    let version = attribute("resourceversion")
        .as_deref()
        .and_then(Version::parse)
        .ok_or("its `resourceversion` is no version")?;
    let sequence: SequenceId = attribute("sequenceid")
        .and_then(|text| text.parse().ok())
        .ok_or("its `sequenceid` is no sequence id")?;
    let time = attribute("time").and_then(|text| text.parse().ok());
    let mut event = Event::new(
        attribute("source").unwrap_or_default(),
        Kind::status(Action::Update),
        consumer,
        time.unwrap_or(Timestamp::UNIX_EPOCH),
    )
    .about(id, version);
    event.time = time;
    event.sequence_id = Some(sequence);
    event.status_hash = attribute("statushash");
    event.extensions = extensions(&found);
    event.data = data(&found)?.map(Bytes::from);
    Ok(Some(Told {
        event,
        original_source: attribute("originalsource").filter(|source| !source.is_empty()),
    }))
}

fn object(text: &str) -> Result<Plain<'_>, String> {
    let value = Plain::parse(text).map_err(|error| format!("it is no JSON: {error}"))?;
    match value {
        Plain::Object(_) => Ok(value),
        _ => Err("it is no object".into()),
    }
}

/// The data as JSON text, whichever of the two ways it is kept.
fn data(event: &Plain<'_>) -> Result<Option<String>, String> {
    use base64::Engine as _;

    if let Some(data) = event.some("data") {
        return Ok(Some(data.to_string()));
    }
    let Some(encoded) = event.some("data_base64").and_then(Plain::attribute) else {
        return Ok(None);
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|_| "its `data_base64` is no Base64")?;
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(_) => Err("its data is no UTF-8".into()),
    }
}

/// The parts of a bundle's data. Without manifests there is nothing to keep.
fn content(data: &Plain<'_>) -> Result<Option<Content>, String> {
    let manifests = match data.some("manifests") {
        None => return Ok(None),
        Some(Plain::Array(manifests)) if manifests.is_empty() => return Ok(None),
        Some(manifests @ Plain::Array(each)) => {
            if !each.iter().all(|one| matches!(one, Plain::Object(_))) {
                return Err("one of its `manifests` is no object".into());
            }
            part("manifests", manifests)?
        }
        Some(_) => return Err("its `manifests` are no array".into()),
    };
    let optional = |name: &str| data.some(name).map(|value| part(name, value)).transpose();
    Ok(Some(Content {
        manifests,
        delete_option: optional("deleteOption")?,
        manifest_configs: optional("manifestConfigs")?,
        executer: optional("executer")?,
    }))
}

fn part(name: &str, value: &Plain<'_>) -> Result<Json, String> {
    value
        .to_json()
        .map_err(|error| format!("its `{name}` cannot be kept: {error}"))
}

fn origin(event: &Plain<'_>) -> Option<Json> {
    let mut origin = serde_json::Map::new();
    for name in ["id", "time"] {
        if let Some(text) = event.get(name).and_then(Plain::attribute)
            && !text.is_empty()
        {
            origin.insert(name.into(), Value::from(text));
        }
    }
    let others: serde_json::Map<String, Value> = others(event)
        .filter_map(|(name, value)| {
            let value = match value {
                Plain::Word(word) => serde_json::from_str(word).ok()?,
                value => Value::from(value.attribute()?),
            };
            (!value.is_null()).then(|| (name.clone(), value))
        })
        .collect();
    if !others.is_empty() {
        origin.insert("extensions".into(), Value::Object(others));
    }
    (!origin.is_empty()).then(|| Json::from_value(&Value::Object(origin)))
}

fn extensions(event: &Plain<'_>) -> BTreeMap<String, String> {
    others(event)
        .filter_map(|(name, value)| Some((name.clone(), value.attribute()?)))
        .collect()
}

/// The attributes that neither CloudEvents nor this protocol give a meaning.
fn others<'e>(event: &'e Plain<'_>) -> impl Iterator<Item = (&'e String, &'e Plain<'e>)> {
    let members = match event {
        Plain::Object(members) => Some(members),
        _ => None,
    };
    members
        .into_iter()
        .flatten()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .map(|(name, (_, value))| (name, value))
}

const KNOWN: [&str; 18] = [
    "clustername",
    "data",
    "data_base64",
    "datacontenttype",
    "dataschema",
    "deletiontimestamp",
    "id",
    "metadata",
    "originalsource",
    "resourceid",
    "resourceversion",
    "sequenceid",
    "source",
    "specversion",
    "statushash",
    "subject",
    "time",
    "type",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer() -> ConsumerName {
        ConsumerName::new("cluster1").unwrap()
    }

    #[test]
    fn a_bundle_s_event_is_taken_apart_and_what_travels_again_is_kept() {
        let spec = spec(
            r#"{"specversion":"1.0","id":"e1","source":"mw-client","type":"io.x.spec.create_request","time":"2026-08-01T10:00:00.5Z",
            "datacontenttype":"application/json","clustername":"c","originalsource":"","resourceversion":0,"resourceid":"b1",
            "logtracing":"{\"k\":\"v\"}","priority":7,"metadata":{"name":"w1","labels":{"b":"1","a":"2"}},
            "data":{"executer":{"subject":{"type":"ServiceAccount"}},"manifests":[{"n":1.0}],"deleteOption":null,"manifestConfigs":[{"a": 1}]}}"#,
        )
        .unwrap();
        assert_eq!(
            spec.metadata.unwrap().as_str(),
            r#"{"labels":{"a":"2","b":"1"},"name":"w1"}"#
        );
        let content = spec.content.unwrap();
        assert_eq!(
            content.payload(),
            r#"{"manifests":[{"n":1.0}],"manifestConfigs":[{"a":1}],"executer":{"subject":{"type":"ServiceAccount"}}}"#
        );
        assert_eq!(
            spec.origin.unwrap().as_str(),
            r#"{"extensions":{"logtracing":"{\"k\":\"v\"}","priority":7},"id":"e1","time":"2026-08-01T10:00:00.5Z"}"#
        );
    }

    #[test]
    fn data_in_base64_metadata_as_text_and_events_without_data_are_read_too() {
        let coded =
            spec(r#"{"metadata":"{\"name\":\"w\"}","data_base64":"eyJtYW5pZmVzdHMiOlt7fV19"}"#)
                .unwrap();
        assert_eq!(coded.metadata.unwrap().as_str(), r#"{"name":"w"}"#);
        assert_eq!(coded.content.unwrap().manifests.as_str(), "[{}]");
        for nothing in ["{}", r#"{"data":{"manifests":[]}}"#, r#"{"data":{}}"#] {
            assert_eq!(spec(nothing).unwrap().content, None, "{nothing}");
        }
        for (wrong, why) in [
            ("[]", "no object"),
            ("{", "no JSON"),
            (r#"{"metadata":[]}"#, "`metadata`"),
            (r#"{"data":{"manifests":{}}}"#, "no array"),
            (r#"{"data":{"manifests":[1]}}"#, "no object"),
            (r#"{"data_base64":"?"}"#, "Base64"),
            (r#"{"data":{"manifests":[{"n":1e999}]}}"#, "no JSON"),
        ] {
            let problem = spec(wrong).unwrap_err();
            assert!(problem.contains(why), "{wrong}: {problem}");
        }
    }

    #[test]
    fn a_status_is_read_as_text_or_numbers_and_none_is_no_fault() {
        for none in ["null", "{}"] {
            assert!(status(none, "b1", &consumer()).unwrap().is_none());
        }
        for version in ["3", "\"3\""] {
            let text = format!(
                r#"{{"source":"agent","time":"2026-08-01T10:00:02Z","resourceid":"b1","clustername":"cluster1","originalsource":"maestro",
                "resourceversion":{version},"sequenceid":"1834773391719010304","statushash":"abc","data":{{"conditions":null}}}}"#
            );
            let told = status(&text, "b1", &consumer()).unwrap().unwrap();
            let event = told.event;
            assert_eq!(event.resource_version, Version::new(3));
            assert_eq!(event.status_hash.as_deref(), Some("abc"));
            assert_eq!(event.data_bytes(), br#"{"conditions":null}"#);
            assert_eq!(told.original_source.as_deref(), Some("maestro"));
        }
        for (wrong, why) in [
            (r#"{"resourceid":"b2"}"#, "`resourceid`"),
            (r#"{"clustername":"c2"}"#, "`clustername`"),
            (r#"{"resourceversion":2147483648}"#, "`resourceversion`"),
            (r#"{"resourceversion":1}"#, "`sequenceid`"),
        ] {
            let problem = status(wrong, "b1", &consumer()).unwrap_err();
            assert!(problem.contains(why), "{wrong}: {problem}");
        }
    }
}
