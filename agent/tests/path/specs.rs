//! Spec events as a source sends them.

use jiff::Timestamp;
use link::event::{Action, Event, Kind};
use link::id::ConsumerName;
use link::order::Version;
use serde_json::{Value, json};

pub(crate) fn consumer() -> ConsumerName {
    ConsumerName::new("cluster1").unwrap()
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "d"}, "data": {"v": value}})
}

pub(crate) fn upsert(id: &str, version: i64, manifests: &[Value]) -> Event {
    Event::new(
        "maestro",
        Kind::spec(Action::Update),
        &consumer(),
        Timestamp::UNIX_EPOCH,
    )
    .about(id, Version::new(version).unwrap())
    .with_data(json!({"manifests": manifests}).to_string().into_bytes())
}

pub(crate) fn delete(id: &str, version: Option<i64>) -> Event {
    let mut event = Event::new(
        "maestro",
        Kind::spec(Action::Delete),
        &consumer(),
        Timestamp::UNIX_EPOCH,
    );
    event.resource_id = Some(id.into());
    event.resource_version = version.and_then(Version::new);
    event.deletion_timestamp = Some(Timestamp::UNIX_EPOCH);
    event
}
