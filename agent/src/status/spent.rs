//! Jobs that finish and are then removed by their own `ttlSecondsAfterFinished`: that is what their manifest asks
//! for, so they stay away, and the status goes on saying what became of them.
//!
//! What has to outlast a restart is in the condition `Finished`: that the Job was seen finished and when, how
//! long it lives after that, and of which manifest it was. A manifest that differs is another Job.

use jiff::{SignedDuration, Timestamp};
use link::bundle::manifest::ObjectRef;
use link::bundle::{Condition, ManifestStatus};
use serde_json::Value;

use super::{Context, previous};
use crate::applier::Strategy;
use crate::digest::sha256_hex;
use crate::planned::PlannedManifest;

/// Whether a manifest is a Job that was seen finished and has outlived its time to live, so that it is not made again
/// when it is gone.
pub fn is_spent(planned: &PlannedManifest, context: Context<'_>) -> bool {
    let before = previous(&super::meta(planned), context.previous);
    before.is_some_and(|before| is_over(planned, before, context.now))
}

/// Whether `before` says that this very Job finished and its time to live is over.
pub(super) fn is_over(planned: &PlannedManifest, before: &ManifestStatus, now: Timestamp) -> bool {
    due(planned, before).is_some_and(|due| due <= now)
}

/// Whether `before` says that this very Job finished.
pub(super) fn has_finished(planned: &PlannedManifest, before: &ManifestStatus) -> bool {
    due(planned, before).is_some()
}

/// When the time to live of this very Job is over, if `before` says that it finished.
fn due(planned: &PlannedManifest, before: &ManifestStatus) -> Option<Timestamp> {
    let mut conditions = before.conditions.iter();
    let finished_condition = conditions.find(|finished_condition| {
        finished_condition.kind == FINISHED && finished_condition.is_true()
    })?;
    let (ttl, digest) = read(&finished_condition.message)?;
    let finished: Timestamp = finished_condition.last_transition_time.parse().ok()?;
    let due = finished
        .checked_add(SignedDuration::from_secs(ttl))
        .and_then(|due| due.checked_sub(CLOCKS))
        .ok()?;
    let is_this = digest == self::digest(planned) && planned.strategy != Strategy::ReadOnly;
    is_this.then_some(due)
}

/// Whether an object is a Job.
pub fn is_job(object: &ObjectRef) -> bool {
    object.group == "batch" && object.kind == "Job"
}

/// The condition `Finished` of a Job that has, and that removes itself. `None` of anything else.
pub(super) fn finished(
    planned: &PlannedManifest,
    object: &Value,
    now: Timestamp,
) -> Option<Condition> {
    let ttl = object["spec"]["ttlSecondsAfterFinished"].as_i64();
    let ttl = ttl.filter(|_| is_job(&planned.object) && planned.strategy != Strategy::ReadOnly)?;
    let mut ends = object["status"]["conditions"].as_array()?.iter();
    let end = ends.find(|end| {
        end["status"] == "True" && matches!(end["type"].as_str(), Some("Complete" | "Failed"))
    })?;
    let reason = match end["type"].as_str() {
        Some("Complete") => "JobComplete",
        _ => "JobFailed",
    };
    let at = end["lastTransitionTime"].as_str();
    let at = at.and_then(|at| at.parse().ok()).unwrap_or(now);
    let message = encode(ttl, &digest(planned));
    Some(Condition::new(FINISHED, "True", reason, message, 0, at))
}

fn encode(ttl: i64, digest: &str) -> String {
    format!(
        "The Job is not made again after its time to live of {ttl} s until its manifest changes (sha256 {digest})"
    )
}

fn read(message: &str) -> Option<(i64, &str)> {
    let (_, rest) = message.split_once("time to live of ")?;
    let (ttl, rest) = rest.split_once(" s ")?;
    let (_, rest) = rest.split_once("(sha256 ")?;
    Some((ttl.parse().ok()?, rest.strip_suffix(')')?))
}

fn digest(planned: &PlannedManifest) -> String {
    let mut digest = sha256_hex(planned.manifest.to_string().as_bytes());
    digest.truncate(DIGEST);
    digest
}

/// Type of the condition of a Job that has finished and removes itself.
pub(super) const FINISHED: &str = "Finished";
// Enough to tell manifests of one object apart.
const DIGEST: usize = 16;
// How far the clocks of the cluster and of this process may be apart.
const CLOCKS: SignedDuration = SignedDuration::from_secs(30);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_is_read() {
        assert_eq!(read(&encode(100, "abc")), Some((100, "abc")));
        assert_eq!(read("The Job is not made again"), None);
        assert_eq!(read(&json!({}).to_string()), None);
    }
}
