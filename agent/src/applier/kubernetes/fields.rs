//! `ignoreFields` of server-side apply (docs/MAESTRO.md §6.4): which fields of a manifest are left to others, and whether
//! there is anything to apply at all.
//!
//! With at least one rule the manifest gets a *spec hash*, which is written into the annotation [`SPEC_HASH`]:
//!
//! | live object | what is applied |
//! |---|---|
//! | absent | the whole manifest, also the fields of `OnSpokePresent`, which need a first value |
//! | its annotation equals the hash | nothing: other people's changes stay until the manifest changes |
//! | its annotation differs or is missing | the manifest without the fields of `OnSpokePresent` (see `retain`) |
//!
//! `OnSpokePresent` (the default) takes fields out before the hash is made: changing them in the manifest of an
//! existing object does nothing. `OnSpokeChange` leaves its fields in the hash, so its expressions are never
//! evaluated: naming a field only says that it may be changed on the cluster, and what holds it back is the equal
//! hash. The next change of the manifest applies everything, those fields too.
//!
//! All expressions look at the whole manifest, so neither their order nor an index shifted by an earlier removal
//! matters. A field that is not there is no error.

use std::collections::BTreeSet;

use link::bundle::IgnoreField;
use serde_json::{Map, Value};

use self::path::{FieldPath, guard, remove};
use crate::digest::sha256_hex;

mod jq;
mod jsonpath;
mod path;
mod pointer;
mod retain;

/// A manifest as it has to be applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pruned {
    /// What to apply: without null creation timestamps, with the annotation when there is a hash.
    pub(crate) manifest: Value,
    /// The spec hash; `None` without rules.
    pub(crate) hash: Option<String>,
    /// The live object carries this hash: apply nothing.
    pub(crate) unchanged: bool,
}

/// Takes out of `manifest` what `rules` leave to others. `live` is the object on the cluster, if there is one, and
/// `manager` the field manager that applies.
///
/// # Errors
/// A phrase that names the expression and what is wrong with it. It never quotes values of the manifest.
pub(crate) fn prune(
    manifest: &Value,
    live: Option<&Value>,
    rules: &[IgnoreField],
    manager: &str,
) -> Result<Pruned, String> {
    let mut whole = manifest.clone();
    drop_null_timestamps(&mut whole);
    if rules.is_empty() {
        return Ok(Pruned {
            manifest: whole,
            hash: None,
            unchanged: false,
        });
    }
    let paths = left_to_others(&whole, rules)?;
    let mut rest = whole.clone();
    remove(&mut rest, &paths);
    let hash = spec_hash(&rest);
    let mut wanted = whole;
    if let Some(live) = live {
        retain::leave(&mut wanted, &paths, live, manager);
    }
    annotate(&mut wanted, &hash)?;
    Ok(Pruned {
        manifest: wanted,
        unchanged: live.is_some_and(|live| live["metadata"]["annotations"][SPEC_HASH] == hash),
        hash: Some(hash),
    })
}

// Where the fields of `OnSpokePresent` are.
fn left_to_others(manifest: &Value, rules: &[IgnoreField]) -> Result<BTreeSet<FieldPath>, String> {
    let mut paths = BTreeSet::new();
    for rule in rules {
        match rule.condition.as_str() {
            "" | "OnSpokePresent" => {}
            ON_CHANGE => continue,
            other => {
                return Err(format!(
                    "the condition `{other}` of `ignoreFields` is neither `OnSpokePresent` nor `OnSpokeChange`"
                ));
            }
        }
        for (language, expressions, find) in languages(rule) {
            for expression in expressions {
                let found = find(expression, manifest)
                    .and_then(|found| guard(&found).map(|()| found))
                    .map_err(|problem| format!("{language} `{expression}` {problem}"))?;
                paths.extend(found);
            }
        }
    }
    Ok(paths)
}

type Find = fn(&str, &Value) -> Result<BTreeSet<FieldPath>, String>;

fn languages(rule: &IgnoreField) -> [(&'static str, &[String], Find); 3] {
    [
        ("JSONPath", &rule.json_paths, jsonpath::find),
        ("JSON pointer", &rule.json_pointers, pointer::find),
        ("jq expression", &rule.jq_path_expressions, jq::find),
    ]
}

// SHA-256 of the JSON with sorted keys, without what an API server or the agent itself adds.
fn spec_hash(manifest: &Value) -> String {
    let mut manifest = manifest.clone();
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("ownerReferences");
        metadata.remove("creationTimestamp");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(SPEC_HASH);
        }
    }
    manifest.sort_all_objects();
    sha256_hex(manifest.to_string().as_bytes())
}

fn annotate(manifest: &mut Value, hash: &str) -> Result<(), String> {
    let annotations = manifest
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .map(|metadata| metadata.entry("annotations").or_insert(Value::Null))
        .ok_or("the manifest has no metadata")?;
    if annotations.is_null() {
        *annotations = Value::Object(Map::new());
    }
    annotations
        .as_object_mut()
        .ok_or("metadata.annotations of the manifest is no object")?
        .insert(SPEC_HASH.into(), hash.into());
    Ok(())
}

// Go writes `creationTimestamp: null` into every template; applied as it is, it raises the generation each time
// (kubernetes/kubernetes#67610).
fn drop_null_timestamps(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut)
                && metadata
                    .get("creationTimestamp")
                    .is_some_and(Value::is_null)
            {
                metadata.remove("creationTimestamp");
            }
            fields.values_mut().for_each(drop_null_timestamps);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null_timestamps),
        _ => {}
    }
}

/// The annotation that carries the spec hash of an object with `ignoreFields`.
pub(crate) const SPEC_HASH: &str = "open-cluster-management.io/config-spec-hash";

/// The condition of fields that may change on this side until the manifest changes.
pub(crate) const ON_CHANGE: &str = "OnSpokeChange";

#[cfg(test)]
mod tests;
