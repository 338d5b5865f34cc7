//! The status of a work: conditions verbatim as the Go agent writes them (docs/MAESTRO.md §6.8), so that
//! readers need not know which agent wrote them. Pure: the clock is an argument.

use jiff::Timestamp;
use link::bundle::{
    Condition, ManifestStatus, ResourceMeta, Status, StatusFeedback, set_condition,
};
use serde_json::Value;

use crate::applier::{ApplierError, ApplierErrorKind};
use crate::planned::PlannedManifest;

pub mod feedback;
mod fit;
mod paused;
mod removal;
mod spent;
mod unmatched;

pub use fit::fit;
pub use paused::paused;
pub use removal::{EXPIRED, Remaining, deleted, deleting, expired};
pub use spent::{is_job, is_spent};
pub use unmatched::unmatched;

/// What became of one manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestOutcome {
    /// The manifest and its settings.
    pub planned: PlannedManifest,
    /// Whether it was applied, or why not.
    pub applied: Result<(), ApplierError>,
    /// The object as it is: present, absent, or unreadable and why.
    pub observed: Result<Option<Value>, String>,
}

/// What judging needs besides the outcomes.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The status before; transition times are carried over from it.
    pub previous: &'a Status,
    /// The version judged.
    pub generation: i64,
    /// The time of the judgement.
    pub now: Timestamp,
    /// Longest JSON text of one feedback value in bytes.
    pub max_raw_bytes: usize,
}

/// Judges a work whose manifests were applied or tried.
pub fn judge(mut outcomes: Vec<ManifestOutcome>, context: Context<'_>) -> Status {
    outcomes.sort_by_key(|outcome| outcome.planned.ordinal);
    let manifests: Vec<ManifestStatus> = outcomes
        .iter()
        .map(|outcome| manifest(outcome, context))
        .collect();
    let mut conditions = vec![match first_failure(&outcomes) {
        Some(message) => context.work(
            "Applied",
            "False",
            "AppliedManifestWorkFailed",
            format!("Failed to apply manifest work: {message}"),
        ),
        None => context.work(
            "Applied",
            "True",
            "AppliedManifestWorkComplete",
            "Apply manifest work complete",
        ),
    }];
    conditions.push(available(&manifests, context));
    conditions.extend(
        status_rules::aggregate(&manifests)
            .into_iter()
            .map(|it| context.work(&it.condition, it.status, it.reason, it.message)),
    );
    Status {
        conditions,
        resource_status: manifests,
    }
}

/// Says that a version could not be used; what was applied before stays and is still described, also that it has ended.
pub fn rejected(problem: &str, context: Context<'_>) -> Status {
    let message = format!("Failed to apply manifest work: {problem}");
    let mut status = context.previous.clone();
    status
        .conditions
        .retain(|condition| KEPT_BY_REJECTED.contains(&condition.kind.as_str()));
    set_condition(
        &mut status.conditions,
        context.work("Applied", "False", INVALID, message),
    );
    status
}

// === impl Context ===

impl Context<'_> {
    // A condition of the whole work, with the transition time it had if nothing turned.
    fn work(
        &self,
        kind: &str,
        status: &str,
        reason: &str,
        message: impl Into<String>,
    ) -> Condition {
        let new = Condition::new(kind, status, reason, message, self.generation, self.now);
        carry(&self.previous.conditions, new)
    }
}

// The Go agent says no more than that it failed; people who read the list of works want to know why.
fn first_failure(outcomes: &[ManifestOutcome]) -> Option<String> {
    let mut failures = outcomes.iter().filter_map(|it| it.applied.as_ref().err());
    let first = failures.next()?;
    Some(match failures.count() {
        0 => first.to_string(),
        1 => format!("{first} (and 1 more manifest failed)"),
        more => format!("{first} (and {more} more manifests failed)"),
    })
}

