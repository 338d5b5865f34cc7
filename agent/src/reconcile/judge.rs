//! The status of a pass, off the event loop where it may take long.

use link::bundle::Status;

use crate::blocking::blocking;
use crate::status::{self, Context, ManifestOutcome};

/// Judges, off the event loop when there are rules to evaluate, which may take a second.
pub(super) async fn judged(outcomes: Vec<ManifestOutcome>, context: Context<'_>) -> Status {
    if outcomes
        .iter()
        .all(|outcome| outcome.planned.conditions.is_empty())
    {
        return status::judge(outcomes, context);
    }
    let previous = context.previous.clone();
    let Context {
        generation,
        now,
        max_raw_bytes,
        ..
    } = context;
    blocking(move || {
        let context = Context {
            previous: &previous,
            generation,
            now,
            max_raw_bytes,
        };
        status::judge(outcomes, context)
    })
    .await
}
