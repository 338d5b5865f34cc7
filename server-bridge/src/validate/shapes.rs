//! Grammars of Kubernetes names, and the shapes of a bundle's settings (docs/MAESTRO.md §3.1).

use link::telemetry::clip;
use serde_json::{Map, Value};

use super::{Problem, kind, listed, problem, problem_with, unknown};

/// Delete option, manifest configs and executer.
pub(super) fn check_settings(
    delete_option: Option<&Value>,
    manifest_configs: Option<&Value>,
    executer: Option<&Value>,
    problems: &mut Vec<Problem>,
) {
    if let Some(value) = delete_option {
        check_delete_option(value, problems);
    }
    match manifest_configs {
        None => {}
        Some(Value::Array(configs)) => {
            for (index, config) in configs.iter().enumerate() {
                check_config(&format!("manifest_configs[{index}]"), config, problems);
            }
        }
        Some(other) => {
            problem(
                problems,
                "manifest_configs",
                format!("must be an array, not {}", kind(other)),
            );
        }
    }
    if let Some(value) = executer {
        check_executer(value, problems);
    }
}

fn check_delete_option(value: &Value, problems: &mut Vec<Problem>) {
    let path = "delete_option";
    let known = &[
        "propagationPolicy",
        "selectivelyOrphans",
        "ttlSecondsAfterFinished",
    ];
    let Some(members) = object(path, value, known, problems) else {
        return;
    };
    one_of(path, members, "propagationPolicy", PROPAGATION, problems);
    let selective =
        members.get("propagationPolicy").and_then(Value::as_str) == Some("SelectivelyOrphan");
    match members.get("selectivelyOrphans") {
        Some(value) => {
            let path = format!("{path}.selectivelyOrphans");
            if let Some(members) = object(&path, value, &["orphaningRules"], problems) {
                let rules = members.get("orphaningRules");
                if !rules.is_none_or(Value::is_array) {
                    problem(
                        problems,
                        format!("{path}.orphaningRules"),
                        "must be an array",
                    );
                }
            }
        }
        None if selective => {
            let message = "is required with propagation policy `SelectivelyOrphan`";
            problem(problems, format!("{path}.selectivelyOrphans"), message);
        }
        None => {}
    }
    let ttl = members.get("ttlSecondsAfterFinished");
    if ttl.is_some_and(|ttl| ttl.as_i64().is_none_or(|ttl| ttl < 0)) {
        let path = format!("{path}.ttlSecondsAfterFinished");
        problem(problems, path, "must be a number of seconds from 0");
    }
}

fn check_config(path: &str, value: &Value, problems: &mut Vec<Problem>) {
    let known = &[
        "resourceIdentifier",
        "feedbackRules",
        "updateStrategy",
        "conditionRules",
        "feedbackScrapeType",
    ];
    let Some(members) = object(path, value, known, problems) else {
        return;
    };
    let identifier = format!("{path}.resourceIdentifier");
    match members.get("resourceIdentifier") {
        None => problem(problems, identifier, "is required"),
        Some(value) => {
            let known = &["group", "resource", "name", "namespace"];
            if let Some(members) = object(&identifier, value, known, problems) {
                for key in ["resource", "name"] {
                    let text = members.get(key).and_then(Value::as_str).unwrap_or("");
                    if text.is_empty() {
                        problem(problems, format!("{identifier}.{key}"), "is required");
                    }
                }
            }
        }
    }
    if let Some(Value::Object(strategy)) = members.get("updateStrategy") {
        let path = format!("{path}.updateStrategy");
        one_of(&path, strategy, "type", UPDATE, problems);
        let ignored = strategy
            .get("serverSideApply")
            .and_then(|apply| apply["ignoreFields"].as_array());
        for (index, field) in ignored.into_iter().flatten().enumerate() {
            // Go's structs write an empty text for nothing.
            if let Value::Object(field) = field
                && field.get("condition").and_then(Value::as_str) != Some("")
            {
                let path = format!("{path}.serverSideApply.ignoreFields[{index}]");
                one_of(&path, field, "condition", IGNORED, problems);
            }
        }
    }
    for (rules, types) in [("feedbackRules", FEEDBACK), ("conditionRules", CONDITION)] {
        match members.get(rules) {
            None | Some(Value::Null) => {}
            Some(Value::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    let path = format!("{path}.{rules}[{index}]");
                    match entry {
                        Value::Object(entry) => one_of(&path, entry, "type", types, problems),
                        other => problem(
                            problems,
                            path,
                            format!("must be an object, not {}", kind(other)),
                        ),
                    }
                }
            }
            Some(_) => problem(problems, format!("{path}.{rules}"), "must be an array"),
        }
    }
}

fn check_executer(value: &Value, problems: &mut Vec<Problem>) {
    let Some(members) = object("executer", value, &["subject"], problems) else {
        return;
    };
    let path = "executer.subject";
    let Some(subject) = members.get("subject") else {
        return problem(problems, path, "is required");
    };
    let Some(members) = object(path, subject, &["type", "serviceAccount"], problems) else {
        return;
    };
    one_of(path, members, "type", &["ServiceAccount"], problems);
    for key in ["namespace", "name"] {
        let text = members
            .get("serviceAccount")
            .and_then(|account| account[key].as_str());
        if text.unwrap_or("").is_empty() {
            problem(
                problems,
                format!("{path}.serviceAccount.{key}"),
                "is required",
            );
        }
    }
}

