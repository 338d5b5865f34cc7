//! What of the event that published a bundle travels again (docs/MAESTRO.md §2.3): its id, its time, and
//! attributes that this link gives no meaning of its own. Pure.

use jiff::Timestamp;
use link::event::Event;
use link::iot::limits::is_text;
use serde_json::Value;

use crate::store::Json;

/// Gives an event the id, the time and the attributes of the one that published the bundle, as far as they can be sent.
pub(super) fn restore(event: &mut Event, origin: &Json) {
    let origin = origin.to_value();
    if let Some(id) = origin["id"]
        .as_str()
        .filter(|id| !id.is_empty() && is_text(id))
    {
        event.id = id.to_owned();
    }
    let time = origin["time"].as_str();
    if let Some(time) = time.and_then(|time| time.parse::<Timestamp>().ok()) {
        event.time = Some(time);
    }
    let Value::Object(extensions) = &origin["extensions"] else {
        return;
    };
    for (name, value) in extensions {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        if !is_text(&value) {
            continue;
        }
        if name == "logtracing" {
            event.log_tracing = Some(value);
        } else if is_name(name) && !OURS.contains(&name.as_str()) {
            event.extensions.insert(name.clone(), value);
        }
    }
}

/// CloudEvents: lower-case letters and digits, and no more than 20 of them.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

const LONGEST_NAME: usize = 20;

// What the event says by itself, or says of its form.
const OURS: &[&str] = &[
    "id",
    "source",
    "specversion",
    "type",
    "time",
    "data",
    "datacontenttype",
    "dataschema",
    "clustername",
    "originalsource",
    "resourceid",
    "resourceversion",
    "sequenceid",
    "deletiontimestamp",
    "statushash",
    "metadata",
];

#[cfg(test)]
mod tests {
    use link::event::{Action, Kind};
    use link::id::ConsumerName;
    use serde_json::json;

    use super::*;

    fn restored(origin: &Value) -> Event {
        let consumer = ConsumerName::new("c1").unwrap();
        let kind = Kind::spec(Action::Create);
        let mut event = Event::new("maestro", kind, &consumer, Timestamp::UNIX_EPOCH);
        event.log_tracing = Some("{}".into());
        restore(&mut event, &Json::from_value(origin));
        event
    }

    #[test]
    fn id_time_and_foreign_attributes_travel_again_and_nothing_takes_the_place_of_ours() {
        let event = restored(&json!({
            "id": "e-1", "time": "2026-08-01T10:00:00.123456Z",
            "extensions": {
                "logtracing": "{\"op-id\":\"7\"}", "traceparent": "00-ab", "attempt": 3, "dry": true,
                "source": "x", "clustername": "c2", "metadata": "{}", "sequenceid": "1", "dataschema": "s",
            },
        }));
        assert_eq!(event.id, "e-1");
        assert_eq!(
            event.time.unwrap().to_string(),
            "2026-08-01T10:00:00.123456Z"
        );
        assert_eq!(event.log_tracing.as_deref(), Some("{\"op-id\":\"7\"}"));
        let extensions: Vec<_> = event
            .extensions
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            extensions,
            [("attempt", "3"), ("dry", "true"), ("traceparent", "00-ab")]
        );
        assert_eq!(
            (event.source.as_str(), event.cluster_name.as_deref()),
            ("maestro", Some("c1"))
        );
        assert_eq!((event.metadata, event.sequence_id), (None, None));
    }

    #[test]
    fn what_cannot_be_sent_is_left_out() {
        let twenty = "x".repeat(20);
        let event = restored(&json!({
            "id": "a\u{0}", "time": "yesterday",
            "extensions": {
                &twenty: "1", "x".repeat(21): "1", "": "1", "Upper": "1", "a-b": "1", "nul": "a\u{0}", "list": [],
                "logtracing": "\u{1}",
            },
        }));
        assert_ne!(event.id, "a\u{0}");
        assert_eq!(event.time, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(event.log_tracing.as_deref(), Some("{}"));
        assert_eq!(event.extensions.into_keys().collect::<Vec<_>>(), [twenty]);
        assert_eq!(restored(&json!([])).extensions.len(), 0);
    }
}
