//! What a bundle must look like before it is stored: everything an agent would refuse or drop in silence is
//! refused here, all of it at once, each with its path (docs/MAESTRO.md §2.3, §5.4). The REST API and gRPC ask it alike, so that
//! what one takes the other does too. Pure; paths are spelled as in REST.

use link::bundle::manifest::{ObjectRef, unfit};
use link::bundle::validate::Declared;
use serde_json::{Map, Value};

use crate::store::{Content, Json};

mod agents;
mod fit;
mod labels;
mod messages;
mod shapes;
#[cfg(test)]
mod tests;
mod text;
mod unique;

pub(crate) use fit::Addressed;
pub use fit::Envelope;
pub(crate) use fit::misfit;
pub(crate) use labels::{LABELS_BYTES, check_labels, fit_labels};
pub(crate) use messages::{kind, listed, nearest, unknown, unknown_as, unknown_members};
pub(crate) use shapes::subdomain_problem as id_problem;
pub(crate) use text::{Room, Unreadable, VALUES, apart, count, read, room};

/// Sizes a bundle must keep to, besides those of the messages that carry it ([`Envelope`]).
#[derive(Clone, Copy, Debug)]
pub struct BundleLimits {
    /// Bytes of all manifests together; agents refuse more than 500 KiB (docs/MAESTRO.md §2.3).
    pub manifest_bytes: usize,
    /// Bytes of the published payload; IoT Core disconnects whoever sends more than 128 KiB (docs/IOT-CORE.md §1.2).
    pub payload_bytes: usize,
    /// Bytes of the metadata as given: what is left of a packet of 149 504 bytes beside the longest payload, less 2 KiB
    /// for topic and other properties.
    pub metadata_bytes: usize,
}

/// Why something is refused: every rule that it breaks, each with its path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

/// One rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    message: String,
}

/// A bundle as given, before it is checked.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) metadata: Option<Value>,
    pub(crate) manifests: Option<Value>,
    pub(crate) manifest_configs: Option<Value>,
    pub(crate) delete_option: Option<Value>,
    pub(crate) executer: Option<Value>,
    /// What a change starts from.
    pub(crate) stored: Option<Content>,
}

// === impl BundleLimits ===

impl Default for BundleLimits {
    fn default() -> Self {
        Self {
            manifest_bytes: 500 * 1024,
            payload_bytes: link::iot::limits::PAYLOAD_BYTES,
            metadata_bytes: 16 * 1024,
        }
    }
}

// === impl Draft ===

impl Draft {
    /// Checks everything and gives metadata and content as they will be stored.
    pub(crate) fn check(
        self,
        limits: &BundleLimits,
        to: &Addressed<'_>,
    ) -> Result<(Option<Json>, Content), Invalid> {
        let mut problems = Vec::new();
        if let Some(metadata) = &self.metadata {
            check_metadata(metadata, &mut problems);
        }
        let manifests = match &self.manifests {
            Some(Value::Array(manifests)) if manifests.len() > MANIFESTS => {
                let message = format!("has {} manifests, more than {MANIFESTS}", manifests.len());
                return Err(Invalid(format!("manifests: {message}")));
            }
            Some(Value::Array(manifests)) if !manifests.is_empty() => manifests.as_slice(),
            Some(Value::Array(_)) | None => {
                problem(
                    &mut problems,
                    "manifests",
                    "must hold at least one manifest",
                );
                &[]
            }
            Some(other) => {
                let message = format!(
                    "must be an array of Kubernetes objects, not {}",
                    kind(other)
                );
                problem(&mut problems, "manifests", message);
                &[]
            }
        };
        let mut declared = Declared::default();
        for (index, manifest) in manifests.iter().enumerate() {
            check_manifest(index, manifest, &mut declared, &mut problems);
        }
        // The one call site for the shapes of the settings.
        shapes::check_settings(
            self.delete_option.as_ref(),
            self.manifest_configs.as_ref(),
            self.executer.as_ref(),
            &mut problems,
        );
        let metadata = self.metadata.as_ref().map(Json::from_value);
        let content = Content {
            manifests: Json::from_value(self.manifests.as_ref().unwrap_or(&Value::Null)),
            delete_option: self.delete_option.as_ref().map(Json::from_value),
            manifest_configs: self.manifest_configs.as_ref().map(Json::from_value),
            executer: self.executer.as_ref().map(Json::from_value),
        };
        check_sizes(
            metadata.as_ref(),
            &content,
            manifests,
            limits,
            &mut problems,
        );
        let payload = content.payload();
        if problems.is_empty() {
            agents::check(&content, self.stored.as_ref(), &mut problems);
        }
        if problems.is_empty() {
            to.check(metadata.as_ref(), &payload, &mut problems);
        }
        if problems.is_empty() {
            return Ok((metadata, content));
        }
        Err(Invalid(summary(&problems)))
    }
}

