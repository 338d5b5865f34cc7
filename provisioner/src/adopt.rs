//! Takes over what somebody else made: resources of the right name without an ownership tag.
//!
//! Adopting writes the tag and changes nothing else; what is not as the file says appears in the next plan.

use region_file::tags::Owner;
use serde::Serialize;

use crate::aws::Cloud;
use crate::converge::StoppedError;
use crate::progress::Progress;
use crate::resource::{Manage as _, Resource};
use crate::snapshot::Snapshot;

/// What could be taken over.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Adoption {
    /// Addresses of resources that carry no mark.
    pub unmarked: Vec<String>,
    /// Addresses of resources of another region, and its name.
    pub others: Vec<(String, String)>,
    /// How many are ours already.
    pub ours: usize,
}

// === impl Adoption ===

impl Adoption {
    /// What could be taken over of these resources.
    pub fn of(resources: &[Resource], snapshot: &Snapshot) -> Self {
        let mut adoption = Self::default();
        for (resource, observed) in resources.iter().zip(&snapshot.observations) {
            let Ok(Some(there)) = observed else { continue };
            let address = resource.address().to_string();
            match &there.owner {
                Owner::Nobody => adoption.unmarked.push(address),
                Owner::Other(region) => adoption.others.push((address, region.clone())),
                Owner::Ours | Owner::Shared => adoption.ours += 1,
            }
        }
        adoption
    }
}

/// Marks every unmarked resource among these as ours.
///
/// # Errors
/// [`StoppedError`]; the same call goes on from there.
pub async fn adopt(
    cloud: &Cloud,
    resources: &[Resource],
    snapshot: &Snapshot,
    progress: &dyn Progress,
) -> Result<usize, StoppedError> {
    let mut adopted = 0;
    for (resource, observed) in resources.iter().zip(&snapshot.observations) {
        let unmarked = matches!(observed, Ok(Some(there)) if there.owner == Owner::Nobody);
        if unmarked {
            let address = resource.address();
            progress.doing(&address, "adopt");
            resource
                .adopt(cloud)
                .await
                .map_err(|error| StoppedError::call(&address, error))?;
            adopted += 1;
        }
    }
    Ok(adopted)
}
