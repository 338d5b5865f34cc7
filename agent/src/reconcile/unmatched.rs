//! Rules of a work that match none of its manifests: what they were to protect is treated like everything else, so the
//! work's status says so. Most are refused where they are given; what only a cluster knows, the plural of somebody's own
//! kind, and what another server let pass, is reported here. Pure.

use link::bundle::ManifestConfig;
use link::bundle::rules::{Candidate, ObjectSelector};

use crate::status::ManifestOutcome;

/// One sentence for each configuration that matches nothing, of a bounded number.
pub(super) fn unmatched(configs: &[ManifestConfig], outcomes: &[ManifestOutcome]) -> Vec<String> {
    if configs.is_empty() {
        return Vec::new();
    }
    let candidates: Vec<Candidate> = outcomes
        .iter()
        .map(|ManifestOutcome { planned, .. }| {
            Candidate::new(
                planned.ordinal,
                planned.object.clone(),
                planned.resource.clone(),
            )
        })
        .collect();
    configs
        .iter()
        .enumerate()
        .filter_map(|(index, config)| {
            let problem = ObjectSelector::from(&config.resource_identifier).problem(&candidates)?;
            Some(format!("manifestConfigs[{index}] {problem}"))
        })
        .take(SHOWN)
        .collect()
}

// A condition's message must stay readable.
const SHOWN: usize = 5;
