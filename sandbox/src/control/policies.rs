//! Policies.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, Kind, NoContent, Refusal};
use super::extract::{Body, Params, Segment};
use super::names::PolicyName;
use super::page::{ListItem, Markers};
use super::plane::{Plane, epoch};
use super::settling::Resource;
use super::tags::{self, Tag};
use crate::broker::RegistryError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewPolicy {
    policy_document: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// A name that is taken is refused even with the same document: the API reference promises no more.
pub(super) async fn create(
    State(plane): State<Arc<Plane>>,
    Segment(PolicyName(name)): Segment<PolicyName>,
    Body(new): Body<NewPolicy>,
) -> Answer {
    let tags = tags::checked(new.tags)?;
    let made = plane
        .registry()
        .create_policy(&name, &new.policy_document, tags);
    let policy = made.map_err(|error| match error {
        RegistryError::PolicyExists(_) => {
            Refusal::existing(error.to_string(), &name, plane.policy_arn(&name))
        }
        // LimitExceededException is not among the errors of this operation.
        RegistryError::TooManyTags(_) => Refusal::invalid(error.to_string()),
        other => other.into(),
    })?;
    plane.settling.made(Resource::Policy, &name);
    Ok(Json(json!({
        "policyName": name,
        "policyArn": plane.policy_arn(&name),
        "policyDocument": new.policy_document,
        "policyVersionId": policy.default_version.to_string(),
    })))
}

pub(super) async fn get(
    State(plane): State<Arc<Plane>>,
    Segment(PolicyName(name)): Segment<PolicyName>,
) -> Answer {
    let policy = plane.policy(&name)?;
    let version = policy.default_version().ok_or_else(|| {
        let message = format!("policy `{name}` has no default version");
        Refusal::new(Kind::InternalFailure, message)
    })?;
    Ok(Json(json!({
        "policyName": name,
        "policyArn": plane.policy_arn(&name),
        "policyDocument": version.json(),
        "defaultVersionId": policy.default_version.to_string(),
        "creationDate": epoch(policy.created),
        "lastModifiedDate": epoch(policy.modified),
    })))
}

pub(super) async fn list(
    State(plane): State<Arc<Plane>>,
    Params(markers): Params<Markers>,
) -> Answer {
    let all = plane.registry().policies();
    let all = all
        .iter()
        .filter(|(name, _)| plane.settling.sees(Resource::Policy, name));
    let all = all.map(|(name, policy)| {
        let item = json!({ "policyName": name, "policyArn": plane.policy_arn(name) });
        ListItem::by_date(policy.created, name, item)
    });
    markers.by_date("policies", all.collect())
}

pub(super) async fn delete(
    State(plane): State<Arc<Plane>>,
    Segment(PolicyName(name)): Segment<PolicyName>,
) -> NoContent {
    plane.settling.check_deletion(Resource::Policy, &name)?;
    Ok(plane.registry().delete_policy(&name)?)
}