fn meta(planned: &PlannedManifest) -> ResourceMeta {
    let object = &planned.object;
    ResourceMeta {
        ordinal: i32::try_from(planned.ordinal).unwrap_or(i32::MAX),
        group: object.group.clone(),
        version: object.version.clone(),
        kind: object.kind.clone(),
        resource: planned.resource.clone(),
        name: object.name.clone(),
        namespace: object.namespace.clone(),
    }
}

fn manifest(outcome: &ManifestOutcome, context: Context<'_>) -> ManifestStatus {
    let ManifestOutcome {
        planned,
        applied,
        observed,
    } = outcome;
    let object = &planned.object;
    let meta = meta(planned);
    let previous = previous(&meta, context.previous);
    let empty = ManifestStatus::default();
    let before = previous.unwrap_or(&empty);
    let set = |kind: &str, status: &str, reason: &str, message: String, generation: i64| {
        let new = Condition::new(kind, status, reason, message, generation, context.now);
        carry(&before.conditions, new)
    };
    let mut conditions = vec![match applied {
        Ok(()) => set(
            "Applied",
            "True",
            "AppliedManifestComplete",
            "Apply manifest complete".into(),
            context.generation,
        ),
        Err(error) if error.kind == ApplierErrorKind::IgnoreFields => set(
            "Applied",
            "False",
            "AppliedManifestSSAIgnoreFieldError",
            format!("Failed to process ignoreFields: {error}"),
            context.generation,
        ),
        Err(error) => set(
            "Applied",
            "False",
            "AppliedManifestFailed",
            format!("Failed to apply manifest: {error}"),
            context.generation,
        ),
    }];
    let (status, reason, message) = if object.kind.is_empty() || object.name.is_empty() {
        (
            "Unknown",
            "IncompleteResourceMeta",
            "Resource meta is incomplete".into(),
        )
    } else {
        match observed {
            Ok(Some(_)) => ("True", "ResourceAvailable", "Resource is available".into()),
            Ok(None) => (
                "False",
                "ResourceNotAvailable",
                "Resource is not available".into(),
            ),
            Err(problem) => (
                "Unknown",
                "FetchingResourceFailed",
                format!("Failed to fetch resource: {problem}"),
            ),
        }
    };
    conditions.push(set("Available", status, reason, message, 0));
    let stays_true = match observed {
        Ok(Some(_)) => false,
        Ok(None) => is_over(planned, before, context),
        // It may have gone by its own time to live meanwhile.
        Err(_) => is_complete(&before.conditions, context) || spent::has_finished(planned, before),
    };
    if stays_true {
        // What was read of it last.
        let kept = before.conditions.iter().filter(|old| is_kept(old));
        conditions.extend(kept.cloned());
        return ManifestStatus {
            resource_meta: meta,
            status_feedback: before.status_feedback.clone(),
            conditions,
        };
    }
    let found = observed.as_ref().ok().and_then(Option::as_ref);
    let (values, errors) = found.map_or_else(Default::default, |object| {
        feedback::read(object, &planned.feedback, context.max_raw_bytes)
    });
    let (status, reason, message) = synced(planned, &errors);
    let mut condition = set("StatusFeedbackSynced", status, reason, message, 0);
    if previous.is_some() && before.status_feedback.values != values {
        condition.last_transition_time = link::clock::rfc3339_seconds(context.now);
    }
    conditions.push(condition);
    for it in status_rules::evaluate(&planned.conditions, found) {
        conditions.push(set(
            &it.condition,
            it.status,
            it.reason,
            it.message,
            context.generation,
        ));
    }
    conditions.extend(found.and_then(|found| spent::finished(planned, found, context.now)));
    ManifestStatus {
        resource_meta: meta,
        status_feedback: StatusFeedback { values },
        conditions,
    }
}

// Whether an object that is gone has done what it was there for.
fn is_over(planned: &PlannedManifest, before: &ManifestStatus, context: Context<'_>) -> bool {
    is_complete(&before.conditions, context) || spent::is_over(planned, before, context.now)
}

