//! What an answer of the API server means for the object, and the next step.

use kube::core::Status;
use link::bundle::manifest::ObjectRef;

use crate::applier::ApplierErrorKind;
use crate::cluster::INITIALIZING;

/// What a refusal means.
pub(super) struct Assessment {
    /// Decides about trying again.
    pub(super) kind: ApplierErrorKind,
    /// The next step.
    pub(super) hint: String,
    /// The server's message may quote content of the object.
    pub(super) quotes: bool,
}

// === impl Assessment ===

impl Assessment {
    pub(super) fn new(kind: ApplierErrorKind, hint: impl Into<String>) -> Self {
        Self {
            kind,
            hint: hint.into(),
            quotes: false,
        }
    }

    /// The content is the reason.
    pub(super) fn quoting(kind: ApplierErrorKind, hint: impl Into<String>) -> Self {
        Self {
            quotes: true,
            ..Self::new(kind, hint)
        }
    }
}

/// Assesses an answer that is no conflict of field managers. Texts come before codes: admission, quotas and
/// server-side apply use codes that say nothing about the cause.
pub(super) fn assess(status: &Status, verb: &str, object: &ObjectRef) -> Assessment {
    admission(status)
        .or_else(|| content(status))
        .unwrap_or_else(|| by_code(status, verb, object))
}

fn admission(status: &Status) -> Option<Assessment> {
    let message = status.message.as_str();
    if let Some(name) = between(message, "admission webhook \"", "\"") {
        let hint = format!("change the manifest as webhook `{name}` demands, or its policy");
        return Some(Assessment::quoting(ApplierErrorKind::Forbidden, hint));
    }
    if let Some(name) = between(message, "failed calling webhook \"", "\"") {
        let hint = format!("see that the service behind webhook `{name}` runs; it is tried again");
        return Some(Assessment::quoting(ApplierErrorKind::Unavailable, hint));
    }
    if let Some(name) = between(message, "ValidatingAdmissionPolicy '", "'") {
        let hint = format!("change the manifest as policy `{name}` demands, or the policy");
        return Some(Assessment::quoting(ApplierErrorKind::Forbidden, hint));
    }
    None
}

fn content(status: &Status) -> Option<Assessment> {
    let message = status.message.as_str();
    let holds = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    // Server-side apply answers these with 500 and no reason, but they do not pass by waiting.
    let hint = if holds(&["illegal base64 data"]) {
        "values under `data` are base64, plain text belongs under `stringData`"
    } else if holds(&["field not declared in schema", "unknown field"]) {
        "remove the field, or install the version of the API that has it"
    } else if holds(&["duplicate entries for key"]) {
        "give every element of the list its own key"
    } else if holds(&[
        "failed to create typed patch object",
        "failed to convert new object",
        "cannot be handled as a",
    ]) {
        "check the manifest against the schema of its kind (`kubectl explain`)"
    } else if holds(&IMMUTABLE) {
        "it cannot be changed in place: delete the object or give the new one another name; the strategy \
         `CreateOnly` leaves objects that exist alone"
    } else if status.code == 413 || holds(&["request is too large", "larger than max"]) {
        "the object is too large for the cluster: split it"
    } else {
        return None;
    };
    Some(Assessment::quoting(ApplierErrorKind::Invalid, hint))
}

fn by_code(status: &Status, verb: &str, object: &ObjectRef) -> Assessment {
    match status.code {
        401 => Assessment::new(
            ApplierErrorKind::Unavailable,
            "the cluster does not know the agent's credentials: renew its token or certificate",
        ),
        403 => forbidden(status, object),
        404 => not_found(status, object),
        409 => conflict(status, verb),
        400 | 422 => Assessment::quoting(
            ApplierErrorKind::Invalid,
            "correct these fields in the manifest (`kubectl explain` describes them)",
        ),
        405 | 406 | 415 => Assessment::quoting(
            ApplierErrorKind::Invalid,
            "the cluster does not take such an object in this way; see whether its API is read-only",
        ),
        429 if status.message.contains(INITIALIZING) => Assessment::new(
            not_yet(),
            "the kind was defined a moment ago and is not served yet; it is tried again",
        ),
        408 | 410 | 429 => Assessment::new(not_yet(), "the API server is busy; it is tried again"),
        500.. => Assessment::quoting(
            ApplierErrorKind::Unavailable,
            "the API server fails; it is tried again, its log tells more",
        ),
        _ => Assessment::quoting(
            ApplierErrorKind::Invalid,
            "the API server refuses the request as it is",
        ),
    }
}

