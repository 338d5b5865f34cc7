//! Tags. Of what is kept here only policies have any: AWS IoT tags neither things nor client certificates (developer
//! guide, "Tagging your AWS IoT resources").

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, empty};
use super::extract::{Body, Params};
use super::plane::Plane;
use crate::broker::Tags;

/// A tag as the API spells it, with capitals unlike everything else.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Addition {
    resource_arn: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Removal {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tagged {
    resource_arn: String,
}

pub(super) async fn add(State(plane): State<Arc<Plane>>, Body(addition): Body<Addition>) -> Answer {
    let name = policy(&plane, &addition.resource_arn)?;
    let tags = checked(addition.tags)?;
    plane.registry().tag_policy(name, tags, &[])?;
    Ok(empty())
}

pub(super) async fn remove(
    State(plane): State<Arc<Plane>>,
    Body(removal): Body<Removal>,
) -> Answer {
    let name = policy(&plane, &removal.resource_arn)?;
    let registry = plane.registry();
    registry.tag_policy(name, Tags::new(), &removal.tag_keys)?;
    Ok(empty())
}

/// All in one page: there are at most 50.
pub(super) async fn list(
    State(plane): State<Arc<Plane>>,
    Params(tagged): Params<Tagged>,
) -> Answer {
    let tags = plane.policy(policy(&plane, &tagged.resource_arn)?)?.tags;
    let tags: Vec<Value> = tags
        .iter()
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    Ok(Json(json!({ "tags": tags })))
}

/// Tags with keys and values as AWS takes them.
///
/// # Errors
/// For a key that is empty, too long, given twice or AWS's own, and for a value that is too long.
pub(super) fn checked(tags: Vec<Tag>) -> Result<Tags, Refusal> {
    let mut all = Tags::new();
    for Tag { key, value } in tags {
        let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
        if !(1..=128).contains(&key.chars().count()) || !key.chars().all(allowed) {
            return Err(Refusal::invalid(format!("tag key `{key}` is not valid")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Refusal::invalid(format!(
                "tag key `{key}` begins with `aws:`"
            )));
        }
        if value.chars().count() > 256 || !value.chars().all(allowed) {
            return Err(Refusal::invalid(format!(
                "value of tag `{key}` is not valid"
            )));
        }
        if all.contains_key(&key) {
            return Err(Refusal::invalid(format!("tag key `{key}` is given twice")));
        }
        all.insert(key, value);
    }
    Ok(all)
}

fn policy<'a>(plane: &Plane, arn: &'a str) -> Result<&'a str, Refusal> {
    plane
        .local(arn)
        .and_then(|local| local.strip_prefix("policy/"))
        .ok_or_else(|| Refusal::invalid(format!("`{arn}` is no resource that has tags")))
}
