//! The labels and the name that a source gave a bundle, as its work and the record of its objects carry them in a
//! cluster. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Head;
use crate::crd::BUNDLE_NAME;

/// Labels of an ObjectMeta as JSON text, as far as a cluster takes them: what it would refuse must not hold up the work.
/// Names of our own are left out.
pub(crate) fn labels(metadata: Option<&str>) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Labelled {
        #[serde(default)]
        labels: Option<BTreeMap<String, Value>>,
    }
    let labelled = metadata.and_then(|text| serde_json::from_str::<Labelled>(text).ok());
    let labels = labelled
        .and_then(|labelled| labelled.labels)
        .unwrap_or_default();
    labels
        .into_iter()
        .filter(|(name, _)| is_name(name) && !name.starts_with(OURS))
        .filter_map(|(name, value)| {
            let value = value
                .as_str()
                .filter(|value| value.is_empty() || is_part(value))?;
            Some((name, value.to_owned()))
        })
        .collect()
}

/// The name that people know a work by. Our bridge tells it in an annotation, because the metadata's own name is the
/// id there, as with Maestro; a source of its own gives the work its name.
pub(crate) fn bundle_name(head: &Head) -> Option<String> {
    let metadata: Value = serde_json::from_str(head.metadata.as_deref()?).ok()?;
    let named = metadata["annotations"][BUNDLE_NAME].as_str();
    let named = named.or(metadata["name"].as_str());
    named
        .filter(|name| *name != head.id.as_str())
        .map(Into::into)
}

/// `[prefix/]name`
fn is_name(text: &str) -> bool {
    match text.split_once('/') {
        None => is_part(text),
        Some((prefix, name)) => is_subdomain(prefix) && is_part(name),
    }
}

fn is_part(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().copied().all(inner)
        && edge(bytes.first())
        && edge(bytes.last())
}

fn is_subdomain(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.iter().all(|b| lower(*b) || *b == b'-')
                && [bytes.first(), bytes.last()]
                    .into_iter()
                    .all(|edge| edge.is_some_and(|b| lower(*b)))
        })
}

const OURS: &str = "work.open-cluster-management.io/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_a_cluster_takes_are_kept_and_no_other_and_none_of_ours() {
        let long = "a".repeat(64);
        let metadata = serde_json::json!({"name": "n", "labels": {
            "app": "web", "a.b/c_d": "", "api.openshift.com/id": "X-1",
            "a b": "1", "/a": "1", "A.b/c": "1", "value": "a b", "number": 1, "long": long,
            "work.open-cluster-management.io/consumer": "other",
        }});
        let kept = labels(Some(&metadata.to_string()));
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, ["a.b/c_d", "api.openshift.com/id", "app"]);
        for without in [
            None,
            Some("{}"),
            Some(r#"{"labels":null}"#),
            Some("[]"),
            Some("{"),
        ] {
            assert!(labels(without).is_empty(), "{without:?}");
        }
    }
}
