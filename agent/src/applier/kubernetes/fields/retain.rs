//! Fields that are left to others but that nobody else has taken yet.
//!
//! An object is created with all its fields, so the agent's manager holds those of `OnSpokePresent` until somebody
//! else writes them. Server-side apply deletes what its only manager leaves out: the next manifest would set a
//! Deployment of three replicas to the default of one. Such fields are therefore applied once more with the value
//! they have on the cluster, which changes nothing; as soon as another manager holds a field too, it is left out.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::path::{FieldPath, PathSegment, get_mut, remove};

/// Takes the paths out of a manifest for the `live` object, but for what `manager` alone holds there.
pub(super) fn leave(
    manifest: &mut Value,
    paths: &BTreeSet<FieldPath>,
    live: &Value,
    manager: &str,
) {
    let root = Node::of(live, manager);
    let retained: Vec<_> = paths
        .iter()
        .map(|path| root.as_ref().and_then(|root| root.follow(path, manifest)))
        .collect();
    // From the back, as `remove` does it, so that indices stay right.
    for (path, retained) in paths.iter().zip(retained).rev() {
        match (retained, get_mut(manifest, path)) {
            (Some(value), Some(there)) => *there = value,
            _ => remove(manifest, &BTreeSet::from([path.clone()])),
        }
    }
}

/// A value of the live object with the field sets that reach it (`managedFields`, fieldsV1).
struct Node<'a> {
    live: &'a Value,
    mine: &'a Value,
    others: Vec<&'a Value>,
}

// === impl Node ===

impl<'a> Node<'a> {
    fn of(live: &'a Value, manager: &str) -> Option<Self> {
        let entries = live["metadata"]["managedFields"].as_array()?;
        // At the root an empty set is no leaf: it holds nothing.
        let (mine, others): (Vec<_>, Vec<_>) = entries
            .iter()
            .filter(|entry| !is_leaf(&entry["fieldsV1"]))
            .partition(|entry| {
                entry["manager"] == manager
                    && entry["operation"] == "Apply"
                    && entry["subresource"].as_str().unwrap_or_default().is_empty()
            });
        Some(Self {
            live,
            mine: &mine.first()?["fieldsV1"],
            others: others.iter().map(|entry| &entry["fieldsV1"]).collect(),
        })
    }

    // What is to be applied at a path below this node.
    fn follow(&self, path: &[PathSegment], manifest: &Value) -> Option<Value> {
        match path.split_first() {
            None => self.retained(manifest),
            Some((segment, rest)) => {
                let wanted = segment.child_of(manifest)?;
                self.child(segment, wanted)?.follow(rest, wanted)
            }
        }
    }

    // The part of a manifest's value that `mine` alone holds, as it is on the cluster.
    fn retained(&self, manifest: &Value) -> Option<Value> {
        if is_leaf(self.mine) {
            return self.others.is_empty().then(|| self.live.clone());
        }
        match manifest {
            Value::Object(fields) => {
                let kept: Map<_, _> = fields
                    .iter()
                    .filter_map(|(key, wanted)| {
                        let child = self.child(&PathSegment::Key(key.clone()), wanted)?;
                        Some((key.clone(), child.retained(wanted)?))
                    })
                    .collect();
                (!kept.is_empty()).then_some(Value::Object(kept))
            }
            Value::Array(items) => {
                let kept: Vec<_> = items
                    .iter()
                    .enumerate()
                    .filter_map(|(at, wanted)| {
                        self.child(&PathSegment::Index(at), wanted)?
                            .retained(wanted)
                    })
                    .collect();
                (!kept.is_empty()).then_some(Value::Array(kept))
            }
            _ => None,
        }
    }

    // The node of a field, or of the list element with the same keys as the manifest's.
    fn child(&self, segment: &PathSegment, wanted: &Value) -> Option<Self> {
        let sets = self.mine.as_object()?;
        let (name, live) = match segment {
            PathSegment::Key(key) => (format!("f:{key}"), self.live.get(key)?),
            PathSegment::Index(_) => {
                let (name, keys) = sets
                    .keys()
                    .filter_map(|name| Some((name, element(name)?)))
                    .find(|(_, keys)| is_element(wanted, keys))?;
                let items = self.live.as_array()?;
                let live = items.iter().find(|item| is_element(item, &keys))?;
                (name.clone(), live)
            }
        };
        let below = |set: &&'a Value| match set.get(&name) {
            // Who holds the whole holds its parts.
            None if is_leaf(set) => Some(*set),
            found => found,
        };
        Some(Self {
            live,
            mine: sets.get(&name)?,
            others: self.others.iter().filter_map(below).collect(),
        })
    }
}

