//! Removes a region: the removal plan, what prevents it, and the removal itself in reverse order.
//!
//! Only what carries the region's tag is removed, and of that no EKS add-on: others may use it by now. A database is
//! data: it goes only when its name was given, and not at all while AWS protects it from deletion.

use std::time::Duration;

use link::error::chain;
use region_file::tags::Owner;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::aws::{AwsErrorKind, Cloud, Optional as _};
use crate::converge::StoppedError;
use crate::progress::Progress;
use crate::resource::{Manage as _, Observed, Resource};
use crate::snapshot::Snapshot;

/// What would be removed, in order.
#[derive(Clone, Debug, Serialize)]
pub struct RemovalPlan {
    /// One per resource that is there.
    pub resources: Vec<RemovalItem>,
    /// Names of databases among them, which must be given to confirm.
    pub data: Vec<String>,
}

/// One resource that is there.
#[derive(Clone, Debug, Serialize)]
pub struct RemovalItem {
    /// Whose and which.
    pub resource: String,
    /// What happens to it.
    #[serde(flatten)]
    pub decision: RemovalDecision,
}

/// The decision about one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum RemovalDecision {
    /// It goes.
    Delete,
    /// It stays: it is not ours, or not ours alone.
    Stay {
        /// Why.
        why: String,
    },
    /// It cannot go, and so nothing does.
    Protected {
        /// Why.
        why: String,
        /// The next step.
        hint: String,
    },
    /// It could not be looked at, and so nothing goes.
    Unknown {
        /// Why.
        why: String,
    },
}

// === impl RemovalPlan ===

impl RemovalPlan {
    /// What would go of these resources.
    pub fn of(resources: &[Resource], snapshot: &Snapshot) -> Self {
        let mut removal = Self {
            resources: Vec::new(),
            data: Vec::new(),
        };
        for (resource, observed) in resources.iter().zip(&snapshot.observations).rev() {
            let decision = match observed {
                Ok(None) => continue,
                // What it would hang on, such as its EKS cluster, is gone.
                Err(error) if error.kind() == AwsErrorKind::NotFound => continue,
                Ok(Some(there)) => decide(resource, there),
                Err(error) => RemovalDecision::Unknown { why: chain(error) },
            };
            if let (RemovalDecision::Delete, Resource::Database(database)) = (&decision, resource) {
                removal.data.push(database.name.clone());
            }
            let resource = resource.address().to_string();
            removal.resources.push(RemovalItem { resource, decision });
        }
        removal
    }

    /// The first resource because of which nothing may go.
    pub fn obstacle(&self) -> Option<&RemovalItem> {
        let blocks = |decision: &RemovalDecision| {
            matches!(
                decision,
                RemovalDecision::Protected { .. } | RemovalDecision::Unknown { .. }
            )
        };
        self.resources.iter().find(|item| blocks(&item.decision))
    }

    /// How many resources go.
    pub fn count(&self) -> usize {
        let goes = |item: &&RemovalItem| item.decision == RemovalDecision::Delete;
        self.resources.iter().filter(goes).count()
    }
}

/// Removes everything of ours among these resources, last made first, and waits until each is gone.
///
/// # Errors
/// [`StoppedError`]; the same call goes on from there.
pub async fn destroy(
    cloud: &Cloud,
    resources: &[Resource],
    progress: &dyn Progress,
) -> Result<usize, StoppedError> {
    let mut removed = 0;
    for resource in resources.iter().rev() {
        removed += usize::from(remove(cloud, resource, progress).await?);
    }
    Ok(removed)
}

async fn remove(
    cloud: &Cloud,
    resource: &Resource,
    progress: &dyn Progress,
) -> Result<bool, StoppedError> {
    let address = resource.address();
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let observed = resource.observe(cloud).await.optional();
        let observed = observed.map_err(|error| StoppedError::call(&address, error))?;
        let Some(there) = observed.flatten() else {
            return Ok(told);
        };
        if matches!(decide(resource, &there), RemovalDecision::Stay { .. }) {
            return Ok(told);
        }
        if !told {
            progress.doing(&address, "delete");
            told = true;
        }
        let state = match resource.delete(cloud).await {
            Ok(()) => "going".to_owned(),
            Err(error) if error.kind() == AwsErrorKind::Settling => chain(&error),
            Err(error) => return Err(StoppedError::call(&address, error)),
        };
        if begun.elapsed() >= resource.patience().max(SHORTEST_PATIENCE) {
            let seconds = begun.elapsed().as_secs();
            return Err(StoppedError::Timeout {
                resource: address,
                seconds,
                state,
            });
        }
        progress.waiting(&address, &state, begun.elapsed());
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn decide(resource: &Resource, there: &Observed) -> RemovalDecision {
    match &there.owner {
        Owner::Ours => {}
        Owner::Other(region) => {
            return RemovalDecision::Stay {
                why: format!("it belongs to the region `{region}`"),
            };
        }
        Owner::Shared => {
            return RemovalDecision::Stay {
                why: "others on the cluster use it too".into(),
            };
        }
        Owner::Nobody => {
            return RemovalDecision::Stay {
                why: "it carries no mark of ours".into(),
            };
        }
    }
    match resource {
        Resource::Addon(addon) => RemovalDecision::Stay {
            why: format!(
                "others on the cluster may use it; by hand: aws eks delete-addon --cluster-name {} --addon-name {}",
                addon.cluster, addon.name
            ),
        },
        Resource::Database(database) if there.attributes.get(PROTECTION) == Some(&true.into()) => {
            RemovalDecision::Protected {
                why: "AWS protects it from deletion".into(),
                hint: format!(
                    "set `database.deletionProtection: false`, run `provisioner apply`, then destroy `{}`",
                    database.name
                ),
            }
        }
        _ => RemovalDecision::Delete,
    }
}

const PROTECTION: &str = "deletionProtection";
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
// AWS IoT takes up to five minutes to believe that a policy was detached.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(600);
