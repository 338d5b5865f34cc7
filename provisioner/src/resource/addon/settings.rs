//! Settings of an add-on: of a whole that others write too, only some are ours.

use serde_json::{Map, Value};

/// What EKS stores, which is JSON or YAML as its writer liked; an empty object for nothing, null for neither.
pub(super) fn parse(text: Option<&str>) -> Value {
    match text.map(str::trim) {
        None | Some("") => Value::Object(Map::new()),
        Some(text) => serde_json::from_str(text)
            .ok()
            .or_else(|| serde_saphyr::from_str(text).ok())
            .unwrap_or_default(),
    }
}

/// The text to store, none for no settings.
pub(super) fn text(settings: &Value) -> Option<String> {
    let empty = settings.as_object().is_none_or(Map::is_empty);
    (!empty).then(|| settings.to_string())
}

/// The part of `live` that `ours` speaks of: equal to `ours` exactly if all of it holds.
pub(super) fn projected(live: &Value, ours: &Value) -> Value {
    let (Value::Object(live), Value::Object(ours)) = (live, ours) else {
        return live.clone();
    };
    let shared = ours.iter().filter_map(|(key, ours)| {
        let live = live.get(key)?;
        Some((key.clone(), projected(live, ours)))
    });
    Value::Object(shared.collect())
}

/// `live` with `ours` put over it, object by object.
pub(super) fn merged(live: Value, ours: &Value) -> Value {
    match (live, ours) {
        (Value::Object(mut live), Value::Object(ours)) => {
            for (key, ours) in ours {
                let before = live.remove(key).unwrap_or_default();
                live.insert(key.clone(), merged(before, ours));
            }
            Value::Object(live)
        }
        (_, ours) => ours.clone(),
    }
}
