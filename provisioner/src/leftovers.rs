//! Orphans: things that carry the region's tag and are not in its file, of management clusters that were taken out of it.
//!
//! They are reported and never removed: a line deleted by mistake would cut a cluster off.

use std::collections::BTreeSet;

use region_file::Region;
use region_file::tags::OWNER;

use crate::aws::{AwsError, Cloud, Outcome as _};
use crate::desired;
use crate::resource::{Note, Resource};
use crate::scope::Scope;

/// One note for each thing of this region that the file does not ask for; none without the region's account.
///
/// # Errors
/// When they cannot be listed.
pub async fn leftovers(cloud: &Cloud, region: &Region) -> Result<Vec<Note>, AwsError> {
    let Ok(account) = cloud.of(&Scope::Region) else {
        return Ok(Vec::new());
    };
    let things = account
        .iot
        .list_things()
        .attribute_name(OWNER)
        .attribute_value(&region.name)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .during("iot:ListThings", &region.name)?;
    let wanted: BTreeSet<String> = desired::region(region)
        .into_iter()
        .filter_map(|resource| match resource {
            Resource::Thing(thing) => Some(thing.name),
            _ => None,
        })
        .collect();
    let left = things.into_iter().filter_map(|thing| {
        let name = thing.thing_name.filter(|name| !wanted.contains(name))?;
        let cluster = thing.attributes.and_then(|mut all| all.remove(CLUSTER));
        Some(note(&name, cluster.as_deref()))
    });
    Ok(left.collect())
}

fn note(thing: &str, cluster: Option<&str>) -> Note {
    let text = format!("thing `{thing}` is this region's, and nothing in the file asks for it");
    let hint = match cluster {
        Some(id) => format!(
            "put management cluster `{id}` back into the file, run `provisioner destroy --cluster {id}`, then take it out"
        ),
        None => "give it back its name under `names:`, or delete it by hand".to_owned(),
    };
    Note { text, hint }
}

// An attribute of agents' things (`desired`).
const CLUSTER: &str = "cluster";