fn forbidden(status: &Status, object: &ObjectRef) -> Assessment {
    let message = status.message.as_str();
    let causes = status.details.iter().flat_map(|details| &details.causes);
    if causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
        || message.contains("it is being terminated")
    {
        let namespace = match object.namespace.as_str() {
            "" => between(message, "in namespace ", " ").unwrap_or("of the object"),
            namespace => namespace,
        };
        let hint = format!("wait until namespace `{namespace}` is gone; it is tried again");
        return Assessment::new(not_yet(), hint);
    }
    let hint = if let Some((verb, resource)) = denied(message) {
        format!("let that user `{verb}` `{resource}`; `agent permissions` prints the role")
    } else if message.contains("attempting to grant RBAC permissions") {
        "who grants permissions must hold them, or have the verb `escalate` (for bindings: `bind`)"
            .into()
    } else if message.contains("exceeded quota") {
        "raise the quota of the namespace or ask for less".into()
    } else if message.contains("violates PodSecurity") {
        "set the security contexts it names, or relax the label `pod-security.kubernetes.io/enforce` of the \
         namespace"
            .into()
    } else {
        "change the manifest or the policy of the cluster that forbids it".into()
    };
    Assessment::new(ApplierErrorKind::Forbidden, hint)
}

// Verb and `resource.group` of a refusal by RBAC.
fn denied(message: &str) -> Option<(&str, String)> {
    let verb = between(message, " cannot ", " resource \"")?;
    let resource = between(message, " resource \"", "\"")?;
    let group = between(message, " in API group \"", "\"").unwrap_or_default();
    let whole = match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    };
    Some((verb, whole))
}

fn not_found(status: &Status, object: &ObjectRef) -> Assessment {
    let details = status.details.as_ref();
    let (kind, name) = details.map_or(("", ""), |details| (&details.kind, &details.name));
    if kind == "namespaces" && object.kind != "Namespace" {
        let hint = format!(
            "put the Namespace `{name}` into the work, before this object, or create it on the cluster; it is \
             tried again"
        );
        return Assessment::new(ApplierErrorKind::NoNamespace, hint);
    }
    if kind.is_empty() {
        return unknown_kind(object);
    }
    Assessment::new(not_yet(), "it was deleted meanwhile; it is tried again")
}

/// The cluster does not serve the kind.
pub(super) fn unknown_kind(object: &ObjectRef) -> Assessment {
    let ObjectRef {
        group,
        version,
        kind,
        ..
    } = object;
    let hint = if group.is_empty() || !group.contains('.') || group.ends_with(".k8s.io") {
        let api = object_api(group, version);
        format!(
            "this cluster does not serve `{api}` {kind}: use a version it has (`kubectl api-resources`)"
        )
    } else {
        format!(
            "install the CustomResourceDefinition `{}.{group}` with version `{version}`, for example in the same \
             work; it is tried again",
            object.plural_guess()
        )
    };
    Assessment::new(not_yet(), hint)
}

fn object_api(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

fn conflict(status: &Status, verb: &str) -> Assessment {
    let message = status.message.as_str();
    let hint = if message.contains("object is being deleted") {
        "it is created again when the old one is gone"
    } else if status.is_already_exists() {
        "somebody else created it meanwhile; it is read again"
    } else if message.contains("UID") && verb == "delete" {
        "somebody else replaced it; the new object is left alone"
    } else {
        "somebody else wrote it meanwhile; it is read again and tried again"
    };
    Assessment::new(not_yet(), hint)
}

/// Something else has to happen first. The target has no kind of its own for this: what counts is that it is
/// tried again.
fn not_yet() -> ApplierErrorKind {
    ApplierErrorKind::Unavailable
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}

const IMMUTABLE: [&str; 6] = [
    "field is immutable",
    "is immutable after creation",
    "immutable when `immutable` is set",
    "updates to statefulset spec for fields other than",
    "pod updates may not change fields other than",
    "may not change once set",
];
