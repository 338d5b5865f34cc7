//! Which policies are attached to which certificates.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, NoContent, Refusal};
use super::extract::{Body, Params, Segment};
use super::names::PolicyName;
use super::page::{ListItem, Markers};
use super::plane::Plane;
use super::settling::Resource;
use crate::broker::RegistryError;

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    target: String,
}

pub(super) async fn attach(
    State(plane): State<Arc<Plane>>,
    Segment(PolicyName(name)): Segment<PolicyName>,
    Body(Target { target }): Body<Target>,
) -> NoContent {
    let certificate = plane.principal(&target)?;
    Ok(plane.registry().attach_policy(&certificate, &name)?)
}

/// As IoT Core: no complaint about a policy that is not attached or does not exist, and `InvalidRequestException`
/// about a target that does not exist (terraform-provider-aws, resource `aws_iot_policy_attachment`).
pub(super) async fn detach(
    State(plane): State<Arc<Plane>>,
    Segment(PolicyName(name)): Segment<PolicyName>,
    Body(Target { target }): Body<Target>,
) -> NoContent {
    let certificate = plane.principal(&target)?;
    let detached = plane.registry().detach_policy(&certificate, &name);
    let detached = detached.map_err(|error| match error {
        RegistryError::UnknownCertificate(_) => {
            Refusal::invalid(format!("Invalid Target: no certificate `{target}`"))
        }
        other => other.into(),
    })?;
    if detached {
        let settling = &plane.settling;
        settling.detached(Resource::Policy, &name);
        settling.detached(Resource::Certificate, certificate.as_str());
    }
    Ok(())
}

pub(super) async fn list_targets(
    State(plane): State<Arc<Plane>>,
    Segment(PolicyName(name)): Segment<PolicyName>,
    Params(markers): Params<Markers>,
) -> Answer {
    let targets = plane.registry().policy_targets(&name)?;
    let targets = targets.iter().map(|certificate| {
        let arn = plane.certificate_arn(certificate);
        ListItem::by_name(certificate.as_str(), arn)
    });
    markers.by_name("targets", targets.collect())
}

pub(super) async fn list_attached(
    State(plane): State<Arc<Plane>>,
    Segment(target): Segment<String>,
    Params(markers): Params<Markers>,
) -> Answer {
    let certificate = plane.known_principal(&target)?;
    let known = plane.registry().certificate(&certificate);
    let names = known.map(|known| known.policies).unwrap_or_default();
    let policies = names.iter().map(|name| {
        let item = json!({ "policyName": name, "policyArn": plane.policy_arn(name) });
        ListItem::by_name(name, item)
    });
    markers.by_name("policies", policies.collect())
}
