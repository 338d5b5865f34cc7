//! The status of a work while the cluster's side has paused it: everything that can be seen, and that nothing
//! is done.

use link::bundle::{Condition, Status, set_condition};

use super::{Context, ManifestOutcome, judge};

/// Judges what is there. Whether it was applied stays as it was; a work never applied says so.
pub fn paused(outcomes: Vec<ManifestOutcome>, why: &str, context: Context<'_>) -> Status {
    let mut status = judge(outcomes, context);
    let unapplied = |old: Option<&Condition>| {
        old.cloned().unwrap_or_else(|| {
            Condition::new(
                "Applied",
                "Unknown",
                PAUSED,
                why,
                context.generation,
                context.now,
            )
        })
    };
    let applied = unapplied(context.previous.condition("Applied"));
    replace(&mut status.conditions, applied);
    for manifest in &mut status.resource_status {
        let before = super::previous(&manifest.resource_meta, context.previous);
        let old = before.and_then(|manifest| {
            let mut conditions = manifest.conditions.iter();
            conditions.find(|condition| condition.kind == "Applied")
        });
        replace(&mut manifest.conditions, unapplied(old));
    }
    let mut conditions = context.previous.conditions.clone();
    conditions.retain(|condition| condition.kind == "Paused");
    set_condition(
        &mut conditions,
        Condition::new("Paused", "True", PAUSED, why, 0, context.now),
    );
    status.conditions.append(&mut conditions);
    status
}

fn replace(conditions: &mut [Condition], new: Condition) {
    if let Some(old) = conditions.iter_mut().find(|old| old.kind == new.kind) {
        *old = new;
    }
}

const PAUSED: &str = "PausedInCluster";
