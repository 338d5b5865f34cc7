//! Things.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, empty};
use super::extract::{Body, Params, Segment};
use super::names::ThingName;
use super::page::{ListItem, Tokens};
use super::plane::Plane;
use super::settling::Resource;
use crate::broker::{RegisteredThing, RegistryError, ThingChange};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewThing {
    attribute_payload: Option<Attributes>,
    thing_type_name: Option<String>,
    billing_group_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Update {
    attribute_payload: Option<Attributes>,
    thing_type_name: Option<String>,
    expected_version: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Attributes {
    attributes: Option<BTreeMap<String, String>>,
    #[serde(default)]
    merge: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Expected {
    expected_version: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThingFilter {
    attribute_name: Option<String>,
    attribute_value: Option<String>,
    #[serde(default)]
    use_prefix_attribute_value: bool,
    thing_type_name: Option<String>,
}

/// Succeeds again for a thing of the same name and attributes.
pub(super) async fn create(
    State(plane): State<Arc<Plane>>,
    Segment(ThingName(name)): Segment<ThingName>,
    Body(new): Body<NewThing>,
) -> Answer {
    no_group("thing type", new.thing_type_name.as_deref())?;
    no_group("billing group", new.billing_group_name.as_deref())?;
    let attributes = new.attribute_payload.unwrap_or_default().attributes;
    let attributes = checked(attributes.unwrap_or_default())?;
    let arn = plane.thing_arn(&name);
    let is_new = plane.registry().thing(&name).is_none();
    let made = plane.registry().create_thing(&name, attributes);
    let thing = made.map_err(|error| match &error {
        RegistryError::ThingExists { id, .. } => {
            Refusal::existing(error.to_string(), id, arn.clone())
        }
        _ => error.into(),
    })?;
    if is_new {
        plane.settling.made(Resource::Thing, &name);
    }
    Ok(Json(json!({
        "thingName": name,
        "thingArn": arn,
        "thingId": thing.id,
    })))
}

pub(super) async fn describe(
    State(plane): State<Arc<Plane>>,
    Segment(ThingName(name)): Segment<ThingName>,
) -> Answer {
    let thing = visible(&plane, &name)?;
    let mut body = summary(&plane, &name, &thing);
    body["defaultClientId"] = name.into();
    body["thingId"] = thing.id.into();
    Ok(Json(body))
}

pub(super) async fn update(
    State(plane): State<Arc<Plane>>,
    Segment(ThingName(name)): Segment<ThingName>,
    Body(update): Body<Update>,
) -> Answer {
    no_group("thing type", update.thing_type_name.as_deref())?;
    let payload = update.attribute_payload.unwrap_or_default();
    let change = ThingChange {
        attributes: payload.attributes.map(checked).transpose()?,
        merge: payload.merge,
        expected_version: update.expected_version,
    };
    plane.registry().update_thing(&name, change)?;
    Ok(empty())
}

/// Succeeds for a thing that does not exist.
pub(super) async fn delete(
    State(plane): State<Arc<Plane>>,
    Segment(ThingName(name)): Segment<ThingName>,
    Params(Expected { expected_version }): Params<Expected>,
) -> Answer {
    plane.settling.check_deletion(Resource::Thing, &name)?;
    plane.registry().delete_thing(&name, expected_version)?;
    Ok(empty())
}

pub(super) async fn list(
    State(plane): State<Arc<Plane>>,
    Params(filter): Params<ThingFilter>,
    Params(tokens): Params<Tokens>,
) -> Answer {
    let all = plane.registry().things();
    let all = all
        .iter()
        .filter(|(name, thing)| filter.takes(thing) && plane.settling.sees(Resource::Thing, name));
    let all = all.map(|(name, thing)| ListItem::by_name(name, summary(&plane, name, thing)));
    tokens.by_name("things", all.collect())
}

// === impl ThingFilter ===

impl ThingFilter {
    fn takes(&self, thing: &RegisteredThing) -> bool {
        if self.thing_type_name.is_some() && self.thing_type_name != thing.type_name {
            return false;
        }
        let Some(name) = &self.attribute_name else {
            return true;
        };
        let Some(value) = thing.attributes.get(name) else {
            return false;
        };
        match &self.attribute_value {
            None => true,
            Some(prefix) if self.use_prefix_attribute_value => value.starts_with(prefix),
            Some(wanted) => value == wanted,
        }
    }
}

/// A thing that reads see.
pub(super) fn visible(plane: &Plane, name: &str) -> Result<RegisteredThing, Refusal> {
    let known = plane.registry().thing(name);
    known
        .filter(|_| plane.settling.sees(Resource::Thing, name))
        .ok_or_else(|| Refusal::not_found(format!("no thing `{name}`")))
}

fn summary(plane: &Plane, name: &str, thing: &RegisteredThing) -> Value {
    let mut item = json!({
        "thingName": name,
        "thingArn": plane.thing_arn(name),
        "attributes": thing.attributes,
        "version": thing.version,
    });
    if let Some(type_name) = &thing.type_name {
        item["thingTypeName"] = type_name.as_str().into();
    }
    item
}

fn no_group(kind: &str, name: Option<&str>) -> Result<(), Refusal> {
    match name {
        None => Ok(()),
        Some(name) => Err(Refusal::not_found(format!("no {kind} `{name}`"))),
    }
}

/// Names of 1 to 128 of `[a-zA-Z0-9_.,@/:#-]`, values of up to 800 of those and `=[]`.
fn checked(attributes: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    let within = |text: &str, extra: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    for (name, value) in &attributes {
        if !(1..=128).contains(&name.len()) || !within(name, "_.,@/:#-") {
            return Err(Refusal::invalid(format!(
                "attribute name `{name}` is not valid"
            )));
        }
        if value.len() > 800 || !within(value, "_.,@/:#=[]-") {
            return Err(Refusal::invalid(format!(
                "value of attribute `{name}` is not valid"
            )));
        }
    }
    Ok(attributes)
}
