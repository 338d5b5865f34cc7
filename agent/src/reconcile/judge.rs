//! The status of a look, made where it holds nobody up.

use link::bundle::Status;

use crate::blocking::blocking;
use crate::status::{self, Context, Outcome};

/// Judges, off the event loop when there are rules to evaluate, which may take a second.
pub(super) async fn judged(outcomes: Vec<Outcome>, context: Context<'_>) -> Status {
    if outcomes
        .iter()
        .all(|outcome| outcome.step.conditions.is_empty())
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