/// An object of which every member is known.
fn object<'v>(
    path: &str,
    value: &'v Value,
    known: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<&'v Map<String, Value>> {
    let Value::Object(members) = value else {
        problem(
            problems,
            path,
            format!("must be an object, not {}", kind(value)),
        );
        return None;
    };
    for key in members.keys().filter(|key| !known.contains(&key.as_str())) {
        problem_with(problems, || (path.to_owned(), unknown(key, known)));
    }
    Some(members)
}

fn one_of(
    path: &str,
    members: &Map<String, Value>,
    key: &str,
    allowed: &[&str],
    problems: &mut Vec<Problem>,
) {
    match members.get(key) {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if allowed.contains(&text.as_str()) => {}
        Some(_) => problem(
            problems,
            format!("{path}.{key}"),
            format!("must be one of {}", listed(allowed)),
        ),
    }
}

/// Label or annotation entries.
pub(super) fn check_entries(
    path: &str,
    entries: &Map<String, Value>,
    values_are_labels: bool,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in entries {
        if let Some(rule) = qualified_name_problem(name) {
            problem_with(problems, || {
                let name = clip(name, SHOWN_BYTES);
                (path.to_owned(), format!("name `{name}` {rule}"))
            });
        }
        let at = || format!("{path}[{}]", clip(name, SHOWN_BYTES));
        match value {
            Value::String(text) if values_are_labels => {
                if let Some(rule) = label_value_problem(text) {
                    problem_with(problems, || {
                        (at(), format!("`{}` {rule}", clip(text, SHOWN_BYTES)))
                    });
                }
            }
            Value::String(_) => {}
            other => problem_with(problems, || {
                (at(), format!("must be a string, not {}", kind(other)))
            }),
        }
    }
}

/// `VERSION` or `GROUP/VERSION`, as Kubernetes names them.
pub(super) fn api_version_problem(text: &str) -> Option<&'static str> {
    let (group, version) = match text.split_once('/') {
        None => (None, text),
        Some((group, version)) => (Some(group), version),
    };
    if group.is_some_and(|group| subdomain_problem(group).is_some()) {
        Some("must have a DNS name before its `/`")
    } else if label_problem(version).is_some() {
        Some("must be `VERSION` or `GROUP/VERSION`, such as `v1` or `apps/v1`")
    } else {
        None
    }
}

/// A kind: in lower case it is a DNS label that begins with a letter.
pub(super) fn kind_problem(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let letter = lower.starts_with(|c: char| c.is_ascii_lowercase());
    if !letter || label_problem(&lower).is_some() {
        Some(
            "must be a name such as `ConfigMap`: a letter, then letters, digits and `-`, at most 63",
        )
    } else {
        None
    }
}

/// RFC 1123 label.
pub(super) fn label_problem(text: &str) -> Option<&'static str> {
    if text.len() > 63 {
        return Some("is longer than 63 characters");
    }
    dns_problem(text, false)
}

/// RFC 1123 subdomain.
pub(crate) fn subdomain_problem(text: &str) -> Option<&'static str> {
    if text.len() > 253 {
        return Some("is longer than 253 characters");
    }
    dns_problem(text, true)
}

/// The loosest rule a Kubernetes kind has for its names: a path segment.
pub(super) fn object_name_problem(text: &str) -> Option<&'static str> {
    if text.len() > 253 {
        Some("is longer than 253 characters")
    } else if text == "." || text == ".." || text.contains(['/', '%']) {
        Some("cannot be part of a path")
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Some("holds white space or a control character")
    } else {
        None
    }
}

/// `[prefix/]name` of labels, annotations and finalizers.
pub(super) fn qualified_name_problem(text: &str) -> Option<&'static str> {
    let name = match text.split_once('/') {
        None => text,
        Some((prefix, _)) if prefix.is_empty() || subdomain_problem(prefix).is_some() => {
            return Some("must have a DNS name before its `/`");
        }
        Some((_, name)) => name,
    };
    if name.is_empty() {
        return Some("is empty");
    }
    label_value_problem(name)
}

/// A label's value.
pub(super) fn label_value_problem(text: &str) -> Option<&'static str> {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.len() > 63 {
        Some("is longer than 63 characters")
    } else if !text.chars().all(inner) {
        Some("may hold only letters, digits and `-_.`")
    } else if !edge(text.chars().next()) || !edge(text.chars().last()) {
        Some("must begin and end with a letter or digit")
    } else {
        None
    }
}

fn dns_problem(text: &str, dots: bool) -> Option<&'static str> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.is_empty() {
        Some("is empty")
    } else if !text
        .chars()
        .all(|c| alphanumeric(c) || c == '-' || dots && c == '.')
    {
        Some(if dots {
            "may hold only lower-case letters, digits, `-` and `.`"
        } else {
            "may hold only lower-case letters, digits and `-`"
        })
    } else if text.split('.').any(|part| {
        let ends = [part.chars().next(), part.chars().last()];
        !ends.into_iter().all(|end| end.is_some_and(alphanumeric))
    }) {
        Some("must begin and end with a letter or digit")
    } else {
        None
    }
}

// The longest qualified name: a DNS name, `/` and a name.
const SHOWN_BYTES: usize = 253 + 1 + 63;

const PROPAGATION: &[&str] = &["Foreground", "Orphan", "SelectivelyOrphan"];
const UPDATE: &[&str] = &["Update", "CreateOnly", "ServerSideApply", "ReadOnly"];
const FEEDBACK: &[&str] = &["WellKnownStatus", "JSONPaths"];
const CONDITION: &[&str] = &["WellKnownConditions", "CEL"];
const IGNORED: &[&str] = &["OnSpokePresent", "OnSpokeChange"];
