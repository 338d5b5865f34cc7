//! The statement that a policy lacks; pure.

use link::iot::{ArnPrefix, PolicyAction, Statement};

/// The smallest statement that allows an action, as JSON of a policy.
pub(crate) fn statement(action: PolicyAction, on: &str, arn: &ArnPrefix) -> String {
    let kind = action.resource_kind();
    Statement::allow([action], [format!("{arn}:{kind}/{on}")]).to_json()
}
