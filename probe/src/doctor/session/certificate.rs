//! What is certain of CONNECT by what AWS says of the certificate and its policies; pure.

use link::fault::{Code, Finding};
use link::iot::{Decision, PolicyAction};

use crate::doctor::aws::facts::{AwsFacts, CertificateState};
use crate::doctor::statement::statement;
use crate::doctor::who::{Role, Who};

/// What is certain, whatever the broker said; `None` where nothing is, or nothing is wrong.
pub(crate) fn of_connect(facts: &AwsFacts, who: &Who) -> Option<Finding> {
    let id = &facts.certificate_id;
    match facts.certificate.as_ref().ok()? {
        CertificateState::Absent => Some(
            Finding::error(REGISTERED, format!("certificate `{id}` is not registered in the account and region that were asked{}", facts.asked_as()))
                .why("the broker of this endpoint takes registered certificates alone; it may be another account's or region's (MQ203)")
                .next("register it there, or mount the certificate of this region: `aws iot describe-certificate --certificate-id ID --region REGION`"),
        ),
        CertificateState::Registered { status, modified, .. } if status != "ACTIVE" => {
            let since = modified.map(|at| format!(" since {at:.0}")).unwrap_or_default();
            let next = match status.as_str() {
                "REVOKED" => "revoked is for ever: issue another certificate (docs/CERTIFICATES.md)".to_owned(),
                _ => format!("`aws iot update-certificate --certificate-id {id} --new-status ACTIVE`"),
            };
            Some(
                Finding::error(REGISTERED, format!("certificate `{id}` is {status}{since}"))
                    .why("only an ACTIVE certificate connects; leaving ACTIVE ends its connections within minutes")
                    .next(next),
            )
        }
        CertificateState::Registered { arn, .. } => of_policies(facts, who, arn),
    }
}

fn of_policies(facts: &AwsFacts, who: &Who, certificate: &str) -> Option<Finding> {
    let policies = facts.policies.as_ref().ok()?;
    if policies.is_empty() {
        return Some(
            Finding::error(ATTACHED, format!("no policy is attached to certificate `{}`", facts.certificate_id))
                .why("without one everything is denied")
                .next(format!("`aws iot attach-policy --policy-name NAME --target {certificate}`; `provisioner apply` does it")),
        );
    }
    let decision = facts.decide(PolicyAction::Connect, &who.own)?;
    let Decision::Deny { .. } = decision else {
        return None;
    };
    let arn = facts.arn()?;
    let recent = facts
        .recent()
        .map(|it| format!(" ({it})"))
        .unwrap_or_default();
    let seen = format!("{}{recent}", decision.explain());
    if who.role == Role::Operator && !who.shared {
        return Some(
            Finding::warning(CLIENT_ID, seen)
                .why("an agent's or a bridge's policy refuses an operator's client id, which is right")
                .next(format!(
                    "say whose certificate it is: give `--consumer NAME` or `--source NAME` (or `-i ID`); an operator's needs {}",
                    statement(PolicyAction::Connect, &who.pattern(&who.own), &arn)
                )),
        );
    }
    Some(
        Finding::error(CLIENT_ID, seen)
            .why(format!(
                "this party connects as `{}` and as nobody else",
                who.own
            ))
            .next(format!(
                "add to the policy: {}",
                statement(PolicyAction::Connect, &who.pattern(&who.own), &arn)
            )),
    )
}

const REGISTERED: Code = Code::new(301);
const ATTACHED: Code = Code::new(302);
const CLIENT_ID: Code = Code::new(303);
