//! Versions of policies.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, NoContent, Refusal};
use super::extract::{Body, Params, Segment};
use super::names::{PolicyName, VersionId};
use super::plane::{Plane, epoch};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewVersion {
    policy_document: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AsDefault {
    #[serde(default)]
    set_as_default: bool,
}

pub(super) async fn create(
    State(plane): State<Arc<Plane>>,
    Segment(PolicyName(name)): Segment<PolicyName>,
    Params(AsDefault { set_as_default }): Params<AsDefault>,
    Body(new): Body<NewVersion>,
) -> Answer {
    let json = &new.policy_document;
    let (number, _) = plane
        .registry()
        .create_policy_version(&name, json, set_as_default)?;
    Ok(Json(json!({
        "policyArn": plane.policy_arn(&name),
        "policyDocument": json,
        "policyVersionId": number.to_string(),
        "isDefaultVersion": set_as_default,
    })))
}

pub(super) async fn list(
    State(plane): State<Arc<Plane>>,
    Segment(PolicyName(name)): Segment<PolicyName>,
) -> Answer {
    let policy = plane.policy(&name)?;
    let newest_first = policy.versions.iter().rev();
    let versions: Vec<Value> = newest_first
        .map(|(number, version)| {
            json!({
                "versionId": number.to_string(),
                "isDefaultVersion": *number == policy.default_version,
                "createDate": epoch(version.created),
            })
        })
        .collect();
    Ok(Json(json!({ "policyVersions": versions })))
}

pub(super) async fn get(
    State(plane): State<Arc<Plane>>,
    Segment((PolicyName(name), VersionId(number))): Segment<(PolicyName, VersionId)>,
) -> Answer {
    let policy = plane.policy(&name)?;
    let version = policy
        .versions
        .get(&number)
        .ok_or_else(|| Refusal::not_found(format!("policy `{name}` has no version `{number}`")))?;
    Ok(Json(json!({
        "policyArn": plane.policy_arn(&name),
        "policyName": name,
        "policyDocument": version.json(),
        "policyVersionId": number.to_string(),
        "isDefaultVersion": number == policy.default_version,
        "creationDate": epoch(version.created),
        "lastModifiedDate": epoch(version.created),
    })))
}

pub(super) async fn set_default(
    State(plane): State<Arc<Plane>>,
    Segment((PolicyName(name), VersionId(number))): Segment<(PolicyName, VersionId)>,
) -> NoContent {
    Ok(plane.registry().set_default_policy_version(&name, number)?)
}

pub(super) async fn delete(
    State(plane): State<Arc<Plane>>,
    Segment((PolicyName(name), VersionId(number))): Segment<(PolicyName, VersionId)>,
) -> NoContent {
    Ok(plane.registry().delete_policy_version(&name, number)?)
}
