//! Text as PostgreSQL takes it, and what searches look at. Pure.
//!
//! PostgreSQL's text holds every character but NUL. What a caller names by an id with one cannot be there, and no label
//! with one can be searched for; JSON keeps it, because there it is written as an escape.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::super::{Json, Labels};

/// The text with what cannot be stored replaced. No id and no name holds the replacement: it is no character they may have.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// What searches see of a bundle: the labels and the text members of its metadata, as JSON.
pub(in crate::store) fn bundle_search(metadata: Option<&Json>) -> Option<String> {
    let metadata = metadata?.to_value();
    let mut seen = Map::new();
    for (name, value) in metadata.as_object()? {
        match value {
            Value::String(text) if SEARCHED.contains(&name.as_str()) => {
                seen.insert(name.clone(), storable(text).into());
            }
            Value::Object(labels) if name == "labels" => {
                let texts = labels.iter().filter_map(|(name, value)| {
                    Some((
                        storable(name).into_owned(),
                        storable(value.as_str()?).into(),
                    ))
                });
                seen.insert("labels".into(), Value::Object(texts.collect()));
            }
            _ => {}
        }
    }
    Some(Value::Object(seen).to_string())
}

/// What searches see of a consumer.
pub(in crate::store) fn labels_search(labels: &Labels) -> String {
    let texts: Map<String, Value> = labels
        .iter()
        .map(|(name, value)| (storable(name).into_owned(), storable(value).into()))
        .collect();
    json!({ "labels": texts }).to_string()
}

/// The members of a bundle's metadata that can be searched by themselves.
const SEARCHED: &[&str] = &["name", "namespace", "uid"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_see_labels_and_names_and_nothing_that_cannot_be_stored() {
        let metadata = r#"{"name":"n","uid":7,"annotations":{"a":"\u0000"},"labels":{"a\u0000":"b\u0000","n":1}}"#;
        let metadata = Json::parse(metadata).unwrap();
        assert_eq!(
            bundle_search(Some(&metadata)).unwrap(),
            "{\"labels\":{\"a\u{fffd}\":\"b\u{fffd}\"},\"name\":\"n\"}"
        );
        assert_eq!(bundle_search(None), None);
        assert_eq!(labels_search(&Labels::new()), r#"{"labels":{}}"#);
    }
}
