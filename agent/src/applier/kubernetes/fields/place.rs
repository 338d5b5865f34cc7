//! Places of fields in a document: what every expression is turned into before anything is removed.

use std::collections::BTreeSet;

use serde_json::Value;

/// The way to a value, from the root.
pub(super) type Place = Vec<Step>;

/// One step of a way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into an object.
    Key(String),
    /// Into an array.
    Index(usize),
}

// === impl Step ===

impl Step {
    /// The value that the step leads to from `value`.
    pub(super) fn child_of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Key(key) => value.as_object()?.get(key),
            Self::Index(index) => value.as_array()?.get(*index),
        }
    }
}

/// Refuses places without which the manifest would not name its object any more.
pub(super) fn guard(places: &BTreeSet<Place>) -> Result<(), String> {
    for needed in NEEDED {
        let lost = |place: &Place| {
            place.len() <= needed.len()
                && place
                    .iter()
                    .zip(*needed)
                    .all(|(step, key)| matches!(step, Step::Key(name) if name == key))
        };
        if places.iter().any(lost) {
            return Err(format!(
                "would remove `{}`, without which no object can be applied",
                needed.join(".")
            ));
        }
    }
    Ok(())
}

/// Removes values. Arrays are emptied from the back: the order of places puts an index after the lower ones and
/// a value after what holds it.
pub(super) fn remove(document: &mut Value, places: &BTreeSet<Place>) {
    for place in places.iter().rev() {
        let Some((last, way)) = place.split_last() else {
            continue;
        };
        match (get_mut(document, way), last) {
            (Some(Value::Object(fields)), Step::Key(key)) => {
                fields.remove(key);
            }
            (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => {
                items.remove(*index);
            }
            _ => {}
        }
    }
}

/// The value at a place.
pub(super) fn get_mut<'a>(document: &'a mut Value, place: &[Step]) -> Option<&'a mut Value> {
    place.iter().try_fold(document, |value, step| match step {
        Step::Key(key) => value.as_object_mut()?.get_mut(key),
        Step::Index(index) => value.as_array_mut()?.get_mut(*index),
    })
}

const NEEDED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
];
