//! `provisioner permissions`.

use std::collections::BTreeMap;

use link::error::Failure;

use super::print_json;
use crate::args::GlobalArgs;
use crate::{context, desired, permissions};

pub(crate) fn run(global: &GlobalArgs) -> Result<(), Failure> {
    let region = context::read(global)?;
    let mut resources = desired::region(&region);
    for cluster in &region.clusters {
        resources.extend(desired::cluster(&region, cluster));
    }
    let policies: BTreeMap<String, _> = permissions::policies(&resources)
        .into_iter()
        .map(|(scope, policy)| (scope.to_string(), policy))
        .collect();
    print_json(&policies)
}