/// Notes a broken rule.
fn problem(problems: &mut Vec<Problem>, path: impl Into<String>, message: impl Into<String>) {
    problems.push(Problem {
        path: path.into(),
        message: message.into(),
    });
}

/// The same of what a text may break as often as it is long: written out only if it will be shown, counted otherwise.
fn problem_with(problems: &mut Vec<Problem>, broken: impl FnOnce() -> (String, String)) {
    let (path, message) = if problems.len() < SHOWN {
        broken()
    } else {
        Default::default()
    };
    problems.push(Problem { path, message });
}

/// Why a bundle id or name is refused: it names a Kubernetes object on the other side.
pub(crate) fn check_id(field: &str, id: &str) -> Result<(), Invalid> {
    match shapes::subdomain_problem(id) {
        None => Ok(()),
        Some(rule) => {
            let shown: String = id.chars().take(60).collect();
            Err(Invalid(format!("{field}: `{shown}` {rule}")))
        }
    }
}

fn check_metadata(metadata: &Value, problems: &mut Vec<Problem>) {
    let Value::Object(members) = metadata else {
        let message = format!("must be an object, not {}", kind(metadata));
        return problem(problems, "metadata", message);
    };
    // Go's clients read a list into typed metadata, and one that does not fit fails it as a whole.
    for key in ["name", "uid"] {
        match members.get(key) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(_) => problem(problems, format!("metadata.{key}"), "must be a string"),
        }
    }
    check_object_meta("metadata", members, problems);
}

fn check_manifest(
    index: usize,
    manifest: &Value,
    declared: &mut Declared,
    problems: &mut Vec<Problem>,
) {
    let path = format!("manifests[{index}]");
    let Value::Object(members) = manifest else {
        let message = format!("must be a Kubernetes object, not {}", kind(manifest));
        return problem(problems, path, message);
    };
    let unfit = unfit(manifest);
    if let Some((inside, message)) = &unfit {
        problem(problems, format!("{path}.{inside}"), message);
    }
    if matches!(unfit, Some(("kind", _))) {
        return;
    }
    let mut required = |key: &str, rule: fn(&str) -> Option<&'static str>| {
        let path = format!("{path}.{key}");
        match members.get(key) {
            Some(Value::String(text)) if !text.is_empty() => {
                if let Some(rule) = rule(text) {
                    let shown = link::telemetry::clip(text, SHOWN_BYTES);
                    problem(problems, path, format!("`{shown}` {rule}"));
                }
            }
            None | Some(Value::Null | Value::String(_)) => problem(problems, path, "is required"),
            Some(other) => {
                let message = format!("must be a string, not {}", kind(other));
                problem(problems, path, message);
            }
        }
    };
    required("apiVersion", shapes::api_version_problem);
    required("kind", shapes::kind_problem);
    let empty = Map::new();
    let metadata = match members.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => &empty,
    };
    let whole = path;
    let path = format!("{whole}.metadata");
    match metadata.get("name") {
        Some(Value::String(name)) if !name.is_empty() => {
            if let Some(rule) = shapes::object_name_problem(name) {
                problem(problems, format!("{path}.name"), format!("`{name}` {rule}"));
            }
            if let Some(again) = declared.note(index, &ObjectRef::of(manifest)) {
                problem(problems, whole, again);
            }
        }
        _ => problem(problems, format!("{path}.name"), "is required"),
    }
    for key in [
        "generateName",
        "resourceVersion",
        "deletionGracePeriodSeconds",
    ] {
        if metadata.get(key).is_some_and(|value| !value.is_null()) {
            problem(problems, format!("{path}.{key}"), "must not be set");
        }
    }
    check_object_meta(&path, metadata, problems);
}

