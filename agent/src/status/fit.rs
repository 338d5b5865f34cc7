//! Keeps a status below what one message may hold: the largest feedback goes first, and the condition says so.

use jiff::Timestamp;
use link::bundle::{Condition, Status, go_json};

/// Drops feedback values, largest manifest first, until the JSON of the status is at most `limit` bytes. What is
/// dropped is told in `StatusFeedbackSynced`; nothing is sent half.
pub fn fit(status: &mut Status, limit: usize, now: Timestamp) {
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

fn size<T: serde::Serialize>(value: &T) -> usize {
    // Go's escaping makes text longer, and it is what is sent.
    go_json::to_string(value).map_or(0, |json| json.len())
}
