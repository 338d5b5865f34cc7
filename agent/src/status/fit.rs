//! Keeps a status below what one message may hold: the largest feedback goes first, and the condition says so; then
//! messages are cut, and at the very end manifests are left out. The conditions of the work itself always stay.

use jiff::Timestamp;
use link::bundle::{Condition, ManifestStatus, Status, go_json};

use super::spent::FINISHED;

/// Drops and shortens until the JSON of the status is at most `limit` bytes. Feedback values that are dropped are named
/// in `StatusFeedbackSynced`, manifests that are left out in `StatusComplete`; nothing is sent half.
pub fn fit(status: &mut Status, limit: usize, now: Timestamp) {
    // Set again below when it still holds.
    let before = take(status, INCOMPLETE);
    drop_feedback(status, limit, now);
    for longest in MESSAGE_BYTES {
        if size(status) <= limit {
            return;
        }
        shorten(status, longest);
    }
    if size(status) > limit {
        leave_out_manifests(status, limit, before, now);
    }
}

fn drop_feedback(status: &mut Status, limit: usize, now: Timestamp) {
    while size(status) > limit {
        let largest = status
            .resource_status
            .iter_mut()
            .filter(|manifest| !manifest.status_feedback.values.is_empty())
            .max_by_key(|manifest| size(&manifest.status_feedback));
        let Some(manifest) = largest else { return };
        let bytes = size(&manifest.status_feedback);
        manifest.status_feedback.values.clear();
        let mut dropped = Condition::new(
            "StatusFeedbackSynced",
            "False",
            "StatusFeedbackSyncFailed",
            format!(
                "Sync status feedback failed with error the values are {bytes} bytes of JSON and the status of the \
                 work would pass the {limit} bytes of one message; hint: ask for fewer or smaller values in the \
                 feedback rules"
            ),
            0,
            now,
        );
        let Some(old) = manifest
            .conditions
            .iter_mut()
            .find(|condition| condition.kind == dropped.kind)
        else {
            continue;
        };
        // The values did not change, they never fit: keep the time, or each judgement would look new.
        dropped
            .last_transition_time
            .clone_from(&old.last_transition_time);
        *old = dropped;
    }
}

/// Cuts what is said of manifests to so many bytes, and what is said of the work to no less than [`WORK_MESSAGE_BYTES`].
fn shorten(status: &mut Status, longest: usize) {
    for condition in &mut status.conditions {
        cut(&mut condition.message, longest.max(WORK_MESSAGE_BYTES));
    }
    for manifest in &mut status.resource_status {
        for condition in &mut manifest.conditions {
            // It is read again.
            if condition.kind != FINISHED {
                cut(&mut condition.message, longest);
            }
        }
    }
}

/// Keeps as many manifests as fit: first those that have finished, because what is not remembered of them would be
/// applied once more, then from the first on.
fn leave_out_manifests(
    status: &mut Status,
    limit: usize,
    before: Option<Condition>,
    now: Timestamp,
) {
    let mut manifests: Vec<_> = std::mem::take(&mut status.resource_status)
        .into_iter()
        .enumerate()
        .collect();
    let all = manifests.len();
    // Stable.
    manifests.sort_by_key(|(_, manifest)| !has_finished(manifest));
    let mut bytes = size(status) + ENVELOPE;
    manifests.retain(|(_, manifest)| {
        // And a comma.
        bytes += size(manifest) + 1;
        bytes <= limit
    });
    manifests.sort_by_key(|(index, _)| *index);
    let shown = manifests.len();
    status.resource_status = manifests.into_iter().map(|(_, it)| it).collect();
    let mut incomplete = Condition::new(
        INCOMPLETE,
        "False",
        "TooManyManifests",
        format!(
            "{shown} of {all} manifests are shown, because the status of the work would pass the {limit} bytes of one \
             message; hint: split the bundle"
        ),
        0,
        now,
    );
    if let Some(before) = before {
        incomplete.last_transition_time = before.last_transition_time;
    }
    status.conditions.push(incomplete);
}

fn has_finished(manifest: &ManifestStatus) -> bool {
    let mut conditions = manifest.conditions.iter();
    conditions.any(|it| it.is_true() && (it.kind == FINISHED || it.kind == "Complete"))
}

fn take(status: &mut Status, kind: &str) -> Option<Condition> {
    let at = status
        .conditions
        .iter()
        .position(|condition| condition.kind == kind)?;
    Some(status.conditions.remove(at))
}

fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest.saturating_sub(CUT.len())));
        text.push_str(CUT);
    }
}

fn size<T: serde::Serialize>(value: &T) -> usize {
    // Go's escaping makes text longer, and it is what is sent.
    go_json::to_string(value).map_or(0, |json| json.len())
}

const INCOMPLETE: &str = "StatusComplete";
const CUT: &str = "…";
// Lengths that are tried one after the other.
const MESSAGE_BYTES: [usize; 3] = [1024, 256, 64];
const WORK_MESSAGE_BYTES: usize = 256;
// `"resourceStatus":[],` and the condition that says what is missing.
const ENVELOPE: usize = 512;
