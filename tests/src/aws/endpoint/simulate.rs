//! `iam:SimulatePrincipalPolicy`, which moto lacks: everything is allowed but what the test denies.

use std::fmt::Write as _;

use axum::http::StatusCode;

use super::super::refusal::escape;
use super::super::{Answer, Request, form};
use super::rules::Rules;

/// One decision per action asked for, on every resource.
pub(super) fn answer(request: &Request, rules: &Rules) -> Answer {
    let fields = form::decode(&String::from_utf8_lossy(&request.body));
    let source = form::field(&fields, "PolicySourceArn").unwrap_or_default();
    // The permissions are those of the account that owns the user or role.
    let account = source.split(':').nth(4).unwrap_or(&request.account);
    let mut results = String::new();
    for (name, action) in &fields {
        if !name.starts_with("ActionNames.member.") {
            continue;
        }
        let decision = if rules.denies(action, account) {
            "implicitDeny"
        } else {
            "allowed"
        };
        let _ = write!(
            results,
            "<member><EvalActionName>{}</EvalActionName><EvalResourceName>*</EvalResourceName>\
             <EvalDecision>{decision}</EvalDecision></member>",
            escape(action)
        );
    }
    let body = format!(
        "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
         <SimulatePrincipalPolicyResult><EvaluationResults>{results}</EvaluationResults>\
         <IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult>\
         <ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></SimulatePrincipalPolicyResponse>"
    );
    Answer::new(StatusCode::OK, "text/xml", body)
}
