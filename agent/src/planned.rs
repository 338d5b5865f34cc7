//! A manifest of a work with its settings: what reconcile applies and what its status is made of.

use std::borrow::Cow;

use link::bundle::manifest::ObjectRef;
use link::bundle::{ConditionRule, FeedbackRule};
use serde_json::Value;

use crate::applier::{ApplierError, Claim, Strategy};
use crate::digest::sha256_hex;

/// One manifest with everything needed to apply and judge it.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedManifest {
    /// Index in the spec.
    pub ordinal: usize,
    /// Which object.
    pub object: ObjectRef,
    /// Plural resource name.
    pub resource: String,
    /// See the key of an `Identity` of the applier.
    pub key: Option<String>,
    /// Why it is not even tried: another manifest declares the same object.
    pub refused: Option<ApplierError>,
    /// The manifest.
    pub manifest: Value,
    /// How to apply it.
    pub strategy: Strategy,
    /// What to read back.
    pub feedback: Vec<FeedbackRule>,
    /// Conditions to compute.
    pub conditions: Vec<ConditionRule>,
}

// === impl PlannedManifest ===

impl PlannedManifest {
    /// What the work claims of the target for this manifest; nothing when it only reads, is refused, or has no location in the target.
    pub fn claim(&self) -> Option<Claim> {
        if self.strategy == Strategy::ReadOnly || self.refused.is_some() || self.key.is_none() {
            return None;
        }
        let insists = self.strategy.insists_on_content();
        let content = insists.then(|| sha256_hex(self.content().as_bytes()));
        Some(Claim {
            object: self.object.clone(),
            content,
        })
    }

    // A namespace that means nothing makes no other content.
    fn content(&self) -> String {
        let mut manifest = Cow::Borrowed(&self.manifest);
        if self.object.namespace.is_empty()
            && manifest["metadata"].get("namespace").is_some()
            && let Some(metadata) = manifest.to_mut()["metadata"].as_object_mut()
        {
            metadata.remove("namespace");
        }
        manifest.to_string()
    }
}
