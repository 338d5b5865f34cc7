//! Calls that got no answer, or none that could be read.

use std::error::Error;

use kube::Error as Kube;
use link::bundle::manifest::ObjectRef;

use super::assessment::{Assessment, unknown_kind};
use super::{MAX_TEXT, is_secret, line};
use crate::applier::ApplierErrorKind;

/// Assesses an error that is no answer; also gives the message for it.
pub(super) fn assess(error: &Kube, object: &ObjectRef) -> (Assessment, String) {
    let text = || line(&chain(error), MAX_TEXT);
    match error {
        Kube::Discovery(_) => (unknown_kind(object), text()),
        // A plugin that fails is quoted with all it printed, maybe a token.
        Kube::Auth(_) => (
            Assessment::new(
                ApplierErrorKind::Unavailable,
                "renew the credentials that the agent's kubeconfig names",
            ),
            "the agent's credentials cannot be loaded".into(),
        ),
        Kube::SerdeError(_) | Kube::FromUtf8(_) => {
            let hint = "see whether a proxy sits before the API server, or its version is too far from the agent's";
            let text = if is_secret(object) {
                "the answer cannot be read".into()
            } else {
                format!("the answer cannot be read: {}", text())
            };
            (Assessment::new(ApplierErrorKind::Unavailable, hint), text)
        }
        Kube::BuildRequest(_) => (
            Assessment::new(
                ApplierErrorKind::Invalid,
                "correct name and namespace in the manifest",
            ),
            text(),
        ),
        Kube::InferConfig(_) | Kube::InferKubeconfig(_) | Kube::TlsRequired => (
            Assessment::new(
                ApplierErrorKind::Unavailable,
                "check the agent's kubeconfig",
            ),
            text(),
        ),
        _ => (
            Assessment::new(
                ApplierErrorKind::Unavailable,
                "see that the API server runs and can be reached from the agent; it is tried again",
            ),
            format!("no answer from the API server: {}", text()),
        ),
    }
}

// The sources one after the other. The outermost text repeats its source, and so do some below it.
fn chain(error: &Kube) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
        next = source.source();
    }
    if texts.is_empty() {
        return error.to_string();
    }
    texts.join(": ")
}
