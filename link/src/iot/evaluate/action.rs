//! Whether a statement covers an action.
//!
//! IAM documents that case does not count in actions; AWS IoT's documentation does not mention it, so another case is
//! unknown.

use super::super::policy::{PolicyAction, Statement};
use super::super::wildcard;
use super::unknown::{Construct, Truth};

/// Whether one of the statement's actions covers `action`.
pub(super) fn covers(statement: &Statement, action: PolicyAction) -> Truth {
    if statement.covers(action) {
        return Truth::Yes;
    }
    let name = action.name().to_ascii_lowercase();
    let other_case = |pattern: &&String| wildcard::matches(&pattern.to_ascii_lowercase(), &name);
    match statement.actions.iter().find(other_case) {
        Some(action) => Truth::Unknown(Construct::ActionCase {
            action: action.clone(),
        }),
        None => Truth::No,
    }
}
