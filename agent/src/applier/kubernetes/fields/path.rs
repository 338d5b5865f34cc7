//! Paths of fields in a document: what every expression is turned into before anything is removed.

use std::collections::BTreeSet;

use serde_json::Value;

/// The way to a value, from the root.
pub(super) type FieldPath = Vec<PathSegment>;

/// One step of a way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathSegment {
    /// Into an object.
    Key(String),
    /// Into an array.
    Index(usize),
}

// === impl PathSegment ===

impl PathSegment {
    /// The value that the step leads to from `value`.
    pub(super) fn child_of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Key(key) => value.as_object()?.get(key),
            Self::Index(index) => value.as_array()?.get(*index),
        }
    }
}

/// Refuses paths without which the manifest would not name its object any more.
pub(super) fn guard(paths: &BTreeSet<FieldPath>) -> Result<(), String> {
    for needed in NEEDED {
        let lost = |path: &FieldPath| {
            path.len() <= needed.len()
                && path
                    .iter()
                    .zip(*needed)
                    .all(|(segment, key)| matches!(segment, PathSegment::Key(name) if name == key))
        };
        if paths.iter().any(lost) {
            return Err(format!(
                "would remove `{}`, without which no object can be applied",
                needed.join(".")
            ));
        }
    }
    Ok(())
}

/// Removes values. Arrays are emptied from the back: the order of paths puts an index after the lower ones and
/// a value after what holds it.
pub(super) fn remove(document: &mut Value, paths: &BTreeSet<FieldPath>) {
    for path in paths.iter().rev() {
        let Some((last, way)) = path.split_last() else {
            continue;
        };
        match (get_mut(document, way), last) {
            (Some(Value::Object(fields)), PathSegment::Key(key)) => {
                fields.remove(key);
            }
            (Some(Value::Array(items)), PathSegment::Index(index)) if *index < items.len() => {
                items.remove(*index);
            }
            _ => {}
        }
    }
}

/// The value at a path.
pub(super) fn get_mut<'a>(document: &'a mut Value, path: &[PathSegment]) -> Option<&'a mut Value> {
    path.iter()
        .try_fold(document, |value, segment| match segment {
            PathSegment::Key(key) => value.as_object_mut()?.get_mut(key),
            PathSegment::Index(index) => value.as_array_mut()?.get_mut(*index),
        })
}

const NEEDED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
];
