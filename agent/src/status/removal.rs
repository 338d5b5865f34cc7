//! The status while a work is being removed and when it is gone (docs/MAESTRO.md §3.4).

use link::bundle::manifest::ObjectRef;
use link::bundle::{Condition, Status, set_condition};

use super::Context;

/// An object that is still there although its work gave it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Which object.
    pub object: ObjectRef,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What it waits for, as text.
    pub blocker: String,
}

/// Says that a work is being removed, and what each remaining object waits for.
pub fn deleting(remaining: &[Remaining], context: Context<'_>) -> Status {
    let mut status = context.previous.clone();
    let message = match remaining {
        [] => "ManifestWork is being deleted".to_string(),
        [one] => format!(
            "ManifestWork is being deleted: {} {}",
            one.object, one.blocker
        ),
        [first, others @ ..] => format!(
            "ManifestWork is being deleted: {} {}, and {} more objects are still there",
            first.object,
            first.blocker,
            others.len()
        ),
    };
    let condition = |reason: &str, message: String| {
        let generation = context.generation;
        Condition::new("Deleting", "True", reason, message, generation, context.now)
    };
    set_condition(&mut status.conditions, condition("WorkDeleting", message));
    for manifest in &mut status.resource_status {
        let meta = &manifest.resource_meta;
        let still = remaining.iter().find(|remaining| {
            let object = &remaining.object;
            object.group == meta.group
                && object.kind == meta.kind
                && object.name == meta.name
                && object.namespace == meta.namespace
        });
        match still {
            Some(remaining) => set_condition(
                &mut manifest.conditions,
                condition(
                    remaining.reason,
                    format!("{} {}", remaining.object, remaining.blocker),
                ),
            ),
            None => manifest
                .conditions
                .retain(|condition| condition.kind != "Deleting"),
        }
    }
    status
}

/// Says that a work and its objects are gone: the acknowledgement of a deletion.
pub fn deleted(consumer: &str, context: Context<'_>) -> Status {
    let mut status = deleting(&[], context);
    let condition = Condition::new(
        "Deleted",
        "True",
        "ManifestsDeleted",
        format!("The manifests are deleted from the cluster {consumer}"),
        0,
        context.now,
    );
    set_condition(&mut status.conditions, condition);
    status
}

/// Says that the objects of a finished work are gone because its time to live has passed.
pub fn expired(ttl_seconds: i64, context: Context<'_>) -> Status {
    let mut status = context.previous.clone();
    let condition = Condition::new(
        EXPIRED,
        "True",
        "TTLSecondsAfterFinished",
        format!("The objects were given up {ttl_seconds} s after the work finished"),
        context.generation,
        context.now,
    );
    set_condition(&mut status.conditions, condition);
    status
}

/// Type of the condition of a work whose time to live has passed.
pub const EXPIRED: &str = "Expired";