/// Namespace, labels, annotations and finalizers of an ObjectMeta.
fn check_object_meta(path: &str, metadata: &Map<String, Value>, problems: &mut Vec<Problem>) {
    match metadata.get("namespace") {
        None | Some(Value::Null) => {}
        Some(Value::String(namespace)) if namespace.is_empty() => {}
        Some(Value::String(namespace)) => {
            if let Some(rule) = shapes::label_problem(namespace) {
                problem(
                    problems,
                    format!("{path}.namespace"),
                    format!("`{namespace}` {rule}"),
                );
            }
        }
        Some(_) => problem(problems, format!("{path}.namespace"), "must be a string"),
    }
    for (member, values_are_labels) in [("labels", true), ("annotations", false)] {
        match metadata.get(member) {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                let path = format!("{path}.{member}");
                shapes::check_entries(&path, entries, values_are_labels, problems);
            }
            Some(other) => {
                let message = format!("must be an object of strings, not {}", kind(other));
                problem(problems, format!("{path}.{member}"), message);
            }
        }
    }
    match metadata.get("finalizers") {
        None | Some(Value::Null) => {}
        Some(Value::Array(names)) if names.iter().all(Value::is_string) => {
            for name in names.iter().filter_map(Value::as_str) {
                if let Some(rule) = shapes::qualified_name_problem(name) {
                    problem(
                        problems,
                        format!("{path}.finalizers"),
                        format!("`{name}` {rule}"),
                    );
                }
            }
        }
        Some(_) => problem(
            problems,
            format!("{path}.finalizers"),
            "must be an array of strings",
        ),
    }
}

fn check_sizes(
    metadata: Option<&Json>,
    content: &Content,
    manifests: &[Value],
    limits: &BundleLimits,
    problems: &mut Vec<Problem>,
) {
    let length = metadata.map_or(0, |metadata| metadata.as_str().len());
    if length > limits.metadata_bytes {
        let limit = limits.metadata_bytes;
        problem(
            problems,
            "metadata",
            format!("is {length} bytes, at most {limit} can be sent"),
        );
    }
    let (total, payload) = (content.manifests.as_str().len(), content.payload_len());
    let message = if total > limits.manifest_bytes {
        let limit = limits.manifest_bytes;
        format!("are {total} bytes together, agents take at most {limit}")
    } else if payload > limits.payload_bytes {
        let limit = limits.payload_bytes;
        format!("make an event of {payload} bytes, the broker takes at most {limit}")
    } else {
        return;
    };
    let mut sizes: Vec<(usize, usize)> = manifests
        .iter()
        .enumerate()
        .map(|(index, manifest)| (manifest.to_string().len(), index))
        .collect();
    sizes.sort_by(|a, b| b.cmp(a));
    let biggest: Vec<String> = sizes
        .iter()
        .take(3)
        .map(|(size, index)| {
            let manifest = &manifests[*index];
            let kind_name = manifest["kind"].as_str().unwrap_or("?");
            let name = manifest["metadata"]["name"].as_str().unwrap_or("?");
            format!("[{index}] {kind_name} `{name}` {size} bytes")
        })
        .collect();
    problem(
        problems,
        "manifests",
        format!("{message}; the biggest: {}", biggest.join(", ")),
    );
}

/// All problems in one line; a bundle of a thousand bad manifests is not a message of a megabyte.
fn summary(problems: &[Problem]) -> String {
    let mut parts: Vec<String> = problems
        .iter()
        .take(SHOWN)
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect();
    if problems.len() > SHOWN {
        parts.push(format!("and {} more", problems.len() - SHOWN));
    }
    parts.join("; ")
}

// One has 55 bytes at least, and the payload 128 KiB at most.
const MANIFESTS: usize = 4096;

const SHOWN: usize = 10;
const SHOWN_BYTES: usize = 60;
