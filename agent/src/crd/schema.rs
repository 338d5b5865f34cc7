//! Schemas for parts whose content is checked elsewhere: a manifest that is no Kubernetes object must be kept all
//! the same, so that its status can say what is wrong with it.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Any object.
pub(super) fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A list of anything.
pub(super) fn open_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"nullable": true, "x-kubernetes-preserve-unknown-fields": true}
    })
}
