//! From a failed call to an [`ApplierError`]: operation and object, the API server's own message, and what to do next.
//!
//! The kind decides whether the call is tried again, the message ends up in a condition that people far from the
//! cluster read. Two things are not left to the server: the length (an immutable selector is quoted in full), and
//! Secrets. Refusals of their content quote it (`expected map, got &{hunter2}`), so for them only the fields and the
//! kinds of the causes are reported.

use kube::core::Status;
use kube::core::response::{StatusCause, reason};
use link::bundle::manifest::ObjectRef;

use super::conflict;
use crate::applier::{ApplierError, ApplierErrorKind};

mod assessment;
mod transport;

use self::assessment::Assessment;

/// Explains why `verb` (`apply`, `delete`, …) failed for an object.
pub(crate) fn explain(error: &kube::Error, verb: &str, object: &ObjectRef) -> ApplierError {
    let (kind, text) = match error {
        kube::Error::Api(status) => answered(status, verb, object),
        other => {
            let (assessment, text) = transport::assess(other, object);
            (
                assessment.kind,
                format!("{text}; hint: {}", assessment.hint),
            )
        }
    };
    ApplierError {
        kind,
        message: format!("{verb} {object}: {text}"),
    }
}

fn answered(status: &Status, verb: &str, object: &ObjectRef) -> (ApplierErrorKind, String) {
    if let Some(conflict) = conflict::describe(status) {
        let owner = conflict.managers.join(", ");
        return (ApplierErrorKind::Conflict { owner }, conflict.message);
    }
    let Assessment { kind, hint, quotes } = assessment::assess(status, verb, object);
    let text = if quotes && is_secret(object) {
        redacted(status)
    } else {
        server_text(status)
    };
    (kind, format!("{text}; hint: {hint}"))
}

fn is_secret(object: &ObjectRef) -> bool {
    object.kind == "Secret"
}

// The causes one by one when fields are invalid, because the message strings them together without a limit.
fn server_text(status: &Status) -> String {
    let causes = causes(status);
    if status.reason == reason::INVALID && causes.iter().any(|cause| !cause.field.is_empty()) {
        return list(causes, |cause| {
            format!("{}: {}", cause.field, both_ends(&cause.message, MAX_CAUSE))
        });
    }
    match line(&status.message, MAX_TEXT) {
        text if text.is_empty() => {
            format!("the API server answered {} {}", status.code, status.reason)
        }
        text => text,
    }
}

// What can be reported about the refusal of a Secret: nothing that the server may have taken from its data.
fn redacted(status: &Status) -> String {
    if status.message.contains(BASE64) {
        return format!("a value under `data` is {BASE64}");
    }
    let causes = causes(status);
    if causes.is_empty() {
        return format!(
            "the API server refuses its content with code {} (its words may quote data and are left out)",
            status.code
        );
    }
    list(causes, |cause| {
        match (cause.field.as_str(), cause.reason.as_str()) {
            (field, "") => field.to_owned(),
            ("", reason) => reason.to_owned(),
            (field, reason) => format!("{}: {reason}", line(field, MAX_CAUSE)),
        }
    })
}

fn causes(status: &Status) -> &[StatusCause] {
    status
        .details
        .as_ref()
        .map_or(&[], |details| &details.causes)
}

fn list(causes: &[StatusCause], describe: impl Fn(&StatusCause) -> String) -> String {
    let mut text: Vec<_> = causes.iter().take(MAX_CAUSES).map(describe).collect();
    if causes.len() > MAX_CAUSES {
        text.push(format!("and {} more", causes.len() - MAX_CAUSES));
    }
    format!("invalid: {}", text.join("; "))
}

// One line of limited length.
fn line(text: &str, most: usize) -> String {
    let text: Vec<_> = text.split_whitespace().collect();
    conflict::shorten(&text.join(" "), most)
}

// One line of limited length without its middle: a cause quotes the value first, and then says what is wrong with it.
fn both_ends(text: &str, most: usize) -> String {
    let whole = line(text, usize::MAX);
    match whole.char_indices().nth_back(most / 2) {
        Some((tail, _)) if whole.chars().count() > most => {
            conflict::shorten(&whole, most / 2) + &whole[tail..]
        }
        _ => whole,
    }
}

const BASE64: &str = "illegal base64 data";
const MAX_TEXT: usize = 800;
const MAX_CAUSES: usize = 5;
const MAX_CAUSE: usize = 240;

#[cfg(test)]
mod tests;
