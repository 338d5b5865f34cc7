//! Which certificates are attached to which things.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;

use super::answer::{Answer, Refusal, empty};
use super::extract::{Params, Principal, Segment};
use super::names::ThingName;
use super::page::{ListItem, Tokens};
use super::plane::Plane;
use super::settling::Resource;
use super::things::visible;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exclusiveness {
    thing_principal_type: Option<String>,
}

/// `EXCLUSIVE_THING` is refused, as it is not kept here.
pub(super) async fn attach(
    State(plane): State<Arc<Plane>>,
    Segment(ThingName(name)): Segment<ThingName>,
    Params(exclusiveness): Params<Exclusiveness>,
    Principal(principal): Principal,
) -> Answer {
    match exclusiveness.thing_principal_type.as_deref() {
        None | Some("NON_EXCLUSIVE_THING") => {}
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "thingPrincipalType `{other}` is not kept here"
            )));
        }
    }
    let certificate = plane.principal(&principal)?;
    plane.registry().attach_principal(&name, &certificate)?;
    Ok(empty())
}

pub(super) async fn detach(
    State(plane): State<Arc<Plane>>,
    Segment(ThingName(name)): Segment<ThingName>,
    Principal(principal): Principal,
) -> Answer {
    let certificate = plane.principal(&principal)?;
    if plane.registry().detach_principal(&name, &certificate)? {
        let settling = &plane.settling;
        settling.detached(Resource::Thing, &name);
        settling.detached(Resource::Certificate, certificate.as_str());
    }
    Ok(empty())
}

pub(super) async fn list(
    State(plane): State<Arc<Plane>>,
    Segment(ThingName(name)): Segment<ThingName>,
    Params(tokens): Params<Tokens>,
) -> Answer {
    let thing = visible(&plane, &name)?;
    let principals = thing.principals.iter().map(|certificate| {
        let arn = plane.certificate_arn(certificate);
        ListItem::by_name(certificate.as_str(), arn)
    });
    tokens.by_name("principals", principals.collect())
}

pub(super) async fn list_things(
    State(plane): State<Arc<Plane>>,
    Params(tokens): Params<Tokens>,
    Principal(principal): Principal,
) -> Answer {
    let certificate = plane.known_principal(&principal)?;
    let all = plane.registry().things();
    let all = all
        .iter()
        .filter(|(_, thing)| thing.principals.contains(&certificate));
    let all = all.map(|(name, _)| ListItem::by_name(name, name.as_str()));
    tokens.by_name("things", all.collect())
}