/// Whether a work or an object has finished in the version in hand: rules read whatever is there, so it must have been
/// brought to that version too.
pub fn is_complete(conditions: &[Condition], context: Context<'_>) -> bool {
    has(conditions, "Complete", context) && has(conditions, "Applied", context)
}

/// Whether a condition is true for the version in hand.
pub fn has(conditions: &[Condition], kind: &str, context: Context<'_>) -> bool {
    conditions.iter().any(|condition| {
        condition.kind == kind
            && condition.is_true()
            && condition.observed_generation == context.generation
    })
}

fn is_kept(condition: &Condition) -> bool {
    matches!(
        condition.kind.as_str(),
        spent::FINISHED | "StatusFeedbackSynced"
    ) || condition.reason.starts_with("ConditionRule")
}

fn synced(planned: &PlannedManifest, errors: &[String]) -> (&'static str, &'static str, String) {
    match errors {
        [] if planned.feedback.is_empty() => ("True", "NoStatusFeedbackSynced", String::new()),
        [] => ("True", "StatusFeedbackSynced", String::new()),
        errors => {
            let text = match errors {
                [one] => one.clone(),
                many => format!("[{}]", many.join(", ")),
            };
            (
                "False",
                "StatusFeedbackSyncFailed",
                format!("Sync status feedback failed with error {text}"),
            )
        }
    }
}

fn available(manifests: &[ManifestStatus], context: Context<'_>) -> Condition {
    let total = manifests.len();
    let count = |status: &str| {
        let is = |manifest: &&ManifestStatus, kind: &str, status: &str| {
            let mut conditions = manifest.conditions.iter();
            conditions.any(|condition| condition.kind == kind && condition.status == status)
        };
        // A Job that has removed itself is not missing.
        manifests
            .iter()
            .filter(|it| is(it, "Available", status) && !is(it, spent::FINISHED, "True"))
            .count()
    };
    let (missing, unknown) = (count("False"), count("Unknown"));
    let set = |status, reason, message| context.work("Available", status, reason, message);
    if total == 0 {
        // The trailing space is upstream's.
        set(
            "Unknown",
            "ResourcesStatusUnknown",
            "cannot get any available resource ".to_string(),
        )
    } else if missing > 0 {
        set(
            "False",
            "ResourcesNotAvailable",
            format!("{missing} of {total} resources are not available"),
        )
    } else if unknown > 0 {
        set(
            "Unknown",
            "ResourcesStatusUnknown",
            format!("{unknown} of {total} resources have unknown status"),
        )
    } else {
        set(
            "True",
            "ResourcesAvailable",
            "All resources are available".to_string(),
        )
    }
}

// The same object may have moved to another index in the spec.
fn previous<'a>(meta: &ResourceMeta, status: &'a Status) -> Option<&'a ManifestStatus> {
    let same = |old: &&ManifestStatus| {
        let old = &old.resource_meta;
        old.group == meta.group
            && old.version == meta.version
            && old.kind == meta.kind
            && old.name == meta.name
            && old.namespace == meta.namespace
    };
    let at = usize::try_from(meta.ordinal).unwrap_or_default();
    status
        .resource_status
        .get(at)
        .filter(same)
        .or_else(|| status.resource_status.iter().find(same))
}

fn carry(before: &[Condition], new: Condition) -> Condition {
    let kind = new.kind.clone();
    let mut list: Vec<Condition> = before
        .iter()
        .filter(|condition| condition.kind == kind)
        .cloned()
        .collect();
    set_condition(&mut list, new.clone());
    list.pop().unwrap_or(new)
}

const KEPT_BY_REJECTED: [&str; 4] = ["Applied", "Available", "Complete", EXPIRED];
// Not a reason of the Go agent, which says nothing at all in this case.
const INVALID: &str = "ManifestWorkInvalid";

#[cfg(test)]
mod tests;
