//! What an event carries: the manifests on the way down, their status on the way up (docs/MAESTRO.md §3).
//!
//! The types follow the Go structs field by field, so that what a Go peer wrote survives a round trip; JSON
//! that must be byte-stable goes through [`go_json`].

pub mod go_json;
mod hash;
pub mod kinds;
pub mod manifest;
pub mod resync;
pub mod rules;
mod spec;
mod status;
pub mod validate;

pub use hash::{EMPTY_HASH, status_hash};
pub use spec::{
    ConditionRule, DeleteOption, Executer, ExecuterSubject, FeedbackRule, IgnoreField, JsonPath,
    ManifestConfig, OrphaningRule, ResourceIdentifier, SelectivelyOrphan, ServerSideApply,
    ServiceAccount, Spec, UpdateStrategy,
};
pub use status::{
    Condition, FeedbackValue, FieldValue, ManifestStatus, ResourceMeta, Status, StatusFeedback,
    set_condition,
};