fn is_leaf(set: &Value) -> bool {
    set.as_object().is_some_and(Map::is_empty)
}

// The keys of `k:{"name":"web"}`, or the value of `v:"x"`.
fn element(name: &str) -> Option<Value> {
    let json = name
        .strip_prefix("k:")
        .or_else(|| name.strip_prefix("v:"))?;
    serde_json::from_str(json).ok()
}

// A key that the manifest leaves to the server's default (`protocol` of a port) does not decide.
fn is_element(item: &Value, keys: &Value) -> bool {
    match (item, keys) {
        (Value::Object(item), Value::Object(keys)) => {
            let given: Vec<_> = keys
                .iter()
                .filter(|(key, _)| item.contains_key(*key))
                .collect();
            !given.is_empty() && given.into_iter().all(|(key, value)| item[key] == *value)
        }
        (item, value) => item == value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Value {
        json!({"spec": {"replicas": 3, "paused": true, "containers": [
            {"name": "a", "image": "1", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "2"},
        ]}})
    }

    // What the API server knows after the manifest was applied, and others wrote `fields`.
    fn live(fields: &Value) -> Value {
        json!({
            "metadata": {"managedFields": [
                {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": fields},
                {"manager": "work-agent", "operation": "Apply", "fieldsV1": {"f:spec": {
                    "f:replicas": {}, "f:paused": {}, "f:containers": {
                        r#"k:{"name":"a"}"#: {".": {}, "f:name": {}, "f:image": {}, "f:ports": {
                            r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}},
                        }},
                        r#"k:{"name":"b"}"#: {".": {}, "f:name": {}, "f:image": {}},
                    },
                }}},
            ]},
            "spec": {"replicas": 7, "paused": true, "containers": [
                {"name": "b", "image": "live-2", "imagePullPolicy": "Always"},
                {"name": "a", "image": "live-1", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
            ]},
        })
    }

    fn left(path: &[PathSegment], others: &Value) -> Value {
        let mut manifest = manifest();
        leave(
            &mut manifest,
            &BTreeSet::from([path.to_vec()]),
            &live(others),
            "work-agent",
        );
        manifest["spec"].take()
    }

    fn key(name: &str) -> PathSegment {
        PathSegment::Key(name.into())
    }

    #[test]
    fn a_field_that_nobody_took_keeps_its_value_on_the_cluster() {
        let replicas = [key("spec"), key("replicas")];
        assert_eq!(left(&replicas, &json!({}))["replicas"], 7);
        let taken = json!({"f:spec": {"f:replicas": {}}});
        assert_eq!(left(&replicas, &taken).get("replicas"), None);
    }

    #[test]
    fn elements_are_matched_by_their_keys_not_their_order() {
        let image = [
            key("spec"),
            key("containers"),
            PathSegment::Index(0),
            key("image"),
        ];
        assert_eq!(left(&image, &json!({}))["containers"][0]["image"], "live-1");
        let taken = json!({"f:spec": {"f:containers": {r#"k:{"name":"a"}"#: {"f:image": {}}}}});
        assert_eq!(left(&image, &taken)["containers"][0].get("image"), None);
        assert_eq!(left(&image, &taken)["containers"][1]["image"], "2");
    }

    #[test]
    fn of_a_whole_element_only_what_is_ours_stays() {
        let container = [key("spec"), key("containers"), PathSegment::Index(1)];
        let taken = json!({"f:spec": {"f:containers": {r#"k:{"name":"b"}"#: {"f:image": {}}}}});
        assert_eq!(
            left(&container, &taken)["containers"][1],
            json!({"name": "b"})
        );
        let port = [
            key("spec"),
            key("containers"),
            PathSegment::Index(0),
            key("ports"),
        ];
        assert_eq!(
            left(&port, &json!({}))["containers"][0]["ports"],
            json!([{"containerPort": 80}])
        );
    }

    #[test]
    fn without_an_apply_of_ours_everything_is_left() {
        let mut manifest = manifest();
        let paths = BTreeSet::from([vec![key("spec"), key("replicas")]]);
        leave(&mut manifest, &paths, &live(&json!({})), "somebody");
        assert_eq!(manifest["spec"].get("replicas"), None);
        leave(&mut manifest, &paths, &json!({}), "work-agent");
        assert_eq!(manifest["spec"]["paused"], true);
    }
}
